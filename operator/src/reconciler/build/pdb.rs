//! The PodDisruptionBudget: a node drain removes the workers a few at a time, and each gives its jobs back first.

use jobqueue_crds::JobQueue;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use crate::names::selector_labels;

/// `None` if the manifest wants none.
pub(super) fn pdb(queue: &JobQueue) -> Option<PodDisruptionBudget> {
    let is_wanted = queue.spec.worker.pod_disruption_budget.as_ref().is_none_or(|budget| budget.enabled);
    is_wanted.then(|| PodDisruptionBudget {
        metadata: super::metadata(queue),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::String("25%".into())),
            selector: Some(LabelSelector { match_labels: Some(selector_labels(queue)), ..LabelSelector::default() }),
            // A worker that cannot become ready (no database) must not hold up the drain of a node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    })
}
