//! The workers of a queue as the cluster has them: how many, and what keeps them from running.

use jobqueue_crds::Reason;
use k8s_openapi::api::apps::v1::Deployment;

/// Something that keeps workers from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodProblem {
    /// The condition's reason.
    pub(crate) reason: Reason,
    /// Which pod it is, and what Kubernetes or the container says.
    pub(crate) message: String,
    /// True if waiting does not help: a person must act.
    pub(crate) stalls: bool,
}

/// The numbers of a Deployment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Workers {
    /// Asked for.
    pub(crate) wanted: u32,
    /// Pods that exist.
    pub(crate) present: u32,
    /// Pods that are ready.
    pub(crate) ready: u32,
    /// True once every pod runs the present template.
    pub(crate) current: bool,
}

impl Workers {
    /// Reads the numbers of a Deployment.
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let count = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        let wanted = count(deployment.spec.replicas);
        let status = deployment.status.clone().unwrap_or_default();
        let is_observed = status.observed_generation >= deployment.metadata.generation;
        let (present, updated) = (count(status.replicas), count(status.updated_replicas));
        // Without pods there is none to replace, whether the Deployment was seen by its controller yet or not.
        let current = (is_observed && updated == present) || wanted.max(present) == 0;
        Self { wanted, present, ready: count(status.ready_replicas), current }
    }

    /// True while pods are missing, or of an older template.
    pub(crate) fn is_short(&self) -> bool {
        self.ready < self.wanted || (!self.current && self.wanted.max(self.present) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_deployment_that_was_not_looked_at_yet_is_not_current() {
        let deployment: Deployment = serde_json::from_value(
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3}}),
        )
        .unwrap();
        let workers = Workers::of(&deployment);
        assert_eq!(workers, Workers { wanted: 3, present: 3, ready: 3, current: false });
    }
}
