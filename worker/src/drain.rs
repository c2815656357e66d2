//! Stopping, in two steps: drain (claim nothing more, finish what is in hand until a deadline), then abandon (give back
//! at once). A first signal or RQ's `shutdown` starts the first, a second signal the second.

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

/// The switch. Clones turn the same one.
#[derive(Debug, Clone)]
pub struct Stop {
    phase: watch::Sender<Phase>,
    patience: Duration,
}

impl Stop {
    /// A worker that runs, and will have `patience` to finish once asked to stop.
    pub fn new(patience: Duration) -> Self {
        Self { phase: watch::Sender::new(Phase::Running), patience }
    }

    /// Asks for a drain; asked again, for the end at once. Returns true the first time.
    pub fn request(&self) -> bool {
        let until = Instant::now() + self.patience;
        let mut first = false;
        self.phase.send_modify(|phase| {
            first = *phase == Phase::Running;
            *phase = if first { Phase::Draining { until } } else { Phase::Abandoning };
        });
        first
    }

    /// As [`Stop::request`], but a drain that goes on already stays one (RQ's `shutdown` may be sent twice by scripts).
    pub fn request_drain(&self) {
        if !self.is_draining() {
            self.request();
        }
    }

    /// True from the first request on.
    pub fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Running
    }

    /// Returns once nothing more may be claimed.
    pub async fn draining(&self) {
        let mut phase = self.phase.subscribe();
        // The sender is `self`, so the channel cannot close while this waits.
        let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
    }

    /// Returns once what is still in hand must be given back.
    pub async fn overdue(&self) {
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
        let stop = Stop::new(Duration::from_secs(10));
        let begin = Instant::now();
        assert!(stop.request());
        stop.draining().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        stop.overdue().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_request_ends_the_patience() {
        let stop = Stop::new(Duration::from_secs(10));
        let begin = Instant::now();
        stop.request();
        stop.request_drain();
        assert!(tokio::time::timeout(Duration::from_secs(1), stop.overdue()).await.is_err(), "still draining");
        assert!(!stop.request());
        stop.overdue().await;
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }
}
