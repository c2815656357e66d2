//! What `maintain.lua` takes and answers.

use std::sync::LazyLock;
use std::time::Duration;

use redis::Value;

use super::{Caller, OUTCOME, PRELUDE};
use crate::redis::answer::Answer;
use crate::{Invocation, QueueError, RetryPolicy, Script};

static MAINTAIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(&[PRELUDE, OUTCOME, include_str!("clean_registries.lua"), include_str!("maintain.lua")])
});

/// ARGV from the third on, in this order.
pub(in crate::rq) struct MaintainArguments<'a> {
    /// Seconds that a failed job's record is kept where its producer did not say.
    pub(in crate::rq) failure_ttl: u64,
    /// Three arguments: most attempts, then backoff and longest backoff in seconds.
    pub(in crate::rq) retry: RetryPolicy,
    /// From [0, 1): what the jitter is made of.
    pub(in crate::rq) random: f64,
    /// Registry entries to handle per queue at most.
    pub(in crate::rq) max_entries: usize,
    /// Seconds between two cleanings of one queue's registries by all workers together.
    pub(in crate::rq) clean_seconds: u64,
    /// The error of a crash after which the job is tried again, as RQ's result has it.
    pub(in crate::rq) crashed_text: String,
    /// The error of a crash after which it is not.
    pub(in crate::rq) abandoned_text: String,
    /// Seconds that a lease lasts.
    pub(in crate::rq) lease: u64,
    /// Names of the queues.
    pub(in crate::rq) queues: &'a [String],
}

/// The answer.
pub(in crate::rq) struct MaintainAnswer {
    /// Jobs of lapsed leases that are queued again.
    pub(in crate::rq) reclaimed: u64,
    /// Jobs of lapsed leases that were tried too often.
    pub(in crate::rq) abandoned: u64,
    /// Scheduled jobs that are queued.
    pub(in crate::rq) due: u64,
    /// Expired registry entries removed.
    pub(in crate::rq) expired: u64,
    /// Whether there may be more to do at once.
    pub(in crate::rq) more: bool,
    /// Abandoned jobs with webhooks to be called.
    pub(in crate::rq) webhooks: Vec<AbandonedWebhooks>,
    /// Ids that were enqueued again during their run and may be claimed now.
    pub(in crate::rq) repeated_ids_wait: u64,
}

/// One row of `webhooks`.
pub(in crate::rq) struct AbandonedWebhooks {
    /// The job's id.
    pub(in crate::rq) job: String,
    /// The pickled call.
    pub(in crate::rq) data: Vec<u8>,
    /// As the producer wrote it; empty if it did not.
    pub(in crate::rq) enqueued_at: String,
    /// The job's webhooks, JSON.
    pub(in crate::rq) webhooks: String,
}

impl MaintainArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self {
            failure_ttl,
            retry: RetryPolicy { max_attempts, backoff, max_backoff },
            random,
            max_entries,
            clean_seconds,
            crashed_text,
            abandoned_text,
            lease,
            queues,
        } = self;
        let seconds = |duration: &Duration| format!("{:.3}", duration.as_secs_f64());
        caller
            .call(&MAINTAIN)
            .arg(failure_ttl)
            .arg(max_attempts)
            .arg(seconds(backoff))
            .arg(seconds(max_backoff))
            .arg(format!("{random:.9}"))
            .arg(max_entries)
            .arg(clean_seconds)
            .arg(crashed_text)
            .arg(abandoned_text)
            .arg(lease)
            .arg(*queues)
    }
}

impl MaintainAnswer {
    /// # Errors
    /// `Data` for a field that is missing or of another type.
    pub(in crate::rq) fn read(answer: Value) -> Result<Self, QueueError> {
        let mut answer = Answer::new("rq/lua/maintain.lua", answer)?;
        let webhooks = |row: &mut Answer| {
            Ok(AbandonedWebhooks {
                job: row.read("job")?,
                data: row.read("data")?,
                enqueued_at: row.read("enqueued_at")?,
                webhooks: row.read("webhooks")?,
            })
        };
        Ok(Self {
            reclaimed: answer.read("reclaimed")?,
            abandoned: answer.read("abandoned")?,
            due: answer.read("due")?,
            expired: answer.read("expired")?,
            more: answer.read("more")?,
            webhooks: answer.rows("webhooks", webhooks)?,
            repeated_ids_wait: answer.read("repeated_ids_wait")?,
        })
    }
}
