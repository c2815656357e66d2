//! For a person: the jobs that failed, what to do with them, and who works.

mod beside;
mod failed;
mod workers;

pub use failed::{Attempt, FailedJob, FailedJobs, Requeued};
pub use workers::{WorkerRecord, workers};

use chrono::{DateTime, Utc};

/// A time as RQ writes it; none where the field is empty or not a time.
fn time(text: Option<&str>) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text?).ok()?.with_timezone(&Utc))
}
