//! The worker as a whole: its tasks, from the first claim to the last release.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jobqueue_ingest::{Recipe, Sink, SinkError};
use jobqueue_queue::Backend;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::drain::Stop;
use crate::extract::{Extractor, LeftBehind};
use crate::gate::{self, Gate};
use crate::hand::Hand;
use crate::health::Health;
use crate::instruments::Instruments;
use crate::intake::Turn;
use crate::metrics::Metrics;
use crate::{heartbeat, slot, upkeep};

/// Slots beyond those that write: one claims while another settles, so that no write waits for Redis.
const WAITING_FOR_REDIS: usize = 2;

/// How long the last words to Redis (releases, outcomes, deregistration) may take once the drain is overdue.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(3);
/// A ping that takes longer has failed.
pub(crate) const PING_LIMIT: Duration = Duration::from_secs(5);
/// How often an idle worker looks after its database, for readiness.
const PING_EVERY: Duration = Duration::from_secs(5);

/// What the loop needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Batches written at once. One batch more is in hand, so that the database never waits for Redis.
    pub concurrency: usize,
    /// Jobs per claim and per transaction.
    pub batch_size: usize,
    /// Runs of a job, for deciding who may share a batch with whom.
    pub max_attempts: u32,
    /// How long a claim stays ours without a heartbeat.
    pub lease: Duration,
    /// Jobs after which the worker ends by itself.
    pub max_jobs: Option<u64>,
    /// How long without a job until the worker ends by itself.
    pub max_idle: Option<Duration>,
    /// How long claims are kept while the database is away.
    pub hold: Duration,
    /// Age at which ledger entries are removed.
    pub ledger_retention: Duration,
    /// Threads that extract one batch.
    pub threads: usize,
    /// How long the extraction of a job may take whose producer limited nothing.
    pub extract_limit: Option<Duration>,
}

/// A worker and everything its tasks share.
pub struct Worker {
    pub(crate) settings: Settings,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) recipe: Arc<Recipe>,
    pub(crate) extractor: Extractor,
    /// Threads of jobs whose extraction was cut off and has not ended.
    pub(crate) left_behind: LeftBehind,
    pub(crate) stop: Stop,
    pub(crate) hand: Arc<Hand>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) turn: tokio::sync::Mutex<Turn>,
    /// Held by whoever has suspects (see [`crate::triage`]) in hand.
    pub(crate) suspects: Arc<Semaphore>,
    /// Jobs that ended here, one way or another.
    pub(crate) ended: AtomicU64,
    /// One permit per write that may run.
    pub(crate) writes: Semaphore,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
}

/// A task of the worker panicked: a fault in this program. Its claims lapse and run elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("a task of the worker failed: {0}")]
pub struct Broken(String);

impl Worker {
    /// Assembles a worker; nothing runs yet.
    pub fn new(
        settings: Settings,
        backend: Arc<dyn Backend>,
        sink: Arc<dyn Sink>,
        recipe: Arc<Recipe>,
        extractor: Extractor,
        instruments: Instruments,
    ) -> Self {
        let Instruments { health, metrics, gate, stop } = instruments;
        Self {
            ended: AtomicU64::new(0),
            writes: Semaphore::new(settings.concurrency.max(1)),
            health,
            metrics,
            gate,
            hand: Arc::new(Hand::default()),
            turn: tokio::sync::Mutex::new(Turn::default()),
            suspects: Arc::new(Semaphore::new(1)),
            settings,
            backend,
            sink,
            recipe,
            extractor,
            left_behind: LeftBehind::default(),
            stop,
        }
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Works until stopped. When this returns nothing is in hand any more: everything was settled, given back, or will
    /// lapse because Redis was away. The worker must be registered before.
    pub async fn run(self: &Arc<Self>) -> Result<(), Broken> {
        let mut background = JoinSet::new();
        self.spawn_background(&mut background);
        let mut slots = JoinSet::new();
        for _ in 0..self.settings.concurrency.max(1) + WAITING_FOR_REDIS {
            let worker = Arc::clone(self);
            slots.spawn(async move { slot::run(&worker).await });
        }
        let finished = self.join(&mut slots, &mut background).await;
        background.shutdown().await;
        slots.shutdown().await;
        if tokio::time::timeout(LAST_WORDS, self.backend.deregister()).await.is_err() {
            tracing::warn!("Redis did not take the deregistration in time; the worker's record expires by itself");
        }
        self.health.set_registered(false);
        if finished.is_ok() && self.left_behind.too_many() {
            return Err(Broken("too many records that cannot be interrupted; the failed registry names them".into()));
        }
        finished
    }

    fn spawn_background(self: &Arc<Self>, tasks: &mut JoinSet<()>) {
        let worker = Arc::clone(self);
        tasks.spawn(async move { heartbeat::run(&worker).await });
        let worker = Arc::clone(self);
        tasks.spawn(async move { upkeep::maintain(&worker).await });
        let worker = Arc::clone(self);
        tasks.spawn(async move { upkeep::prune(&worker).await });
        let worker = Arc::clone(self);
        tasks.spawn(async move { upkeep::obey(&worker).await });
        let worker = Arc::clone(self);
        tasks.spawn(async move { gate::probe(&worker.gate, PING_EVERY, || worker.ping_if_idle()).await });
    }

    /// Waits for all slots. A task that panics makes the others drain; slots that outstay the drain are cut off.
    async fn join(&self, slots: &mut JoinSet<()>, background: &mut JoinSet<()>) -> Result<(), Broken> {
        let mut finished = Ok(());
        loop {
            let ended = tokio::select! {
                ended = slots.join_next() => match ended {
                    None => return finished,
                    Some(ended) => ended,
                },
                Some(ended) = background.join_next() => ended,
                () = self.outstayed() => {
                    tracing::warn!(in_hand = self.hand.len(), "stopping with jobs in hand: their leases will lapse");
                    return finished;
                }
            };
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the worker failed; draining");
                finished = Err(Broken(error.to_string()));
                self.stop.request_drain();
            }
        }
    }

    async fn outstayed(&self) {
        self.stop.overdue().await;
        tokio::time::sleep(LAST_WORDS).await;
    }

    /// Asks the database whether it is there, within [`PING_LIMIT`].
    pub(crate) async fn ping(&self) -> Result<(), SinkError> {
        soon("ping", self.sink.ping()).await
    }

    /// Asks the database whether it takes writes, within [`PING_LIMIT`].
    pub(crate) async fn probe(&self) -> Result<(), SinkError> {
        soon("trial write", self.sink.probe()).await
    }

    /// As [`Worker::ping`], but while all is well and writes run, those tell more than a ping that would wait for a
    /// connection behind them.
    async fn ping_if_idle(&self) -> Result<(), SinkError> {
        if self.gate.is_open() && self.writes.available_permits() < self.settings.concurrency {
            return Ok(());
        }
        let answer = self.ping().await;
        if let Err(error) = &answer {
            self.metrics.database_failed(error);
        }
        answer
    }

    /// Notes how an operation on Redis went, and passes it on.
    pub(crate) fn heard<T>(
        &self,
        answer: Result<T, jobqueue_queue::QueueError>,
    ) -> Result<T, jobqueue_queue::QueueError> {
        match &answer {
            Ok(_) => self.health.redis_succeeded(),
            Err(error) => {
                self.metrics.redis_failed(error);
                self.health.redis_failed(error);
            }
        }
        answer
    }
}

/// The answer, if it comes within [`PING_LIMIT`].
async fn soon(what: &str, answer: impl Future<Output = Result<(), SinkError>>) -> Result<(), SinkError> {
    tokio::time::timeout(PING_LIMIT, answer).await.unwrap_or_else(|_| {
        let cause = format!("no answer to a {what} within {} s", PING_LIMIT.as_secs());
        Err(SinkError::Unavailable { endpoint: "its address".into(), cause })
    })
}
