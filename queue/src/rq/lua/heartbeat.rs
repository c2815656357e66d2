//! What `heartbeat.lua` takes and answers.

use std::sync::LazyLock;

use redis::Value;

use super::{Caller, PRELUDE};
use crate::redis::answer::read_single;
use crate::{Invocation, Lease, QueueError, Script};

static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("heartbeat.lua")]));

/// ARGV from the third on, in this order.
pub(in crate::rq) struct HeartbeatArguments<'a> {
    /// Seconds that the worker's record outlives this call.
    pub(in crate::rq) worker_ttl: u64,
    /// Seconds that a lease lasts.
    pub(in crate::rq) lease: u64,
    /// Their number, then field and value of each: the worker's record, should it have expired.
    pub(in crate::rq) record: &'a [(&'static str, String)],
    /// Their number, then the names of the worker's queues.
    pub(in crate::rq) queues: &'a [String],
    /// Queue, job and execution of each lease to renew.
    pub(in crate::rq) leases: &'a [Lease],
}

/// The answer.
pub(in crate::rq) struct HeartbeatAnswer {
    /// The numbers, from 0, of those leases that are not this worker's any more.
    pub(in crate::rq) lost: Vec<usize>,
}

impl HeartbeatArguments<'_> {
    /// The call.
    pub(in crate::rq) fn call(&self, caller: Caller<'_>) -> Invocation<'static> {
        let Self { worker_ttl, lease, record, queues, leases } = self;
        let mut call = caller.call(&HEARTBEAT).arg(worker_ttl).arg(lease).arg(record.len());
        for (field, value) in *record {
            call = call.arg(*field).arg(value);
        }
        call = call.arg(queues.len()).arg(*queues);
        for Lease { queue, job, execution } in *leases {
            call = call.arg(queue).arg(job).arg(execution);
        }
        call
    }
}

impl HeartbeatAnswer {
    /// # Errors
    /// `Data` for an answer of another type.
    pub(in crate::rq) fn read(answer: Value) -> Result<Self, QueueError> {
        Ok(Self { lost: read_single("rq/lua/heartbeat.lua", "lost", answer)? })
    }
}
