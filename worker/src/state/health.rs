//! What a probe asks: is the heartbeat's loop alive, is the worker ready. Transitions are logged here, once each.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jobqueue_queue::{QueueError, WorkerFault};
use tokio::time::Instant;

/// Liveness and readiness, written by all tasks.
#[derive(Debug)]
pub struct Health {
    started: Instant,
    registered: AtomicBool,
    redis: AtomicBool,
    suspended: AtomicBool,
    /// Why Redis refuses the claims; `None` if it does not.
    refusal: Mutex<Option<WorkerFault>>,
    /// Milliseconds from `started` to the last round of the heartbeat's loop.
    last_beat: AtomicU64,
    beat_every: Duration,
}

/// Why a worker is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub enum NotReady {
    /// Start-up goes on: not announced in Redis, or the recipe is not checked yet.
    #[strum(serialize = "starting")]
    Starting,
    /// Redis does not answer.
    #[strum(serialize = "Redis is away")]
    Redis,
    /// The database does not answer, or takes no rows.
    #[strum(serialize = "the database is away")]
    Database,
    /// Asked to stop.
    #[strum(serialize = "draining")]
    Draining,
}

impl Health {
    /// A worker that just started and will beat every `beat_every`.
    pub fn new(beat_every: Duration) -> Self {
        Self {
            started: Instant::now(),
            registered: AtomicBool::new(false),
            redis: AtomicBool::new(true),
            suspended: AtomicBool::new(false),
            refusal: Mutex::new(None),
            last_beat: AtomicU64::new(0),
            beat_every,
        }
    }

    /// The worker is announced, and may work.
    pub fn set_registered(&self, registered: bool) {
        self.registered.store(registered, Ordering::Relaxed);
    }

    /// The heartbeat's loop made a round (whether or not Redis took the heartbeat).
    pub(crate) fn beat(&self) {
        let since_start = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_beat.store(since_start, Ordering::Relaxed);
    }

    /// True while the heartbeat's loop goes on: neither a slow database nor an unreachable Redis is a reason for a restart.
    pub(crate) fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last_beat.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(last) < self.beat_every * 3 + Duration::from_secs(10)
    }

    /// The first reason why the worker is not ready; `None` while it is.
    pub fn not_ready(&self, database_works: bool, draining: bool) -> Option<NotReady> {
        if draining {
            Some(NotReady::Draining)
        } else if !self.registered.load(Ordering::Relaxed) {
            Some(NotReady::Starting)
        } else if !self.redis.load(Ordering::Relaxed) {
            Some(NotReady::Redis)
        } else if !database_works {
            Some(NotReady::Database)
        } else {
            None
        }
    }

    /// Redis answered.
    pub(crate) fn redis_succeeded(&self) {
        if !self.redis.swap(true, Ordering::Relaxed) {
            tracing::info!("Redis is back");
        }
    }

    /// Redis did not answer, or refused us.
    pub(crate) fn redis_failed(&self, error: &QueueError) {
        if self.redis.swap(false, Ordering::Relaxed) {
            if matches!(error, QueueError::Unavailable { .. }) {
                tracing::warn!(%error, "Redis is away: trying again until it is back");
            } else {
                tracing::warn!(%error, "Redis refuses what this worker has to do: trying again until it may");
            }
        }
    }

    /// Notes how the last claim went: `refusal` is why Redis refused it, which those who only read the queue may not notice.
    pub(crate) fn claimed(&self, refusal: Option<WorkerFault>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Why Redis refuses the claims; `None` if it does not.
    pub(crate) fn refusal(&self) -> Option<WorkerFault> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Claims are suspended by `rq suspend`, or no longer.
    pub(crate) fn set_suspended(&self, suspended: bool) {
        if self.suspended.swap(suspended, Ordering::Relaxed) != suspended {
            tracing::info!(suspended, "suspension changed");
        }
    }

    /// True while suspended.
    pub fn is_suspended(&self) -> bool {
        self.suspended.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stands_still_is_not_alive() {
        let health = Health::new(Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(39)).await;
        assert!(health.is_alive());
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!health.is_alive());
        health.beat();
        assert!(health.is_alive());
    }

    #[test]
    fn readiness_names_the_first_reason() {
        let health = Health::new(Duration::from_secs(10));
        assert_eq!(health.not_ready(true, false), Some(NotReady::Starting));
        health.set_registered(true);
        assert_eq!(health.not_ready(true, false), None);
        assert_eq!(health.not_ready(false, false), Some(NotReady::Database));
        health.redis_failed(&QueueError::Data("x".into()));
        assert_eq!(health.not_ready(false, false), Some(NotReady::Redis));
        health.redis_succeeded();
        assert_eq!(health.not_ready(true, true), Some(NotReady::Draining));
    }
}
