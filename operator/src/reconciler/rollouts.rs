//! Rollouts that nobody asked for: where a change of the operator replaces the workers of thousands of queues, only a few
//! queues are replaced at once, and the others wait. What a person changes never waits.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use tokio::time::Instant;

use crate::{
    reconciler::build,
    state::{key::Key, registry::Registry},
};

/// How long the watch may take to show a rollout that was begun.
const WATCH_DELAY: Duration = Duration::from_secs(10);

/// Which queues may be rolled out.
#[derive(Debug)]
pub(crate) struct Rollouts {
    /// Queues at once.
    limit: usize,
    /// Those that were begun a moment ago, and when.
    begun: Mutex<Vec<(Key, Instant)>>,
}

impl Rollouts {
    /// At most `limit` queues at once.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, begun: Mutex::default() }
    }

    /// Whether a queue's workers may be replaced now; if so, it counts until they are. The others that count are those that
    /// the watch shows: also those that an earlier leader began.
    pub(super) fn admit(&self, key: &Key, registry: &Registry) -> bool {
        let Some(under_way) = registry.operator_rollouts() else { return false };
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.retain(|(_, at)| at.elapsed() < WATCH_DELAY);
        let mut all: HashSet<&Key> = under_way.iter().map(AsRef::as_ref).collect();
        all.extend(begun.iter().map(|(key, _)| key));
        if all.contains(key) {
            return true;
        }
        let free = all.len() < self.limit;
        if free {
            begun.push((key.clone(), Instant::now()));
        }
        free
    }
}

/// The generation whose template somebody put back with `kubectl rollout undo`; `None` unless the JobQueue is still of the
/// `generation` that was undone. `known` is the generation that this process found applied.
pub(super) fn rolled_back(deployment: &Deployment, generation: i64, known: Option<i64>) -> Option<i64> {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    let applied = number(deployment.labels().get(build::GENERATION))?;
    let present = number(deployment.annotations().get(build::GENERATION))?;
    (present < applied && (applied == generation || known == Some(generation))).then_some(present)
}

/// Whether the Deployment was applied without `scaleDown.protectBusy`. Unknown, and no, of those that the first operators
/// applied: they did not say for which generation either.
pub(super) fn is_unprotected(deployment: &Deployment) -> bool {
    let annotations = deployment.annotations();
    annotations.contains_key(build::GENERATION) && !annotations.contains_key(build::PROTECT_BUSY)
}

/// Whether there are pods to replace, or about to be.
pub(super) fn has_pods(deployment: &Deployment) -> bool {
    let present = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or_default();
    present.max(deployment.spec.replicas.unwrap_or(1)) > 0
}
