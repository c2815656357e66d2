//! What `stats.lua` takes; [`crate::stats::answer`] has what it answers.

use std::sync::LazyLock;

use crate::rq::keys::Keys;
use crate::stats::{LONGEST_TEXT, MOST_WORKERS};
use crate::{Invocation, Script};

static STATS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("stats.lua")]));

/// The call: ARGV is the key prefix, the queue's name, and how many workers and how long texts are answered.
pub(crate) fn call(keys: &Keys, queue: &str) -> Invocation<'static> {
    STATS.on(&keys.queue(queue)).arg(keys.prefix()).arg(queue).arg(MOST_WORKERS).arg(LONGEST_TEXT)
}
