//! The last step: what was found becomes the status, and its transitions become events. Written only when something
//! changed: states at once, numbers every few seconds at most.

use std::time::Duration;

use jobqueue_crds::{ConditionType, DecisionStatus, JobQueue, JobQueueStatus, QueueStatus, Reason};
use jobqueue_demand::{decision_status, limit_reason};
use jobqueue_scaling::{Decision, eta_seconds};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    apply::MANAGER,
    controller::Context,
    error::Error,
    glimpse::each,
    observe::{PodProblem, Workers},
    plan,
    registry::Key,
    status::{Blocked, Facts, Reach, Scaling, conditions, transitions},
    tracked::{Seen, Told, Tracked, Uid},
};

/// How often the numbers in a status are renewed.
pub const TELL: Duration = Duration::from_secs(15);

/// How long a new queue's first status waits for the first look at Redis, so that it is written once and not twice.
pub const FIRST_LOOK: Duration = Duration::from_secs(2);

/// How far apart two statuses of one queue are: pods become ready one by one, and what a thousand queues write of that is
/// in the way of the pods.
fn apart(queues: usize) -> Duration {
    each(queues.saturating_sub(100), 1).min(Duration::from_secs(5))
}

/// What a visit found out.
#[derive(Debug, Default)]
pub struct Findings {
    /// What stops us, if anything.
    pub blocked: Option<Blocked>,
    /// The Deployment's numbers.
    pub workers: Option<Workers>,
    /// What keeps pods from starting.
    pub problem: Option<PodProblem>,
    /// What somebody should look at.
    pub warnings: Vec<Blocked>,
}

/// When the queue wants to be visited again, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A person may be about to repair it, or a server to come back.
    Repair,
    /// Pods are on their way; so long until they are looked at again.
    Pods(Duration),
    /// Nobody has looked at its Redis yet.
    Look,
    /// There is news to tell, a little later.
    Tell(Duration),
    /// Only to follow Secrets.
    Resync,
}

/// Writes the status if there is news.
pub async fn report(context: &Context, key: &Key, queue: &JobQueue, findings: Findings) -> Result<Next, Error> {
    let queues = context.registry.len();
    let mut known = context.registry.with(key, |tracked| Known::of(tracked, queues)).unwrap_or_default();
    let warnings = [findings.warnings, std::mem::take(&mut known.warnings)].concat();
    let findings = Findings { blocked: findings.blocked.or(known.misfit.take()), warnings, ..findings };
    let next = next(&findings, &known);
    let uid = Uid::of(queue);
    let written = context.registry.written(key).filter(|written| written.uid == uid);
    let age = written.as_ref().map(|written| written.at.elapsed());
    let said = written.and_then(|written| written.status).map(|status| *status);
    if said.is_some() && json!(said) == json!(queue.status) {
        context.registry.caught_up(key);
    }
    let before = said.or_else(|| queue.status.clone()).unwrap_or_default();
    if known.nothing_yet() && findings.blocked.is_none() {
        // The sweep looks in a fraction of a second. What the leader before us wrote stands until then.
        if before.observed_generation.is_some() {
            return Ok(next);
        }
        if known.served_for < FIRST_LOOK {
            return Ok(Next::Look);
        }
    }
    let status = compose(queue, &before, &findings, &known);
    let told = |tracked: &mut Tracked| tracked.told = Some((tokio::time::Instant::now(), Told::of(tracked)));
    if !worth_writing(&before, &status, age) {
        if age.is_none_or(|age| age >= TELL) {
            // It says so already, by us or by the leader before us.
            context.registry.with(key, told);
        }
        return Ok(next);
    }
    let early = age.and_then(|age| apart(queues).checked_sub(age)).filter(|early| !early.is_zero());
    if let Some(early) = early {
        return Ok(Next::Tell(early));
    }
    if !write(context, queue, &status).await? {
        return Ok(next);
    }
    context.registry.note_written(key, uid, status.clone());
    context.registry.with(key, told);
    let changed = transitions(&before.conditions, &status.conditions);
    context.events.transitions(&queue.object_ref(&()), &changed).await;
    Ok(next)
}

/// What the sweep found out.
#[derive(Debug, Default)]
struct Known {
    queue: Option<Reach>,
    database: Option<Reach>,
    seen: Option<Seen>,
    misfit: Option<Blocked>,
    warnings: Vec<Blocked>,
    scaling: Option<Scaling>,
    decision: Option<DecisionStatus>,
    last_scale: Option<Box<jobqueue_crds::LastScale>>,
    served_for: Duration,
    /// How long until pods that are missing are looked at again.
    pods: Option<Duration>,
}

impl Known {
    fn of(tracked: &mut Tracked, queues: usize) -> Self {
        Self {
            queue: Some(tracked.reach.clone()),
            database: Some(tracked.database.clone()),
            misfit: tracked.misfit.as_deref().cloned(),
            warnings: tracked.warnings(),
            seen: tracked.seen.clone(),
            decision: tracked.decision.as_ref().map(|decision| decision_status(decision, sentence(tracked, decision))),
            scaling: tracked.decision.as_ref().map(|decision| Scaling {
                replicas: decision.replicas,
                wanted: decision.wanted,
                message: sentence(tracked, decision),
                limit: tracked.held.or_else(|| decision.limits.last().map(|limited| limit_reason(&limited.limit))),
            }),
            last_scale: tracked.last_scale.clone(),
            served_for: tracked.since.elapsed(),
            pods: tracked.missing.as_ref().map(|missing| missing.left(queues)),
        }
    }
}

impl Known {
    /// True until the first look at Redis has brought an answer, or failed for good.
    fn nothing_yet(&self) -> bool {
        self.seen.is_none() && self.queue.as_ref().is_none_or(|reach| *reach == Reach::Unknown)
    }
}

/// The decision in a sentence, and what the state of the database makes of it.
fn sentence(tracked: &Tracked, decision: &Decision) -> String {
    let held = || format!("{decision}; held at {} until the database is back", tracked.current);
    tracked.held.map_or_else(|| decision.to_string(), |_| held())
}

fn count(workers: u32) -> i32 {
    i32::try_from(workers).unwrap_or(i32::MAX)
}

fn next(findings: &Findings, known: &Known) -> Next {
    let failed = |reach: &Option<Reach>| matches!(reach, Some(Reach::Failed { .. }));
    match findings {
        Findings { blocked: Some(_), .. } => Next::Repair,
        _ if failed(&known.queue) || failed(&known.database) => Next::Repair,
        _ => known.pods.map_or(Next::Resync, Next::Pods),
    }
}

fn compose(queue: &JobQueue, before: &JobQueueStatus, findings: &Findings, known: &Known) -> JobQueueStatus {
    let now = Timestamp::now();
    let Findings { blocked, workers, problem, warnings } = findings;
    let none = if queue.spec.database.is_some() { Reach::Unknown } else { Reach::NotApplicable };
    let facts = Facts {
        generation: queue.metadata.generation.unwrap_or_default(),
        before: &before.conditions,
        mode: queue.spec.scaling.mode,
        blocked: blocked.clone(),
        queue: known.queue.clone().unwrap_or(Reach::Unknown),
        database: known
            .database
            .clone()
            .filter(|reach| *reach != Reach::Unknown)
            .or_else(|| remembered(before))
            .unwrap_or(none),
        workers: *workers,
        problem: problem.clone(),
        scaling: known.scaling.clone(),
        jobs: known.seen.as_ref().map(|seen| seen.backlog.jobs()),
        warnings: warnings.clone(),
    };
    JobQueueStatus {
        observed_generation: queue.metadata.generation,
        conditions: conditions(&facts, now),
        selector: Some(plan::selector_text(queue)),
        replicas: workers.map_or(0, |workers| count(workers.present)),
        ready_replicas: workers.map_or(0, |workers| count(workers.ready)),
        desired_replicas: known.scaling.as_ref().map(|scaling| count(scaling.replicas)).or(before.desired_replicas),
        queue: known.seen.as_ref().map(numbers).or_else(|| before.queue.clone()),
        last_scale: known.last_scale.as_deref().cloned().or_else(|| before.last_scale.clone()),
        decision: known.decision.clone().or_else(|| before.decision.clone()),
    }
}

/// What was known of the database when workers last spoke of it: with none there, nobody says anything new.
fn remembered(before: &JobQueueStatus) -> Option<Reach> {
    let kind = ConditionType::DatabaseReachable.to_string();
    let condition = before.conditions.iter().find(|condition| condition.type_ == kind)?;
    (condition.status == "True" && condition.reason == Reason::Reachable.to_string()).then_some(Reach::Reachable)
}

fn numbers(seen: &Seen) -> QueueStatus {
    let Seen { backlog, failed, scheduled, rates, at } = seen;
    let count = |jobs: u64| i64::try_from(jobs).unwrap_or(i64::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let seconds = |seconds: f64| seconds.round() as i64;
    // Two decimals: a rate that fades away ends at zero.
    let rate = |rate: f64| (rate * 100.0).round() / 100.0;
    let (arrivals, completions) = (rates.arrivals_per_second, rates.completions_per_second);
    let eta = eta_seconds(backlog.jobs(), completions.unwrap_or(0.0), arrivals.unwrap_or(0.0));
    QueueStatus {
        waiting: count(backlog.waiting),
        running: count(backlog.running),
        failed: count(*failed),
        scheduled: count(*scheduled),
        oldest_wait_seconds: backlog.oldest_wait_seconds.map(seconds),
        arrivals_per_second: arrivals.map(rate),
        completions_per_second: completions.map(rate),
        drain_eta_seconds: eta.map(seconds),
        observed_at: Some(Time(*at)),
    }
}

/// States are written at once; numbers and sentences when the last write is old enough.
fn worth_writing(before: &JobQueueStatus, now: &JobQueueStatus, age: Option<Duration>) -> bool {
    let states = |status: &JobQueueStatus| {
        let mut bare = status.clone();
        bare.queue = None;
        bare.decision = None;
        for condition in &mut bare.conditions {
            condition.message.clear();
        }
        bare
    };
    let undated = |status: &JobQueueStatus| {
        let mut bare = status.clone();
        if let Some(numbers) = &mut bare.queue {
            numbers.observed_at = None;
            // With nothing to do, a first rate of zero is no news: each new queue would have another status.
            if numbers.waiting == 0 && numbers.running == 0 {
                for rate in [&mut numbers.arrivals_per_second, &mut numbers.completions_per_second] {
                    *rate = rate.filter(|rate| *rate > 0.0);
                }
            }
        }
        bare
    };
    states(before) != states(now) || (age.is_none_or(|age| age >= TELL) && undated(before) != undated(now))
}

/// False if the object is gone.
async fn write(context: &Context, queue: &JobQueue, status: &JobQueueStatus) -> Result<bool, Error> {
    let api: Api<JobQueue> = Api::namespaced(context.client.clone(), &queue.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": JobQueue::api_version(&()),
        "kind": JobQueue::kind(&()),
        // The uid keeps a status from reaching a new object of the same name.
        "metadata": {"name": queue.name_any(), "uid": queue.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(MANAGER).force();
    match api.patch_status(&queue.name_any(), &parameters, &Patch::Apply(&patch)).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
        Err(source) => Err(Error::Status(Box::new(source))),
    }
}

/// The status of an object that cannot be read: it has a spec of another version of this API.
pub async fn unreadable(
    context: &Context,
    name: &str,
    namespace: &str,
    generation: i64,
    error: &str,
) -> Result<(), Error> {
    let facts = Facts {
        generation,
        before: &[],
        mode: jobqueue_crds::ScalingMode::default(),
        blocked: Some(Blocked { reason: jobqueue_crds::Reason::InvalidSpec, message: error.to_owned() }),
        queue: Reach::Unknown,
        database: Reach::Unknown,
        workers: None,
        problem: None,
        scaling: None,
        jobs: None,
        warnings: Vec::new(),
    };
    let wanted = [ConditionType::Ready.to_string(), ConditionType::Stalled.to_string()];
    let conditions: Vec<_> =
        conditions(&facts, Timestamp::now()).into_iter().filter(|c| wanted.contains(&c.type_)).collect();
    let patch = json!({
        "apiVersion": JobQueue::api_version(&()),
        "kind": JobQueue::kind(&()),
        "metadata": {"name": name},
        "status": {"observedGeneration": generation, "conditions": conditions},
    });
    let resource = kube::api::ApiResource::erase::<JobQueue>(&());
    let api: Api<kube::api::DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let parameters = PatchParams::apply(MANAGER).force();
    let outcome = api.patch_status(name, &parameters, &Patch::Apply(&patch)).await;
    outcome.map(|_| ()).map_err(|source| Error::Status(Box::new(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wait_and_states_do_not() {
        let before = JobQueueStatus::default();
        let mut numbers = before.clone();
        numbers.queue = Some(QueueStatus { waiting: 3, ..QueueStatus::default() });
        assert!(!worth_writing(&before, &numbers, Some(Duration::from_secs(14))));
        assert!(worth_writing(&before, &numbers, Some(TELL)));
        let mut state = before.clone();
        state.ready_replicas = 1;
        assert!(worth_writing(&before, &state, Some(Duration::ZERO)));
        let mut later = numbers.clone();
        later.queue.as_mut().unwrap().observed_at = Some(Time(Timestamp::now()));
        assert!(!worth_writing(&numbers, &later, Some(TELL * 10)), "a date alone is no news");
        let rated = |waiting: i64, rate: Option<f64>| {
            let mut status = before.clone();
            status.queue = Some(QueueStatus { waiting, arrivals_per_second: rate, ..QueueStatus::default() });
            status
        };
        assert!(!worth_writing(&rated(0, None), &rated(0, Some(0.0)), Some(TELL)), "nothing to do, and nothing comes");
        assert!(worth_writing(&rated(0, Some(0.01)), &rated(0, Some(0.0)), Some(TELL)));
        assert!(worth_writing(&rated(1, None), &rated(1, Some(0.0)), Some(TELL)));
    }
}
