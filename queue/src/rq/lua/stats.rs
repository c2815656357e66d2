//! What `stats.lua` takes; [`crate::stats::answer`] has what it answers.

use std::sync::LazyLock;

use crate::rq::keys::Keys;
use crate::{Invocation, Script};

static STATS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("stats.lua")]));

/// The call: ARGV is the key prefix and the queue's name.
pub(crate) fn call(keys: &Keys, queue: &str) -> Invocation<'static> {
    STATS.on(&keys.queue(queue)).arg(keys.prefix()).arg(queue)
}
