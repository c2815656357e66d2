//! Brings the cluster to the plan by server-side apply, and says what it found there.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api::NotLeading,
    digest::{Digest, digest},
    plan::{self, Planned},
};

/// The field manager of everything that we write.
pub const MANAGER: &str = "jobqueue-operator";

/// What is in the cluster after an apply.
#[derive(Debug)]
pub struct Applied {
    /// The workers' Deployment as the API server returned it, status included.
    pub deployment: Deployment,
}

/// A write that the API server refused.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {source}")]
pub struct ApplyError {
    /// What was written.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The API server's answer.
    pub source: Box<kube::Error>,
}

impl ApplyError {
    /// True where nobody knows whether it was written.
    pub fn is_ambiguous(&self) -> bool {
        match &*self.source {
            kube::Error::Api(_) => false,
            kube::Error::Service(error) => !error.is::<NotLeading>(),
            _ => true,
        }
    }

    /// True where the API server understood us and said no (quota, policy, invalid template): a person must act.
    pub fn refused(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
    }
}

/// What was applied, and what came of it: for telling whether it is still so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    planned: Digest,
    found: Digest,
    at: Instant,
}

impl Record {
    /// What an operator before us applied, if that is this plan, all of it was, and nobody edited the Deployment since.
    pub fn left(planned: &Planned, deployment: &Deployment) -> Option<Self> {
        let planned_digest = plan_digest(planned);
        let said = deployment.annotations().get(plan::PLAN_HASH);
        let json = |deployment: &Deployment| serde_json::to_value(&deployment.spec).expect("a Deployment serialises");
        let intact = said == Some(&planned_digest.to_string()) && within(&json(&planned.deployment), &json(deployment));
        intact.then(|| Self { planned: planned_digest, found: found_digest(deployment), at: Instant::now() })
    }

    /// True if it is time to apply everything again, for what is not watched. All queues together, one a second at most.
    pub fn is_old(&self, queues: usize) -> bool {
        self.at.elapsed() >= RESYNC.max(Duration::from_secs(u64::try_from(queues).unwrap_or(u64::MAX)))
    }

    /// True if the Deployment looks as it did when it was applied, its number of workers aside.
    pub fn matches(&self, found: Digest) -> bool {
        self.found == found
    }
}

/// How often everything is applied again, where there are few queues.
const RESYNC: Duration = Duration::from_secs(90);

/// Whether nothing is to be written: the plan is what was applied, and the Deployment what came of it.
pub fn unchanged(last: &Record, planned: &Planned, deployment: &Deployment, queues: usize) -> bool {
    !last.is_old(queues)
        && last.planned == plan_digest(planned)
        && last.found == found_digest(deployment)
        && deployment.spec.replicas == planned.deployment.spec.replicas
}

/// Whether everything that `planned` sets is so in `found`, where the API server has added its defaults. What it writes
/// in another way (`0.5` as `500m`) counts as different, and is applied once more.
fn within(planned: &Value, found: &Value) -> bool {
    match (planned, found) {
        (Value::Object(planned), Value::Object(found)) => {
            planned.iter().all(|(key, planned)| within(planned, found.get(key).unwrap_or(&Value::Null)))
        }
        (Value::Array(planned), Value::Array(found)) => {
            planned.len() == found.len() && planned.iter().zip(found).all(|(planned, found)| within(planned, found))
        }
        // Nothing is left out where it is.
        (Value::Object(planned), Value::Null) => planned.is_empty(),
        (Value::Array(planned), Value::Null) => planned.is_empty(),
        (Value::Null, _) => true,
        (planned, found) => planned == found,
    }
}

/// The number of workers has its own way into the cluster.
fn plan_digest(planned: &Planned) -> Digest {
    let mut deployment = planned.deployment.clone();
    deployment.spec.replicas = None;
    let Planned { config_map, disruption_budget, network_policy, deployment: _ } = planned;
    json_digest(&(config_map, &deployment, disruption_budget, network_policy))
}

/// Digest of what a Deployment looks like, its number of workers aside.
pub fn found_digest(deployment: &Deployment) -> Digest {
    let mut spec = deployment.spec.clone();
    spec.replicas = None;
    json_digest(&(&spec, &deployment.metadata.labels, &deployment.metadata.owner_references))
}

fn json_digest(value: &impl Serialize) -> Digest {
    let bytes = serde_json::to_vec(value).expect("Kubernetes objects serialise");
    digest([bytes.as_slice()])
}

/// Applies all objects of a plan; what the plan no longer has is deleted. `present` is the Deployment that there is.
pub async fn apply(
    client: &Client,
    namespace: &str,
    planned: Planned,
    present: Option<&Deployment>,
) -> Result<(Applied, Record), ApplyError> {
    let planned_digest = plan_digest(&planned);
    let Planned { config_map, mut deployment, disruption_budget, network_policy } = planned;
    // The last of the objects says that all were applied.
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert(plan::PLAN_HASH.into(), planned_digest.to_string());
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    match config_map {
        Some(config_map) => {
            put(&config_maps, "ConfigMap", &name, &config_map).await?;
        }
        None if present.is_some_and(has_config) => remove(&config_maps, "ConfigMap", &name).await?,
        None => {}
    }
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(client.clone(), namespace);
    put(&budgets, "PodDisruptionBudget", &name, &disruption_budget).await?;
    let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), namespace);
    let marked = |deployment: &Deployment| deployment.annotations().contains_key(plan::NETWORK_POLICY);
    match network_policy {
        Some(policy) => {
            put(&policies, "NetworkPolicy", &name, &policy).await?;
        }
        // Most queues never had one: that is not asked for each of them.
        None if present.is_some_and(marked) => remove(&policies, "NetworkPolicy", &name).await?,
        None => {}
    }
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = put(&deployments, "Deployment", &name, &deployment).await?;
    let record = Record { planned: planned_digest, found: found_digest(&deployment), at: Instant::now() };
    Ok((Applied { deployment }, record))
}

/// Its pods read a ConfigMap.
fn has_config(deployment: &Deployment) -> bool {
    let template = deployment.spec.template.metadata.as_ref();
    template.and_then(|template| template.annotations.as_ref()).is_some_and(|all| all.contains_key(plan::CONFIG_HASH))
}

async fn put<K>(api: &Api<K>, kind: &'static str, name: &str, object: &K) -> Result<K, ApplyError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let parameters = PatchParams::apply(MANAGER).force();
    let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
    applied.map_err(|source| ApplyError { kind, name: name.into(), source: Box::new(source) })
}

async fn remove<K>(api: &Api<K>, kind: &'static str, name: &str) -> Result<(), ApplyError>
where
    K: Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(ApplyError { kind, name: name.into(), source: Box::new(source) }),
    }
}

/// Sets the number of workers and nothing else: the fast path of a scale decision. By the `scale` subresource, which costs
/// the API server less than a patch of the Deployment: that one is written as JSON and read again as a whole.
pub async fn scale(client: &Client, namespace: &str, name: &str, replicas: u32) -> Result<(), ApplyError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let patch = serde_json::json!({"spec": {"replicas": replicas}});
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let outcome = api.patch_scale(name, &parameters, &Patch::Merge(&patch)).await;
    outcome.map(|_| ()).map_err(|source| ApplyError { kind: "Deployment", name: name.into(), source: Box::new(source) })
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
