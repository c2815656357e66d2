//! What was decided on the number of a queue's workers, and how the writing of it goes. Written by the autoscaler.

use jobqueue_crds::{LastScale, Reason};
use jobqueue_scaling::{Decision, Memory};
use tokio::time::Instant;

/// The part of a queue's state that follows the decisions.
#[derive(Debug, Default)]
pub(crate) struct Scaling {
    /// Workers asked for now.
    pub(crate) replicas: u32,
    /// What the decision remembers.
    pub(crate) memory: Memory,
    /// The last decision; `None` before the first poll.
    pub(crate) decision: Option<Decision>,
    /// Why the number of workers is held where it is, against the decision; `None` if it is not held.
    pub(crate) held: Option<Reason>,
    /// A change is being written: no other is begun meanwhile.
    pub(crate) write_in_progress: bool,
    /// No change is begun before that; `None` after a write that succeeded.
    pub(crate) retry: Option<Retry>,
    /// When the number of workers was last written, the API server having confirmed it; `None` if it never was, or if the
    /// last write got no answer.
    pub(crate) written_at: Option<Instant>,
    /// The last change of the number of workers; `None` if there was none.
    pub(crate) last_scale: Option<Box<LastScale>>,
    /// Digest of the problems that a reconcile was last requested for; `None` before the first poll.
    pub(crate) notified: Option<u64>,
}

/// When a change of the number of workers may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retry {
    /// Writes in a row that failed.
    pub(crate) failures: u32,
    /// Not before this moment.
    pub(crate) not_before: Instant,
}

impl Scaling {
    /// As many workers as are asked for, or about to be.
    pub(crate) fn replicas_asked(&self) -> u32 {
        self.replicas.max(self.decision.as_ref().map_or(0, |decision| decision.replicas))
    }

    /// Whether a change of the number of workers may be begun at `now`.
    pub(crate) fn may_begin_write(&self, now: Instant) -> bool {
        !self.write_in_progress && self.retry.is_none_or(|retry| now >= retry.not_before)
    }

    /// A change was written, `confirmed` by the API server or (without an answer) perhaps: the new number holds, so that
    /// nothing puts back the old one.
    pub(crate) fn record_written(&mut self, change: LastScale, replicas: u32, confirmed: bool) {
        self.write_in_progress = false;
        self.retry = None;
        self.written_at = confirmed.then(Instant::now);
        self.replicas = replicas;
        self.last_scale = Some(Box::new(change));
    }

    /// A change was not written; `pause` tells how long to wait after so many failures in a row.
    pub(crate) fn record_failed(&mut self, pause: impl FnOnce(u32) -> std::time::Duration) {
        let failures = self.retry.map_or(1, |retry| retry.failures.saturating_add(1));
        self.write_in_progress = false;
        self.retry = Some(Retry { failures, not_before: Instant::now() + pause(failures) });
    }

    /// A change was not begun, and is tried again after `pause`.
    pub(crate) fn postpone(&mut self, pause: std::time::Duration) {
        self.write_in_progress = false;
        self.retry = Some(Retry { failures: 0, not_before: Instant::now() + pause });
    }
}
