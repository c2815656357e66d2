//! Lists and streams have no leases, retries or failed registry of their own: this keeps them in keys beside the user's,
//! with scripts that do each step atomically. What differs between the two is a [`Source`].

mod commands;
mod place;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use self::commands::Commands;
pub(crate) use self::place::Place;
use crate::redis_error::error_of_text;
use crate::rights::Rights;
use crate::rq::hostname;
use crate::server_check::check_server;
use crate::{
    Backend, Claim, Command, Completion, Connection, Delivery, Invocation, Lease, Maintenance, Outcome, Payload,
    PayloadError, PayloadLimits, Protocol, QueueConfig, QueueError, Retry, Script, Settled,
};

const PRELUDE: &str = concat!(include_str!("../errors.lua"), include_str!("scripts/prelude.lua"));
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

    /// Listens to the keys of `places`.
    fn new(connection: &Connection, places: &[(String, String)]) -> Self;

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
pub struct Bookkeeper<S> {
    connection: Connection,
    config: QueueConfig,
    places: Vec<Place>,
    source: S,
    scripts: Scripts,
    rights: Rights,
    commands: Commands,
}

struct Scripts {
    rights: Script,
    claim: Script,
    heartbeat: Script,
    settle: Script,
    maintain: Script,
    deregister: Script,
}

/// The answer of `claim.lua`: jobs (queue index, id, execution, attempt, record, run), dropped (queue index, id, reason) and
/// errors (queue index, error).
type Claimed = (Vec<(usize, String, String, u32, Vec<u8>, String)>, Vec<(usize, String, String)>, Vec<(usize, String)>);

impl<S: Source> Bookkeeper<S> {
    /// A worker's view of the queues in `config`.
    ///
    /// # Errors
    /// `Config` for a key that cannot have others beside it.
    pub fn new(connection: &Connection, config: QueueConfig) -> Result<Self, QueueError> {
        let places = (config.names.iter())
            .map(|name| Place::new(S::PROTOCOL, name, &config.consumer_group))
            .collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<_> = places.iter().map(|place| (place.key.clone(), place.group.clone())).collect();
        let script = |body: &str| Script::new(&[PRELUDE, S::SCRIPT, body]);
        Ok(Self {
            source: S::new(connection, &keys),
            commands: Commands::new(connection, &places),
            connection: connection.clone(),
            config,
            places,
            rights: Rights::default(),
            scripts: Scripts {
                rights: script(include_str!("scripts/rights.lua")),
                claim: script(include_str!("scripts/claim.lua")),
                heartbeat: script(include_str!("scripts/heartbeat.lua")),
                settle: script(include_str!("scripts/settle.lua")),
                maintain: script(include_str!("scripts/maintain.lua")),
                deregister: script(include_str!("scripts/deregister.lua")),
            },
        })
    }

    fn place(&self, queue: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.key == queue)
    }

    /// A script on one queue, with what all of them take first.
    fn at<'a>(script: &'a Script, place: &Place) -> Invocation<'a> {
        script.on(&place.key).arg(&place.key).arg(&place.prefix).arg(&place.group)
    }

    /// Whether everything may be done that has to be, queue by queue.
    async fn try_rights(&self) -> Result<Vec<(String, Result<(), QueueError>)>, QueueError> {
        let calls: Vec<_> = (self.places.iter())
            .map(|place| Self::at(&self.scripts.rights, place).arg(&self.config.worker_name))
            .collect();
        let answers = self.connection.invoke_all(&calls).await?;
        Ok(self.config.names.iter().cloned().zip(answers.into_iter().map(|answer| answer.map(drop))).collect())
    }

    /// Claims from these places, in one step; answers what is wrong with single queues.
    async fn claim_from(
        &self,
        places: &[&Place],
        max: usize,
        claim: &mut Claim,
    ) -> Result<Vec<QueueError>, QueueError> {
        let seed = Uuid::new_v4().simple().to_string();
        let mut invocation = (self.scripts.claim.on(&places[0].key))
            .arg(max)
            .arg(millis(self.config.lease))
            .arg(&self.config.worker_name)
            .arg(seed);
        for place in places {
            invocation = invocation.arg(&place.key).arg(&place.prefix).arg(&place.group);
        }
        let (jobs, dropped, errors): Claimed = self.connection.invoke(&invocation).await?;
        let name = |index: usize| places[index].key.clone();
        claim.dropped.extend(dropped.into_iter().map(|(_, id, reason)| (id, reason)));
        claim.deliveries.extend(jobs.into_iter().map(|(index, id, execution, attempt, record, run)| Delivery {
            queue: name(index),
            created_at: String::new(),
            generation: 0,
            run: Some(run).filter(|run| !run.is_empty()),
            attempt,
            crashes: attempt.saturating_sub(1),
            enqueued_at: S::enqueued_at(&id),
            timeout: None,
            payload: if record.len() > self.config.limits.max_bytes {
                Err(PayloadError::TooLarge(format!("{} bytes, {} allowed", record.len(), self.config.limits.max_bytes)))
            } else {
                S::payload(record, &self.config.limits)
            },
            lease: Lease { queue: name(index), job: id.clone(), execution },
            id,
        }));
        let broken =
            errors.into_iter().map(|(index, text)| error_of_text(self.connection.endpoint(), &name(index), &text));
        Ok(broken.collect())
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
impl<S: Source> Backend for Bookkeeper<S> {
    async fn register(&self) -> Result<(), QueueError> {
        check_server(&self.connection).await?;
        for place in &self.places {
            self.source.prepare(&self.connection, &place.key, &place.group).await?;
        }
        self.heartbeat(&[]).await?;
        self.commands.listen().await
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.commands.leave().await;
        let invocations: Vec<_> = (self.places.iter())
            .map(|place| Self::at(&self.scripts.deregister, place).arg(&self.config.worker_name))
            .collect();
        self.connection.invoke_all(&invocations).await?.into_iter().try_for_each(|answer| answer.map(drop))
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        let mut claim = Claim::default();
        if max == 0 {
            return Ok(claim);
        }
        // In a cluster each queue is in a slot of its own: one step per queue is the most that can be atomic.
        let refused = self.rights.of(self.try_rights()).await?;
        let served: Vec<&Place> = self.places.iter().filter(|place| !refused.has(&place.key)).collect();
        let at_once = if self.connection.is_cluster() { 1 } else { served.len() };
        let mut broken: Vec<QueueError> = refused.clone().error().into_iter().collect();
        for places in served.chunks(at_once.max(1)) {
            if claim.deliveries.len() < max {
                match self.claim_from(places, max - claim.deliveries.len(), &mut claim).await {
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
        let invocations: Vec<_> = (self.places.iter())
            .map(|place| {
                let mut invocation = Self::at(&self.scripts.heartbeat, place)
                    .arg(millis(self.config.lease))
                    .arg(&self.config.worker_name)
                    .arg(record.len())
                    .arg(&record[..]);
                for lease in leases.iter().filter(|lease| lease.queue == place.key) {
                    invocation = invocation.arg(&lease.job).arg(&lease.execution);
                }
                invocation
            })
            .collect();
        let mut lost: Vec<Lease> = leases.iter().filter(|lease| self.place(&lease.queue).is_none()).cloned().collect();
        for (place, answer) in self.places.iter().zip(self.connection.invoke_all(&invocations).await?) {
            let ids: Vec<String> = self.connection.read(answer?)?;
            lost.extend(leases.iter().filter(|lease| lease.queue == place.key && ids.contains(&lease.job)).cloned());
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
            let Some(place) = self.place(&lease.queue) else { continue };
            let (outcome, reason, delay, becomes) = self.verdict(completion);
            let worked = completion.ended_at.signed_duration_since(completion.started_at).to_std().unwrap_or_default();
            invocations.push(
                (Self::at(&self.scripts.settle, place))
                    .arg(&self.config.worker_name)
                    .arg(&lease.job)
                    .arg(&lease.execution)
                    .arg(worked.as_secs_f64())
                    .arg(outcome)
                    .arg(reason)
                    .arg(millis(delay)),
            );
            sent.push((index, becomes));
        }
        for ((index, becomes), answer) in sent.into_iter().zip(self.connection.invoke_all(&invocations).await?) {
            if self.connection.read::<bool>(answer?)? {
                settled[index] = becomes;
            }
        }
        Ok(settled)
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        let invocations: Vec<_> = (self.places.iter())
            .map(|place| {
                (Self::at(&self.scripts.maintain, place))
                    .arg(millis(self.config.lease))
                    .arg(self.config.retry.max_attempts)
                    .arg(millis(self.config.failure_ttl))
                    .arg(Uuid::new_v4().simple().to_string())
            })
            .collect();
        let mut done = Maintenance::default();
        for answer in self.connection.invoke_all(&invocations).await? {
            let (reclaimed, abandoned, due, expired): (u64, u64, u64, u64) = self.connection.read::<_>(answer?)?;
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

/// Whole milliseconds, as the scripts count time.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn shortened(reason: &str) -> String {
    reason[..reason.floor_char_boundary(MAX_REASON_BYTES)].to_owned()
}
