//! What is kept of a Deployment that the watch tells of: enough to see that nothing is to be done.

use std::time::Duration;

use jobqueue_crds::JobQueue;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use tokio::time::Instant;

use crate::{
    apply::found_digest,
    digest::Digest,
    observe::{self, PodProblem, Workers},
    plan,
    registry::Key,
    tracked::{Tracked, Uid},
};

/// So long for each queue.
pub fn each(queues: usize, milliseconds: u64) -> Duration {
    Duration::from_millis(u64::try_from(queues).unwrap_or(u64::MAX).saturating_mul(milliseconds))
}

/// How long pods may take to start before it is asked what keeps them. Thousands of queues may have pods that start.
fn pods_take(queues: usize) -> Duration {
    each(queues, 10).clamp(Duration::from_secs(2), Duration::from_secs(20))
}

/// The longest time between two looks at pods that do not start: all queues together, twenty looks a second.
fn pods_fail(queues: usize) -> Duration {
    each(queues, 50).clamp(Duration::from_secs(16), Duration::from_secs(300))
}

/// One Deployment, at one moment that may be a little while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glimpse {
    /// Digest of its spec, without the number of workers.
    pub found: Digest,
    /// Its numbers.
    pub workers: Workers,
}

impl Glimpse {
    /// Whose Deployment it is, and what it looks like; none if it is not one of ours.
    pub fn of(deployment: &Deployment) -> Option<(Key, Self)> {
        let owners = deployment.owner_references();
        let owner = owners.iter().find(|owner| owner.kind == JobQueue::kind(&()) && owner.controller == Some(true))?;
        if deployment.name_any() != plan::name_of_workers(&owner.name) {
            return None;
        }
        let key = ObjectRef::new(&owner.name).within(&deployment.namespace().unwrap_or_default());
        Some((key, Self { found: found_digest(deployment), workers: observe::workers(deployment) }))
    }
}

/// Workers are missing, and what is known of the cause.
#[derive(Debug)]
pub struct Missing {
    /// Since when.
    began: Instant,
    /// When their pods were looked at last, or when they began to be missing.
    looked: Instant,
    /// What keeps them from starting, as far as was seen then.
    problem: Option<PodProblem>,
}

impl Missing {
    /// Their pods were looked at now, or begin to be missing; `before` is what was known.
    pub fn now(before: Option<Box<Self>>, problem: Option<PodProblem>) -> Box<Self> {
        let looked = Instant::now();
        Box::new(Self { began: before.map_or(looked, |before| before.began), looked, problem })
    }

    /// How long until they are looked at again: the longer they are missing, the seldomer.
    pub fn left(&self, queues: usize) -> Duration {
        let pause = self.looked.duration_since(self.began) / 4;
        pause.clamp(pods_take(queues), pods_fail(queues)).saturating_sub(self.looked.elapsed())
    }
}

/// What a visit needs to know, where nothing is to be done.
#[derive(Debug)]
pub struct AsApplied {
    /// The Deployment's numbers.
    pub workers: Workers,
    /// What keeps pods from starting.
    pub problem: Option<PodProblem>,
    /// Digest of the Secrets that it was applied with.
    pub secrets: Digest,
}

impl Tracked {
    /// What there is, if everything is as it was applied for this object. None where the cluster has to be asked: something
    /// differs, or workers are missing and nobody looked at their pods for a while, however often the Deployment changes.
    pub fn as_applied(&mut self, uid: Uid, generation: i64, glimpse: &Glimpse, queues: usize) -> Option<AsApplied> {
        let (for_generation, secrets) = self.applied_for?;
        let record = self.applied.as_ref()?;
        // The watch may not have told yet of the number that was just written.
        let scaled_now = self.scaled.is_some_and(|at| at.elapsed() < Duration::from_secs(1));
        let as_is = self.uid == uid
            && for_generation == generation
            && record.matches(glimpse.found)
            && !record.is_old(queues)
            && (scaled_now || glimpse.workers.wanted == self.current);
        if !as_is {
            return None;
        }
        let workers = Workers { wanted: self.current, ..glimpse.workers };
        if !workers.is_short() {
            self.missing = None;
            return Some(AsApplied { workers, problem: None, secrets });
        }
        let missing = self.missing.get_or_insert_with(|| Missing::now(None, None));
        let due = missing.left(queues).is_zero();
        (!due).then(|| AsApplied { workers, problem: missing.problem.clone(), secrets })
    }
}
