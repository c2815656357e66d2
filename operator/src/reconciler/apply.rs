//! The fourth step: brings the cluster to what is desired, by server-side apply.

use jobqueue_crds::JobQueue;
use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::Value;

use crate::{
    digest::Digest,
    kube_client::{FIELD_MANAGER, WriteError},
    names,
    reconciler::{
        build::{self, DesiredObjects},
        error::Refusal,
        ownership::{self, Owned},
    },
    state::{
        applied::{ApplyRecord, Surge, deployment_digest, without_numbers},
        key::Uid,
        owned_objects::{OwnedKind, OwnedObject},
    },
};

/// What is in the cluster after an apply.
#[derive(Debug)]
pub(super) struct AppliedObjects {
    /// The workers' Deployment as the API server returned it, status included.
    pub(super) deployment: Deployment,
    /// To tell later whether it is still so.
    pub(super) record: ApplyRecord,
}

/// What is said of an apply beside what is desired.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marks {
    /// The generation of the JobQueue.
    pub(super) generation: i64,
    /// Pods are being replaced because the operator changed.
    pub(super) operator_rollout: bool,
}

/// Whether a Deployment has the desired pod template, so that no pod is replaced.
pub(super) fn has_template(deployment: &Deployment, desired: &DesiredObjects) -> bool {
    let json =
        |deployment: &Deployment| serde_json::to_value(&deployment.spec.template).expect("a template serialises");
    within(&json(&desired.deployment), &json(deployment))
}

/// Whether pods would be replaced although neither the JobQueue (`generation`) nor a Secret changed, nor anybody edited the
/// Deployment: then the operator is another one. `known` is the generation that this process found applied.
pub(super) fn is_operators_change(
    present: &Deployment,
    desired: &DesiredObjects,
    generation: i64,
    known: Option<i64>,
) -> bool {
    let annotation = |name| present.annotations().get(name).map(String::as_str);
    let secrets = |deployment: &Deployment| {
        let template = deployment.spec.template.metadata.as_ref();
        template.and_then(|template| template.annotations.as_ref()?.get(build::SECRET_HASH).cloned())
    };
    let digest = desired_digest(desired).to_string();
    // The first operators did not say for which generation they applied.
    let applied_for = known.or_else(|| annotation(build::GENERATION).and_then(|text| text.parse().ok()));
    applied_for.is_none_or(|applied| applied == generation)
        && annotation(build::PLAN_HASH).is_some_and(|applied| applied != digest)
        && secrets(present) == secrets(&desired.deployment)
        && !has_template(present, desired)
}

/// What an earlier operator applied; `None` unless it is what is `desired`, all of it was applied, and the Deployment
/// was not edited since.
pub(super) fn inherited(desired: &DesiredObjects, deployment: &Deployment) -> Option<ApplyRecord> {
    let digest = desired_digest(desired);
    let applied = deployment.annotations().get(build::PLAN_HASH);
    let json = |deployment: &Deployment| serde_json::to_value(&deployment.spec).expect("a Deployment serialises");
    let intact = applied == Some(&digest.to_string()) && within(&json(&desired.deployment), &json(deployment));
    intact.then(|| ApplyRecord::now(digest, deployment_digest(deployment)))
}

/// Whether nothing is to be written: what is desired is what was applied, and the Deployment what came of it.
pub(super) fn is_unchanged(
    last: &ApplyRecord,
    desired: &DesiredObjects,
    deployment: &Deployment,
    queues: usize,
) -> bool {
    !last.is_old(queues)
        && last.is_of(desired_digest(desired))
        && last.matches(deployment_digest(deployment))
        && deployment.spec.replicas == desired.deployment.spec.replicas
        && Surge::of(deployment) == Surge::of(&desired.deployment)
}

/// Whether everything that `planned` sets is so in `found`, to which the API server has added its defaults. What it writes
/// in another way (`0.5` as `500m`) counts as different, and is applied once more.
fn within(planned: &Value, found: &Value) -> bool {
    match (planned, found) {
        (Value::Object(planned), Value::Object(found)) => {
            planned.iter().all(|(key, planned)| within(planned, found.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(planned), Value::Array(found)) => {
            planned.len() == found.len() && planned.iter().zip(found).all(|(planned, found)| within(planned, found))
        }
        // What is empty may be left out.
        (Value::Object(planned), Value::Null) => planned.is_empty(),
        (Value::Array(planned), Value::Null) => planned.is_empty(),
        (Value::Null, _) => true,
        (planned, found) => planned == found,
    }
}

/// Digest of what is desired. The number of workers has its own way into the cluster.
fn desired_digest(desired: &DesiredObjects) -> Digest {
    let deployment = without_numbers(desired.deployment.clone());
    let DesiredObjects { config_map, disruption_budget, network_policy, deployment: _ } = desired;
    Digest::of_json(&(config_map, &deployment, disruption_budget, network_policy))
}

/// What a queue is to have beside its Deployment.
pub(super) fn owned_objects(queue: &JobQueue, desired: &DesiredObjects) -> Box<[OwnedObject]> {
    let DesiredObjects { config_map, disruption_budget, network_policy, deployment: _ } = desired;
    let (namespace, uid) = (queue.namespace().unwrap_or_default(), Uid::of(queue));
    let object = |kind, name: String| OwnedObject::new(kind, &namespace, &name, &uid);
    let config = config_map.iter().map(|config| object(OwnedKind::ConfigMap, config.name_any()));
    let budget = disruption_budget.iter().map(|budget| object(OwnedKind::PodDisruptionBudget, budget.name_any()));
    let policy = network_policy.iter().map(|policy| object(OwnedKind::NetworkPolicy, policy.name_any()));
    config.chain(budget).chain(policy).collect()
}

/// Applies all objects of a queue and deletes those that it no longer has. `present` is the Deployment that there is, `None`
/// without one; `is_ours` says whether an object is known to be the queue's.
pub(super) async fn apply(
    client: &Client,
    queue: &JobQueue,
    desired: DesiredObjects,
    marks: Marks,
    present: Option<&Deployment>,
    is_ours: impl Fn(OwnedObject) -> bool,
) -> Result<AppliedObjects, Refusal> {
    let digest = desired_digest(&desired);
    let namespace = queue.namespace().unwrap_or_default();
    apply_beside(client, queue, &desired, present, is_ours).await?;
    let deployment = marked(desired.deployment, digest, marks);
    let name = deployment.name_any();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let applied = deployments.patch(&name, &parameters, &Patch::Apply(&deployment)).await;
    let failed = |source| ownership::refusal(WriteError { kind: "Deployment", name, source: Box::new(source) });
    let deployment = applied.map_err(failed)?;
    let record = ApplyRecord::now(digest, deployment_digest(&deployment));
    Ok(AppliedObjects { deployment, record })
}

/// The Deployment as it is applied: the last of the objects, it says that all were.
fn marked(mut deployment: Deployment, digest: Digest, marks: Marks) -> Deployment {
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(build::PLAN_HASH.into(), digest.to_string());
    annotations.insert(build::GENERATION.into(), marks.generation.to_string());
    if marks.operator_rollout {
        annotations.insert(names::OPERATOR_ROLLOUT.into(), "true".into());
    }
    let labels = deployment.metadata.labels.get_or_insert_default();
    labels.insert(build::GENERATION.into(), marks.generation.to_string());
    deployment
}

/// Applies what a queue has beside its Deployment, and deletes what it no longer has.
async fn apply_beside(
    client: &Client,
    queue: &JobQueue,
    desired: &DesiredObjects,
    present: Option<&Deployment>,
    is_ours: impl Fn(OwnedObject) -> bool,
) -> Result<(), Refusal> {
    let objects = owned_objects(queue, desired);
    let is_known = |kind| objects.iter().any(|object| object.kind == kind && is_ours(*object));
    let namespace = queue.namespace().unwrap_or_default();
    let name = desired.deployment.name_any();
    let DesiredObjects { config_map, disruption_budget, network_policy, deployment: _ } = desired;
    let kind = OwnedKind::ConfigMap;
    let config_maps = Owned { queue, kind, api: Api::<ConfigMap>::namespaced(client.clone(), &namespace) };
    if let Some(config_map) = config_map {
        config_maps.put_or_make(config_map, is_known(kind)).await?;
    }
    let kind = OwnedKind::PodDisruptionBudget;
    let budgets = Owned { queue, kind, api: Api::<PodDisruptionBudget>::namespaced(client.clone(), &namespace) };
    let has_mark = |mark| present.is_some_and(|present| present.annotations().contains_key(mark));
    match disruption_budget {
        Some(budget) => budgets.put_or_make(budget, is_known(kind)).await?,
        // It is deleted once.
        None if present.is_some() && !has_mark(build::NO_DISRUPTION_BUDGET) => budgets.remove(&name).await?,
        None => {}
    }
    let kind = OwnedKind::NetworkPolicy;
    let policies = Owned { queue, kind, api: Api::<NetworkPolicy>::namespaced(client.clone(), &namespace) };
    match network_policy {
        Some(policy) if is_known(kind) => policies.put(policy).await?,
        Some(policy) => policies.look_and_put(policy).await?,
        // Most queues never had one: it is not deleted for each of them.
        None if has_mark(build::NETWORK_POLICY) => policies.remove(&name).await?,
        None => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::within;

    #[test]
    fn defaults_are_no_difference_and_edits_are() {
        let planned = json!({"a": {"b": 1, "none": {}}, "list": [{"name": "worker"}], "null": null});
        let defaulted = json!({"a": {"b": 1, "c": 2}, "list": [{"name": "worker", "tty": false}], "d": true});
        assert!(within(&planned, &defaulted));
        for edited in [
            json!({"a": {"b": 2}, "list": [{"name": "worker"}]}),
            json!({"a": {"b": 1}, "list": [{"name": "worker"}, {"name": "more"}]}),
            json!({"a": {"b": 1}}),
        ] {
            assert!(!within(&planned, &edited), "{edited}");
        }
    }
}
