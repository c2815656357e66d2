//! A queue and a database in memory, strict about the contracts: a claim is settled once, by its owner, and an effect
//! needs its ledger key. Both can be told to be away.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jobqueue_ingest::{
    Interrupt, LedgerKey, Recipe, RecipeProblem, Rejection, RowTree, Sink, SinkError, Unit, UnitOutcome,
};
use jobqueue_queue::{
    Backend, Claim, Command, Completion, Delivery, Lease, Maintenance, Outcome, Payload, QueueError, Retry, Settled,
};
use jobqueue_worker::extract::Extractor;
use jobqueue_worker::health::Health;
use jobqueue_worker::instruments::Instruments;
use jobqueue_worker::verdict::{Failure, FailureKind};
use jobqueue_worker::{Settings, Stop, Worker};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// A job as the fake queue keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) body: String,
    pub(crate) attempt: u32,
    pub(crate) crashes: u32,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Default)]
pub(crate) struct Stock {
    pub(crate) waiting: VecDeque<Job>,
    pub(crate) running: HashMap<String, (Job, Instant)>,
    pub(crate) finished: Vec<String>,
    pub(crate) failed: Vec<(String, String)>,
    pub(crate) stopped: Vec<String>,
    pub(crate) released: usize,
    pub(crate) not_owned: usize,
    pub(crate) claims: Vec<usize>,
    pub(crate) registered: bool,
    pub(crate) executions: u64,
}

/// Looks at a completion and panics if it should not be.
pub(crate) type Check = Box<dyn Fn(&Completion) + Send>;

/// A queue in memory.
pub(crate) struct Queue {
    pub(crate) stock: Mutex<Stock>,
    pub(crate) lease: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) away: AtomicBool,
    pub(crate) suspended: AtomicBool,
    /// Called at each settlement, before it takes effect.
    pub(crate) at_settle: Mutex<Option<Check>>,
    changed: Notify,
    commands: tokio::sync::Mutex<mpsc::UnboundedReceiver<Command>>,
    pub(crate) command: mpsc::UnboundedSender<Command>,
}

impl Queue {
    pub(crate) fn new() -> Arc<Self> {
        let (command, commands) = mpsc::unbounded_channel();
        Arc::new(Self {
            stock: Mutex::default(),
            lease: Duration::from_secs(30),
            max_attempts: 5,
            away: AtomicBool::new(false),
            suspended: AtomicBool::new(false),
            at_settle: Mutex::new(None),
            changed: Notify::new(),
            commands: tokio::sync::Mutex::new(commands),
            command,
        })
    }

    pub(crate) fn push(&self, id: &str, body: &str) {
        self.push_job(Job { id: id.into(), body: body.into(), attempt: 0, crashes: 0, timeout: None });
    }

    pub(crate) fn push_job(&self, job: Job) {
        self.stock.lock().unwrap().waiting.push_back(job);
        self.changed.notify_waiters();
    }

    /// Gives every running job to somebody else, as a reclaim after a lapse would.
    pub(crate) fn steal_all(&self) {
        self.stock.lock().unwrap().running.clear();
    }

    /// Waits until the stock looks as wanted; the clock is paused, so that this takes no time.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Stock) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while !wanted(&self.stock.lock().unwrap()) {
            assert!(Instant::now() < deadline, "never happened: {what}; {:?}", self.stock.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn up(&self) -> Result<(), QueueError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable { endpoint: "redis://test".into(), cause: "refused".into() });
        }
        Ok(())
    }

    fn settle_one(&self, stock: &mut Stock, completion: &Completion) -> Settled {
        let Some((mut job, _)) = stock.running.remove(&completion.delivery.lease.execution) else {
            stock.not_owned += 1;
            return Settled::NotOwned;
        };
        match &completion.outcome {
            Outcome::Finished { .. } => {
                stock.finished.push(job.id);
                Settled::Finished
            }
            Outcome::Failed { retry: Retry::Allowed, .. } if job.attempt < self.max_attempts => {
                stock.waiting.push_back(job);
                self.changed.notify_waiters();
                Settled::Retried
            }
            Outcome::Failed { error, .. } => {
                stock.failed.push((job.id, error.clone()));
                Settled::Failed
            }
            Outcome::Released => {
                job.attempt -= 1;
                stock.released += 1;
                stock.waiting.push_front(job);
                Settled::Released
            }
            Outcome::Stopped => {
                stock.stopped.push(job.id);
                Settled::Stopped
            }
        }
    }
}

#[async_trait]
impl Backend for Queue {
    async fn register(&self) -> Result<(), QueueError> {
        self.up()?;
        self.stock.lock().unwrap().registered = true;
        Ok(())
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.up()?;
        self.stock.lock().unwrap().registered = false;
        Ok(())
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        self.up()?;
        if self.suspended.load(Ordering::SeqCst) {
            return Ok(Claim { suspended: true, ..Claim::default() });
        }
        let mut stock = self.stock.lock().unwrap();
        stock.claims.push(max);
        let mut claim = Claim::default();
        while claim.deliveries.len() < max {
            let Some(mut job) = stock.waiting.pop_front() else { break };
            job.attempt += 1;
            stock.executions += 1;
            let execution = stock.executions.to_string();
            claim.deliveries.push(Delivery {
                queue: "q".into(),
                id: job.id.clone(),
                created_at: "2026-01-01T00:00:00.000000Z".into(),
                generation: 0,
                run: None,
                attempt: job.attempt,
                crashes: job.crashes,
                enqueued_at: None,
                timeout: job.timeout,
                payload: Ok(Payload::Record(job.body.clone())),
                lease: Lease { queue: "q".into(), job: job.id.clone(), execution: execution.clone() },
            });
            stock.running.insert(execution, (job, Instant::now() + self.lease));
        }
        Ok(claim)
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.up()?;
        let changed = self.changed.notified();
        if self.stock.lock().unwrap().waiting.is_empty() {
            let _ = tokio::time::timeout(timeout, changed).await;
        }
        Ok(())
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        self.up()?;
        let mut stock = self.stock.lock().unwrap();
        let until = Instant::now() + self.lease;
        let mut lost = Vec::new();
        for lease in leases {
            match stock.running.get_mut(&lease.execution) {
                Some((_, expires)) => *expires = until,
                None => lost.push(lease.clone()),
            }
        }
        Ok(lost)
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        self.up()?;
        let mut stock = self.stock.lock().unwrap();
        let at_settle = self.at_settle.lock().unwrap();
        let mut answers = Vec::new();
        for completion in completions {
            if let Some(check) = &*at_settle {
                check(completion);
            }
            answers.push(self.settle_one(&mut stock, completion));
        }
        Ok(answers)
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        self.up()?;
        let mut stock = self.stock.lock().unwrap();
        let now = Instant::now();
        let lapsed: Vec<String> =
            stock.running.iter().filter(|(_, (_, expires))| *expires < now).map(|(key, _)| key.clone()).collect();
        for execution in &lapsed {
            let (mut job, _) = stock.running.remove(execution).unwrap();
            job.crashes += 1;
            stock.waiting.push_front(job);
        }
        Ok(Maintenance { reclaimed: lapsed.len() as u64, ..Maintenance::default() })
    }

    async fn next_command(&self) -> Command {
        let mut commands = self.commands.lock().await;
        match commands.recv().await {
            Some(command) => command,
            None => std::future::pending().await,
        }
    }
}

/// A database in memory.
#[derive(Default)]
pub(crate) struct Database {
    /// How often each job's effect was applied.
    pub(crate) applied: Mutex<HashMap<String, u32>>,
    ledger: Mutex<std::collections::HashSet<LedgerKey>>,
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

/// Ends all `deaf` extractions.
pub(crate) static LET_GO: AtomicBool = AtomicBool::new(false);

/// Bodies: `bad` has an unusable record, `panic` panics, `slow` takes until it is interrupted, `deaf` until
/// [`LET_GO`], anything else is one row.
fn extract(interrupt: &Interrupt, delivery: &Delivery, _now: DateTime<Utc>) -> Result<Unit, Failure> {
    let Ok(Payload::Record(body)) = &delivery.payload else { panic!("the fake queue holds records") };
    match body.as_str() {
        "bad" => Err(Failure::final_one(FailureKind::Record, "table t, column c: \"bad\" is no date")),
        "panic" => panic!("out of bounds"),
        "slow" => {
            while !interrupt.is_set() {
                std::thread::yield_now();
            }
            Err(Failure::final_one(FailureKind::Record, "interrupted"))
        }
        "deaf" => {
            while !LET_GO.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Failure::final_one(FailureKind::Record, "too late"))
        }
        _ => Ok(Unit {
            key: LedgerKey {
                queue: delivery.queue.clone(),
                job_id: delivery.id.clone(),
                created_at: delivery.created_at.clone(),
                generation: delivery.generation,
                run: delivery.run.clone(),
            },
            rows: RowTree::default(),
        }),
    }
}

/// Everything of one test.
pub(crate) struct Shop {
    pub(crate) queue: Arc<Queue>,
    pub(crate) stop: Stop,
    pub(crate) instruments: Instruments,
    running: tokio::task::JoinHandle<Result<(), jobqueue_worker::worker::Broken>>,
}

pub(crate) const DRAIN: Duration = Duration::from_secs(20);
pub(crate) const HOLD: Duration = Duration::from_secs(60);

impl Shop {
    /// A worker on `queue` and `database`, at work.
    pub(crate) async fn open(queue: Arc<Queue>, database: Arc<Database>) -> Self {
        Self::open_with(queue, database, |_| ()).await
    }

    /// The same, with other settings.
    pub(crate) async fn open_with(
        queue: Arc<Queue>,
        database: Arc<Database>,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let stop = Stop::new(DRAIN);
        let instruments = Instruments::new(Health::new(Duration::from_secs(10)), stop.clone());
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
        Self { queue, stop, instruments, running }
    }

    /// Waits for the worker to end.
    pub(crate) async fn ended(self) {
        self.end().await.unwrap();
    }

    /// Waits for the worker to end, and says how.
    pub(crate) async fn end(self) -> Result<(), jobqueue_worker::worker::Broken> {
        self.running.await.unwrap()
    }

    /// Waits for the worker to end, and to have said so.
    pub(crate) async fn closed(self) {
        let queue = self.queue.clone();
        self.ended().await;
        assert!(!queue.stock.lock().unwrap().registered, "deregistered");
    }

    /// Drains and waits for the end.
    pub(crate) async fn close(self) {
        self.stop.request();
        self.closed().await;
    }
}
