//! What `claim.lua` takes and answers.

use std::sync::LazyLock;

use redis::Value;

use super::{Caller, OUTCOME, PRELUDE};
use crate::redis::answer::Answer;
use crate::{Invocation, QueueError, Script};

static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("claim.lua")]));

/// Begins the `run` of a job that a worker of an older version had in hand; the generation follows.
const BY_NAMES: &str = "names:";

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
    /// Whether each job's `meta` is sent too.
    pub(in crate::rq) with_meta: bool,
    /// Names of the queues, in the order in which they are served.
    pub(in crate::rq) queues: Vec<&'a str>,
}

/// The answer.
pub(in crate::rq) struct ClaimAnswer {
    /// Whether all workers are suspended, so that nothing was taken.
    pub(in crate::rq) suspended: bool,
    /// What was taken, in order.
    pub(in crate::rq) jobs: Vec<ClaimedJob>,
    /// What was taken off a queue without running: id and reason of each in turn.
    pub(in crate::rq) dropped: Vec<DroppedJob>,
}

/// Two words of `dropped`.
pub(in crate::rq) struct DroppedJob {
    /// The job's id.
    pub(in crate::rq) id: Vec<u8>,
    /// Why it cannot run.
    pub(in crate::rq) reason: Vec<u8>,
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
    pub(in crate::rq) generation: u64,
    /// 1 for the first run.
    pub(in crate::rq) attempt: u32,
    /// Earlier runs that ended with the death of their worker.
    pub(in crate::rq) crashes: u32,
    /// What the ledger knows the run by; `None` for a run that a worker of an older version began, which it knows by queue,
    /// job and generation.
    pub(in crate::rq) run: Option<String>,
    /// As the producer's serializer wrote it; empty if it was not asked for, is not there, or is long.
    pub(in crate::rq) meta: Vec<u8>,
}

impl ClaimArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self { worker_ttl, lease, max_jobs, max_job_bytes, max_total_bytes, execution_stem, with_meta, queues } =
            self;
        caller
            .call(&CLAIM)
            .arg(worker_ttl)
            .arg(lease)
            .arg(max_jobs)
            .arg(max_job_bytes)
            .arg(max_total_bytes)
            .arg(execution_stem)
            .arg(if *with_meta { "1" } else { "" })
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
            dropped: DroppedJob::pairs(answer.read("dropped")?),
        })
    }
}

impl DroppedJob {
    fn pairs(words: Vec<Vec<u8>>) -> Vec<Self> {
        let mut words = words.into_iter();
        std::iter::from_fn(|| Some(Self { id: words.next()?, reason: words.next()? })).collect()
    }
}

impl ClaimedJob {
    fn read(row: &mut Answer) -> Result<Self, QueueError> {
        let mut job = Self {
            queue: row.read("queue")?,
            id: row.read("id")?,
            execution: row.read("execution")?,
            data: row.read("data")?,
            size: row.read("size")?,
            created_at: row.read("created_at")?,
            enqueued_at: row.read("enqueued_at")?,
            timeout: row.read("timeout")?,
            generation: number(&row.read::<Vec<u8>>("generation")?),
            attempt: row.read("attempt")?,
            crashes: row.read("crashes")?,
            run: Some(row.read("run")?),
            meta: row.read_if_sent("meta")?,
        };
        if let Some(generation) = job.run.as_deref().and_then(|run| run.strip_prefix(BY_NAMES)) {
            job.generation = number(generation.as_bytes());
            job.run = None;
        }
        Ok(job)
    }
}

fn number(digits: &[u8]) -> u64 {
    String::from_utf8_lossy(digits).parse().unwrap_or(0)
}
