//! The fourth step: brings the cluster to what is desired, by server-side apply.

use std::fmt::Debug;

use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    digest::Digest,
    kube_client::{FIELD_MANAGER, WriteError},
    reconciler::build::{self, DesiredObjects},
    state::applied::{ApplyRecord, deployment_digest},
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
    let mut deployment = desired.deployment.clone();
    deployment.spec.replicas = None;
    let DesiredObjects { config_map, disruption_budget, network_policy, deployment: _ } = desired;
    Digest::of_json(&(config_map, &deployment, disruption_budget, network_policy))
}

/// Applies all objects of a queue and deletes those that it no longer has. `present` is the Deployment that there is, `None`
/// without one.
pub(super) async fn apply(
    client: &Client,
    namespace: &str,
    desired: DesiredObjects,
    marks: Marks,
    present: Option<&Deployment>,
) -> Result<AppliedObjects, WriteError> {
    let digest = desired_digest(&desired);
    let DesiredObjects { config_map, mut deployment, disruption_budget, network_policy } = desired;
    // The last of the objects says that all were applied.
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(build::PLAN_HASH.into(), digest.to_string());
    annotations.insert(build::GENERATION.into(), marks.generation.to_string());
    if marks.operator_rollout {
        annotations.insert(build::OPERATOR_ROLLOUT.into(), "true".into());
    }
    let labels = deployment.metadata.labels.get_or_insert_default();
    labels.insert(build::GENERATION.into(), marks.generation.to_string());
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    if let Some(config_map) = config_map {
        put(&config_maps, "ConfigMap", &config_map.name_any(), &config_map).await?;
    }
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    put(&budgets, "PodDisruptionBudget", &name, &disruption_budget).await?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let marked = |deployment: &Deployment| deployment.annotations().contains_key(build::NETWORK_POLICY);
    match network_policy {
        Some(policy) => {
            put(&policies, "NetworkPolicy", &name, &policy).await?;
        }
        // Most queues never had one: it is not deleted for each of them.
        None if present.is_some_and(marked) => remove(&policies, "NetworkPolicy", &name).await?,
        None => {}
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = put(&deployments, "Deployment", &name, &deployment).await?;
    let record = ApplyRecord::now(digest, deployment_digest(&deployment));
    Ok(AppliedObjects { deployment, record })
}

async fn put<K>(api: &Api<K>, kind: &'static str, name: &str, object: &K) -> Result<K, WriteError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
    applied.map_err(|source| WriteError { kind, name: name.into(), source: Box::new(source) })
}

async fn remove<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<(), WriteError>
where
    K: Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(WriteError { kind, name: name.into(), source: Box::new(source) }),
    }
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
