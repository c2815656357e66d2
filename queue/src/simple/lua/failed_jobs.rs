//! What `requeue.lua` and `purge.lua` take; the `answer` of [`crate::admin`] has what they answer. `KEYS[1]` is the failed
//! registry.

use std::sync::LazyLock;

use crate::simple::keys::QueueKeys;
use crate::{Invocation, Script};

static REQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("requeue.lua")]));
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("purge.lua")]));

/// `requeue.lua`: ARGV are the prefix of the sidecar keys, and the rest in this order.
pub(crate) struct RequeueArguments<'a> {
    /// Whose registry it is.
    pub(crate) keys: &'a QueueKeys,
    /// The command that puts a job in line: `LPUSH` or `RPUSH`.
    pub(crate) push: &'a str,
    /// The jobs' ids.
    pub(crate) ids: &'a [String],
}

/// `purge.lua`: ARGV are the prefix of the sidecar keys, and the ids.
pub(crate) struct PurgeArguments<'a> {
    /// Whose registry it is.
    pub(crate) keys: &'a QueueKeys,
    /// The jobs' ids.
    pub(crate) ids: &'a [String],
}

impl RequeueArguments<'_> {
    /// The call.
    pub(crate) fn call(&self) -> Invocation<'static> {
        let Self { keys, push, ids } = self;
        REQUEUE.on(&keys.failed()).arg(&keys.prefix).arg(*push).arg(*ids)
    }
}

impl PurgeArguments<'_> {
    /// The call.
    pub(crate) fn call(&self) -> Invocation<'static> {
        let Self { keys, ids } = self;
        PURGE.on(&keys.failed()).arg(&keys.prefix).arg(*ids)
    }
}
