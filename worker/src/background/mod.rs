//! What runs beside the jobs: heartbeats, the care for the queues and the ledger, commands of people, and the report of what
//! keeps this worker from its work.

pub(crate) mod commands;
pub(crate) mod heartbeat;
pub(crate) mod ledger_pruner;
pub(crate) mod maintenance;
pub mod status_reporter;

use std::time::Duration;

/// `wait` times a factor in [0.75, 1.25], so that workers that started together do not stay in step.
fn jittered(wait: Duration) -> Duration {
    wait.mul_f64(0.75 + 0.5 * rand::random::<f64>())
}
