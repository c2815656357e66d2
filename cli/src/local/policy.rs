//! From the manifest's scaling section to the policy of the decision.

use jobqueue_crds as crds;
use jobqueue_scaling::{ConnectionBudget, Mode, OnQueueFailure, Policy, Ramp, Targets};

/// The policy that a spec asks for. `max_replicas` of the command line wins over the manifest's.
pub(crate) fn policy(spec: &crds::JobQueueSpec, max_replicas: Option<u32>) -> Policy {
    let scaling = &spec.scaling;
    let max_replicas = max_replicas.unwrap_or(scaling.max_replicas);
    let connections = spec.database.as_ref().and_then(|database| database.max_connections);
    Policy {
        mode: match scaling.mode {
            crds::ScalingMode::Auto => Mode::Auto,
            crds::ScalingMode::Manual => Mode::Manual { replicas: u32::try_from(spec.replicas).unwrap_or(0) },
            crds::ScalingMode::Paused => Mode::Paused,
        },
        min_replicas: scaling.min_replicas.min(max_replicas),
        max_replicas,
        targets: Targets {
            jobs_per_worker: scaling.targets.jobs_per_worker.map(f64::from),
            drain_seconds: scaling.targets.drain_seconds.map(f64::from),
            max_wait_seconds: scaling.targets.max_wait_seconds.map(f64::from),
        },
        idle_seconds: f64::from(scaling.idle_seconds),
        scale_up: Ramp {
            max_step: scaling.scale_up.max_step,
            stabilization_seconds: f64::from(scaling.scale_up.stabilization_seconds),
        },
        scale_down: Ramp {
            max_step: scaling.scale_down.max_step,
            stabilization_seconds: f64::from(scaling.scale_down.stabilization_seconds),
        },
        on_queue_failure: match (scaling.on_queue_failure, scaling.static_replicas) {
            (crds::OnQueueFailure::Static, Some(replicas)) => OnQueueFailure::Static { replicas },
            (crds::OnQueueFailure::Static, None) | (crds::OnQueueFailure::Hold, _) => OnQueueFailure::Hold,
        },
        connections: connections
            .map(|connections| ConnectionBudget { connections, per_worker: spec.worker.concurrency }),
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_crds::JobQueue;

    use super::*;

    const MANIFEST: &str = "{apiVersion: jobqueue.dev/v1alpha1, kind: JobQueue, metadata: {name: q}, spec: {queue: {names: \
                            [q], redis: {url: 'redis://r'}}}}";

    #[test]
    fn defaults_of_the_manifest_are_the_defaults_of_the_decision() {
        let queue = JobQueue::one_from_yaml(MANIFEST, None).expect("valid");
        assert_eq!(policy(&queue.spec, None), Policy::default());
    }

    #[test]
    fn the_command_line_caps_the_manifest() {
        let mut queue = JobQueue::one_from_yaml(MANIFEST, None).expect("valid");
        queue.spec.scaling.min_replicas = 5;
        let policy = policy(&queue.spec, Some(3));
        assert_eq!((policy.min_replicas, policy.max_replicas), (3, 3));
    }
}
