//! How one job ended, and how that is told to the queue: the text of the failed registry, whether to retry. Pure.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_ingest::{Rejection, SinkError, UnitOutcome};
use jobqueue_queue::{Completion, Delivery, Outcome, Payload, Retry};
use serde_json::Value;

/// How one run ended, before the queue is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The rows are committed.
    Applied {
        /// Rows written, children included.
        rows: u64,
    },
    /// An earlier run of the same delivery had committed them.
    AlreadyApplied,
    /// Nothing is written.
    Failed(Failure),
    /// Not tried, or the database was away: back to the queue.
    Released,
    /// Stopped on request before anything was written.
    Stopped,
    /// The lease went to another worker: nothing to tell.
    Lost,
    /// Cut off when the worker had to end, after it had computed for long: its lease lapses, which counts the attempt.
    LeftToLapse,
}

/// Why a job failed. The kind is the name a person can group by; it ends the text in the failed registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The category.
    pub kind: FailureKind,
    /// What failed: table, column, value, or the decoder's or the database's words.
    pub message: String,
    /// Whether our retry policy may try again.
    pub retry: Retry,
}

/// The closed set of reasons, as metric labels and as exception names in the failed registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::EnumIter)]
pub enum FailureKind {
    /// The payload is over a limit, no data, or not decodable.
    #[strum(serialize = "payload")]
    Payload,
    /// The recipe does not fit the record.
    #[strum(serialize = "record")]
    Record,
    /// The database refused the rows.
    #[strum(serialize = "rejected")]
    Rejected,
    /// The time limit of the producer passed.
    #[strum(serialize = "timeout")]
    Timeout,
    /// A fault in this program.
    #[strum(serialize = "panic")]
    Panic,
}

impl FailureKind {
    /// The last line's prefix in the failed registry; tools of RQ group by that line.
    pub const fn exception(self) -> &'static str {
        match self {
            Self::Payload => "jobqueue.PayloadError",
            Self::Record => "jobqueue.RecordError",
            Self::Rejected => "jobqueue.RejectedError",
            Self::Timeout => "rq.timeouts.JobTimeoutException",
            Self::Panic => "jobqueue.InternalError",
        }
    }
}

impl Failure {
    /// A fault of the record or its payload: no further attempt can help.
    pub fn final_one(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry: Retry::Never }
    }

    /// The database's refusal.
    pub fn rejected(rejection: Rejection) -> Self {
        let retry = if rejection.may_pass { Retry::Allowed } else { Retry::Never };
        Self { kind: FailureKind::Rejected, message: rejection.message, retry }
    }

    /// Whenever this job was written the connection ended, and other writes went through in between.
    pub fn breaker(error: &SinkError) -> Self {
        let message = format!("writing this job broke the connection each time, other writes went through: {error}");
        Self { kind: FailureKind::Rejected, message, retry: Retry::Allowed }
    }

    /// The producer's limit passed; the words are RQ's.
    pub fn timed_out(limit: Duration) -> Self {
        let message = format!("Task exceeded maximum timeout value ({} seconds)", limit.as_secs());
        Self { kind: FailureKind::Timeout, message, retry: Retry::Allowed }
    }

    /// What the failed registry shows: the reason first, then where it happened, then the reason again under the name
    /// of an exception, because RQ's tools show and group by the last line of a traceback.
    pub fn text(&self, delivery: &Delivery) -> String {
        let function = match &delivery.payload {
            Ok(Payload::Call(call)) => format!(", function {}", call.function),
            _ => String::new(),
        };
        let first_line = self.message.lines().next().unwrap_or_default();
        format!(
            "{}\njob {} of queue {}, attempt {}{function}; nothing of it was written\n{}: {first_line}",
            self.message,
            delivery.id,
            delivery.queue,
            delivery.attempt,
            self.kind.exception(),
        )
    }
}

impl From<UnitOutcome> for Verdict {
    fn from(outcome: UnitOutcome) -> Self {
        match outcome {
            UnitOutcome::Applied { rows } => Self::Applied { rows },
            UnitOutcome::AlreadyApplied => Self::AlreadyApplied,
            UnitOutcome::Rejected(rejection) => Self::Failed(Failure::rejected(rejection)),
        }
    }
}

/// A delivery and how it ended.
#[derive(Debug)]
pub struct Done {
    /// The delivery.
    pub delivery: Delivery,
    /// How it ended.
    pub verdict: Verdict,
}

impl Done {
    /// What to tell the queue; none for a lease that is no longer ours to speak of, or is to lapse.
    pub fn outcome(&self) -> Option<Outcome> {
        Some(match &self.verdict {
            Verdict::Applied { rows } => Outcome::Finished { result: Value::from(*rows) },
            Verdict::AlreadyApplied => Outcome::Finished { result: Value::Null },
            Verdict::Failed(failure) => Outcome::Failed { error: failure.text(&self.delivery), retry: failure.retry },
            Verdict::Released => Outcome::Released,
            Verdict::Stopped => Outcome::Stopped,
            Verdict::Lost | Verdict::LeftToLapse => return None,
        })
    }
}

/// Books a batch that ran from `began` to `ended`. Each job gets its share of that time, one after the other, so that
/// the working times in the queue add up to the time that was worked, however large the batches are.
pub fn book(batch: Vec<Done>, began: DateTime<Utc>, ended: DateTime<Utc>) -> Vec<Completion> {
    let jobs = i32::try_from(batch.len()).unwrap_or(i32::MAX).max(1);
    let share = (ended - began).max(chrono::Duration::zero()) / jobs;
    let mut started_at = began;
    let mut completions = Vec::with_capacity(batch.len());
    for done in batch {
        if let Some(outcome) = done.outcome() {
            let ended_at = started_at + share;
            completions.push(Completion { delivery: done.delivery, outcome, started_at, ended_at });
            started_at = ended_at;
        }
    }
    completions
}

#[cfg(test)]
mod tests {
    use jobqueue_queue::{Call, Lease, Serializer};

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            queue: "companies".into(),
            id: "j1".into(),
            created_at: String::new(),
            generation: 0,
            run: None,
            attempt: 2,
            crashes: 0,
            enqueued_at: None,
            timeout: None,
            payload: Ok(Payload::Call(Call {
                function: "ParseCompany.parse_company".into(),
                args: Vec::new(),
                kwargs: jobqueue_json::Map::new(),
                serializer: Serializer::Pickle,
            })),
            lease: Lease { queue: "companies".into(), job: "j1".into(), execution: "e".into() },
        }
    }

    #[test]
    fn a_rejection_is_retried_only_where_that_may_help() {
        let verdict = |may_pass| Verdict::from(UnitOutcome::Rejected(Rejection { message: "no".into(), may_pass }));
        let retry = |verdict| match verdict {
            Verdict::Failed(failure) => failure.retry,
            other => panic!("{other:?}"),
        };
        assert_eq!(retry(verdict(true)), Retry::Allowed);
        assert_eq!(retry(verdict(false)), Retry::Never);
    }

    #[test]
    fn the_failed_registry_says_what_where_and_a_name_to_group_by() {
        let failure = Failure::final_one(FailureKind::Record, "table t, column d: \"x\" is no date\nmore");
        let text = failure.text(&delivery());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "table t, column d: \"x\" is no date");
        assert!(text.contains("job j1 of queue companies, attempt 2, function ParseCompany.parse_company"));
        assert_eq!(*lines.last().unwrap(), "jobqueue.RecordError: table t, column d: \"x\" is no date");
    }

    #[test]
    fn a_timeout_ends_with_the_words_of_rq() {
        let text = Failure::timed_out(Duration::from_secs(180)).text(&delivery());
        let last = "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (180 seconds)";
        assert_eq!(text.lines().last().unwrap(), last);
    }

    #[test]
    fn the_time_of_a_batch_is_shared_among_its_jobs() {
        let began = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let batch = |size: usize| -> Vec<Done> {
            (0..size).map(|_| Done { delivery: delivery(), verdict: Verdict::Applied { rows: 1 } }).collect()
        };
        let ended = began + chrono::Duration::milliseconds(100);
        let booked = book(batch(4), began, ended);
        assert_eq!(booked[0].started_at, began);
        assert_eq!(booked[3].ended_at, ended);
        assert_eq!(booked[1].started_at, booked[0].ended_at);
        assert_eq!(book(batch(2), ended, began)[1].ended_at, ended, "a clock set back gives no negative time");
    }

    #[test]
    fn a_lost_lease_is_not_spoken_of() {
        let now = Utc::now();
        let batch = vec![Done { delivery: delivery(), verdict: Verdict::Lost }];
        assert!(book(batch, now, now).is_empty());
    }
}
