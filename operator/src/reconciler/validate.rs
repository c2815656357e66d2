//! The second step: from what was found to what the later steps may rely on, or to what a person must repair.

use std::{path::Path, sync::Arc};

use jobqueue_crds::{JobQueue, Reason, ScalingMode};
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::Calendar;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;

use crate::{
    reconciler::{
        build,
        error::Refusal,
        fetch::Fetched,
        ownership,
        password_file::password_file,
        secrets::{Resolved, SecretError},
    },
    state::{
        applied::Source,
        budgets::Budget,
        endpoint_key::EndpointKey,
        health::Stall,
        key::version,
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
    /// What the pods are marked with: it changes when what they read from Secrets changes.
    pub(super) secret_mark: String,
}

/// Checks everything that can be checked without I/O. `in_cluster`: this process can resolve the cluster's names;
/// `passwords`: where it finds passwords in files, if anywhere. `last` is what this process applied last for the queue; `None` if
/// nothing yet.
pub(super) fn validate(
    queue: &JobQueue,
    fetched: Fetched,
    (in_cluster, passwords): (bool, Option<&Path>),
    last: Option<Source>,
) -> Result<Valid, Refusal> {
    let stalled = |reason, message: String| Refusal::Stalled(Stall { reason, message });
    let Fetched { secrets, deployment } = fetched;
    if let Some(problem) = jobqueue_crds::validate(&queue.spec).first() {
        return Err(stalled(Reason::InvalidSpec, problem.to_string()));
    }
    let calendar = jobqueue_scaling_input::calendar(&queue.spec)
        .map_err(|problem| stalled(Reason::InvalidSpec, problem.to_string()))?;
    if let Some(deployment) = &deployment {
        ownership::check(queue, &deployment.metadata)?;
    }
    let resolved = secrets.map_err(|error: SecretError| match error.reason() {
        Some(reason) => stalled(reason, error.to_string()),
        None => error.into(),
    })?;
    let domain = in_cluster.then(|| format!("{}.svc", queue.namespace().unwrap_or_default()));
    let file = password_file(queue, passwords).map_err(|problem| stalled(Reason::InvalidSpec, problem))?;
    let endpoint = EndpointKey::new(resolved.redis.clone(), domain.as_deref(), file)
        .map_err(|error| stalled(Reason::InvalidUrl, format!("spec.queue.redis: {error}")))?;
    Ok(Valid {
        spec: spec(queue, endpoint, calendar),
        initial: initial(queue, deployment.as_ref()),
        source: Source {
            generation: queue.metadata.generation.unwrap_or_default(),
            secrets: resolved.hash,
            secret_version: resolved.version,
        },
        secret_mark: secret_mark(&resolved, deployment.as_ref(), last),
    })
}

/// What marks the pods: the version of the Secrets when they began to say what they say. Nothing of it comes from their
/// values, against which a guess could be tested. A new version marks new pods only if it says something else; that is known
/// to the process that read the one before, and the Deployment has the version that was read last, for a process that begins.
fn secret_mark(resolved: &Resolved, deployment: Option<&Deployment>, last: Option<Source>) -> String {
    let Resolved { hash, version, .. } = resolved;
    let version = version.to_string();
    let seen = deployment.and_then(|deployment| deployment.annotations().get(build::SECRET_VERSION));
    let template = deployment.and_then(|deployment| deployment.spec.template.metadata.as_ref());
    let Some(mark) = template.and_then(|template| template.annotations.as_ref()?.get(build::SECRET_HASH)) else {
        return version;
    };
    let is_unchanged = match seen {
        Some(seen) => {
            let of_last = |last: Source| last.secrets == *hash && last.secret_version.to_string() == *seen;
            *seen == version || last.is_some_and(of_last)
        }
        // By an earlier operator: the mark begins with a digest of what the Secrets say.
        None => mark.starts_with(&format!("{hash}-")),
    };
    if is_unchanged { mark.clone() } else { version }
}

fn spec(queue: &JobQueue, endpoint: EndpointKey, calendar: Calendar) -> Spec {
    Spec {
        version: version(queue),
        endpoint,
        query: StatsQuery::from(&queue.spec.queue.settings).into(),
        policy: jobqueue_scaling_input::policy(&queue.spec).into(),
        calendar: (!calendar.is_empty()).then(|| Box::new(calendar.into())),
        budget: queue.spec.database.as_ref().and_then(|database| {
            let name = database.budget.as_deref()?.into();
            Some(Arc::new(Budget { namespace: queue.namespace(), name }))
        }),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{digest::Digest, state::endpoint_key::RedisLogin};

    fn resolved(hash: u32, version: u32) -> Resolved {
        let redis = RedisLogin { url: String::new(), ca: None, client: None };
        Resolved { redis, hash: Digest(hash), version: Digest(version) }
    }

    fn deployment(mark: &str, seen: Option<&str>) -> Deployment {
        let annotations = seen.map(|seen| json!({build::SECRET_VERSION: seen}));
        serde_json::from_value(json!({"metadata": {"annotations": annotations}, "spec": {"selector": {}, "template":
            {"metadata": {"annotations": {build::SECRET_HASH: mark}}}}}))
        .unwrap()
    }

    fn source(hash: u32, version: u32) -> Source {
        Source { generation: 1, secrets: Digest(hash), secret_version: Digest(version) }
    }

    #[test]
    fn a_secret_that_is_put_back_makes_new_pods_and_an_edit_elsewhere_in_it_makes_none() {
        let mark = secret_mark(&resolved(0xa, 1), None, None);
        assert_eq!(mark, "00000001", "nothing of what it says");
        let found = deployment(&mark, Some("00000001"));
        assert_eq!(secret_mark(&resolved(0xa, 2), Some(&found), Some(source(0xa, 1))), mark);
        let other = secret_mark(&resolved(0xb, 3), Some(&found), Some(source(0xa, 1)));
        assert_eq!(other, "00000003");
        let found = deployment(&other, Some("00000003"));
        assert_eq!(secret_mark(&resolved(0xa, 4), Some(&found), Some(source(0xb, 3))), "00000004");
        // Written without an answer: what this process believes was applied is not what the Deployment has.
        assert_eq!(secret_mark(&resolved(0xa, 4), Some(&found), Some(source(0xa, 2))), "00000004");
    }

    #[test]
    fn an_operator_that_starts_or_is_upgraded_makes_no_new_pods() {
        let found = deployment("00000001", Some("00000002"));
        assert_eq!(secret_mark(&resolved(0xa, 2), Some(&found), None), "00000001");
        assert_eq!(secret_mark(&resolved(0xa, 3), Some(&found), None), "00000003", "it may say something else");
        let older = deployment("0000000a-00000001", None);
        assert_eq!(secret_mark(&resolved(0xa, 7), Some(&older), None), "0000000a-00000001");
        assert_eq!(secret_mark(&resolved(0xb, 7), Some(&older), None), "00000007");
    }
}
