//! What `settle.lua` takes and answers.

use std::time::Duration;

use redis::Value;

use super::{millis, on};
use crate::redis::answer::read_single;
use crate::simple::keys::QueueKeys;
use crate::{Invocation, Lease, QueueError, Script};

/// ARGV after the queue, in this order.
pub(in crate::simple) struct SettleArguments<'a> {
    /// The name of this worker.
    pub(in crate::simple) worker: &'a str,
    /// Two arguments: job and execution.
    pub(in crate::simple) lease: &'a Lease,
    /// Seconds that the run took.
    pub(in crate::simple) seconds: f64,
    /// `finished`, `released`, `retry` or `failed`.
    pub(in crate::simple) outcome: &'static str,
    /// Why it failed; empty if it did not.
    pub(in crate::simple) reason: String,
    /// The wait before a retry.
    pub(in crate::simple) delay: Duration,
}

/// The answer.
pub(in crate::simple) struct SettleAnswer {
    /// Whether the claim was still this worker's, so that the outcome counts.
    pub(in crate::simple) owned: bool,
}

impl SettleArguments<'_> {
    /// The call.
    pub(in crate::simple) fn call<'s>(&self, script: &'s Script, queue: &QueueKeys) -> Invocation<'s> {
        let Self { worker, lease, seconds, outcome, reason, delay } = self;
        on(script, queue)
            .arg(*worker)
            .arg(&lease.job)
            .arg(&lease.execution)
            .arg(seconds)
            .arg(*outcome)
            .arg(reason)
            .arg(millis(*delay))
    }
}

impl SettleAnswer {
    /// # Errors
    /// `Data` for an answer of another type.
    pub(in crate::simple) fn read(answer: Value) -> Result<Self, QueueError> {
        Ok(Self { owned: read_single("simple/lua/settle.lua", "owned", answer)? })
    }
}
