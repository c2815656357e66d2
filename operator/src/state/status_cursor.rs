//! What of a queue's state its status reports already. Written by the status writer.

use std::time::Duration;

use jobqueue_crds::JobQueueStatus;
use tokio::time::Instant;

use crate::{
    digest::fingerprint,
    state::{key::Uid, observed::Observed, scaling::Scaling},
};

/// How often the numbers in a status are renewed.
pub(crate) const NUMBERS_EVERY: Duration = Duration::from_secs(15);

/// The part of a queue's state that follows the writing of its status.
#[derive(Debug, Default)]
pub(crate) struct StatusCursor {
    /// When the status was last written or found to be true, and what it reported then; `None` before that.
    pub(crate) reported: Option<(Instant, StatusDigest)>,
}

impl StatusCursor {
    /// Whether the status has old numbers, and `digest` is of others that it is to have at `now`.
    pub(crate) fn numbers_due(&self, now: Instant, digest: impl FnOnce() -> StatusDigest) -> bool {
        self.reported.is_none_or(|(at, reported)| now.duration_since(at) >= NUMBERS_EVERY && reported != digest())
    }
}

/// Digest of what a status reports of the backlog, as far as a change of it is news after a while: jobs that wait, run, failed
/// or are scheduled, and the decision's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatusDigest(u64);

impl StatusDigest {
    /// As a status would report it now.
    pub(crate) fn of(observed: &Observed, scaling: &Scaling) -> Self {
        let counts = observed
            .snapshot
            .as_ref()
            .map(|snapshot| [snapshot.backlog.waiting, snapshot.backlog.running, snapshot.failed, snapshot.scheduled]);
        let reason = scaling.decision.as_ref().map(|decision| decision.reason.name());
        Self(fingerprint((counts.unwrap_or_default(), reason)))
    }
}

/// A status that this process wrote.
#[derive(Debug, Clone)]
pub(crate) struct WrittenStatus {
    /// The object that it is of.
    pub(crate) uid: Uid,
    /// What it says; `None` once the watch has it too.
    pub(crate) status: Option<Box<JobQueueStatus>>,
    /// When it was written.
    pub(crate) at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::snapshot;

    #[test]
    fn numbers_are_reported_when_the_last_report_is_old() {
        let (observed, scaling) = (Observed { snapshot: Some(snapshot(3)), ..Observed::default() }, Scaling::default());
        let (now, reported) = (Instant::now(), StatusDigest::of(&Observed::default(), &scaling));
        let cursor = StatusCursor { reported: Some((now, reported)) };
        let due = |age, digest| cursor.numbers_due(now + age, || digest);
        let other = StatusDigest::of(&observed, &scaling);
        assert!(due(NUMBERS_EVERY, other));
        assert!(!due(NUMBERS_EVERY / 2, other) && !due(NUMBERS_EVERY * 2, reported));
        assert!(StatusCursor::default().numbers_due(now, || other), "there was no report");
    }
}
