//! The second step: from what was found to what the later steps may rely on, or to what a person must repair.

use std::path::Path;

use jobqueue_crds::{JobQueue, Reason, ScalingMode};
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::Calendar;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, ResourceExt};

use crate::{
    autoscaler::redis_endpoints::EndpointKey,
    reconciler::{
        build,
        error::{Error, Refusal},
        fetch::Fetched,
        password_file::password_file,
        secrets::{Resolved, SecretError},
    },
    state::{
        applied::Source,
        health::Stall,
        spec::{Initial, Spec},
    },
};

/// A queue that can be served.
#[derive(Debug)]
pub(super) struct Valid {
    /// How to poll and scale it.
    pub(super) spec: Spec,
    /// Where it begins.
    pub(super) initial: Initial,
    /// What its objects are built from.
    pub(super) source: Source,
    /// Digest of what the workers read from Secrets, with their version: the pods are marked with it.
    pub(super) secret_hash: String,
}

/// Checks everything that can be checked without I/O. `in_cluster`: this process can resolve the cluster's names;
/// `passwords`: where it finds passwords in files, if anywhere.
pub(super) fn validate(
    queue: &JobQueue,
    fetched: Fetched,
    (in_cluster, passwords): (bool, Option<&Path>),
) -> Result<Valid, Refusal> {
    let stalled = |reason, message: String| Refusal::Stalled(Stall { reason, message });
    let Fetched { secrets, deployment } = fetched;
    if let Some(problem) = jobqueue_crds::validate(&queue.spec).first() {
        return Err(stalled(Reason::InvalidSpec, problem.to_string()));
    }
    let calendar = jobqueue_scaling_input::calendar(&queue.spec)
        .map_err(|problem| stalled(Reason::InvalidSpec, problem.to_string()))?;
    if let Some(deployment) = &deployment {
        check_owner(queue, deployment)?;
    }
    let resolved = secrets.map_err(|error: SecretError| match error.reason() {
        Some(reason) => stalled(reason, error.to_string()),
        None => error.into(),
    })?;
    let domain = in_cluster.then(|| format!("{}.svc", queue.namespace().unwrap_or_default()));
    let file = password_file(queue, passwords).map_err(|problem| stalled(Reason::InvalidSpec, problem))?;
    let endpoint = EndpointKey::new(&resolved, domain.as_deref(), file)
        .map_err(|error| stalled(Reason::InvalidUrl, format!("spec.queue.redis: {error}")))?;
    Ok(Valid {
        spec: spec(queue, endpoint, calendar),
        initial: initial(queue, deployment.as_ref()),
        source: Source { generation: queue.metadata.generation.unwrap_or_default(), secrets: resolved.hash },
        secret_hash: secret_hash(&resolved, deployment.as_ref()),
    })
}

/// What marks the pods: the digest of what the Secrets say, and of their version when they began to say so. Without the
/// version a password that is put back would lead back to the template that it had before, and to pods of that
/// template which were started in between and read the wrong one.
fn secret_hash(resolved: &Resolved, deployment: Option<&Deployment>) -> String {
    let Resolved { hash, version, .. } = resolved;
    let template = deployment.and_then(|deployment| deployment.spec.template.metadata.as_ref());
    let present = template.and_then(|template| template.annotations.as_ref()?.get(build::SECRET_HASH));
    match present {
        Some(present) if present.starts_with(&format!("{hash}-")) => present.clone(),
        _ => format!("{hash}-{version}"),
    }
}

fn spec(queue: &JobQueue, endpoint: EndpointKey, calendar: Calendar) -> Spec {
    Spec {
        endpoint,
        query: StatsQuery::from(&queue.spec.queue.settings).into(),
        policy: jobqueue_scaling_input::policy(&queue.spec),
        calendar: calendar.into(),
        budget: queue.spec.database.as_ref().and_then(|database| database.budget.as_deref().map(Into::into)),
        protect_busy: queue.spec.scaling.scale_down.protect_busy,
        has_database: queue.spec.database.is_some(),
    }
}

fn initial(queue: &JobQueue, deployment: Option<&Deployment>) -> Initial {
    let present = deployment.map(|deployment| u32::try_from(deployment.spec.replicas.unwrap_or(1)).unwrap_or(0));
    // Without a Deployment: where the mode begins.
    let begin = match queue.spec.scaling.mode {
        ScalingMode::Manual => u32::try_from(queue.spec.replicas).unwrap_or(0),
        ScalingMode::Auto | ScalingMode::Paused => queue.spec.scaling.min_replicas,
    };
    Initial {
        replicas: present.unwrap_or(begin),
        deployment: deployment.map(|deployment| deployment.name_any().into()),
        last_scale: queue.status.as_ref().and_then(|status| status.last_scale.clone()),
    }
}

/// A Deployment of that name must be the queue's: another's is never taken over.
fn check_owner(queue: &JobQueue, deployment: &Deployment) -> Result<(), Refusal> {
    let owners = deployment.meta().owner_references.iter().flatten();
    let mut queues = owners.filter(|owner| owner.kind == JobQueue::kind(&()) && owner.name == queue.name_any());
    let uid = queue.uid().unwrap_or_default();
    match queues.next() {
        Some(owner) if owner.uid == uid => Ok(()),
        Some(_) => Err(Error::Leftover(deployment.name_any()).into()),
        None => Err(Refusal::Stalled(Stall {
            reason: Reason::NameTaken,
            message: format!(
                "Deployment {} exists and does not belong to this JobQueue: rename one of them, or delete the Deployment",
                build::object_name(queue)
            ),
        })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::digest::Digest;

    fn resolved(hash: u32, version: u32) -> Resolved {
        Resolved {
            redis_url: String::new(),
            redis_ca: None,
            redis_client: None,
            hash: Digest(hash),
            version: Digest(version),
        }
    }

    fn deployment(mark: &str) -> Deployment {
        serde_json::from_value(json!({"metadata": {}, "spec": {"selector": {}, "template":
            {"metadata": {"annotations": {build::SECRET_HASH: mark}}}}}))
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
