//! The second step: from what was found to what the later steps may rely on, or to what a person must repair.

use jobqueue_crds::{JobQueue, Protocol, Reason, ScalingMode};
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::Calendar;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};

use crate::{
    digest::Digest,
    endpoint::EndpointKey,
    error::Error,
    fetch::Fetched,
    plan,
    secrets::{Resolved, SecretError},
    status::Blocked,
    tracked::{Served, Uid},
};

/// A queue that can be served.
#[derive(Debug)]
pub struct Valid {
    /// For the sweep.
    pub served: Served,
    /// Digest of what the Secrets say that the workers read.
    pub secrets: Digest,
    /// The same with their version, as the pods are marked with it.
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

/// Checks everything that can be checked without talking to anybody. `in_cluster`: this process has the cluster's names.
pub fn validate(queue: &JobQueue, fetched: Fetched, in_cluster: bool) -> Result<Valid, Invalid> {
    let blocked = |reason, message: String| Invalid::Blocked(Blocked { reason, message });
    let Fetched { connections, deployment } = fetched;
    if let Some(problem) = jobqueue_crds::validate(&queue.spec).first() {
        return Err(blocked(Reason::InvalidSpec, problem.to_string()));
    }
    let calendar =
        jobqueue_demand::calendar(&queue.spec).map_err(|problem| blocked(Reason::InvalidSpec, problem.to_string()))?;
    if let Some(deployment) = &deployment {
        owned(queue, deployment)?;
    }
    let resolved = connections.map_err(|error: SecretError| match error.reason() {
        Some(reason) => blocked(reason, error.to_string()),
        None => Invalid::NotYet(error.into()),
    })?;
    let domain = in_cluster.then(|| format!("{}.svc", queue.namespace().unwrap_or_default()));
    let endpoint = EndpointKey::new(&resolved, domain.as_deref())
        .map_err(|error| blocked(Reason::InvalidUrl, format!("spec.queue.redis: {error}")))?;
    let secret_hash = secret_hash(&resolved, deployment.as_ref());
    let served = served(queue, endpoint, calendar, deployment.as_ref());
    Ok(Valid { served, secrets: resolved.hash, secret_hash })
}

/// What marks the pods: the digest of what the Secrets say, and of their version when they began to say so. Without the
/// version a password that is put back would lead back to the template that it had before, and to pods of that
/// template which were started in between and read the wrong one.
fn secret_hash(resolved: &Resolved, deployment: Option<&Deployment>) -> String {
    let Resolved { hash, version, .. } = resolved;
    let template = deployment.and_then(|deployment| deployment.spec.template.metadata.as_ref());
    let present = template.and_then(|template| template.annotations.as_ref()?.get(plan::SECRET_HASH));
    match present {
        Some(present) if present.starts_with(&format!("{hash}-")) => present.clone(),
        _ => format!("{hash}-{version}"),
    }
}

fn served(queue: &JobQueue, endpoint: EndpointKey, calendar: Calendar, deployment: Option<&Deployment>) -> Served {
    let replicas = deployment.map(|deployment| u32::try_from(deployment.spec.replicas.unwrap_or(1)).unwrap_or(0));
    // Without a Deployment: where the mode begins.
    let begin = match queue.spec.scaling.mode {
        ScalingMode::Manual => u32::try_from(queue.spec.replicas).unwrap_or(0),
        ScalingMode::Auto | ScalingMode::Paused => queue.spec.scaling.min_replicas,
    };
    Served {
        uid: Uid::of(queue),
        endpoint,
        target: target(queue),
        policy: jobqueue_demand::policy(&queue.spec),
        calendar,
        budget: queue.spec.database.as_ref().and_then(|database| database.budget.as_deref().map(Into::into)),
        protect_busy: queue.spec.scaling.scale_down.protect_busy,
        found: replicas.unwrap_or(begin),
        deployment: deployment.map(|deployment| deployment.name_any().into()),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(hash: u32, version: u32) -> Resolved {
        Resolved {
            redis_url: String::new(),
            redis_ca: None,
            redis_client: None,
            database_url: None,
            hash: Digest(hash),
            version: Digest(version),
        }
    }

    fn deployment(mark: &str) -> Deployment {
        serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {}, "template":
            {"metadata": {"annotations": {plan::SECRET_HASH: mark}}}}}))
        .unwrap()
    }

    #[test]
    fn a_secret_that_is_put_back_makes_new_pods_and_an_edit_elsewhere_in_it_makes_none() {
        let mark = secret_hash(&resolved(0xa, 1), None);
        assert_eq!(mark, "0000000a-00000001");
        assert_eq!(secret_hash(&resolved(0xa, 2), Some(&deployment(&mark))), mark);
        let other = secret_hash(&resolved(0xb, 3), Some(&deployment(&mark)));
        assert_eq!(other, "0000000b-00000003");
        assert_eq!(secret_hash(&resolved(0xa, 4), Some(&deployment(&other))), "0000000a-00000004");
    }
}
