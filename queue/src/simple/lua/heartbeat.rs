//! What `heartbeat.lua` takes and answers.

use std::time::Duration;

use redis::Value;

use super::{millis, on};
use crate::redis::answer::read_single;
use crate::simple::keys::QueueKeys;
use crate::{Invocation, Lease, QueueError, Script};

/// ARGV after the queue, in this order.
pub(in crate::simple) struct HeartbeatArguments<'a> {
    /// How long a lease lasts; the worker's record outlives this call by four of them.
    pub(in crate::simple) lease: Duration,
    /// The name of this worker.
    pub(in crate::simple) worker: &'a str,
    /// The number of words, then field and value of each: the worker's record.
    pub(in crate::simple) record: &'a [&'a str],
    /// Job and execution of each lease to renew; leases of other queues are left out.
    pub(in crate::simple) leases: &'a [Lease],
}

/// The answer.
pub(in crate::simple) struct HeartbeatAnswer {
    /// The ids of the jobs that are not this worker's any more.
    pub(in crate::simple) lost: Vec<String>,
}

impl HeartbeatArguments<'_> {
    /// The call.
    pub(in crate::simple) fn call<'s>(&self, script: &'s Script, queue: &QueueKeys) -> Invocation<'s> {
        let Self { lease, worker, record, leases } = self;
        let call = on(script, queue).arg(millis(*lease)).arg(*worker).arg(record.len()).arg(*record);
        let own = leases.iter().filter(|lease| lease.queue == queue.key);
        own.fold(call, |call, lease| call.arg(&lease.job).arg(&lease.execution))
    }
}

impl HeartbeatAnswer {
    /// # Errors
    /// `Data` for an answer of another type.
    pub(in crate::simple) fn read(answer: Value) -> Result<Self, QueueError> {
        Ok(Self { lost: read_single("simple/lua/heartbeat.lua", "lost", answer)? })
    }
}
