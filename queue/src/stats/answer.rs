//! What `stats.lua` of either protocol answers. Both count the same things, and write times each in its own way.

use chrono::{DateTime, Utc};
use redis::Value;

use crate::QueueError;
use crate::redis::answer::Answer;

/// Workers of one queue that count; what a Redis names beyond is left out.
pub(crate) const MOST_WORKERS: usize = 5_000;
/// Jobs that are counted in one place: sums of them stay numbers that JSON and the API server take.
const MOST_JOBS: u64 = 1 << 53;
/// Bytes of one text that are kept of a worker's record. A report may have four times as many.
pub(crate) const LONGEST_TEXT: usize = 512;
/// Of the name of a worker or a host: as many as a name in Kubernetes may have.
const LONGEST_NAME: usize = 253;

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
            now: DateTime::from_timestamp(seconds, micros.saturating_mul(1000)).unwrap_or_default(),
            failed: count(&mut answer, "failed")?,
            activity: answer.optional("activity")?.map(Activity::read).transpose()?,
        })
    }
}

impl Activity {
    fn read(mut answer: Answer) -> Result<Self, QueueError> {
        let mut activity = Self {
            waiting: count(&mut answer, "waiting")?,
            running: count(&mut answer, "running")?,
            scheduled: count(&mut answer, "scheduled")?,
            due: count(&mut answer, "due")?,
            head: text(&mut answer, "head")?,
            workers: answer.rows("workers", WorkerRecord::read)?,
            reports: answer.read("reports")?,
        };
        // The script has done so already, if it is the server that runs it.
        activity.workers.truncate(MOST_WORKERS);
        activity.reports.truncate(MOST_WORKERS);
        activity.reports.iter_mut().for_each(|report| cut(report, 4 * LONGEST_TEXT));
        Ok(activity)
    }
}

impl WorkerRecord {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        Ok(Self {
            name: cut_text(row, "name", LONGEST_NAME)?,
            last_heartbeat: text(row, "last_heartbeat")?,
            state: text(row, "state")?,
            hostname: cut_text(row, "hostname", LONGEST_NAME)?,
            succeeded: text(row, "succeeded")?,
            failed: text(row, "failed")?,
            busy_seconds: text(row, "busy_seconds")?,
            concurrency: text(row, "concurrency")?,
            running: count(row, "running")?,
            at_work: text(row, "at_work")?,
        })
    }
}

/// The next field, a number of jobs. More than [`MOST_JOBS`] are no more than that; fewer than none are an error.
fn count(answer: &mut Answer, field: &'static str) -> Result<u64, QueueError> {
    let count: i64 = answer.read(field)?;
    let count = u64::try_from(count).map_err(|_| answer.unreadable(field, "it is negative"))?;
    Ok(count.min(MOST_JOBS))
}

/// The next field, a text that is cut where it is too long.
fn text(answer: &mut Answer, field: &'static str) -> Result<String, QueueError> {
    cut_text(answer, field, LONGEST_TEXT)
}

fn cut_text(answer: &mut Answer, field: &'static str, longest: usize) -> Result<String, QueueError> {
    let mut text: String = answer.read(field)?;
    cut(&mut text, longest);
    Ok(text)
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_not_negative_and_not_more_than_can_be_added_up() {
        let read = |waiting: i64| {
            let numbers = [waiting, 1, 1, 1].map(Value::Int).into_iter();
            let activity = numbers.chain([Value::BulkString(Vec::new()), Value::Array(vec![]), Value::Array(vec![])]);
            let answer = [Value::Int(1), Value::Int(1), Value::Int(0), Value::Array(activity.collect())];
            StatsAnswer::read("stats.lua", Value::Array(answer.into())).map(|read| read.activity.unwrap().waiting)
        };
        assert_eq!((read(7).unwrap(), read(i64::MAX).unwrap()), (7, MOST_JOBS));
        let negative = read(-1).unwrap_err().to_string();
        assert!(negative.contains("field activity.waiting: it is negative"), "{negative}");
    }

    #[test]
    fn numbers_and_texts_of_a_hostile_server_are_cut() {
        let text = |text: &str| Value::BulkString(text.into());
        let long = "ä".repeat(100_000);
        let row = |name: &str| {
            let texts = [name, "1", "busy", name, "0", "0", "NaN", "1"].map(text);
            Value::Array(texts.into_iter().chain([Value::Int(1), text("")]).collect())
        };
        let rows = [row(&long)].into_iter().chain(std::iter::repeat_with(|| row("w")).take(MOST_WORKERS));
        let workers = Value::Array(rows.collect());
        let numbers = [1, 2, 3, 4].map(Value::Int);
        let activity = numbers.into_iter().chain([text(&long), workers, Value::Array(vec![text(&long)])]).collect();
        let answer = vec![Value::Int(1), Value::Int(i64::from(u32::MAX)), Value::Int(0), Value::Array(activity)];
        let read = StatsAnswer::read("stats.lua", Value::Array(answer)).unwrap().activity.unwrap();
        assert_eq!(read.workers.len(), MOST_WORKERS);
        assert_eq!(
            (read.workers[0].name.len(), read.workers[0].hostname.len()),
            (LONGEST_NAME - 1, LONGEST_NAME - 1),
            "not within a letter"
        );
        assert_eq!((read.head.len(), read.reports[0].len()), (LONGEST_TEXT, 4 * LONGEST_TEXT));
    }
}
