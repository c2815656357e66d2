//! How long this operator may act. Every write to the API server asks here first, so that a leader that was paused or
//! cut off for longer than its lease writes nothing when it comes back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A deadline on the monotonic clock, moved by the election.
#[derive(Debug, Clone)]
pub struct LeaseGuard {
    born: Instant,
    /// Milliseconds after `born`; in the past: we do not lead.
    until: Arc<AtomicU64>,
}

impl Default for LeaseGuard {
    fn default() -> Self {
        Self { born: Instant::now(), until: Arc::default() }
    }
}

impl LeaseGuard {
    /// One without end, for a process that has no competitors (tests).
    pub fn unlimited() -> Self {
        let lease = Self::default();
        lease.until.store(u64::MAX, Ordering::SeqCst);
        lease
    }

    /// True while we lead.
    pub fn holds(&self) -> bool {
        self.born.elapsed().as_millis() < u128::from(self.until.load(Ordering::SeqCst))
    }

    /// How long we may act without a renewal.
    pub(crate) fn remaining(&self) -> Duration {
        let until = Duration::from_millis(self.until.load(Ordering::SeqCst));
        until.saturating_sub(self.born.elapsed())
    }

    /// Lasts until `length` after `start`, the moment before the renewal was asked for.
    pub fn extend(&self, start: Instant, length: Duration) {
        let until = (start + length).saturating_duration_since(self.born).as_millis();
        self.until.store(u64::try_from(until).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Ends now.
    pub(crate) fn end(&self) {
        self.until.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ends_by_the_clock_alone() {
        let lease = LeaseGuard::default();
        assert!(!lease.holds());
        lease.extend(Instant::now(), Duration::from_secs(7));
        tokio::time::advance(Duration::from_millis(6999)).await;
        assert!(lease.holds());
        assert_eq!(lease.remaining(), Duration::from_millis(1));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!lease.holds());
        lease.extend(Instant::now(), Duration::from_secs(7));
        assert!(lease.holds());
        lease.end();
        assert!(!lease.holds());
    }
}
