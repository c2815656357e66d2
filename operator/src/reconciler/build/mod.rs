//! The third step: the objects that should exist for one JobQueue, computed without any I/O: its Deployment, ConfigMap,
//! PodDisruptionBudget and, if asked for, NetworkPolicy. The same input gives the same objects, byte for byte, so that applying them again
//! changes nothing.

mod config_map;
mod deployment;
mod network_policy;
mod pdb;
mod template_patch;

use std::collections::BTreeMap;

use jobqueue_crds::JobQueue;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};

use crate::worker_defaults::WorkerDefaults;

/// The label that marks everything of a queue, with the queue's name as value.
pub(crate) const QUEUE_LABEL: &str = "jobqueue.dev/queue";
/// The pods' annotation that changes when the recipe or another part of the worker's config changes.
pub(crate) const CONFIG_HASH: &str = "jobqueue.dev/config-hash";
/// The pods' annotation that changes when a Secret that they read changes.
pub(crate) const SECRET_HASH: &str = "jobqueue.dev/secret-hash";
/// The Deployment's annotation that tells of a NetworkPolicy, so that it is removed when it is no longer wanted.
pub(crate) const NETWORK_POLICY: &str = "jobqueue.dev/network-policy";
/// Annotation on the Deployment: what was applied when all of it was, for an operator that starts anew.
pub(crate) const PLAN_HASH: &str = "jobqueue.dev/plan-hash";
/// The worker's container.
pub(crate) const CONTAINER: &str = "worker";

/// What the objects are built from.
#[derive(Debug, Clone)]
pub(crate) struct BuildInput<'a> {
    /// The queue.
    pub(crate) queue: &'a JobQueue,
    /// What is the same for the workers of all queues.
    pub(crate) workers: &'a WorkerDefaults,
    /// Digest of the Secrets that the workers read.
    pub(crate) secret_hash: &'a str,
    /// How many workers there should be now.
    pub(crate) replicas: u32,
}

/// The objects that one queue should have.
#[derive(Debug, Clone)]
pub(crate) struct DesiredObjects {
    /// The worker's config; `None` if the queue has workers of its own, without a recipe.
    pub(crate) config_map: Option<ConfigMap>,
    /// The workers.
    pub(crate) deployment: Deployment,
    /// Bounds what a node drain takes at once.
    pub(crate) disruption_budget: PodDisruptionBudget,
    /// Who may reach the workers; `None` if `spec.worker.networkPolicy` is not set.
    pub(crate) network_policy: Option<NetworkPolicy>,
}

/// Parts of the spec that are no valid Kubernetes objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BuildError {
    /// `spec.worker.template` cannot be merged into a pod template.
    #[error("spec.worker.template does not make a valid pod template: {0}")]
    Template(String),
    /// A rule of `spec.worker.networkPolicy` is not one.
    #[error("spec.worker.networkPolicy.{0}")]
    NetworkPolicy(String),
}

/// Builds the objects.
pub(crate) fn build(input: &BuildInput<'_>) -> Result<DesiredObjects, BuildError> {
    let config_map = input.queue.spec.ingest.as_ref().map(|_| config_map::config_map(input.queue));
    let config_hash = config_map.as_ref().map(config_map::hash);
    Ok(DesiredObjects {
        deployment: deployment::deployment(input, config_hash.as_deref())?,
        disruption_budget: pdb::pdb(input.queue),
        network_policy: network_policy::network_policy(input)?,
        config_map,
    })
}

/// The name of everything that belongs to a queue.
pub(crate) fn object_name(queue: &JobQueue) -> String {
    name_of_workers(&queue.name_any())
}

/// The same, by the name of the queue.
pub(crate) fn name_of_workers(queue: &str) -> String {
    format!("{queue}-worker")
}

/// The label selector of a queue's workers.
pub(crate) fn selector_labels(queue: &JobQueue) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "jobqueue-worker"), (QUEUE_LABEL, &queue.name_any())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The same as text, for `status.selector`.
pub(crate) fn selector_text(queue: &JobQueue) -> String {
    let labels = selector_labels(queue);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn metadata(queue: &JobQueue) -> ObjectMeta {
    let mut labels = selector_labels(queue);
    labels.insert("app.kubernetes.io/managed-by".into(), "jobqueue-operator".into());
    labels.insert("app.kubernetes.io/part-of".into(), "jobqueue".into());
    ObjectMeta {
        name: Some(object_name(queue)),
        namespace: queue.namespace(),
        labels: Some(labels),
        owner_references: Some(vec![owner(queue)]),
        ..ObjectMeta::default()
    }
}

/// Deleting the queue deletes what it owns; the workers drain on their way out.
fn owner(queue: &JobQueue) -> OwnerReference {
    queue.controller_owner_ref(&()).expect("an object that was read from the API has a name and a uid")
}

#[cfg(test)]
mod tests;
