//! Lists and streams have no leases, retries or failed registry of their own: this keeps them in sidecar keys of the user's key,
//! with scripts that do each step atomically. What differs between the two is a [`Source`].

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::commands::Commands;
use super::keys::QueueKeys;
use super::lua::Scripts;
use super::lua::claim::{ClaimAnswer, ClaimArguments, ClaimedJob, DroppedJob, QueueFailure};
use super::lua::heartbeat::{HeartbeatAnswer, HeartbeatArguments};
use super::lua::maintain::{self, MaintainArguments};
use super::lua::settle::{SettleAnswer, SettleArguments};
use crate::redis::error::error_of_text;
use crate::redis::server_check::check_server;
use crate::rights::Rights;
use crate::rq::worker_record::hostname;
use crate::{
    Backend, Claim, Command, Completion, Connection, Delivery, Lease, Maintenance, Outcome, Payload, PayloadError,
    PayloadLimits, Protocol, QueueConfig, QueueError, Retry, Settled, TraceContext,
};

/// The reason of a job that was stopped.
pub(crate) const STOPPED: &str = "stopped by a person";
/// A longer reason is cut: it is for a person.
const MAX_REASON_BYTES: usize = 16 << 10;

/// What makes a list or a stream of it.
#[async_trait]
pub trait Source: Send + Sync + Sized + 'static {
    /// Which one.
    const PROTOCOL: Protocol;
    /// Lua functions `take`, `resume`, `park`, `touch`, `done`, `forget` and `adopt`.
    const SCRIPT: &'static str;

    /// Listens to the keys of `queues`.
    fn new(connection: &Connection, queues: &[(String, String)]) -> Self;

    /// Makes one key ready to be read.
    async fn prepare(&self, connection: &Connection, key: &str, group: &str) -> Result<(), QueueError>;

    /// Reads a record as the script returned it.
    fn payload(record: Vec<u8>, limits: &PayloadLimits) -> Result<Payload, PayloadError>;

    /// When the producer added the element, if its id tells.
    fn enqueued_at(id: &str) -> Option<DateTime<Utc>>;

    /// See [`Backend::wait`].
    async fn wait(&self, timeout: Duration) -> Result<(), QueueError>;
}

/// A [`Backend`] over a [`Source`].
pub struct LeaseStore<S> {
    connection: Connection,
    config: QueueConfig,
    queues: Vec<QueueKeys>,
    source: S,
    scripts: Scripts,
    rights: Rights,
    commands: Commands,
}

impl<S: Source> LeaseStore<S> {
    /// A worker's view of the queues in `config`.
    ///
    /// # Errors
    /// `Config` for a key that cannot have sidecar keys.
    pub fn new(connection: &Connection, config: QueueConfig) -> Result<Self, QueueError> {
        let queues = (config.names.iter())
            .map(|name| QueueKeys::new(S::PROTOCOL, name, &config.consumer_group))
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<_> = queues.iter().map(|queue| (queue.key.clone(), queue.group.clone())).collect();
        Ok(Self {
            source: S::new(connection, &keys),
            commands: Commands::new(connection, &queues),
            connection: connection.clone(),
            config,
            queues,
            rights: Rights::default(),
            scripts: Scripts::new(S::SCRIPT),
        })
    }

    fn queue(&self, queue: &str) -> Option<&QueueKeys> {
        self.queues.iter().find(|known| known.key == queue)
    }

    /// Whether everything may be done that has to be, queue by queue.
    async fn try_rights(&self) -> Result<Vec<(String, Result<(), QueueError>)>, QueueError> {
        let calls: Vec<_> =
            (self.queues.iter()).map(|queue| self.scripts.try_rights(queue, &self.config.worker_name)).collect();
        let answers = self.connection.invoke_all(&calls).await?;
        Ok(self.config.names.iter().cloned().zip(answers.into_iter().map(|answer| answer.map(drop))).collect())
    }

    /// Claims from these queues, in one step; answers what is wrong with single queues.
    async fn claim_from(
        &self,
        queues: &[&QueueKeys],
        max: usize,
        claim: &mut Claim,
    ) -> Result<Vec<QueueError>, QueueError> {
        let arguments = ClaimArguments {
            max_jobs: max,
            lease: self.config.lease,
            worker: &self.config.worker_name,
            seed: Uuid::new_v4().simple().to_string(),
            queues,
        };
        let answer = self.connection.invoke(&arguments.call(&self.scripts.claim)).await?;
        let ClaimAnswer { jobs, dropped, errors } = ClaimAnswer::read(answer)?;
        claim.dropped.extend(dropped.into_iter().map(|DroppedJob { id, reason }| (id, reason)));
        claim.deliveries.extend(jobs.into_iter().map(|job| self.delivery(&queues[job.queue].key, job)));
        let broken = |QueueFailure { queue, error }: QueueFailure| {
            error_of_text(self.connection.endpoint(), &queues[queue].key, &error)
        };
        Ok(errors.into_iter().map(broken).collect())
    }

    fn delivery(&self, queue: &str, job: ClaimedJob) -> Delivery {
        let ClaimedJob { id, execution, attempt, record, run, .. } = job;
        let limits = &self.config.limits;
        let payload = if record.len() > limits.max_bytes {
            Err(PayloadError::TooLarge(format!("{} bytes, {} allowed", record.len(), limits.max_bytes)))
        } else {
            S::payload(record, limits)
        };
        let traced = payload.as_ref().ok().filter(|_| self.config.with_trace_context);
        Delivery {
            queue: queue.to_owned(),
            created_at: String::new(),
            generation: 0,
            run: Some(run).filter(|run| !run.is_empty()),
            attempt,
            crashes: attempt.saturating_sub(1),
            enqueued_at: S::enqueued_at(&id),
            timeout: None,
            trace_context: traced.and_then(|payload| TraceContext::of_payload(payload, limits)),
            payload,
            lease: Lease { queue: queue.to_owned(), job: id.clone(), execution },
            id,
        }
    }

    /// The outcome as `settle.lua` takes it, and what it will have been.
    fn verdict(&self, completion: &Completion) -> (&'static str, String, Duration, Settled) {
        let policy = &self.config.retry;
        match &completion.outcome {
            Outcome::Finished { .. } => ("finished", String::new(), Duration::ZERO, Settled::Finished),
            Outcome::Released => ("released", String::new(), Duration::ZERO, Settled::Released),
            Outcome::Stopped => ("failed", STOPPED.into(), Duration::ZERO, Settled::Stopped),
            Outcome::Failed { error, retry: Retry::Allowed } if completion.delivery.attempt < policy.max_attempts => {
                let delay = policy.delay(completion.delivery.attempt, rand::random());
                ("retry", shortened(error), delay, Settled::Retried)
            }
            Outcome::Failed { error, .. } => ("failed", shortened(error), Duration::ZERO, Settled::Failed),
        }
    }
}

#[async_trait]
impl<S: Source> Backend for LeaseStore<S> {
    async fn register(&self) -> Result<(), QueueError> {
        check_server(&self.connection).await?;
        for queue in &self.queues {
            self.source.prepare(&self.connection, &queue.key, &queue.group).await?;
        }
        self.heartbeat(&[]).await?;
        self.commands.listen().await
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.commands.leave().await;
        let invocations: Vec<_> =
            (self.queues.iter()).map(|queue| self.scripts.deregister(queue, &self.config.worker_name)).collect();
        self.connection.invoke_all(&invocations).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        let mut claim = Claim::default();
        if max == 0 {
            return Ok(claim);
        }
        // In a cluster each queue is in a slot of its own: one step per queue is the most that can be atomic.
        let refused = self.rights.of(self.try_rights()).await?;
        let served: Vec<&QueueKeys> = self.queues.iter().filter(|queue| !refused.has(&queue.key)).collect();
        let at_once = if self.connection.is_cluster() { 1 } else { served.len() };
        let mut broken: Vec<QueueError> = refused.clone().error().into_iter().collect();
        for queues in served.chunks(at_once.max(1)) {
            if claim.deliveries.len() < max {
                match self.claim_from(queues, max - claim.deliveries.len(), &mut claim).await {
                    Ok(errors) => broken.extend(errors),
                    Err(error) => broken.push(error),
                }
            }
        }
        if !broken.is_empty() {
            self.rights.forget().await;
        }
        // One broken queue must not keep the others from being served, and what is claimed must reach the worker.
        if claim.deliveries.is_empty() && !broken.is_empty() {
            return Err(broken.swap_remove(0));
        }
        for error in broken {
            tracing::warn!(%error, "a queue cannot be read; the others are served");
        }
        Ok(claim)
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.source.wait(timeout).await
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        let state = if leases.is_empty() { "idle" } else { "busy" };
        let (queues, pid, host) = (self.config.names.join(","), std::process::id().to_string(), hostname());
        let concurrency = self.config.concurrency.to_string();
        let record = [
            ["state", state],
            ["queues", &queues],
            ["pid", &pid],
            ["hostname", &host],
            ["version", env!("CARGO_PKG_VERSION")],
            ["jobqueue_concurrency", &concurrency],
        ]
        .concat();
        let arguments =
            HeartbeatArguments { lease: self.config.lease, worker: &self.config.worker_name, record: &record, leases };
        let invocations: Vec<_> =
            self.queues.iter().map(|queue| arguments.call(&self.scripts.heartbeat, queue)).collect();
        let mut lost: Vec<Lease> = leases.iter().filter(|lease| self.queue(&lease.queue).is_none()).cloned().collect();
        for (queue, answer) in self.queues.iter().zip(self.connection.invoke_all(&invocations).await?) {
            let ids = HeartbeatAnswer::read(answer?)?.lost;
            lost.extend(leases.iter().filter(|lease| lease.queue == queue.key && ids.contains(&lease.job)).cloned());
        }
        Ok(lost)
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        // What is given back goes to the head one by one: the last first, so that the order stays.
        let (released, others): (Vec<usize>, Vec<usize>) =
            (0..completions.len()).partition(|&index| matches!(completions[index].outcome, Outcome::Released));
        let order: Vec<usize> = others.into_iter().chain(released.into_iter().rev()).collect();
        let mut settled = vec![Settled::NotOwned; completions.len()];
        let mut sent = Vec::with_capacity(order.len());
        let mut invocations = Vec::with_capacity(order.len());
        for index in order {
            let completion = &completions[index];
            let lease = &completion.delivery.lease;
            let Some(queue) = self.queue(&lease.queue) else { continue };
            let (outcome, reason, delay, becomes) = self.verdict(completion);
            let worked = completion.ended_at.signed_duration_since(completion.started_at).to_std().unwrap_or_default();
            let arguments = SettleArguments {
                worker: &self.config.worker_name,
                lease,
                seconds: worked.as_secs_f64(),
                outcome,
                reason,
                delay,
            };
            invocations.push(arguments.call(&self.scripts.settle, queue));
            sent.push((index, becomes));
        }
        for ((index, becomes), answer) in sent.into_iter().zip(self.connection.invoke_all(&invocations).await?) {
            if SettleAnswer::read(answer?)?.owned {
                settled[index] = becomes;
            }
        }
        Ok(settled)
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        let arguments = |_| MaintainArguments {
            lease: self.config.lease,
            max_attempts: self.config.retry.max_attempts,
            failure_ttl: self.config.failure_ttl,
            seed: Uuid::new_v4().simple().to_string(),
        };
        let invocations: Vec<_> =
            self.queues.iter().map(|queue| arguments(queue).call(&self.scripts.maintain, queue)).collect();
        let mut done = Maintenance::default();
        for answer in self.connection.invoke_all(&invocations).await? {
            let Maintenance { reclaimed, abandoned, due, expired } = maintain::read_answer(answer?)?;
            done.reclaimed += reclaimed;
            done.abandoned += abandoned;
            done.due += due;
            done.expired += expired;
        }
        Ok(done)
    }

    async fn next_command(&self) -> Command {
        self.commands.next().await
    }
}

fn shortened(reason: &str) -> String {
    reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}
