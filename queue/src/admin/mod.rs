//! For a person: which queues there are, the jobs that failed, and what to do with them.

mod answer;
mod current_jobs;
pub mod error_groups;
mod failed_jobs;

pub use current_jobs::{CurrentJob, current_jobs};
pub use failed_jobs::{Attempt, FailedJob, FailedJobs, Failure, Requeued};

use crate::{Connection, QueueError};

/// The names of all RQ queues that jobs were ever put on, in alphabetical order; `prefix` is RQ's key prefix.
pub async fn queue_names(connection: &Connection, prefix: &str) -> Result<Vec<String>, QueueError> {
    let keys: Vec<String> = connection.query(redis::cmd("SMEMBERS").arg(format!("{prefix}:queues"))).await?;
    let start = format!("{prefix}:queue:");
    let mut names: Vec<String> = keys.iter().filter_map(|key| key.strip_prefix(&start)).map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}
