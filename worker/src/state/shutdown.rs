//! Shutting down, in two steps: drain (claim nothing more, finish what is in flight until a deadline), then abandon (release
//! the rest at once). A first signal or RQ's `shutdown` starts the first, a second signal the second.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Where the worker stands between start and exit. It only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Draining { until: Instant },
    Abandoning,
}

/// Whether the worker is asked to end. Clones share it.
#[derive(Debug, Clone)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
    drain_limit: Duration,
}

impl Shutdown {
    /// A worker that runs, and will have `drain_limit` to finish once asked to end.
    pub fn new(drain_limit: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Running), drain_limit }
    }

    /// Asks for a drain; asked again, for the end at once. Returns true the first time.
    pub fn request(&self) -> bool {
        let until = Instant::now() + self.drain_limit;
        let mut first = false;
        self.phase.send_modify(|phase| {
            first = *phase == Phase::Running;
            *phase = if first { Phase::Draining { until } } else { Phase::Abandoning };
        });
        first
    }

    /// As [`Shutdown::request`], but a second call changes nothing (scripts may send RQ's `shutdown` twice).
    pub(crate) fn request_drain(&self) {
        if !self.is_draining() {
            self.request();
        }
    }

    /// True from the first request on.
    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// Returns once nothing more may be claimed.
    pub(crate) async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    }

    /// Returns once what is still in flight must be released.
    pub(crate) async fn overdue(&self) {
        let mut phase = self.phase.subscribe();
        loop {
            let now = *phase.borrow_and_update();
            match now {
                Phase::Abandoning => return,
                Phase::Running => {
                    let _ = phase.changed().await;
                }
                Phase::Draining { until } => {
                    if tokio::time::timeout_at(until, phase.changed()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_deadline_makes_a_drain_overdue() {
        let shutdown = Shutdown::new(Duration::from_secs(10));
        let begin = Instant::now();
        assert!(shutdown.request());
        shutdown.draining().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        shutdown.overdue().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_ends_the_drain() {
        let shutdown = Shutdown::new(Duration::from_secs(10));
        let begin = Instant::now();
        shutdown.request();
        shutdown.request_drain();
        assert!(tokio::time::timeout(Duration::from_secs(1), shutdown.overdue()).await.is_err(), "still draining");
        assert!(!shutdown.request());
        shutdown.overdue().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }
}
