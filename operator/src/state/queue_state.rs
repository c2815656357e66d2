//! The state of one queue that is served, in parts with one writer each.

use std::sync::Arc;

use jobqueue_scaling::ConnectionBudget;
use tokio::{sync::Mutex, time::Instant};

use crate::state::{
    applied::Applied,
    health::Reachability,
    key::Uid,
    observed::Observed,
    scaling::Scaling,
    spec::{Initial, Spec},
    status_cursor::StatusCursor,
};

/// One queue. Outside this folder it is only ever read as a whole: what can be changed of it is in the owners' views.
pub(crate) struct QueueState {
    /// Another object of the same name begins anew.
    pub(crate) uid: Uid,
    /// Since when it is served.
    pub(crate) since: Instant,
    /// Held while the Deployment is written, so that an apply never puts back a number that a scaling just replaced.
    pub(super) deployment_lock: Arc<Mutex<()>>,
    /// How to poll and scale it.
    pub(crate) spec: Spec,
    /// What was applied for it.
    pub(crate) applied: Applied,
    /// What the polls of Redis found.
    pub(crate) observed: Observed,
    /// What was decided.
    pub(crate) scaling: Scaling,
    /// What its status reports already.
    pub(crate) status_cursor: StatusCursor,
}

impl QueueState {
    /// A queue of which nothing is known but where it begins.
    pub(super) fn new(uid: Uid, spec: Spec, initial: Initial) -> Self {
        let Initial { replicas, deployment, last_scale } = initial;
        Self {
            uid,
            since: Instant::now(),
            deployment_lock: Arc::default(),
            spec,
            applied: Applied { deployment, ..Applied::default() },
            observed: Observed::default(),
            scaling: Scaling { replicas, last_scale: last_scale.map(Box::new), ..Scaling::default() },
            status_cursor: StatusCursor::default(),
        }
    }

    /// Whether the workers reach their database, as they report; `NotApplicable` if the queue has none.
    pub(crate) fn database(&self) -> &Reachability {
        self.observed.database(self.spec.has_database)
    }

    /// Connections to the database that the queue's workers are asked to have, and those that pods beyond these still hold.
    pub(super) fn connections(&self) -> Connections {
        let per_worker = self.spec.policy.connections.map_or(0, |connections| connections.per_worker);
        let asked = self.scaling.replicas_asked();
        let beyond = existing_pods(&self.applied, &self.observed).saturating_sub(asked);
        Connections { asked: asked.saturating_mul(per_worker), beyond: beyond.saturating_mul(per_worker) }
    }
}

/// Connections to a database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Of as many workers as are asked for, or about to be.
    pub(crate) asked: u32,
    /// Of pods beyond these: they drain, or a rollout replaces them.
    pub(crate) beyond: u32,
}

impl Connections {
    /// How many workers more a queue has connections for that has `asked` for its own, beside these of others.
    pub(crate) fn room(self, limit: ConnectionBudget, asked: u32) -> Option<u32> {
        let Self { asked: others, beyond } = self;
        let free = limit.connections.saturating_sub(others).saturating_sub(beyond).saturating_sub(asked);
        free.checked_div(limit.per_worker)
    }
}

/// Pods that exist: as the Deployment has them, or those whose workers report in Redis, which they do as long as they drain.
pub(crate) fn existing_pods(applied: &Applied, observed: &Observed) -> u32 {
    applied.present.max(observed.idle_pods.count_known())
}

/// A queue as the reconciler has it.
pub(crate) struct ReconcilerView<'a> {
    /// The object's uid.
    pub(crate) uid: &'a Uid,
    /// What was applied: the reconciler's to write, as is `spec` ([`super::owners::ReconcilerState::serve`]).
    pub(crate) applied: &'a mut Applied,
    /// What was decided.
    pub(crate) scaling: &'a Scaling,
}

impl<'a> From<&'a mut QueueState> for ReconcilerView<'a> {
    fn from(queue: &'a mut QueueState) -> Self {
        let QueueState { uid, applied, scaling, .. } = queue;
        Self { uid, applied, scaling }
    }
}

/// A queue as the autoscaler has it.
pub(crate) struct AutoscalerView<'a> {
    /// How to poll and scale it.
    pub(crate) spec: &'a Spec,
    /// What was applied.
    pub(crate) applied: &'a Applied,
    /// What its status reports already.
    pub(crate) status_cursor: &'a StatusCursor,
    /// What the polls found: the autoscaler's to write.
    pub(crate) observed: &'a mut Observed,
    /// What was decided: the autoscaler's to write.
    pub(crate) scaling: &'a mut Scaling,
}

impl<'a> From<&'a mut QueueState> for AutoscalerView<'a> {
    fn from(queue: &'a mut QueueState) -> Self {
        let QueueState { spec, applied, status_cursor, observed, scaling, .. } = queue;
        Self { spec, applied, status_cursor, observed, scaling }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be ten thousand, most of them at rest, and the allocator's next size is 1,536. What few queues need is boxed,
    /// what many have in common is shared.
    #[test]
    fn a_queue_takes_little_room() {
        assert!(size_of::<QueueState>() <= 1280, "{}", size_of::<QueueState>());
    }
}
