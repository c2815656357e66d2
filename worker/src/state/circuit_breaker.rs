//! The circuit breaker of the database. A write or a ping that fails opens it, and nothing is claimed; a write that succeeds
//! closes it.
//!
//! A ping alone does not close it (a full disk still answers `SELECT 1`): it lets the batches in flight be tried again or,
//! if there are none, makes the breaker half-open, so that two jobs are claimed as a trial. So many workers do not come
//! back all at once, and no job fails because the database was away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobqueue_ingest::SinkError;
use jobqueue_queue::WorkerFault;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::database_fault;
use crate::backoff::Backoff;

/// The first wait after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));

/// How many jobs are claimed while half-open: two, so that one job that breaks every connection it is written on is told
/// from a database that takes nothing.
pub(crate) const HALF_OPEN_JOBS: usize = 2;

/// How much may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// As much as is wanted.
    Full,
    /// Very few ([`HALF_OPEN_JOBS`]), to see whether they can be written.
    HalfOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { since: Instant },
    HalfOpen { since: Instant },
}

/// Shared by all slots and the probe of the database.
#[derive(Debug)]
pub struct CircuitBreaker {
    state: watch::Sender<State>,
    /// Counts the pings that succeeded while the breaker was open; a change means "try again".
    retries: watch::Sender<u64>,
    backoff: Mutex<Backoff>,
    /// Writes of jobs that succeeded.
    successes: AtomicU64,
    /// Why the breaker is open, in the words of the last failure.
    fault: Mutex<Option<WorkerFault>>,
}

/// Held by a batch that waits to be written again; while there is one, the breaker does not become half-open.
#[derive(Debug)]
pub(crate) struct RetrySignal(watch::Receiver<u64>);

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::Closed),
            retries: watch::Sender::new(0),
            backoff: Mutex::new(Backoff::new(RETRY.0, RETRY.1)),
            successes: AtomicU64::new(0),
            fault: Mutex::new(None),
        }
    }
}

impl CircuitBreaker {
    /// True while the database works, as far as is known.
    pub fn is_closed(&self) -> bool {
        *self.state.borrow() == State::Closed
    }

    /// How many writes of jobs succeeded so far.
    pub(crate) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// A write of jobs succeeded.
    pub(crate) fn write_succeeded(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.close();
    }

    /// A write without a job succeeded: the database is back. It does not count among [`CircuitBreaker::successes`],
    /// which are writes of jobs.
    pub(crate) fn probe_succeeded(&self) {
        self.close();
    }

    fn close(&self) {
        let mut away = None;
        self.state.send_if_modified(|state| match *state {
            State::Closed => false,
            State::Open { since } | State::HalfOpen { since } => {
                away = Some(since.elapsed());
                *state = State::Closed;
                true
            }
        });
        if let Some(away) = away {
            self.backoff.lock().expect("no panic under this lock").reset();
            self.set_fault(None);
            self.retries.send_modify(|count| *count += 1);
            tracing::info!(away_seconds = away.as_secs_f64(), "the database is back");
        }
    }

    /// Notes what keeps the worker from its database before the first write; `None`: nothing any more.
    pub(crate) fn set_fault(&self, fault: Option<WorkerFault>) {
        *self.fault.lock().expect("no panic under this lock") = fault;
    }

    /// Why the breaker is open, or the start takes so long; `None` while the database works.
    pub(crate) fn fault(&self) -> Option<WorkerFault> {
        self.fault.lock().expect("no panic under this lock").clone()
    }

    /// A write or a ping failed.
    pub(crate) fn failed(&self, error: &SinkError) {
        self.set_fault(Some(database_fault(error)));
        let mut opened = false;
        self.state.send_if_modified(|state| match *state {
            State::Closed => {
                *state = State::Open { since: Instant::now() };
                opened = true;
                true
            }
            State::HalfOpen { since } => {
                *state = State::Open { since };
                true
            }
            State::Open { .. } => false,
        });
        if opened {
            tracing::warn!(%error, "the database is away: claims are kept for a while, no job fails because of it");
        }
    }

    /// A ping succeeded while the breaker was open.
    fn ping_succeeded(&self) {
        if self.retries.receiver_count() > 0 {
            self.retries.send_modify(|count| *count += 1);
            return;
        }
        self.state.send_if_modified(|state| match *state {
            State::Open { since } => {
                *state = State::HalfOpen { since };
                true
            }
            State::Closed | State::HalfOpen { .. } => false,
        });
    }

    /// Waits until something may be claimed. [`Allowance::HalfOpen`] is given once per ping.
    pub(crate) async fn claimable(&self) -> Allowance {
        let mut state = self.state.subscribe();
        loop {
            let mut allowance = None;
            self.state.send_if_modified(|state| match *state {
                State::Closed => {
                    allowance = Some(Allowance::Full);
                    false
                }
                State::HalfOpen { since } => {
                    allowance = Some(Allowance::HalfOpen);
                    *state = State::Open { since };
                    true
                }
                State::Open { .. } => false,
            });
            if let Some(allowance) = allowance {
                return allowance;
            }
            // The sender is `self`: it cannot close while this waits.
            let _ = state.changed().await;
        }
    }

    /// To be taken before the first failure is reported, and kept until the batch is written or given back.
    pub(crate) fn retry_signal(&self) -> RetrySignal {
        RetrySignal(self.retries.subscribe())
    }

    async fn opened(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| *state != State::Closed).await;
    }
}

impl RetrySignal {
    /// Forgets the signals so far; to be called before a failure is reported.
    pub(crate) fn forget(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns when the write may be tried again.
    pub(crate) async fn received(&mut self) {
        // A closed channel means that the breaker is gone, and with it every batch.
        let _ = self.0.changed().await;
    }
}

/// Pings the database: every `idle_every` while the breaker is closed (for readiness), on a backoff while it is open. Runs
/// until dropped.
pub(crate) async fn probe<P, F>(breaker: &CircuitBreaker, idle_every: Duration, ping: P)
where
    P: Fn() -> F,
    F: Future<Output = Result<(), SinkError>>,
{
    loop {
        if breaker.is_closed() {
            // A failure in between changes to the schedule of failures at once.
            let _ = tokio::time::timeout(idle_every, breaker.opened()).await;
        }
        if !breaker.is_closed() {
            let wait = breaker.backoff.lock().expect("no panic under this lock").next(rand::random());
            tokio::time::sleep(wait).await;
        }
        match ping().await {
            Ok(()) if breaker.is_closed() => {}
            Ok(()) => breaker.ping_succeeded(),
            Err(error) => breaker.failed(&error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> SinkError {
        SinkError::Unavailable { endpoint: "db".into(), cause: "gone".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_makes_it_half_open_once_and_a_write_closes_it() {
        let breaker = CircuitBreaker::default();
        assert_eq!(breaker.claimable().await, Allowance::Full);
        breaker.failed(&away());
        breaker.ping_succeeded();
        assert_eq!(breaker.claimable().await, Allowance::HalfOpen);
        let second = tokio::time::timeout(Duration::from_secs(60), breaker.claimable()).await;
        assert!(second.is_err(), "one trial per ping");
        breaker.write_succeeded();
        assert_eq!(breaker.claimable().await, Allowance::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn with_jobs_in_flight_a_ping_has_them_tried_again_and_nothing_claimed() {
        let breaker = CircuitBreaker::default();
        let mut retry = breaker.retry_signal();
        breaker.failed(&away());
        breaker.ping_succeeded();
        retry.received().await;
        assert!(tokio::time::timeout(Duration::from_secs(60), breaker.claimable()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_probe_backs_off_while_writes_fail_although_pings_succeed() {
        let breaker = CircuitBreaker::default();
        let mut pings = 0;
        let begin = Instant::now();
        let counted = std::cell::Cell::new(0_u32);
        let probing = probe(&breaker, Duration::from_secs(10), || {
            counted.set(counted.get() + 1);
            async { Ok(()) }
        });
        let writer = async {
            let mut retry = breaker.retry_signal();
            breaker.failed(&away());
            while begin.elapsed() < Duration::from_secs(600) {
                retry.received().await;
                pings = counted.get();
                breaker.failed(&away());
            }
        };
        tokio::select! { () = probing => unreachable!(), () = writer => {} }
        assert!((60..200).contains(&pings), "{pings} attempts in ten minutes");
    }
}
