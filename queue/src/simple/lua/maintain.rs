//! What `maintain.lua` takes and answers.

use std::time::Duration;

use redis::Value;

use super::{millis, on};
use crate::redis::answer::Answer;
use crate::simple::keys::QueueKeys;
use crate::{Invocation, Maintenance, QueueError, Script};

/// ARGV after the queue, in this order.
pub(in crate::simple) struct MaintainArguments {
    /// How long a lease lasts.
    pub(in crate::simple) lease: Duration,
    /// Runs of a job altogether.
    pub(in crate::simple) max_attempts: u32,
    /// How long a failed job's record is kept.
    pub(in crate::simple) failure_ttl: Duration,
    /// Random text: the life of a stream that is made anew is named after it.
    pub(in crate::simple) seed: String,
}

impl MaintainArguments {
    /// The call.
    pub(in crate::simple) fn call<'s>(&self, script: &'s Script, queue: &QueueKeys) -> Invocation<'s> {
        let Self { lease, max_attempts, failure_ttl, seed } = self;
        on(script, queue).arg(millis(*lease)).arg(max_attempts).arg(millis(*failure_ttl)).arg(seed)
    }
}

/// Reads the answer: the fields of a [`Maintenance`], in this order.
///
/// # Errors
/// `Data` for a field that is missing or of another type.
pub(in crate::simple) fn read_answer(answer: Value) -> Result<Maintenance, QueueError> {
    let mut answer = Answer::new("simple/lua/maintain.lua", answer)?;
    Ok(Maintenance {
        reclaimed: answer.read("reclaimed")?,
        abandoned: answer.read("abandoned")?,
        due: answer.read("due")?,
        expired: answer.read("expired")?,
    })
}
