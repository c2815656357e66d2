//! From `spec.scaling` to the rules of the pure decision.

use jobqueue_crds::{JobQueueSpec, OnQueueFailure, ScalingMode};
use jobqueue_scaling as scaling;

/// The rules of one queue.
pub fn policy(spec: &JobQueueSpec) -> scaling::Policy {
    let rules = &spec.scaling;
    let seconds = |seconds: Option<u32>| seconds.map(f64::from);
    scaling::Policy {
        mode: match rules.mode {
            ScalingMode::Auto => scaling::Mode::Auto,
            ScalingMode::Manual => scaling::Mode::Manual { replicas: u32::try_from(spec.replicas).unwrap_or_default() },
            ScalingMode::Paused => scaling::Mode::Paused,
        },
        min_replicas: rules.min_replicas,
        max_replicas: rules.max_replicas,
        targets: scaling::Targets {
            jobs_per_worker: rules.targets.jobs_per_worker.map(f64::from),
            drain_seconds: seconds(rules.targets.drain_seconds),
            max_wait_seconds: seconds(rules.targets.max_wait_seconds),
        },
        idle_seconds: f64::from(rules.idle_seconds),
        scale_up: scaling::Ramp {
            max_step: rules.scale_up.max_step,
            stabilization_seconds: f64::from(rules.scale_up.stabilization_seconds),
        },
        scale_down: scaling::Ramp {
            max_step: rules.scale_down.max_step,
            stabilization_seconds: f64::from(rules.scale_down.stabilization_seconds),
        },
        on_queue_failure: match (rules.on_queue_failure, rules.static_replicas) {
            (OnQueueFailure::Static, Some(replicas)) => scaling::OnQueueFailure::Static { replicas },
            _ => scaling::OnQueueFailure::Hold,
        },
        connections: spec
            .database
            .as_ref()
            .and_then(|database| database.max_connections)
            .map(|connections| scaling::ConnectionBudget { connections, per_worker: spec.worker.concurrency }),
    }
}
