//! From `spec.scaling` to the rules of the decision.

use jobqueue_crds as crds;
use jobqueue_scaling::{Bounds, ConnectionBudget, Mode, OnQueueFailure, Policy, Ramp, Targets};

/// The rules of one queue. Its connections are what `database.maxConnections` says; what others leave of a shared budget is
/// for the caller to know, and so is what the [`calendar`](crate::calendar()) says at the moment.
pub fn policy(spec: &crds::JobQueueSpec) -> Policy {
    let scaling = &spec.scaling;
    let connections = spec.database.as_ref().and_then(|database| database.settings.max_connections);
    Policy {
        mode: match scaling.mode {
            crds::ScalingMode::Auto => Mode::Auto,
            crds::ScalingMode::Manual => Mode::Manual { replicas: u32::try_from(spec.replicas).unwrap_or_default() },
            crds::ScalingMode::Paused => Mode::Paused,
        },
        min_replicas: scaling.min_replicas,
        max_replicas: scaling.max_replicas,
        targets: Targets {
            jobs_per_worker: scaling.targets.jobs_per_worker.map(f64::from),
            drain_seconds: scaling.targets.drain_seconds.map(f64::from),
            max_wait_seconds: scaling.targets.max_wait_seconds.map(f64::from),
        },
        idle_seconds: scaling.idle_seconds.map(f64::from),
        scale_up: Ramp {
            max_step: scaling.scale_up.max_step,
            stabilization_seconds: Some(scaling.scale_up.stabilization_seconds)
                .filter(|seconds| *seconds > 0)
                .map(f64::from),
        },
        scale_down: Ramp {
            max_step: scaling.scale_down.max_step,
            stabilization_seconds: scaling.scale_down.stabilization_seconds.map(f64::from),
        },
        on_queue_failure: match (scaling.on_queue_failure, scaling.static_replicas) {
            (crds::OnQueueFailure::Static, Some(replicas)) => OnQueueFailure::Static { replicas },
            (crds::OnQueueFailure::Static, None) | (crds::OnQueueFailure::Hold, _) => OnQueueFailure::Hold,
        },
        connections: connections
            .map(|connections| ConnectionBudget { connections, per_worker: spec.worker.settings.concurrency }),
        bounds: Bounds::default(),
    }
}

/// The same rules with no more than `most` workers.
pub fn capped(mut policy: Policy, most: u32) -> Policy {
    policy.max_replicas = most;
    policy.min_replicas = policy.min_replicas.min(most);
    policy
}

#[cfg(test)]
mod tests {
    use jobqueue_crds::JobQueue;

    use super::*;

    fn manifest(scaling: &str) -> JobQueue {
        let text = format!(
            "{{apiVersion: jobqueue.dev/v1alpha1, kind: JobQueue, metadata: {{name: q}}, spec: {{queue: {{names: [q], redis: \
             {{url: 'redis://r'}}}}, scaling: {scaling}}}}}"
        );
        JobQueue::one_from_yaml(&text, None).expect("valid")
    }

    #[test]
    fn defaults_of_the_manifest_are_the_defaults_of_the_decision() {
        assert_eq!(policy(&manifest("{}").spec), Policy::default());
    }

    #[test]
    fn every_field_arrives() {
        let queue = manifest(
            "{mode: Paused, minReplicas: 1, maxReplicas: 7, targets: {jobsPerWorker: 2, drainSeconds: 3, maxWaitSeconds: 4}, \
             idleSeconds: 5, scaleUp: {maxStep: 6, stabilizationSeconds: 8}, scaleDown: {maxStep: 9, \
             stabilizationSeconds: 10}, onQueueFailure: Static, staticReplicas: 2}",
        );
        let expected = Policy {
            mode: Mode::Paused,
            min_replicas: 1,
            max_replicas: 7,
            targets: Targets { jobs_per_worker: Some(2.0), drain_seconds: Some(3.0), max_wait_seconds: Some(4.0) },
            idle_seconds: Some(5.0),
            scale_up: Ramp { max_step: Some(6), stabilization_seconds: Some(8.0) },
            scale_down: Ramp { max_step: Some(9), stabilization_seconds: Some(10.0) },
            on_queue_failure: OnQueueFailure::Static { replicas: 2 },
            connections: None,
            ..Policy::default()
        };
        assert_eq!(policy(&queue.spec), expected);
    }

    #[test]
    fn a_cap_wins_over_the_floor() {
        let policy = capped(policy(&manifest("{minReplicas: 5}").spec), 3);
        assert_eq!((policy.min_replicas, policy.max_replicas), (3, 3));
    }
}
