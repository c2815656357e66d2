//! What `requeue.lua` and `purge.lua` take and answer. `KEYS[1]` is the failed registry.

use std::sync::LazyLock;

use super::{OUTCOME, PRELUDE};
use crate::{Invocation, Script};

/// The answer: `QUEUED`, `NOT_FAILED` or `GONE` for each id.
static REQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("requeue.lua")]));
/// The answer: how many were removed.
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("purge.lua")]));

/// Whose failed registry it is.
#[derive(Clone, Copy)]
pub(crate) struct Registry<'a> {
    /// RQ's key prefix.
    pub(crate) prefix: &'a str,
    /// The queue's name.
    pub(crate) queue: &'a str,
}

impl Registry<'_> {
    /// Its key.
    pub(crate) fn key(self) -> String {
        format!("{}:failed:{}", self.prefix, self.queue)
    }

    /// `requeue.lua`: ARGV are the prefix, no worker, the queue, the command that pushes (`LPUSH` or `RPUSH`), and the ids.
    pub(crate) fn requeue(self, push: &str, ids: &[String]) -> Invocation<'static> {
        REQUEUE.on(&self.key()).arg(self.prefix).arg("").arg(self.queue).arg(push).arg(ids)
    }

    /// `purge.lua`: ARGV are the prefix, and the ids.
    pub(crate) fn purge(self, ids: &[String]) -> Invocation<'static> {
        PURGE.on(&self.key()).arg(self.prefix).arg(ids)
    }
}
