//! A worker at work on a queue and a database in memory.

mod database;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_ingest::{Interrupt, LedgerKey, Recipe, RowTree, Sink, Unit};
use jobqueue_queue::{Backend, Delivery, Payload};
use jobqueue_worker::{Extractor, Failure, FailureKind, Health, Instruments, Settings, Shutdown, Worker, WorkerError};

pub(crate) use database::Database;
pub(crate) use queue::{Job, Queue};

/// Ends all `deaf` extractions.
pub(crate) static LET_GO: AtomicBool = AtomicBool::new(false);

/// Bodies: `bad` has an unusable record, `panic` panics, `slow` takes until it is interrupted, `deaf` until
/// [`LET_GO`], `late` a moment, anything else is one row.
fn extract(interrupt: &Interrupt, delivery: &Delivery, _now: DateTime<Utc>) -> Result<Unit, Failure> {
    let Ok(Payload::Record(body)) = &delivery.payload else { panic!("the fake queue holds records") };
    match body.as_str() {
        "bad" => Err(Failure::permanent(FailureKind::Record, "table t, column c: \"bad\" is no date")),
        "panic" => panic!("out of bounds"),
        "slow" => {
            while !interrupt.is_set() {
                std::thread::yield_now();
            }
            Err(Failure::permanent(FailureKind::Record, "interrupted"))
        }
        "deaf" => {
            while !LET_GO.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Failure::permanent(FailureKind::Record, "too late"))
        }
        rows => Ok(Unit {
            key: LedgerKey {
                queue: delivery.queue.clone(),
                job_id: delivery.id.clone(),
                created_at: delivery.created_at.clone(),
                generation: delivery.generation,
                run: delivery.run.clone(),
            },
            rows: {
                if rows == "late" {
                    std::thread::sleep(Duration::from_millis(50));
                }
                RowTree::default()
            },
        }),
    }
}

/// A worker that runs, and what it runs on.
pub(crate) struct Harness {
    pub(crate) queue: Arc<Queue>,
    pub(crate) shutdown: Shutdown,
    pub(crate) instruments: Instruments,
    running: tokio::task::JoinHandle<Result<(), WorkerError>>,
}

pub(crate) const DRAIN: Duration = Duration::from_secs(20);
pub(crate) const HOLD: Duration = Duration::from_secs(60);

impl Harness {
    /// A worker on `queue` and `database`, at work.
    pub(crate) async fn start(queue: Arc<Queue>, database: Arc<Database>) -> Self {
        Self::start_with(queue, database, |_| ()).await
    }

    /// The same, with other settings.
    pub(crate) async fn start_with(
        queue: Arc<Queue>,
        database: Arc<Database>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let shutdown = Shutdown::new(DRAIN);
        let instruments = Instruments::new(Health::new(Duration::from_secs(10)), shutdown.clone());
        let mut settings = Settings {
            concurrency: 2,
            batch_size: 10,
            max_attempts: 5,
            lease: Duration::from_secs(30),
            hold: HOLD,
            ledger_retention: Duration::from_secs(86_400),
            threads: 2,
            max_jobs: None,
            max_idle: None,
            extract_limit: None,
        };
        change(&mut settings);
        // The extractor of this test stands in for it; sinks only pass it on.
        let spec = serde_json::json!({"tables": [{"table": "t", "columns": {"name": "record.Name"}}]});
        let recipe = Arc::new(Recipe::compile(&[serde_json::from_value(spec).unwrap()]).unwrap());
        let extractor: Extractor = Arc::new(extract);
        let worker = Arc::new(Worker::new(
            settings,
            queue.clone() as Arc<dyn Backend>,
            database.clone() as Arc<dyn Sink>,
            recipe,
            extractor,
            instruments.clone(),
        ));
        queue.register().await.unwrap();
        instruments.health.set_registered(true);
        let running = tokio::spawn({
            let worker = Arc::clone(&worker);
            async move { worker.run().await }
        });
        Self { queue, shutdown, instruments, running }
    }

    /// Waits for the worker to end.
    pub(crate) async fn ended(self) {
        self.result().await.unwrap();
    }

    /// Waits for the worker to end, and says how.
    pub(crate) async fn result(self) -> Result<(), WorkerError> {
        self.running.await.unwrap()
    }

    /// Waits for the worker to end, and to have said so.
    pub(crate) async fn ended_and_deregistered(self) {
        let queue = self.queue.clone();
        self.ended().await;
        assert!(!queue.jobs.lock().unwrap().registered, "deregistered");
    }

    /// Drains and waits for the end.
    pub(crate) async fn drain(self) {
        self.shutdown.request();
        self.ended_and_deregistered().await;
    }
}
