//! What `requeue.lua` and `purge.lua` take and answer.

use std::sync::LazyLock;

use crate::simple::keys::QueueKeys;
use crate::{Invocation, Script};

/// The answer: `QUEUED`, `NOT_FAILED` or `GONE` for each id.
static REQUEUE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("requeue.lua")]));
/// The answer: how many were removed.
static PURGE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("purge.lua")]));

/// `requeue.lua`: ARGV are the prefix of the sidecar keys, the command that pushes (`LPUSH` or `RPUSH`), and the ids.
pub(crate) fn requeue(queue: &QueueKeys, push: &str, ids: &[String]) -> Invocation<'static> {
    REQUEUE.on(&queue.failed()).arg(&queue.prefix).arg(push).arg(ids)
}

/// `purge.lua`: ARGV are the prefix of the sidecar keys, and the ids.
pub(crate) fn purge(queue: &QueueKeys, ids: &[String]) -> Invocation<'static> {
    PURGE.on(&queue.failed()).arg(&queue.prefix).arg(ids)
}
