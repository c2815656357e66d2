//! The Lua scripts of the RQ protocol. Each has a file of its own here, with what goes in and what comes out: the only place
//! where the order of its arguments and of its answer is written down.
//!
//! Every script takes the key prefix and the worker's name first ([`Caller`]). `KEYS[1]` only routes it: all keys of a
//! prefix share a slot of a cluster, and the scripts derive their names from the prefix.

pub(super) mod claim;
pub(crate) mod failed_jobs;
pub(super) mod heartbeat;
pub(super) mod maintain;
pub(super) mod registration;
pub(super) mod settle;
pub(crate) mod stats;

use super::keys::Keys;
use crate::{Invocation, Script};

/// Begins every script: the clock, names of keys, reading a job.
const PRELUDE: &str = concat!(include_str!("../../redis/errors.lua"), include_str!("prelude.lua"));
/// What becomes of a job after a run.
const OUTCOME: &str = include_str!("outcome.lua");

/// Who calls: what every script takes first.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    /// `ARGV[1]`: RQ's key prefix.
    pub(super) keys: &'a Keys,
    /// `ARGV[2]`: the name of this worker.
    pub(super) worker: &'a str,
}

impl Caller<'_> {
    fn call(self, script: &Script) -> Invocation<'_> {
        script.on(&self.keys.queues()).arg(self.keys.prefix()).arg(self.worker)
    }
}
