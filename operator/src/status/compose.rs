//! The status as it should be: a pure function of what the reconcile found and of what the autoscaler knows.

use std::time::Duration;

use jobqueue_crds::{ConditionType, DecisionStatus, JobQueue, JobQueueStatus, LastScale, QueueStatus, Reason};
use jobqueue_scaling::{Decision, eta_seconds};
use jobqueue_scaling_input::{decision_status, limit_reason};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use crate::{
    names,
    state::{
        health::{Reachability, Stall, Warning},
        observed::QueueSnapshot,
        queue_state::QueueState,
        scaling::Scaling,
        workers::{PodProblem, Workers},
    },
    status::conditions::{DecisionSummary, Facts, conditions},
};

/// What a reconcile found out.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What keeps the queue from being served until a person repairs it; `None` if nothing does.
    pub(crate) stall: Option<Stall>,
    /// Why reconciles fail that are tried again; `None` if they do not.
    pub(crate) retry: Option<String>,
    /// The Deployment's numbers; `None` until there is one.
    pub(crate) workers: Option<Workers>,
    /// What keeps pods from starting; `None` if nothing is known to.
    pub(crate) problem: Option<PodProblem>,
    /// What a person should look at.
    pub(crate) warnings: Vec<Warning>,
    /// Its workers are to be replaced because the operator changed, after those of other queues.
    pub(crate) rollout_queued: bool,
}

/// What the autoscaler knows of a queue; nothing of one that is not served.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) queue: Reachability,
    /// `None` if the queue is not served.
    database: Option<Reachability>,
    snapshot: Option<QueueSnapshot>,
    recipe_stall: Option<Stall>,
    warnings: Vec<Warning>,
    summary: Option<DecisionSummary>,
    decision: Option<DecisionStatus>,
    last_scale: Option<LastScale>,
    pub(super) served_for: Duration,
    /// How long until missing pods are listed again; `None` if none are missing.
    pub(super) next_pod_check: Option<Duration>,
}

impl Known {
    /// What is known of a queue now. `queues` are served in all.
    pub(super) fn of(state: &QueueState, queues: usize) -> Self {
        let QueueState { since, applied, observed, scaling, .. } = state;
        let decision = scaling.decision.as_ref();
        Self {
            queue: observed.queue.clone(),
            database: Some(state.database().clone()),
            recipe_stall: observed.recipe_stall.as_deref().cloned(),
            warnings: observed.warnings(),
            snapshot: observed.snapshot.clone(),
            decision: decision.map(|decision| decision_status(decision, sentence(scaling, decision))),
            summary: decision.map(|decision| DecisionSummary {
                replicas: decision.replicas,
                wanted: decision.wanted,
                message: sentence(scaling, decision),
                limit: scaling.held.or_else(|| decision.limits.last().map(|limited| limit_reason(&limited.limit))),
            }),
            last_scale: scaling.last_scale.as_deref().cloned(),
            served_for: since.elapsed(),
            next_pod_check: applied.missing_pods.as_ref().map(|missing| missing.until_next_check(queues)),
        }
    }

    /// True until the first poll of Redis was answered, or failed for good.
    pub(super) fn nothing_yet(&self) -> bool {
        self.snapshot.is_none() && self.queue == Reachability::Unknown
    }

    /// True if one of the queue's servers does not answer.
    pub(super) fn is_failing(&self) -> bool {
        self.queue.is_failed() || self.database.as_ref().is_some_and(Reachability::is_failed)
    }

    /// Moves what belongs to the findings there.
    pub(super) fn complete(&mut self, findings: Findings) -> Findings {
        let stall = findings.stall.or(self.recipe_stall.take());
        let warnings = [findings.warnings, std::mem::take(&mut self.warnings)].concat();
        Findings { stall, warnings, ..findings }
    }
}

/// The decision in a sentence, and what the state of the database makes of it.
fn sentence(scaling: &Scaling, decision: &Decision) -> String {
    let held = || format!("{decision}; held at {} until the database is back", scaling.replicas);
    scaling.held.map_or_else(|| decision.to_string(), |_| held())
}

fn count(workers: u32) -> i32 {
    i32::try_from(workers).unwrap_or(i32::MAX)
}

/// The status at `now`; what is not known yet stays as the `previous` status has it.
pub(super) fn compose(
    queue: &JobQueue,
    previous: &JobQueueStatus,
    findings: &Findings,
    known: &Known,
    now: Timestamp,
) -> JobQueueStatus {
    let Findings { stall, retry, workers, problem, warnings, rollout_queued } = findings;
    let facts = Facts {
        generation: queue.metadata.generation.unwrap_or_default(),
        before: &previous.conditions,
        mode: queue.spec.scaling.mode,
        stall: stall.clone(),
        retry: retry.clone(),
        queue: known.queue.clone(),
        database: database(queue, previous, known),
        workers: *workers,
        problem: problem.clone(),
        scaling: known.summary.clone(),
        jobs: known.snapshot.as_ref().map(|snapshot| snapshot.backlog.jobs()),
        warnings: warnings.clone(),
        rollout_queued: *rollout_queued,
    };
    JobQueueStatus {
        observed_generation: queue.metadata.generation,
        conditions: conditions(&facts, now),
        selector: Some(names::selector_text(queue)),
        replicas: workers.map_or(0, |workers| count(workers.present)),
        ready_replicas: workers.map_or(0, |workers| count(workers.ready)),
        desired_replicas: known.summary.as_ref().map(|summary| count(summary.replicas)).or(previous.desired_replicas),
        queue: known.snapshot.as_ref().map(numbers).or_else(|| previous.queue.clone()),
        last_scale: known.last_scale.clone().or_else(|| previous.last_scale.clone()),
        decision: known.decision.clone().or_else(|| previous.decision.clone()),
    }
}

/// What is known of the database; without workers nothing new is reported, and the last report holds.
fn database(queue: &JobQueue, previous: &JobQueueStatus, known: &Known) -> Reachability {
    let unknown = if queue.spec.database.is_some() { Reachability::Unknown } else { Reachability::NotApplicable };
    let reported = known.database.clone().filter(|reachability| *reachability != Reachability::Unknown);
    reported.or_else(|| remembered(previous)).unwrap_or(unknown)
}

/// `Reachable` if the previous status says so, else `None`.
fn remembered(previous: &JobQueueStatus) -> Option<Reachability> {
    let kind = ConditionType::DatabaseReachable.to_string();
    let condition = previous.conditions.iter().find(|condition| condition.type_ == kind)?;
    let reachable = condition.status == "True" && condition.reason == Reason::Reachable.to_string();
    reachable.then_some(Reachability::Reachable)
}

fn numbers(snapshot: &QueueSnapshot) -> QueueStatus {
    let QueueSnapshot { backlog, failed, scheduled, arrivals_per_second, completions_per_second, at } = snapshot;
    let count = |jobs: u64| i64::try_from(jobs).unwrap_or(i64::MAX);
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let seconds = |seconds: f64| seconds.round() as i64;
    // Two decimals: a rate that fades away ends at zero.
    let rate = |rate: f64| (rate * 100.0).round() / 100.0;
    let (arrivals, completions) = (*arrivals_per_second, *completions_per_second);
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
