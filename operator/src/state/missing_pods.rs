//! Pods that are not there or not ready: since when, why, and when to ask for them again.

use std::time::Duration;

use tokio::time::Instant;

use crate::{backoff::per_queue, state::workers::PodProblem};

/// How long pods may take to start before it is asked what keeps them. Thousands of queues may have pods that start.
fn first_check(queues: usize) -> Duration {
    per_queue(queues, 10).clamp(Duration::from_secs(2), Duration::from_secs(20))
}

/// The longest time between two checks of pods that do not start: all queues together, twenty checks a second.
fn longest_pause(queues: usize) -> Duration {
    per_queue(queues, 50).clamp(Duration::from_secs(16), Duration::from_secs(300))
}

/// Pods are missing, and what is known of the cause.
#[derive(Debug)]
pub(crate) struct MissingPods {
    since: Instant,
    /// When the pods were listed last, or when they began to be missing.
    checked_at: Instant,
    /// What keeps them from starting, as far as was seen then.
    problem: Option<PodProblem>,
}

impl MissingPods {
    /// The pods were listed just now, or begin to be missing; `before` is what was known.
    pub(crate) fn checked_now(before: Option<&Self>, problem: Option<PodProblem>) -> Self {
        let checked_at = Instant::now();
        Self { since: before.map_or(checked_at, |before| before.since), checked_at, problem }
    }

    /// What keeps them from starting; `None` if nothing was found.
    pub(crate) fn problem(&self) -> Option<&PodProblem> {
        self.problem.as_ref()
    }

    /// How long until they are listed again: less often the longer they are missing.
    pub(crate) fn until_next_check(&self, queues: usize) -> Duration {
        let pause = self.checked_at.duration_since(self.since) / 4;
        pause.clamp(first_check(queues), longest_pause(queues)).saturating_sub(self.checked_at.elapsed())
    }
}
