//! The third step: the objects that should exist for one JobQueue, computed without any I/O: its Deployment, ConfigMap,
//! PodDisruptionBudget and, if asked for, NetworkPolicy. The same input gives the same objects, byte for byte, so that applying them again
//! changes nothing.

mod config_map;
mod deployment;
mod network_policy;
mod pdb;
mod template_patch;

use jobqueue_crds::JobQueue;
use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt};

use crate::{
    names::{object_name, selector_labels},
    reconciler::worker_defaults::WorkerDefaults,
};

/// The pods' annotation that changes when the recipe or another part of the worker's config changes.
pub(crate) const CONFIG_HASH: &str = "jobqueue.dev/config-hash";
/// The pods' annotation that changes when a Secret that they read changes.
pub(crate) const SECRET_HASH: &str = "jobqueue.dev/secret-hash";
/// Annotation on the Deployment: the version of the Secrets that was read last, for an operator that starts anew.
pub(crate) const SECRET_VERSION: &str = "jobqueue.dev/secret-version";
/// The Deployment's annotation that tells of a NetworkPolicy, so that it is removed when it is no longer wanted.
pub(crate) const NETWORK_POLICY: &str = "jobqueue.dev/network-policy";
/// The Deployment's annotation that tells that there is no PodDisruptionBudget any more.
pub(crate) const NO_DISRUPTION_BUDGET: &str = "jobqueue.dev/no-disruption-budget";
/// The Deployment's annotation that tells of `scaleDown.protectBusy`, so that it is seen when that is switched on.
pub(crate) const PROTECT_BUSY: &str = "jobqueue.dev/protect-busy";
/// Annotation on the Deployment: what was applied when all of it was, for an operator that starts anew.
pub(crate) const PLAN_HASH: &str = "jobqueue.dev/plan-hash";
/// Annotation and label on the Deployment: the generation of the JobQueue that it was applied for last. `kubectl rollout undo`
/// puts back the annotation, and not the label.
pub(crate) const GENERATION: &str = "jobqueue.dev/generation";
/// The worker's container.
pub(crate) const CONTAINER: &str = "worker";

/// What the objects are built from.
#[derive(Debug, Clone)]
pub(crate) struct BuildInput<'a> {
    /// The queue.
    pub(crate) queue: &'a JobQueue,
    /// What is the same for the workers of all queues.
    pub(crate) workers: &'a WorkerDefaults,
    /// What the pods are marked with: it changes when the Secrets that the workers read say something else.
    pub(crate) secret_mark: &'a str,
    /// The version of these Secrets.
    pub(crate) secret_version: &'a str,
    /// How many workers there should be now.
    pub(crate) replicas: u32,
    /// How many workers more than that the database has connections for; `None` if there is no limit.
    pub(crate) room: Option<u32>,
    /// How the worker is told its config.
    pub(crate) rendition: Rendition,
}

/// How a worker is told its config. Another one is another pod template: what is rendered in an old way stays so until there
/// is a reason to replace the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rendition {
    /// As the first operators did: with every default filled in, without a version, in one ConfigMap for all recipes.
    First,
    /// The same, when there was `queue.order`.
    Second,
    /// As it is done now: each config in an immutable ConfigMap that is named by its hash, so that pods of an older template
    /// keep theirs.
    Present,
}

impl Rendition {
    /// Those that operators of earlier versions have left in clusters.
    pub(crate) const EARLIER: [Self; 2] = [Self::Second, Self::First];
}

/// The objects that one queue should have.
#[derive(Debug, Clone)]
pub(crate) struct DesiredObjects {
    /// The worker's config; `None` if the queue has workers of its own, without a recipe.
    pub(crate) config_map: Option<ConfigMap>,
    /// The workers.
    pub(crate) deployment: Deployment,
    /// Bounds what a node drain takes at once; `None` if the manifest wants none.
    pub(crate) disruption_budget: Option<PodDisruptionBudget>,
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
    let config_map = input.queue.spec.ingest.as_ref().map(|_| config_map::config_map(input));
    Ok(DesiredObjects {
        deployment: deployment::deployment(input, config_map.as_ref())?,
        disruption_budget: pdb::pdb(input.queue),
        network_policy: network_policy::network_policy(input)?,
        config_map,
    })
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
