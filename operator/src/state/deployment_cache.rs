//! What is kept of a Deployment from its watch: enough to see that nothing is to be done.

use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::{
    digest::Digest,
    names,
    state::{
        applied::deployment_digest,
        key::{self, Key},
        workers::Workers,
    },
};

/// A Deployment as its watch had it last; the cluster may be further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CachedDeployment {
    /// Digest of its spec, without the number of workers.
    pub(crate) digest: Digest,
    /// Its numbers.
    pub(crate) workers: Workers,
    /// Its pods are being replaced because the operator changed.
    pub(crate) operator_rollout: bool,
}

impl CachedDeployment {
    /// The queue that owns a Deployment, and what to keep of it; `None` if it is not the workers' Deployment of a queue.
    pub(crate) fn of(deployment: &Deployment) -> Option<(Key, Self)> {
        let (key, owner) = key::owner(&deployment.metadata)?;
        if deployment.name_any() != names::name_of_workers(&owner.name) {
            return None;
        }
        let (digest, workers) = (deployment_digest(deployment), Workers::of(deployment));
        Some((key, Self { digest, workers, operator_rollout: is_rolled_out_by_operator(deployment) }))
    }
}

/// Whether a rollout that the operator began is under way.
pub(crate) fn is_rolled_out_by_operator(deployment: &Deployment) -> bool {
    deployment.annotations().contains_key(names::OPERATOR_ROLLOUT) && !is_complete(deployment)
}

/// Whether all pods are of the present template and available, or have been since it is the present one.
fn is_complete(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let conditions = status.conditions.iter().flatten();
    let available = |reason: Option<&str>| reason == Some("NewReplicaSetAvailable");
    status.observed_generation >= deployment.metadata.generation
        && conditions
            .into_iter()
            .any(|one| one.type_.as_deref() == Some("Progressing") && available(one.reason.as_deref()))
}
