//! What the stages of the pipeline and the background tasks work with: the settings, the queue, the database, and what is
//! known of the worker.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jobqueue_ingest::{Recipe, Sink, SinkError};
use jobqueue_queue::{Backend, QueueError};

use crate::state::circuit_breaker::CircuitBreaker;
use crate::state::in_flight::InFlight;
use crate::state::instruments::Instruments;
use crate::state::metrics::Metrics;
use crate::state::shutdown::Shutdown;

/// How long the last messages to Redis (releases, outcomes, deregistration) may take once the drain is overdue.
pub(crate) const LAST_MESSAGES: Duration = Duration::from_secs(3);
/// A ping of the database that takes longer has failed.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// How the worker works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Batches written at once. One batch more is in flight, so that the database never waits for Redis.
    pub concurrency: usize,
    /// Jobs per claim and per transaction.
    pub batch_size: usize,
    /// Runs of a job, which decide what jobs may share a batch.
    pub max_attempts: u32,
    /// How long a claim is ours without a heartbeat.
    pub lease: Duration,
    /// Jobs after which the worker ends by itself; `None`: it does not.
    pub max_jobs: Option<u64>,
    /// How long without a job until the worker ends by itself; `None`: it does not.
    pub max_idle: Option<Duration>,
    /// How long claims are kept while the database is away.
    pub hold: Duration,
    /// Age at which ledger entries are removed.
    pub ledger_retention: Duration,
    /// Threads that extract one batch.
    pub threads: usize,
    /// How long the extraction of a job may take if its producer set no limit; `None`: as long as it takes.
    pub extract_limit: Option<Duration>,
}

/// Shared by everything that runs in a worker.
pub(crate) struct Deps {
    pub(crate) settings: Settings,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) in_flight: Arc<InFlight>,
    /// Jobs that ended here, failed ones included; released and lost ones do not count. The completer counts, the claimer
    /// compares with [`Settings::max_jobs`].
    pub(crate) jobs_ended: AtomicU64,
    pub(crate) instruments: Instruments,
}

impl Deps {
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.instruments.metrics
    }

    pub(crate) fn circuit_breaker(&self) -> &CircuitBreaker {
        &self.instruments.circuit_breaker
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.instruments.shutdown
    }

    /// Asks the database whether it answers, within [`PING_LIMIT`].
    pub(crate) async fn ping_database(&self) -> Result<(), SinkError> {
        within_limit("ping", self.sink.ping()).await
    }

    /// Asks the database whether it takes writes, within [`PING_LIMIT`].
    pub(crate) async fn probe_database(&self) -> Result<(), SinkError> {
        within_limit("trial write", self.sink.probe()).await
    }

    /// The database took a write without a job: it is back.
    pub(crate) fn probe_succeeded(&self) {
        self.circuit_breaker().probe_succeeded();
        self.metrics().database_up.set(1);
    }

    /// Notes how an operation on Redis went: `None` is a success.
    pub(crate) fn note_redis(&self, error: Option<&QueueError>) {
        match error {
            None => self.instruments.health.redis_succeeded(),
            Some(error) => {
                self.metrics().redis_failed(error);
                self.instruments.health.redis_failed(error);
            }
        }
    }
}

/// The answer, or [`SinkError::Unavailable`] if it does not come within [`PING_LIMIT`].
async fn within_limit(what: &str, answer: impl Future<Output = Result<(), SinkError>>) -> Result<(), SinkError> {
    tokio::time::timeout(PING_LIMIT, answer).await.unwrap_or_else(|_| {
        let cause = format!("no answer to a {what} within {} s", PING_LIMIT.as_secs());
        Err(SinkError::Unavailable { endpoint: "its address".into(), cause })
    })
}
