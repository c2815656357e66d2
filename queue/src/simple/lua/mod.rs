//! The Lua scripts of lists and streams. Each has a file of its own here, with what goes in and what comes out: the only
//! place where the order of its arguments and of its answer is written down.
//!
//! `KEYS[1]` is the user's key and routes the script. But for `claim.lua`, which may serve several queues, the scripts of a
//! worker take the names of the keys of one queue first: key, prefix and consumer group. Times are in milliseconds.

pub(super) mod claim;
pub(crate) mod failed_jobs;
pub(super) mod heartbeat;
pub(super) mod maintain;
pub(super) mod settle;
pub(crate) mod stats;

use std::time::Duration;

use super::keys::QueueKeys;
use crate::{Invocation, Script};

const PRELUDE: &str = concat!(include_str!("../../redis/errors.lua"), include_str!("prelude.lua"));

/// A worker's scripts, for lists or for streams.
pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) heartbeat: Script,
    pub(super) settle: Script,
    pub(super) maintain: Script,
    rights: Script,
    deregister: Script,
}

impl Scripts {
    /// With the functions in which lists and streams differ.
    pub(super) fn new(source: &str) -> Self {
        let script = |body: &str| Script::new(&[PRELUDE, source, body]);
        Self {
            claim: script(include_str!("claim.lua")),
            heartbeat: script(include_str!("heartbeat.lua")),
            settle: script(include_str!("settle.lua")),
            maintain: script(include_str!("maintain.lua")),
            rights: script(include_str!("rights.lua")),
            deregister: script(include_str!("deregister.lua")),
        }
    }

    /// `rights.lua`: after the queue it takes the worker's name. Its answer holds nothing but the error, if there is one.
    pub(super) fn try_rights<'s>(&'s self, queue: &QueueKeys, worker: &str) -> Invocation<'s> {
        on(&self.rights, queue).arg(worker)
    }

    /// `deregister.lua`: after the queue it takes the worker's name. Its answer holds nothing but the error, if there is one.
    pub(super) fn deregister<'s>(&'s self, queue: &QueueKeys, worker: &str) -> Invocation<'s> {
        on(&self.deregister, queue).arg(worker)
    }
}

/// A script on one queue, with what it takes first.
fn on<'s>(script: &'s Script, queue: &QueueKeys) -> Invocation<'s> {
    script.on(&queue.key).arg(&queue.key).arg(&queue.prefix).arg(&queue.group)
}

/// Whole milliseconds, as the scripts count time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
