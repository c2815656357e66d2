//! What `stats.lua` takes; [`crate::stats::answer`] has what it answers.

use std::sync::LazyLock;

use super::on;
use crate::simple::keys::QueueKeys;
use crate::stats::{LONGEST_TEXT, MOST_WORKERS};
use crate::{Invocation, Script};

static STATS: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("stats.lua")]));

/// The call: ARGV is the queue, and how many workers and how long texts are answered.
pub(crate) fn call(queue: &QueueKeys) -> Invocation<'static> {
    on(&STATS, queue).arg(MOST_WORKERS).arg(LONGEST_TEXT)
}
