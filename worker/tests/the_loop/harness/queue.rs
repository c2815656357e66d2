//! A queue in memory, strict about its contract: a claim is settled once, by its owner. It can be told to be away.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobqueue_queue::{
    Backend, Claim, Command, Completion, Delivery, Lease, Maintenance, Outcome, Payload, QueueError, Retry, Settled,
};
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

/// All jobs of the queue, by what became of them.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
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
    pub(crate) jobs: Mutex<Jobs>,
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
            jobs: Mutex::default(),
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
        self.jobs.lock().unwrap().waiting.push_back(job);
        self.changed.notify_waiters();
    }

    /// Gives every running job to somebody else, as a reclaim after a lapse would.
    pub(crate) fn steal_all(&self) {
        self.jobs.lock().unwrap().running.clear();
    }

    /// Waits until the jobs are as wanted; the clock is paused, so that this takes no time.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Jobs) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        while !wanted(&self.jobs.lock().unwrap()) {
            assert!(Instant::now() < deadline, "never happened: {what}; {:?}", self.jobs.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn up(&self) -> Result<(), QueueError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable { endpoint: "redis://test".into(), cause: "refused".into() });
        }
        Ok(())
    }

    fn settle_one(&self, jobs: &mut Jobs, completion: &Completion) -> Settled {
        let Some((mut job, _)) = jobs.running.remove(&completion.delivery.lease.execution) else {
            jobs.not_owned += 1;
            return Settled::NotOwned;
        };
        match &completion.outcome {
            Outcome::Finished { .. } => {
                jobs.finished.push(job.id);
                Settled::Finished
            }
            Outcome::Failed { retry: Retry::Allowed, .. } if job.attempt < self.max_attempts => {
                jobs.waiting.push_back(job);
                self.changed.notify_waiters();
                Settled::Retried
            }
            Outcome::Failed { error, .. } => {
                jobs.failed.push((job.id, error.clone()));
                Settled::Failed
            }
            Outcome::Released => {
                job.attempt -= 1;
                jobs.released += 1;
                jobs.waiting.push_front(job);
                Settled::Released
            }
            Outcome::Stopped => {
                jobs.stopped.push(job.id);
                Settled::Stopped
            }
        }
    }
}

#[async_trait]
impl Backend for Queue {
    async fn register(&self) -> Result<(), QueueError> {
        self.up()?;
        self.jobs.lock().unwrap().registered = true;
        Ok(())
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.up()?;
        self.jobs.lock().unwrap().registered = false;
        Ok(())
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        self.up()?;
        if self.suspended.load(Ordering::SeqCst) {
            return Ok(Claim { suspended: true, ..Claim::default() });
        }
        let mut jobs = self.jobs.lock().unwrap();
        jobs.claims.push(max);
        let mut claim = Claim::default();
        while claim.deliveries.len() < max {
            let Some(mut job) = jobs.waiting.pop_front() else { break };
            job.attempt += 1;
            jobs.executions += 1;
            let execution = jobs.executions.to_string();
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
                trace_context: None,
                payload: Ok(Payload::Record(job.body.clone())),
                lease: Lease { queue: "q".into(), job: job.id.clone(), execution: execution.clone() },
            });
            jobs.running.insert(execution, (job, Instant::now() + self.lease));
        }
        Ok(claim)
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.up()?;
        let changed = self.changed.notified();
        if self.jobs.lock().unwrap().waiting.is_empty() {
            let _ = tokio::time::timeout(timeout, changed).await;
        }
        Ok(())
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        self.up()?;
        let mut jobs = self.jobs.lock().unwrap();
        let until = Instant::now() + self.lease;
        let mut lost = Vec::new();
        for lease in leases {
            match jobs.running.get_mut(&lease.execution) {
                Some((_, expires)) => *expires = until,
                None => lost.push(lease.clone()),
            }
        }
        Ok(lost)
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        self.up()?;
        let mut jobs = self.jobs.lock().unwrap();
        let at_settle = self.at_settle.lock().unwrap();
        let mut answers = Vec::new();
        for completion in completions {
            if let Some(check) = &*at_settle {
                check(completion);
            }
            answers.push(self.settle_one(&mut jobs, completion));
        }
        Ok(answers)
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        self.up()?;
        let mut jobs = self.jobs.lock().unwrap();
        let now = Instant::now();
        let lapsed: Vec<String> =
            jobs.running.iter().filter(|(_, (_, expires))| *expires < now).map(|(key, _)| key.clone()).collect();
        for execution in &lapsed {
            let (mut job, _) = jobs.running.remove(execution).unwrap();
            job.crashes += 1;
            jobs.waiting.push_front(job);
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
