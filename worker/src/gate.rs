//! Whether the database can be worked with. A write or a ping that fails closes the gate; a write that succeeds opens it.
//!
//! A ping alone does not open it (a full disk still answers `SELECT 1`): it only lets the batches in hand be tried again,
//! or, with none in hand, two jobs be claimed as a trial. Many workers so come back without a rush, and no job fails
//! because the database was away.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jobqueue_ingest::SinkError;
use jobqueue_queue::Trouble;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::trouble::trouble_of;

/// The first wait after a failure, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));

/// The size of a trial: two, so that one job that breaks every connection it is written on is told from a database
/// that takes nothing.
pub const TRIAL: usize = 2;

/// How much may be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowance {
    /// As much as is wanted.
    Full,
    /// Very few ([`TRIAL`]), to see whether they can be written.
    Trial,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed { since: Instant },
    Trial { since: Instant },
}

/// The gate, shared by all slots and the probe.
#[derive(Debug)]
pub struct Gate {
    state: watch::Sender<State>,
    /// Counts the pings that succeeded while the gate was closed; a change means "try again".
    nudges: watch::Sender<u64>,
    backoff: Mutex<Backoff>,
    /// Writes that went through.
    successes: AtomicU64,
    /// Why the gate is closed, in the words of the last failure.
    trouble: Mutex<Option<Trouble>>,
}

/// Held by a batch that waits to be written again; while there is one, nothing is claimed.
#[derive(Debug)]
pub struct Nudge(watch::Receiver<u64>);

impl Default for Gate {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(State::Open),
            nudges: watch::Sender::new(0),
            backoff: Mutex::new(Backoff::new(RETRY.0, RETRY.1)),
            successes: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }
}

impl Gate {
    /// True while the database works, as far as is known.
    pub fn is_open(&self) -> bool {
        *self.state.borrow() == State::Open
    }

    /// How many writes went through so far.
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// A write of jobs went through.
    pub fn write_succeeded(&self) {
        self.successes.fetch_add(1, Ordering::Relaxed);
        self.open();
    }

    /// A write without a job went through: the database is back. It does not count among [`Gate::successes`], which
    /// speak of jobs.
    pub fn probe_succeeded(&self) {
        self.open();
    }

    fn open(&self) {
        let mut away = None;
        self.state.send_if_modified(|state| match *state {
            State::Open => false,
            State::Closed { since } | State::Trial { since } => {
                away = Some(since.elapsed());
                *state = State::Open;
                true
            }
        });
        if let Some(away) = away {
            self.backoff.lock().expect("no panic under this lock").reset();
            *self.trouble.lock().expect("no panic under this lock") = None;
            self.nudges.send_modify(|count| *count += 1);
            tracing::info!(away_seconds = away.as_secs_f64(), "the database is back");
        }
    }

    /// Notes trouble from before the first write, or that it is over.
    pub fn say(&self, trouble: Option<Trouble>) {
        *self.trouble.lock().expect("no panic under this lock") = trouble;
    }

    /// Why the gate is closed, or the start takes so long.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().expect("no panic under this lock").clone()
    }

    /// A write or a ping failed.
    pub fn failed(&self, error: &SinkError) {
        *self.trouble.lock().expect("no panic under this lock") = Some(trouble_of(error));
        let mut closed = false;
        self.state.send_if_modified(|state| match *state {
            State::Open => {
                *state = State::Closed { since: Instant::now() };
                closed = true;
                true
            }
            State::Trial { since } => {
                *state = State::Closed { since };
                true
            }
            State::Closed { .. } => false,
        });
        if closed {
            tracing::warn!(%error, "the database is away: claims are kept for a while, no job fails because of it");
        }
    }

    /// A ping succeeded while the gate was closed.
    fn ping_succeeded(&self) {
        if self.nudges.receiver_count() > 0 {
            self.nudges.send_modify(|count| *count += 1);
            return;
        }
        self.state.send_if_modified(|state| match *state {
            State::Closed { since } => {
                *state = State::Trial { since };
                true
            }
            State::Open | State::Trial { .. } => false,
        });
    }

    /// Waits until something may be claimed. The permission for a trial is given once per ping.
    pub async fn claimable(&self) -> Allowance {
        let mut state = self.state.subscribe();
        loop {
            let mut allowance = None;
            self.state.send_if_modified(|state| match *state {
                State::Open => {
                    allowance = Some(Allowance::Full);
                    false
                }
                State::Trial { since } => {
                    allowance = Some(Allowance::Trial);
                    *state = State::Closed { since };
                    true
                }
                State::Closed { .. } => false,
            });
            if let Some(allowance) = allowance {
                return allowance;
            }
            // The sender is `self`: it cannot close while this waits.
            let _ = state.changed().await;
        }
    }

    /// To be taken before the first failure is reported, and kept until the batch is written or given back.
    pub fn nudge(&self) -> Nudge {
        Nudge(self.nudges.subscribe())
    }

    async fn closed(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| *state != State::Open).await;
    }
}

impl Nudge {
    /// Forgets the nudges so far; to be called before a failure is reported.
    pub fn forget(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns when the write may be tried again.
    pub async fn received(&mut self) {
        // A closed channel means that the gate is gone, and with it whoever would wait here.
        let _ = self.0.changed().await;
    }
}

/// Pings the database: every `idle_every` while the gate is open (for readiness), on a backoff while it is closed. Runs
/// until dropped.
pub async fn probe<P, F>(gate: &Gate, idle_every: Duration, ping: P)
where
    P: Fn() -> F,
    F: Future<Output = Result<(), SinkError>>,
{
    loop {
        if gate.is_open() {
            // A failure in between is answered on the schedule of failures at once.
            let _ = tokio::time::timeout(idle_every, gate.closed()).await;
        }
        if !gate.is_open() {
            let wait = gate.backoff.lock().expect("no panic under this lock").next(rand::random());
            tokio::time::sleep(wait).await;
        }
        match ping().await {
            Ok(()) if gate.is_open() => {}
            Ok(()) => gate.ping_succeeded(),
            Err(error) => gate.failed(&error),
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
    async fn a_ping_allows_one_trial_and_a_write_opens() {
        let gate = Gate::default();
        assert_eq!(gate.claimable().await, Allowance::Full);
        gate.failed(&away());
        gate.ping_succeeded();
        assert_eq!(gate.claimable().await, Allowance::Trial);
        let second = tokio::time::timeout(Duration::from_secs(60), gate.claimable()).await;
        assert!(second.is_err(), "one trial per ping");
        gate.write_succeeded();
        assert_eq!(gate.claimable().await, Allowance::Full);
    }

    #[tokio::test(start_paused = true)]
    async fn with_jobs_in_hand_a_ping_has_them_tried_again_and_nothing_claimed() {
        let gate = Gate::default();
        let mut nudge = gate.nudge();
        gate.failed(&away());
        gate.ping_succeeded();
        nudge.received().await;
        assert!(tokio::time::timeout(Duration::from_secs(60), gate.claimable()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn the_probe_backs_off_while_writes_fail_although_pings_succeed() {
        let gate = Gate::default();
        let mut pings = 0;
        let begin = Instant::now();
        let counted = std::cell::Cell::new(0_u32);
        let probing = probe(&gate, Duration::from_secs(10), || {
            counted.set(counted.get() + 1);
            async { Ok(()) }
        });
        let writer = async {
            let mut nudge = gate.nudge();
            gate.failed(&away());
            while begin.elapsed() < Duration::from_secs(600) {
                nudge.received().await;
                pings = counted.get();
                gate.failed(&away());
            }
        };
        tokio::select! { () = probing => unreachable!(), () = writer => {} }
        assert!((60..200).contains(&pings), "{pings} attempts in ten minutes");
    }
}
