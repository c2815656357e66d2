//! The look at all queues, several times a second: one connection and one round trip per Redis, then the pure decision,
//! then at most one patch per queue. A Redis that is slow or dead delays its own queues only.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jobqueue_crds::{LastScale, Reason};
use jobqueue_demand::Look;
use jobqueue_queue::{Connection, QueueError, QueueStats, StatsQuery, Trouble, TroubleKind, eviction_policy, stats};
use jobqueue_scaling::{Limit, Limited, Observation, Workers, protect};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::Client;
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{Instant, Interval},
};
use tokio_util::sync::CancellationToken;

use crate::{
    apply, backoff,
    digest::fingerprint,
    endpoint::{EndpointKey, Endpoints},
    events::Events,
    goers,
    idle::Idle,
    metrics::{DecisionLabels, Metrics},
    plan,
    registry::{Key, Question, Registry},
    report::TELL,
    rush::Rush,
    status::{Blocked, Reach},
    tracked::{Seen, Told, Tracked},
};

/// Failed looks in a row before a queue counts as unreachable: one lost packet is no outage.
const FAILURES: u32 = 3;

/// Queues in one round trip: an answer takes a kilobyte of memory until it is read, and ten thousand would take ten
/// megabytes, several times a second.
const AT_ONCE: usize = 500;

/// How much later a look may be while many numbers of workers are being written.
const SELDOM: Duration = Duration::from_secs(1);

/// When the pods are looked at again after none could go.
const PUT_OFF: Duration = Duration::from_secs(2);

/// What the sweep works with.
#[derive(Clone)]
pub struct Sweeper {
    /// For patches.
    pub client: Client,
    /// For `kubectl describe`.
    pub events: Events,
    /// The queues.
    pub registry: Arc<Registry>,
    /// What it measures.
    pub metrics: Arc<Metrics>,
    /// The pause between two looks.
    pub interval: Duration,
}

impl Sweeper {
    /// Sweeps until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut endpoints = Endpoints::default();
        let busy: Arc<Mutex<BTreeSet<EndpointKey>>> = Arc::default();
        let mut looks = JoinSet::new();
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let began = Instant::now();
        loop {
            tokio::select! {
                () = due(&mut ticks, &self.registry.rush) => {}
                () = stop.cancelled() => break,
            }
            while looks.try_join_next().is_some() {}
            let places = self.registry.by_endpoint();
            endpoints.retain(&places);
            for (place, queues) in places {
                // One look at a time per Redis: a slow one is asked again when it has answered.
                if !busy.lock().await.insert(place.clone()) {
                    continue;
                }
                let (sweeper, busy, connection) = (self.clone(), busy.clone(), endpoints.get(&place));
                looks.spawn(async move {
                    let looked_at = Instant::now();
                    sweeper.look(connection, queues, began).await;
                    sweeper.metrics.sweep_seconds.observe(looked_at.elapsed().as_secs_f64());
                    busy.lock().await.remove(&place);
                });
            }
        }
        looks.shutdown().await;
    }

    /// One look at all queues of one Redis, a bounded number in each round trip, and what follows from it.
    async fn look(&self, connection: Result<Arc<Connection>, QueueError>, queues: Vec<Question>, began: Instant) {
        let connection = connection.map_err(Arc::new);
        // While some answers are taken in, Redis is at work on the next.
        let portions: Vec<_> = queues.chunks(AT_ONCE).map(|some| ask(&connection, some)).collect();
        let mut portions = stream::iter(portions).buffered(2);
        while let Some(Answered { queues, answers, asked_at }) = portions.next().await {
            let now = began.elapsed().as_secs_f64();
            for (Question { key, .. }, answer) in queues.iter().zip(answers) {
                if let Some(change) = self.take_in(key, now, answer.as_ref().map_err(AsRef::as_ref)) {
                    let (sweeper, key) = (self.clone(), key.clone());
                    tokio::spawn(async move { sweeper.scale(&key, change, asked_at).await });
                }
            }
        }
        if let Ok(connection) = &connection {
            self.ask_for_eviction(connection, &queues).await;
        }
    }

    /// Now and then, and when the look is over, whether Redis may throw jobs away. Not known is as good as no.
    async fn ask_for_eviction(&self, connection: &Connection, queues: &[Question]) {
        let due: Vec<&Key> =
            queues.iter().filter(|question| question.eviction).map(|question| &*question.key).collect();
        if due.is_empty() {
            return;
        }
        let policy = eviction_policy(connection).await;
        for key in due {
            self.registry.with(key, |tracked| {
                tracked.asked = Some(Instant::now());
                if let Ok(policy) = &policy {
                    tracked.evicts = policy.as_deref().map(Into::into);
                }
            });
        }
    }

    /// Takes in what one look, `now` seconds after any fixed moment, saw of one queue. The change that it calls for is to be
    /// written with [`Sweeper::scale`].
    pub fn take_in(&self, key: &Key, now: f64, answer: Result<&QueueStats, &QueueError>) -> Option<Change> {
        let Step { scale, tell } =
            self.registry.with_shared(key, |tracked, taken| observe(tracked, now, answer, taken))?;
        if scale.is_none() && tell {
            self.registry.wake(key);
        }
        scale
    }

    /// Writes a new number of workers.
    pub async fn scale(&self, key: &Key, change: Change, seen_at: Instant) {
        let Change { deployment, from, to, reason, message } = change;
        let rush = self.registry.rush.enter();
        let namespace = key.namespace.clone().unwrap_or_default();
        let Some(write) = self.registry.with(key, |tracked| tracked.write.clone()) else { return };
        let writing = write.lock().await;
        let to = if to < from { self.choose(key, &namespace, from, to).await } else { to };
        if to == from {
            return self.registry.with(key, put_off).unwrap_or_default();
        }
        let outcome = apply::scale(&self.client, &namespace, &deployment, to).await;
        // Without an answer it may have been written, and then nothing must put back the old number: the next visit sees
        // to it that the new one is there.
        let answered = outcome.is_ok();
        let written = match &outcome {
            Ok(()) => true,
            Err(error) => error.is_ambiguous(),
        };
        if let Err(error) = outcome {
            tracing::warn!(queue = %key, %error, "the number of workers could not be written; tried again");
        } else {
            self.metrics.reaction_seconds.observe(seen_at.elapsed().as_secs_f64());
            let direction = if to > from { "up" } else { "down" };
            self.metrics.scalings.get_or_create(&DecisionLabels { reason: reason.clone(), direction }).inc();
            tracing::info!(queue = %key, from, to, reason, message, "scaled");
        }
        let told = message.clone();
        self.registry.with(key, |tracked| {
            tracked.scaling = false;
            tracked.refused = if written {
                None
            } else {
                let failures = tracked.refused.map_or(1, |(failures, _)| failures.saturating_add(1));
                Some((failures, Instant::now() + backoff::wait(failures, rand::random())))
            };
            if written {
                tracked.scaled = answered.then(Instant::now);
                tracked.current = to;
                let (from, to) = (i32::try_from(from).unwrap_or(i32::MAX), i32::try_from(to).unwrap_or(i32::MAX));
                let last_scale = LastScale { time: Time(this_second()), from, to, reason, message };
                tracked.last_scale = Some(Box::new(last_scale));
            }
        });
        self.registry.wake(key);
        drop(writing);
        drop(rush);
        if answered {
            self.registry.rush.passed().await;
            self.events.scaled(&ObjectReference::from(key.clone()), from, to, &told).await;
        }
    }

    /// Marks who goes, and says how many may stay.
    async fn choose(&self, key: &Key, namespace: &str, from: u32, to: u32) -> u32 {
        let known = self.registry.with(key, |tracked| (tracked.idle.clone(), protects(tracked)));
        let (idle, protect) = known.unwrap_or_default();
        let selector = format!("{}={}", plan::QUEUE_LABEL, key.name);
        let decrease = goers::Decrease { namespace, selector: &selector, from, to, protect };
        goers::mark(&self.client, decrease, &idle).await
    }
}

/// Returns when the next look is due. Where many numbers of workers are being written, what it would find comes after these,
/// and to look takes the processor that they need.
async fn due(ticks: &mut Interval, rush: &Rush) {
    ticks.tick().await;
    // In time or not: it is due.
    let _ = tokio::time::timeout(SELDOM, rush.passed()).await;
}

/// The answer of one round trip.
struct Answered<'a> {
    queues: &'a [Question],
    answers: Vec<Result<QueueStats, Arc<QueueError>>>,
    asked_at: Instant,
}

/// One round trip.
async fn ask<'a>(connection: &Result<Arc<Connection>, Arc<QueueError>>, queues: &'a [Question]) -> Answered<'a> {
    let asked_at = Instant::now();
    let queries: Vec<Arc<StatsQuery>> = queues.iter().map(|question| question.query.clone()).collect();
    let answers = match connection {
        Ok(connection) => stats(connection, &queries).await.map_err(Arc::new),
        Err(error) => Err(error.clone()),
    };
    let answers = match answers {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Arc::new)).collect(),
        Err(error) => queues.iter().map(|_| Err(error.clone())).collect(),
    };
    Answered { queues, answers, asked_at }
}

/// As exact as a status says it: what comes back by the watch must be what was written, or it is written again and again.
fn this_second() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).expect("a moment that is")
}

/// Nobody may go now: the pods are looked at again after a while.
fn put_off(tracked: &mut Tracked) {
    tracked.scaling = false;
    tracked.refused = Some((0, Instant::now() + PUT_OFF));
}

/// A new number of workers to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    deployment: String,
    from: u32,
    to: u32,
    reason: String,
    message: String,
}

/// What follows from one look at one queue.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    scale: Option<Change>,
    /// The status should be renewed.
    tell: bool,
}

/// Takes one look in: rates, decision, and what to do about it. `now` is in seconds of a monotonic clock; `taken`
/// connections of the budget are other queues'.
fn observe(tracked: &mut Tracked, now: f64, answer: Result<&QueueStats, &QueueError>, taken: u32) -> Step {
    let before = tracked.warned.take().unwrap_or_else(|| news(tracked));
    let (backlog, rates, busy, troubled) = match answer {
        Ok(stats) => {
            let Look { backlog, rates, busy, troubled } = see(tracked, now, stats);
            (Some(backlog), rates, busy, troubled)
        }
        Err(error) => {
            unreachable(tracked, error);
            (None, tracked.demand.miss(), 0, 0)
        }
    };
    let workers = Workers { desired: tracked.current, ready: tracked.ready, busy };
    let observation = Observation { now, backlog, workers, rates, troubled };
    let mut policy = within_budget(&tracked.policy, taken);
    policy.bounds = tracked.calendar.at(chrono::Utc::now());
    let mut decision = tracked.memory.decide(&policy, &observation);
    hold(tracked, &mut decision);
    protect_busy(tracked, &mut decision);
    let scale = change(tracked, &decision);
    let limits_before = tracked.decision.as_ref().map(|decision| decision.limits.len());
    let limits_changed = limits_before != Some(decision.limits.len());
    tracked.decision = Some(decision);
    tracked.scaling |= scale.is_some();
    let due = tracked.told.as_ref().is_none_or(|(at, told)| at.elapsed() >= TELL && *told != Told::of(tracked));
    let after = news(tracked);
    let tell = after != before || limits_changed || due;
    tracked.warned = Some(after);
    Step { scale, tell }
}

/// Digest of what the controller is told of at once.
fn news(tracked: &Tracked) -> u64 {
    fingerprint((&tracked.reach, &tracked.database, &tracked.misfit, tracked.warnings()))
}

/// The policy with what the others leave of the budget.
fn within_budget(policy: &jobqueue_scaling::Policy, taken: u32) -> jobqueue_scaling::Policy {
    let mut policy = policy.clone();
    if let Some(budget) = &mut policy.connections {
        budget.connections = budget.connections.saturating_sub(taken);
    }
    policy
}

/// More workers do not help a database that is away, and fewer would undo what they hold for it; one must be there to
/// notice that it is back.
fn hold(tracked: &mut Tracked, decision: &mut jobqueue_scaling::Decision) {
    let automatic = tracked.policy.mode == jobqueue_scaling::Mode::Auto;
    let away = matches!(tracked.database, Reach::Failed { .. });
    let (now, wanted) = (tracked.current, decision.replicas);
    let refused = |limited: &Limited| matches!(limited.limit, Limit::DatabaseErrors { .. });
    let held = match (away, tracked.misfit.is_some()) {
        // It serves some: those whom it does not may go.
        (true, _) if wanted > 0 && decision.limits.iter().any(refused) => wanted.min(now),
        (true, _) => now.max(wanted.min(1)),
        // Workers that cannot work yet: no more of them, but fewer where there is nothing to do.
        (false, true) => wanted.min(now.max(1)),
        (false, false) => wanted,
    };
    let holds = automatic && held != wanted;
    tracked.held = holds.then_some(Reason::DatabaseSaturated);
    if holds {
        decision.replicas = held;
    }
}

/// With neither a job waiting nor one running there is nobody to protect.
fn protects(tracked: &Tracked) -> bool {
    let nothing_runs = tracked.failures == 0
        && tracked.seen.as_ref().is_some_and(|seen| seen.backlog.jobs() == 0)
        && tracked.idle.all_idle();
    tracked.protect_busy && !nothing_runs
}

/// The workers that are not known to be idle stay, if the queue is one that protects them.
fn protect_busy(tracked: &Tracked, decision: &mut jobqueue_scaling::Decision) {
    if !protects(tracked) {
        return;
    }
    let deployment = tracked.deployment.as_deref().unwrap_or_default();
    // Pods that are not ready go first, and have nothing in hand, which is checked before they go.
    let busy = tracked.ready.min(tracked.current).saturating_sub(tracked.idle.quiet(deployment));
    protect(decision, tracked.current, busy);
}

fn change(tracked: &Tracked, decision: &jobqueue_scaling::Decision) -> Option<Change> {
    let deployment = tracked.deployment.as_deref()?;
    let may = !tracked.scaling && tracked.refused.is_none_or(|(_, until)| Instant::now() >= until);
    let changes = may && decision.replicas != tracked.current;
    changes.then(|| Change {
        deployment: deployment.into(),
        from: tracked.current,
        to: decision.replicas,
        reason: decision.reason.name().into(),
        message: decision.to_string(),
    })
}

fn see(tracked: &mut Tracked, now: f64, stats: &QueueStats) -> Look {
    tracked.failures = 0;
    tracked.reach = Reach::Reachable;
    let look = tracked.demand.look(now, stats);
    judge_queue(tracked, &stats.troubles);
    judge_database(tracked, &stats.troubles);
    tracked.failing.look(now, &stats.workers);
    tracked.idle.look(&stats.workers);
    let Look { backlog, rates, .. } = look;
    tracked.seen =
        Some(Seen { backlog, failed: stats.failed, scheduled: stats.scheduled, rates, at: Timestamp::now() });
    look
}

/// A worker does more with the queue than the operator, which only looks: its account may lack a right.
fn judge_queue(tracked: &mut Tracked, troubles: &[Trouble]) {
    for Trouble { kind, message } in troubles {
        let reason = match kind {
            TroubleKind::QueueDenied => Reason::Denied,
            TroubleKind::QueueWrongData => Reason::WrongData,
            TroubleKind::Unavailable | TroubleKind::Denied | TroubleKind::Misfit => continue,
        };
        tracked.reach = Reach::Failed { reason, message: format!("for a worker: {message}") };
    }
}

/// The workers know their database; the operator never talks to it. What none of them can tell stays as it was.
fn judge_database(tracked: &mut Tracked, troubles: &[Trouble]) {
    if tracked.database == Reach::NotApplicable {
        return;
    }
    let first = |kinds: &[TroubleKind]| troubles.iter().find(|trouble| kinds.contains(&trouble.kind));
    let misfit = first(&[TroubleKind::Misfit]);
    tracked.misfit = misfit.map(|Trouble { message, .. }| {
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Box::new(Blocked { reason: Reason::InvalidRecipe, message })
    });
    if let Some(Trouble { kind, message }) = first(&[TroubleKind::Denied, TroubleKind::Unavailable]) {
        let reason = if *kind == TroubleKind::Denied { Reason::Denied } else { Reason::Unreachable };
        tracked.database = Reach::Failed { reason, message: message.clone() };
    } else if misfit.is_some() || tracked.ready > 0 {
        tracked.database = Reach::Reachable;
    }
}

fn unreachable(tracked: &mut Tracked, error: &QueueError) {
    tracked.failures = tracked.failures.saturating_add(1);
    tracked.idle = Idle::default();
    if tracked.failures >= FAILURES {
        let reason = match error {
            QueueError::Unavailable { .. } => Reason::Unreachable,
            QueueError::Denied { .. } => Reason::Denied,
            QueueError::Data(_) => Reason::WrongData,
            QueueError::Config(_) => Reason::InvalidUrl,
        };
        tracked.reach = Reach::Failed { reason, message: error.to_string() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_are_seldom_while_many_numbers_are_written() {
        let rush = Rush::default();
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.tick().await;
        let began = Instant::now();
        for _ in 0..4 {
            due(&mut ticks, &rush).await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1), "nothing is written");
        let crowd: Vec<_> = std::iter::repeat_with(|| rush.enter()).take(100).collect();
        let began = Instant::now();
        due(&mut ticks, &rush).await;
        assert_eq!(began.elapsed(), Duration::from_millis(1250), "and not never");
        let release = async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            drop(crowd);
        };
        let began = Instant::now();
        tokio::join!(due(&mut ticks, &rush), release);
        assert_eq!(began.elapsed(), Duration::from_millis(400), "at once when it is over");
    }
}
