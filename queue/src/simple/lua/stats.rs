//! What `stats.lua` takes; [`crate::stats::answer`] has what it answers.

use std::sync::LazyLock;

use super::on;
use crate::simple::keys::QueueKeys;
use crate::{Invocation, Script};

static STATS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("stats.lua")]));

/// The call: ARGV is the queue.
pub(crate) fn call(queue: &QueueKeys) -> Invocation<'static> {
    on(&STATS, queue)
}
