//! What `requeue.lua` and `purge.lua` take; the `answer` of [`crate::admin`] has what they answer. `KEYS[1]` is the failed
//! registry.

use std::sync::LazyLock;

use super::{OUTCOME, PRELUDE};
use crate::{Invocation, Script};

static REQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("requeue.lua")]));
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
}

/// `requeue.lua`: ARGV are the registry's prefix, an empty worker, the registry's queue, and the rest in this order.
pub(crate) struct RequeueArguments<'a> {
    /// Where the jobs are.
    pub(crate) registry: Registry<'a>,
    /// The command that puts a job on its queue: `LPUSH` or `RPUSH`.
    pub(crate) push: &'a str,
    /// The jobs' ids.
    pub(crate) ids: &'a [String],
}

/// `purge.lua`: ARGV are the registry's prefix, and the ids.
pub(crate) struct PurgeArguments<'a> {
    /// Where the jobs are.
    pub(crate) registry: Registry<'a>,
    /// The jobs' ids.
    pub(crate) ids: &'a [String],
}

impl RequeueArguments<'_> {
    /// The call.
    pub(crate) fn call(&self) -> Invocation<'static> {
        let Self { registry, push, ids } = self;
        REQUEUE.on(&registry.key()).arg(registry.prefix).arg("").arg(registry.queue).arg(*push).arg(*ids)
    }
}

impl PurgeArguments<'_> {
    /// The call.
    pub(crate) fn call(&self) -> Invocation<'static> {
        let Self { registry, ids } = self;
        PURGE.on(&registry.key()).arg(registry.prefix).arg(*ids)
    }
}
