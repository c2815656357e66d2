//! What `settle.lua` takes and answers.

use std::sync::LazyLock;

use redis::Value;

use super::{Caller, OUTCOME, PRELUDE};
use crate::redis::answer::Answer;
use crate::{Invocation, Lease, QueueError, Script};

static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("settle.lua")]));

/// ARGV from the third on, in this order; behind them come the fields of each run.
pub(in crate::rq) struct SettleArguments<'a> {
    /// Seconds that the worker's record outlives this call.
    pub(in crate::rq) worker_ttl: u64,
    /// Seconds that a finished job's record is kept where its producer did not say.
    pub(in crate::rq) result_ttl: u64,
    /// The same for a failed one.
    pub(in crate::rq) failure_ttl: u64,
    /// Seconds that these runs took, to be added to the worker's record.
    pub(in crate::rq) busy_seconds: f64,
    /// The runs that ended.
    pub(in crate::rq) runs: Vec<EndedRun<'a>>,
}

/// One run that ended: ten arguments, in this order.
pub(in crate::rq) struct EndedRun<'a> {
    /// `finished`, `failed`, `released` or `stopped`.
    pub(in crate::rq) outcome: &'static str,
    /// Three arguments: queue, job and execution.
    pub(in crate::rq) lease: &'a Lease,
    /// As RQ's job has it.
    pub(in crate::rq) started_iso: String,
    /// As RQ's job has it.
    pub(in crate::rq) ended_iso: String,
    /// Seconds since the epoch, as RQ's result has it.
    pub(in crate::rq) started_epoch: String,
    /// Seconds since the epoch, as RQ's result has it.
    pub(in crate::rq) ended_epoch: String,
    /// The return value, or the error, as RQ's result has it.
    pub(in crate::rq) text: String,
    /// Seconds before the next attempt by our own policy; `None` (an empty argument) for no further attempt.
    pub(in crate::rq) delay: Option<f64>,
}

/// The answer.
pub(in crate::rq) struct SettleAnswer {
    /// What became of each run, in order: its outcome, `retried`, `lost`, or an error behind a `!`.
    pub(in crate::rq) outcomes: Vec<String>,
    /// What is left to do or to say for some of the runs.
    pub(in crate::rq) notices: Vec<Notice>,
    /// Whether an id that was enqueued again during its run may be claimed now.
    pub(in crate::rq) repeated_ids_wait: bool,
}

/// One row of `notices`.
pub(in crate::rq) struct Notice {
    /// The number of the run, from 0.
    pub(in crate::rq) run: usize,
    /// The job's webhooks, JSON; may be empty.
    pub(in crate::rq) webhooks: String,
    /// The name of a Python callback that nobody ran; may be empty.
    pub(in crate::rq) callback: String,
}

impl SettleArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self { worker_ttl, result_ttl, failure_ttl, busy_seconds, runs } = self;
        let call = caller.call(&SETTLE).arg(worker_ttl).arg(result_ttl).arg(failure_ttl);
        runs.iter().fold(call.arg(format!("{busy_seconds:.6}")), |call, run| run.add_to(call))
    }
}

impl EndedRun<'_> {
    fn add_to<'s>(&self, call: Invocation<'s>) -> Invocation<'s> {
        let Self { outcome, lease, started_iso, ended_iso, started_epoch, ended_epoch, text, delay } = self;
        let Lease { queue, job, execution } = lease;
        call.arg(outcome)
            .arg(queue)
            .arg(job)
            .arg(execution)
            .arg(started_iso)
            .arg(ended_iso)
            .arg(started_epoch)
            .arg(ended_epoch)
            .arg(text)
            .arg(delay.map_or(String::new(), |seconds| format!("{seconds:.3}")))
    }
}

impl SettleAnswer {
    /// # Errors
    /// `Data` for a field that is missing or of another type.
    pub(in crate::rq) fn read(answer: Value) -> Result<Self, QueueError> {
        let mut answer = Answer::new("rq/lua/settle.lua", answer)?;
        let notice = |row: &mut Answer| {
            Ok(Notice { run: row.read("run")?, webhooks: row.read("webhooks")?, callback: row.read("callback")? })
        };
        Ok(Self {
            outcomes: answer.read("outcomes")?,
            notices: answer.rows("notices", notice)?,
            repeated_ids_wait: answer.read("repeated_ids_wait")?,
        })
    }
}
