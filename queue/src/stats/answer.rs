//! What `stats.lua` of either protocol answers. Both count the same things, and write times each in its own way.

use chrono::{DateTime, Utc};
use redis::Value;

use crate::QueueError;
use crate::redis::answer::Answer;

/// The answer about one queue.
#[derive(Debug, Clone)]
pub(super) struct StatsAnswer {
    /// By the server's clock; two fields, seconds and microseconds.
    pub(super) now: DateTime<Utc>,
    /// Jobs in the failed registry.
    pub(super) failed: u64,
    /// The rest; `None` (`false`) for a queue with nothing to do and no worker, which is how most are at most moments.
    pub(super) activity: Option<Activity>,
}

/// What there is to do, and who is there.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    /// Jobs that a worker could take now.
    pub(super) waiting: u64,
    /// Jobs in workers' hands.
    pub(super) running: u64,
    /// Jobs to run later.
    pub(super) scheduled: u64,
    /// Those of them whose time has come.
    pub(super) due: u64,
    /// When the first waiting job was queued: ISO text for RQ, the id of a stream's entry, empty for a list or where nothing
    /// waits.
    pub(super) head: String,
    /// The workers' records.
    pub(super) workers: Vec<WorkerRecord>,
    /// What keeps workers from their work: texts as [`crate::worker_reports`] writes them.
    pub(super) reports: Vec<String>,
}

/// One row of `workers`, as the worker's record has it.
#[derive(Debug, Clone)]
pub(super) struct WorkerRecord {
    /// The worker's name.
    pub(super) name: String,
    /// ISO text for RQ, milliseconds since the epoch otherwise.
    pub(super) last_heartbeat: String,
    /// `idle`, `busy`, ...
    pub(super) state: String,
    /// The host's name.
    pub(super) hostname: String,
    /// Jobs finished.
    pub(super) succeeded: String,
    /// Attempts failed.
    pub(super) failed: String,
    /// Seconds spent running.
    pub(super) busy_seconds: String,
    /// Jobs (or batches) it runs at once.
    pub(super) concurrency: String,
    /// Jobs in its hands.
    pub(super) running: u64,
    /// How long it had been at its job at the last heartbeat: seconds, or `since ` and a Unix time; empty where it does not say.
    pub(super) at_work: String,
}

impl StatsAnswer {
    /// Reads the answer of `script`.
    ///
    /// # Errors
    /// `Data` for a field that is missing or of another type.
    pub(super) fn read(script: &'static str, answer: Value) -> Result<Self, QueueError> {
        let mut answer = Answer::new(script, answer)?;
        let (seconds, micros): (i64, u32) = (answer.read("seconds")?, answer.read("microseconds")?);
        Ok(Self {
            now: DateTime::from_timestamp(seconds, micros * 1000).unwrap_or_default(),
            failed: answer.read("failed")?,
            activity: answer.optional("activity")?.map(Activity::read).transpose()?,
        })
    }
}

impl Activity {
    fn read(mut answer: Answer) -> Result<Self, QueueError> {
        Ok(Self {
            waiting: answer.read("waiting")?,
            running: answer.read("running")?,
            scheduled: answer.read("scheduled")?,
            due: answer.read("due")?,
            head: answer.read("head")?,
            workers: answer.rows("workers", WorkerRecord::read)?,
            reports: answer.read("reports")?,
        })
    }
}

impl WorkerRecord {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        Ok(Self {
            name: row.read("name")?,
            last_heartbeat: row.read("last_heartbeat")?,
            state: row.read("state")?,
            hostname: row.read("hostname")?,
            succeeded: row.read("succeeded")?,
            failed: row.read("failed")?,
            busy_seconds: row.read("busy_seconds")?,
            concurrency: row.read("concurrency")?,
            running: row.read("running")?,
            at_work: row.read("at_work")?,
        })
    }
}
