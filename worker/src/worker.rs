//! The worker as a whole: its tasks, from the first claim to the last release.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jobqueue_ingest::{Recipe, Sink, SinkError};
use jobqueue_queue::Backend;
use tokio::task::JoinSet;

use crate::background::{commands, heartbeat, ledger_pruner, maintenance};
use crate::deps::{Deps, LAST_MESSAGES, Settings};
use crate::pipeline::Pipeline;
use crate::pipeline::extract::Extractor;
use crate::slot;
use crate::state::circuit_breaker;
use crate::state::in_flight::InFlight;
use crate::state::instruments::Instruments;

/// Slots beyond those that write: one claims while another settles, so that no write waits for Redis.
const WAITING_FOR_REDIS: usize = 2;
/// How often an idle worker pings its database, for readiness.
const PING_EVERY: Duration = Duration::from_secs(5);

/// A worker: the pipeline that its slots share, and what runs beside them.
pub struct Worker {
    deps: Arc<Deps>,
    pipeline: Arc<Pipeline>,
}

/// A task of the worker panicked, or records that cannot be interrupted hold its threads. The claims lapse and run elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("a task of the worker failed: {0}")]
pub struct WorkerError(String);

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
        let in_flight = Arc::new(InFlight::default());
        let deps = Deps { settings, backend, sink, recipe, in_flight, jobs_ended: AtomicU64::new(0), instruments };
        let deps = Arc::new(deps);
        let pipeline = Arc::new(Pipeline::new(&deps, extractor));
        Self { deps, pipeline }
    }

    /// Works until asked to end. When this returns no job is in flight any more: every one was settled or released, or its
    /// lease will lapse because Redis was away. The worker must be registered before.
    pub async fn run(&self) -> Result<(), WorkerError> {
        let mut background = JoinSet::new();
        self.spawn_background(&mut background);
        let mut slots = JoinSet::new();
        for _ in 0..self.deps.settings.concurrency.max(1) + WAITING_FOR_REDIS {
            let (deps, pipeline) = (Arc::clone(&self.deps), Arc::clone(&self.pipeline));
            slots.spawn(async move { slot::run(&deps, &pipeline).await });
        }
        let finished = self.join(&mut slots, &mut background).await;
        background.shutdown().await;
        slots.shutdown().await;
        if tokio::time::timeout(LAST_MESSAGES, self.deps.backend.deregister()).await.is_err() {
            tracing::warn!("Redis did not take the deregistration in time; the worker's record expires by itself");
        }
        self.deps.instruments.health.set_registered(false);
        if finished.is_ok() && self.pipeline.extraction.has_too_many_abandoned_threads() {
            let words = "too many records that cannot be interrupted; the failed registry names them";
            return Err(WorkerError(words.into()));
        }
        finished
    }

    fn spawn_background(&self, tasks: &mut JoinSet<()>) {
        let deps = Arc::clone(&self.deps);
        tasks.spawn(async move { heartbeat::run(&deps).await });
        let deps = Arc::clone(&self.deps);
        tasks.spawn(async move { maintenance::run(&deps).await });
        let deps = Arc::clone(&self.deps);
        tasks.spawn(async move { ledger_pruner::run(&deps).await });
        let deps = Arc::clone(&self.deps);
        tasks.spawn(async move { commands::handle_commands(&deps).await });
        let (deps, pipeline) = (Arc::clone(&self.deps), Arc::clone(&self.pipeline));
        tasks.spawn(async move {
            circuit_breaker::probe(deps.circuit_breaker(), PING_EVERY, || ping_if_idle(&deps, &pipeline)).await;
        });
    }

    /// Waits for all slots. A task that panics makes the others drain; slots that outlast the drain are cut off.
    async fn join(&self, slots: &mut JoinSet<()>, background: &mut JoinSet<()>) -> Result<(), WorkerError> {
        let mut finished = Ok(());
        loop {
            let ended = tokio::select! {
                ended = slots.join_next() => match ended {
                    None => return finished,
                    Some(ended) => ended,
                },
                Some(ended) = background.join_next() => ended,
                () = self.out_of_time() => {
                    let in_flight = self.deps.in_flight.len();
                    tracing::warn!(in_flight, "stopping with jobs in flight: their leases will lapse");
                    return finished;
                }
            };
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the worker failed; draining");
                finished = Err(WorkerError(error.to_string()));
                self.deps.shutdown().request_drain();
            }
        }
    }

    async fn out_of_time(&self) {
        self.deps.shutdown().overdue().await;
        tokio::time::sleep(LAST_MESSAGES).await;
    }
}

/// Pings the database, unless writes run and it works: those tell more than a ping that would wait for a connection
/// behind them.
async fn ping_if_idle(deps: &Deps, pipeline: &Pipeline) -> Result<(), SinkError> {
    if deps.circuit_breaker().is_closed() && pipeline.writer.is_writing() {
        return Ok(());
    }
    let answer = deps.ping_database().await;
    if let Err(error) = &answer {
        deps.metrics().database_failed(error);
    }
    answer
}
