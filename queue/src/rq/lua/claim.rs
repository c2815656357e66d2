//! What `claim.lua` takes and answers.

use std::sync::LazyLock;

use redis::Value;

use super::{Caller, OUTCOME, PRELUDE};
use crate::redis::answer::Answer;
use crate::{Invocation, QueueError, Script};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("claim.lua")]));

/// ARGV from the third on, in this order.
pub(in crate::rq) struct ClaimArguments<'a> {
    /// Seconds that the worker's record outlives this call.
    pub(in crate::rq) worker_ttl: u64,
    /// Seconds that a lease lasts.
    pub(in crate::rq) lease: u64,
    /// Jobs to take at most.
    pub(in crate::rq) max_jobs: usize,
    /// The data of a job of more bytes than these is not sent.
    pub(in crate::rq) max_job_bytes: usize,
    /// Bytes of data of all jobs together; a single job may exceed it.
    pub(in crate::rq) max_total_bytes: usize,
    /// The first 24 digits of the executions' ids.
    pub(in crate::rq) execution_stem: String,
    /// Names of the queues, in the order in which they are served.
    pub(in crate::rq) queues: Vec<&'a str>,
}

/// The answer.
pub(in crate::rq) struct ClaimAnswer {
    /// Whether all workers are suspended, so that nothing was taken.
    pub(in crate::rq) suspended: bool,
    /// What was taken, in order.
    pub(in crate::rq) jobs: Vec<ClaimedJob>,
    /// Ids that were taken off a queue without running, each followed by the reason.
    pub(in crate::rq) dropped: Vec<Vec<u8>>,
}

/// One row of `jobs`. Texts of producers are bytes: they may be anything.
pub(in crate::rq) struct ClaimedJob {
    /// The queue's name.
    pub(in crate::rq) queue: Vec<u8>,
    /// The job's id.
    pub(in crate::rq) id: Vec<u8>,
    /// Our execution's id.
    pub(in crate::rq) execution: String,
    /// The pickled call; empty if it is larger than `max_job_bytes`.
    pub(in crate::rq) data: Vec<u8>,
    /// Bytes of the call, sent or not.
    pub(in crate::rq) size: usize,
    /// As the producer wrote it.
    pub(in crate::rq) created_at: Vec<u8>,
    /// As the producer wrote it; empty if it did not.
    pub(in crate::rq) enqueued_at: Vec<u8>,
    /// Seconds that the run may take; -1 for no limit, empty where the producer did not say.
    pub(in crate::rq) timeout: Vec<u8>,
    /// How many runs of this id are known to be done.
    pub(in crate::rq) generation: Vec<u8>,
    /// 1 for the first run.
    pub(in crate::rq) attempt: u32,
    /// Earlier runs that ended with the death of their worker.
    pub(in crate::rq) crashes: u32,
    /// What the ledger knows the run by.
    pub(in crate::rq) run: String,
}

impl ClaimArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self { worker_ttl, lease, max_jobs, max_job_bytes, max_total_bytes, execution_stem, queues } = self;
        caller
            .call(&CLAIM)
            .arg(worker_ttl)
            .arg(lease)
            .arg(max_jobs)
            .arg(max_job_bytes)
            .arg(max_total_bytes)
            .arg(execution_stem)
            .arg(queues)
    }
}

impl ClaimAnswer {
    /// # Errors
    /// `Data` for a field that is missing or of another type.
    pub(in crate::rq) fn read(answer: Value) -> Result<Self, QueueError> {
        let mut answer = Answer::new("rq/lua/claim.lua", answer)?;
        Ok(Self {
            suspended: answer.read("suspended")?,
            jobs: answer.rows("jobs", ClaimedJob::read)?,
            dropped: answer.read("dropped")?,
        })
    }
}

impl ClaimedJob {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        Ok(Self {
            queue: row.read("queue")?,
            id: row.read("id")?,
            execution: row.read("execution")?,
            data: row.read("data")?,
            size: row.read("size")?,
            created_at: row.read("created_at")?,
            enqueued_at: row.read("enqueued_at")?,
            timeout: row.read("timeout")?,
            generation: row.read("generation")?,
            attempt: row.read("attempt")?,
            crashes: row.read("crashes")?,
            run: row.read("run")?,
        })
    }
}
