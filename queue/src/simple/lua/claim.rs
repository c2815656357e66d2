//! What `claim.lua` takes and answers.

use std::time::Duration;

use redis::Value;

use super::millis;
use crate::redis::answer::Answer;
use crate::simple::keys::QueueKeys;
use crate::{Invocation, QueueError, Script};

/// ARGV, in this order.
pub(in crate::simple) struct ClaimArguments<'a> {
    /// Jobs to take at most.
    pub(in crate::simple) max_jobs: usize,
    /// How long a lease lasts.
    pub(in crate::simple) lease: Duration,
    /// The name of this worker.
    pub(in crate::simple) worker: &'a str,
    /// Random text: the executions' ids begin with it.
    pub(in crate::simple) seed: String,
    /// Key, prefix and consumer group of each queue, in the order in which they are served; at least one.
    pub(in crate::simple) queues: &'a [&'a QueueKeys],
}

/// The answer.
pub(in crate::simple) struct ClaimAnswer {
    /// What was taken, in order.
    pub(in crate::simple) jobs: Vec<ClaimedJob>,
    /// What was taken off a queue without running.
    pub(in crate::simple) dropped: Vec<DroppedJob>,
    /// Queues that could not be served.
    pub(in crate::simple) errors: Vec<QueueFailure>,
}

/// One row of `jobs`.
pub(in crate::simple) struct ClaimedJob {
    /// The number of its queue among those asked, from 0.
    pub(in crate::simple) queue: usize,
    /// The job's id.
    pub(in crate::simple) id: String,
    /// Names this claim of it.
    pub(in crate::simple) execution: String,
    /// 1 for the first run.
    pub(in crate::simple) attempt: u32,
    /// The element of the list, or the packed fields of the stream's entry.
    pub(in crate::simple) record: Vec<u8>,
    /// What the ledger knows the run by; empty for one that a worker of an older version had in hand.
    pub(in crate::simple) run: String,
}

/// One row of `dropped`.
pub(in crate::simple) struct DroppedJob {
    /// The job's id.
    pub(in crate::simple) id: String,
    /// Why it cannot run.
    pub(in crate::simple) reason: String,
}

/// One row of `errors`.
pub(in crate::simple) struct QueueFailure {
    /// The number of the queue among those asked, from 0.
    pub(in crate::simple) queue: usize,
    /// The error of Redis.
    pub(in crate::simple) error: String,
}

impl ClaimArguments<'_> {
    /// The call.
    pub(in crate::simple) fn call<'s>(&self, script: &'s Script) -> Invocation<'s> {
        let Self { max_jobs, lease, worker, seed, queues } = self;
        let call = script.on(&queues[0].key).arg(max_jobs).arg(millis(*lease)).arg(*worker).arg(seed);
        queues.iter().fold(call, |call, queue| call.arg(&queue.key).arg(&queue.prefix).arg(&queue.group))
    }
}

impl ClaimAnswer {
    /// # Errors
    /// `Data` for a field that is missing or of another type.
    pub(in crate::simple) fn read(answer: Value) -> Result<Self, QueueError> {
        let mut answer = Answer::new("simple/lua/claim.lua", answer)?;
        Ok(Self {
            jobs: answer.rows("jobs", ClaimedJob::read)?,
            dropped: answer.rows("dropped", DroppedJob::read)?,
            errors: answer.rows("errors", QueueFailure::read)?,
        })
    }
}

impl ClaimedJob {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        Ok(Self {
            queue: row.read("queue")?,
            id: row.read("id")?,
            execution: row.read("execution")?,
            attempt: row.read("attempt")?,
            record: row.read("record")?,
            run: row.read("run")?,
        })
    }
}

impl DroppedJob {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        let _queue: usize = row.read("queue")?;
        Ok(Self { id: row.read("id")?, reason: row.read("reason")? })
    }
}

impl QueueFailure {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        Ok(Self { queue: row.read("queue")?, error: row.read("error")? })
    }
}
