//! What was applied for a queue, and what came of it. Written by the reconciler.

use std::time::Duration;

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};
use tokio::time::Instant;

use crate::{
    digest::Digest,
    state::{missing_pods::MissingPods, owned_objects::OwnedObject},
};

/// The part of a queue's state that follows the objects in the cluster.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The name of the Deployment to scale; `None` until it exists.
    pub(crate) deployment: Option<Box<str>>,
    /// Workers that are ready.
    pub(crate) ready: u32,
    /// Pods that exist, without those that are being deleted.
    pub(crate) present: u32,
    /// What was applied last; `None` before the first apply.
    pub(crate) record: Option<ApplyRecord>,
    /// What it was applied for; `None` before the first apply.
    pub(crate) source: Option<Source>,
    /// What the queue has beside its Deployment; empty before the first apply.
    pub(crate) objects: Box<[OwnedObject]>,
    /// The surge that the last reconcile asked for; `None` before the first.
    pub(crate) surge: Option<Surge>,
    /// Pods are missing; `None` while all are there.
    pub(crate) missing_pods: Option<Box<MissingPods>>,
}

/// What objects were built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Source {
    /// `metadata.generation` of the JobQueue.
    pub(crate) generation: i64,
    /// Digest of what its Secrets say. It never leaves the process: it would confirm a guessed password.
    pub(crate) secrets: Digest,
    /// Digest of their versions.
    pub(crate) secret_version: Digest,
}

/// How often everything is applied again, with few queues.
const RESYNC: Duration = Duration::from_secs(90);

/// What was applied and what came of it, to tell whether it is still so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApplyRecord {
    desired: Digest,
    found: Digest,
    at: Instant,
}

impl ApplyRecord {
    /// Objects of digest `desired` were applied just now, and the Deployment has the digest `found` since.
    pub(crate) fn now(desired: Digest, found: Digest) -> Self {
        Self { desired, found, at: Instant::now() }
    }

    /// True if it is time to apply everything again, for what is not watched. All queues together, one a second at most.
    pub(crate) fn is_old(&self, queues: usize) -> bool {
        self.at.elapsed() >= RESYNC.max(Duration::from_secs(u64::try_from(queues).unwrap_or(u64::MAX)))
    }

    /// True if these are the objects that were applied.
    pub(crate) fn is_of(&self, desired: Digest) -> bool {
        self.desired == desired
    }

    /// True if the Deployment looks as it did when it was applied, its number of workers aside.
    pub(crate) fn matches(&self, found: Digest) -> bool {
        self.found == found
    }
}

/// Digest of what a Deployment looks like, its number of workers aside, and what depends on that.
pub(crate) fn deployment_digest(deployment: &Deployment) -> Digest {
    let spec = without_numbers(deployment.clone()).spec;
    Digest::of_json(&(&spec, &deployment.metadata.labels, &deployment.metadata.owner_references))
}

/// How many pods more than usual there may be in a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surge {
    /// A quarter as many as there are.
    Quarter,
    /// So many.
    Pods(i32),
}

/// [`Surge::Quarter`], as it is written.
const QUARTER: &str = "25%";

impl Surge {
    /// A quarter, if the database has connections for them (`room`): during a rollout no more are held than at other times.
    /// Without any room old pods go first.
    pub(crate) fn within(room: Option<u32>, replicas: u32) -> Self {
        match room {
            Some(room) if room < replicas.div_ceil(4) => Self::Pods(i32::try_from(room).unwrap_or(i32::MAX)),
            _ => Self::Quarter,
        }
    }

    /// That of a Deployment; `None` if it has none, or one that is not ours.
    pub(crate) fn of(deployment: &Deployment) -> Option<Self> {
        match deployment.spec.strategy.as_ref()?.rolling_update.as_ref()?.max_surge.as_ref()? {
            IntOrString::Int(pods) => Some(Self::Pods(*pods)),
            IntOrString::String(text) => (text == QUARTER).then_some(Self::Quarter),
        }
    }
}

impl From<Surge> for IntOrString {
    fn from(surge: Surge) -> Self {
        match surge {
            Surge::Quarter => Self::String(QUARTER.into()),
            Surge::Pods(pods) => Self::Int(pods),
        }
    }
}

/// Sets what depends on the number of workers as it usually is, to tell what else differs.
pub(crate) fn without_numbers(mut deployment: Deployment) -> Deployment {
    deployment.spec.replicas = None;
    let strategy = deployment.spec.strategy.as_mut().and_then(|strategy| strategy.rolling_update.as_mut());
    if let Some(rolling_update) = strategy {
        rolling_update.max_surge = Some(Surge::Quarter.into());
    }
    deployment
}
