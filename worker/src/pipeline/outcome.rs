//! How a job ended, and what the queue records of it: the text of the failed registry, whether to retry. Pure.

use std::time::Duration;

use jobqueue_ingest::{Rejection, SinkError, UnitOutcome};
use jobqueue_queue::{Delivery, Outcome, Payload, Retry};
use serde_json::Value;

/// How one run of a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobOutcome {
    /// The rows are committed.
    Applied {
        /// Rows written, children included.
        rows: u64,
    },
    /// An earlier run of the same delivery had committed them.
    AlreadyApplied,
    /// Nothing is written.
    Failed(Failure),
    /// Not tried, or the database was away: it goes back to the queue.
    Released,
    /// Stopped on request before anything was written.
    Stopped,
    /// The lease went to another worker, which records the outcome.
    LeaseLost,
    /// Still being extracted when the worker had to end, and for long: its lease lapses, which counts the attempt.
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
    /// What this kind of failure means, without anything of the record.
    pub(crate) const fn meaning(self) -> &'static str {
        match self {
            Self::Payload => "the payload cannot be read",
            Self::Record => "the recipe does not fit the record",
            Self::Rejected => "the database refused the rows",
            Self::Timeout => "the job's time limit passed",
            Self::Panic => "the worker panicked on this job",
        }
    }

    /// The last line's prefix in the failed registry; tools of RQ group by that line.
    pub(crate) const fn exception(self) -> &'static str {
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
    pub fn permanent(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry: Retry::Never }
    }

    /// The database refused the rows.
    pub(crate) fn rejected(rejection: Rejection) -> Self {
        let retry = if rejection.may_pass { Retry::Allowed } else { Retry::Never };
        Self { kind: FailureKind::Rejected, message: rejection.message, retry }
    }

    /// Whenever this job was written the connection ended, and other writes went through in between.
    pub(crate) fn broke_connection(error: &SinkError) -> Self {
        let message = format!("writing this job broke the connection each time, other writes went through: {error}");
        Self { kind: FailureKind::Rejected, message, retry: Retry::Allowed }
    }

    /// The producer's limit passed; the words are RQ's.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        let message = format!("Task exceeded maximum timeout value ({} seconds)", limit.as_secs());
        Self { kind: FailureKind::Timeout, message, retry: Retry::Allowed }
    }

    /// What the failed registry shows: the reason first, then where it happened, then the reason again under the name
    /// of an exception, because RQ's tools show and group by the last line of a traceback.
    pub(crate) fn text(&self, delivery: &Delivery) -> String {
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

impl From<UnitOutcome> for JobOutcome {
    fn from(outcome: UnitOutcome) -> Self {
        match outcome {
            UnitOutcome::Applied { rows } => Self::Applied { rows },
            UnitOutcome::AlreadyApplied => Self::AlreadyApplied,
            UnitOutcome::Rejected(rejection) => Self::Failed(Failure::rejected(rejection)),
        }
    }
}

impl JobOutcome {
    /// What the queue records for `delivery`; `None` for a lease that went to another worker or is to lapse.
    pub(crate) fn for_queue(&self, delivery: &Delivery) -> Option<Outcome> {
        Some(match self {
            Self::Applied { rows } => Outcome::Finished { result: Value::from(*rows) },
            Self::AlreadyApplied => Outcome::Finished { result: Value::Null },
            Self::Failed(failure) => Outcome::Failed { error: failure.text(delivery), retry: failure.retry },
            Self::Released => Outcome::Released,
            Self::Stopped => Outcome::Stopped,
            Self::LeaseLost | Self::LeftToLapse => return None,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use jobqueue_queue::{Call, Lease, Serializer};

    use super::*;

    pub(crate) fn delivery() -> Delivery {
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
            trace_context: None,
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
        let outcome = |may_pass| JobOutcome::from(UnitOutcome::Rejected(Rejection { message: "no".into(), may_pass }));
        let retry = |outcome| match outcome {
            JobOutcome::Failed(failure) => failure.retry,
            other => panic!("{other:?}"),
        };
        assert_eq!(retry(outcome(true)), Retry::Allowed);
        assert_eq!(retry(outcome(false)), Retry::Never);
    }

    #[test]
    fn the_failed_registry_says_what_where_and_a_name_to_group_by() {
        let failure = Failure::permanent(FailureKind::Record, "table t, column d: \"x\" is no date\nmore");
        let text = failure.text(&delivery());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "table t, column d: \"x\" is no date");
        assert!(text.contains("job j1 of queue companies, attempt 2, function ParseCompany.parse_company"));
        assert_eq!(*lines.last().unwrap(), "jobqueue.RecordError: table t, column d: \"x\" is no date");
    }

    #[test]
    fn the_queue_hears_nothing_of_a_lost_lease() {
        assert!(JobOutcome::LeaseLost.for_queue(&delivery()).is_none());
        assert!(JobOutcome::LeftToLapse.for_queue(&delivery()).is_none());
    }

    #[test]
    fn a_timeout_ends_with_the_words_of_rq() {
        let text = Failure::timed_out(Duration::from_secs(180)).text(&delivery());
        let last = "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (180 seconds)";
        assert_eq!(text.lines().last().unwrap(), last);
    }
}
