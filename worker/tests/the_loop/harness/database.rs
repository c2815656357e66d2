//! A database in memory, strict about its contract: an effect needs its ledger key. It can be told to be away.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobqueue_ingest::{LedgerKey, Recipe, RecipeProblem, Rejection, Sink, SinkError, Unit, UnitOutcome};
use tokio::time::Instant;

/// A database in memory.
#[derive(Default)]
pub(crate) struct Database {
    /// How often each job's effect was applied.
    pub(crate) applied: Mutex<HashMap<String, u32>>,
    /// The jobs whose effect was applied, in that order.
    pub(crate) order: Mutex<Vec<String>>,
    ledger: Mutex<HashSet<LedgerKey>>,
    pub(crate) refuse: Mutex<HashMap<String, Rejection>>,
    pub(crate) stuck: Mutex<Vec<String>>,
    /// Jobs at which the database seems to be away.
    pub(crate) breakers: Mutex<Vec<String>>,
    /// Jobs for which the disk has no room.
    pub(crate) too_large: Mutex<Vec<String>>,
    /// Jobs that end the connection they are written on.
    pub(crate) cutters: Mutex<Vec<String>>,
    /// Being away, the database lets everybody in, and ends the connection at the first write.
    pub(crate) cuts: AtomicBool,
    /// A trial write, which is small, finds a place although others find none.
    pub(crate) probes_anyway: AtomicBool,
    /// A job that ends the connection takes the whole server with it, for so long.
    pub(crate) recovery: Mutex<Duration>,
    down_until: Mutex<Option<Instant>>,
    pub(crate) away: AtomicBool,
    /// Pings succeed although writes fail, as with a full disk.
    pub(crate) pings_anyway: AtomicBool,
    /// Reports a failure although the commit went through.
    pub(crate) lose_replies: AtomicUsize,
    /// How long a write takes.
    pub(crate) takes: Mutex<Duration>,
    pub(crate) writes: Mutex<Vec<usize>>,
    pub(crate) attempts_while_away: AtomicUsize,
}

impl Database {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self, job: &str) -> u32 {
        self.applied.lock().unwrap().get(job).copied().unwrap_or(0)
    }

    fn is_down(&self) -> bool {
        self.away.load(Ordering::SeqCst) || self.down_until.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }

    fn disconnected() -> SinkError {
        SinkError::Disconnected { endpoint: "db://test".into(), cause: "the connection was closed".into() }
    }

    fn full() -> SinkError {
        SinkError::Unwritable { endpoint: "db://test".into(), cause: "it has no room left".into() }
    }

    fn unavailable() -> SinkError {
        SinkError::Unavailable { endpoint: "db://test".into(), cause: "connection refused".into() }
    }
}

#[async_trait]
impl Sink for Database {
    async fn validate(&self, _recipe: &Recipe) -> Result<Result<(), Vec<RecipeProblem>>, SinkError> {
        Ok(Ok(()))
    }

    async fn ensure_ledger(&self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn write(&self, _recipe: &Recipe, units: &[Unit]) -> Result<Vec<UnitOutcome>, SinkError> {
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        let stuck = self.stuck.lock().unwrap().clone();
        if units.iter().any(|unit| stuck.contains(&unit.key.job_id)) {
            std::future::pending::<()>().await;
        }
        let breakers = self.breakers.lock().unwrap().clone();
        if units.iter().any(|unit| breakers.contains(&unit.key.job_id)) {
            return Err(Self::unavailable());
        }
        let too_large = self.too_large.lock().unwrap().clone();
        if units.iter().any(|unit| too_large.contains(&unit.key.job_id)) {
            return Err(Self::full());
        }
        if self.is_down() {
            self.attempts_while_away.fetch_add(1, Ordering::SeqCst);
            return Err(if self.cuts.load(Ordering::SeqCst) { Self::disconnected() } else { Self::unavailable() });
        }
        let cutters = self.cutters.lock().unwrap().clone();
        if units.iter().any(|unit| cutters.contains(&unit.key.job_id)) {
            *self.down_until.lock().unwrap() = Some(Instant::now() + *self.recovery.lock().unwrap());
            return Err(Self::disconnected());
        }
        self.writes.lock().unwrap().push(units.len());
        let mut outcomes = Vec::new();
        for unit in units {
            let rejection = self.refuse.lock().unwrap().get(&unit.key.job_id).cloned();
            outcomes.push(if let Some(rejection) = rejection {
                UnitOutcome::Rejected(rejection)
            } else if self.ledger.lock().unwrap().insert(unit.key.clone()) {
                *self.applied.lock().unwrap().entry(unit.key.job_id.clone()).or_default() += 1;
                self.order.lock().unwrap().push(unit.key.job_id.clone());
                UnitOutcome::Applied { rows: 1 }
            } else {
                UnitOutcome::AlreadyApplied
            });
        }
        let lose = |left: usize| left.checked_sub(1);
        if self.lose_replies.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
            return Err(Self::unavailable());
        }
        Ok(outcomes)
    }

    async fn prune_ledger(&self, _age: Duration) -> Result<u64, SinkError> {
        Ok(0)
    }

    async fn count(&self, _table: &str) -> Result<u64, SinkError> {
        Ok(self.applied.lock().unwrap().len() as u64)
    }

    async fn ping(&self) -> Result<(), SinkError> {
        if self.is_down() && !self.pings_anyway.load(Ordering::SeqCst) {
            return Err(Self::unavailable());
        }
        Ok(())
    }

    async fn probe(&self) -> Result<(), SinkError> {
        if self.is_down() && !self.probes_anyway.load(Ordering::SeqCst) {
            return Err(Self::unavailable());
        }
        Ok(())
    }
}
