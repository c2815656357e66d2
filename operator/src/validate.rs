//! The second step: from what was found to what the later steps may rely on, or to what a person must repair.

use jobqueue_crds::{JobQueue, Protocol, Reason, ScalingMode};
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::Policy;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};

use crate::{
    endpoint::EndpointKey,
    error::Error,
    fetch::Fetched,
    plan,
    policy::policy,
    registry::Served,
    secrets::{Resolved, SecretError},
    status::Blocked,
};

/// A queue that can be served.
#[derive(Debug)]
pub struct Valid {
    /// For the sweep.
    pub served: Served,
    /// Digest of the Secrets that the workers read.
    pub secret_hash: String,
}

/// Why not.
#[derive(Debug)]
pub enum Invalid {
    /// Only a person can go on from here.
    Blocked(Blocked),
    /// It will pass.
    NotYet(Error),
}

/// Checks everything that can be checked without talking to anybody.
pub fn validate(queue: &JobQueue, fetched: Fetched) -> Result<Valid, Invalid> {
    let blocked = |reason, message: String| Invalid::Blocked(Blocked { reason, message });
    let Fetched { connections, deployment } = fetched;
    if let Some(problem) = jobqueue_crds::validate(&queue.spec).first() {
        return Err(blocked(Reason::InvalidSpec, problem.to_string()));
    }
    if let Some(deployment) = &deployment {
        owned(queue, deployment)?;
    }
    let resolved = connections.map_err(|error: SecretError| match error.reason() {
        Some(reason) => blocked(reason, error.to_string()),
        None => Invalid::NotYet(error.into()),
    })?;
    let endpoint = EndpointKey::new(&resolved)
        .map_err(|error| blocked(Reason::InvalidUrl, format!("spec.queue.redis: {error}")))?;
    let Resolved { hash, .. } = resolved;
    let policy = policy(&queue.spec);
    Ok(Valid { served: served(queue, endpoint, policy, deployment.as_ref()), secret_hash: hash })
}

fn served(queue: &JobQueue, endpoint: EndpointKey, policy: Policy, deployment: Option<&Deployment>) -> Served {
    let replicas = deployment.map(|deployment| u32::try_from(deployment.spec.replicas.unwrap_or(1)).unwrap_or(0));
    // Without a Deployment: where the mode begins.
    let begin = match queue.spec.scaling.mode {
        ScalingMode::Manual => u32::try_from(queue.spec.replicas).unwrap_or(0),
        ScalingMode::Auto | ScalingMode::Paused => queue.spec.scaling.min_replicas,
    };
    Served {
        uid: queue.uid().unwrap_or_default(),
        endpoint,
        target: target(queue),
        policy,
        found: replicas.unwrap_or(begin),
        deployment: deployment.map(ResourceExt::name_any),
        last_scale: queue.status.as_ref().and_then(|status| status.last_scale.clone()),
        has_database: queue.spec.database.is_some(),
    }
}

/// A Deployment of that name must be ours: another's is never taken over.
fn owned(queue: &JobQueue, deployment: &Deployment) -> Result<(), Invalid> {
    let owners = deployment.meta().owner_references.iter().flatten();
    let mut queues = owners.filter(|owner| owner.kind == JobQueue::kind(&()) && owner.name == queue.name_any());
    let uid = queue.uid().unwrap_or_default();
    match queues.next() {
        Some(owner) if owner.uid == uid => Ok(()),
        Some(_) => Err(Invalid::NotYet(Error::Leftover(deployment.name_any()))),
        None => Err(Invalid::Blocked(Blocked {
            reason: Reason::NameTaken,
            message: format!(
                "Deployment {} exists and does not belong to this JobQueue: rename one of them, or delete the Deployment",
                plan::object_name(queue)
            ),
        })),
    }
}

fn target(queue: &JobQueue) -> StatsQuery {
    let queue = &queue.spec.queue;
    StatsQuery {
        protocol: match queue.protocol {
            Protocol::Rq => jobqueue_queue::Protocol::Rq,
            Protocol::List => jobqueue_queue::Protocol::List,
            Protocol::Stream => jobqueue_queue::Protocol::Stream,
        },
        names: queue.names.clone(),
        key_prefix: queue.key_prefix.clone(),
        consumer_group: queue.consumer_group.clone(),
    }
}
