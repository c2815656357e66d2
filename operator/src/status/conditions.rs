//! The conditions of a JobQueue: a pure function of what was found out.
//!
//! The rules that tools rely on: every type is always present; `Ready` stays True while idle at zero, paused or limited;
//! `Stalled` and `Reconciling` are never both True; a condition's `lastTransitionTime` moves with its status only.

use jobqueue_crds::{ConditionType, Reason, ScalingMode};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::state::{
    health::{Reachability, Stall, Warning},
    workers::{PodProblem, Workers},
};

/// The last decision, as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DecisionSummary {
    /// Workers asked for.
    pub(crate) replicas: u32,
    /// Workers that the work takes.
    pub(crate) wanted: u32,
    /// The decision in a sentence.
    pub(crate) message: String,
    /// The condition reason of the limit that binds, which is the last that was applied; `None` if none does.
    pub(crate) limit: Option<Reason>,
}

/// Everything that conditions are made from.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// `metadata.generation`.
    pub(crate) generation: i64,
    /// Conditions of the last status.
    pub(crate) before: &'a [Condition],
    /// `spec.scaling.mode`.
    pub(crate) mode: ScalingMode,
    /// What keeps the queue from being served until a person repairs it; `None` if nothing does.
    pub(crate) stall: Option<Stall>,
    /// Why reconciles fail that are tried again; `None` if they do not.
    pub(crate) retry: Option<String>,
    /// Redis.
    pub(crate) queue: Reachability,
    /// The database, as the workers report.
    pub(crate) database: Reachability,
    /// The Deployment's numbers; `None` until there is one.
    pub(crate) workers: Option<Workers>,
    /// What keeps pods from starting; `None` if nothing is known to.
    pub(crate) problem: Option<PodProblem>,
    /// The last decision; `None` before the first poll.
    pub(crate) scaling: Option<DecisionSummary>,
    /// Jobs waiting and running; `None` before the first poll that was answered.
    pub(crate) jobs: Option<u64>,
    /// What a person should look at, while work goes on: another autoscaler on the Deployment, or Redis evicting keys.
    pub(crate) warnings: Vec<Warning>,
    /// Its workers are to be replaced because the operator changed, after those of other queues.
    pub(crate) rollout_queued: bool,
}

/// A condition without its dates.
struct State {
    kind: ConditionType,
    status: &'static str,
    reason: Reason,
    message: String,
}

fn state(kind: ConditionType, holds: bool, reason: Reason, message: impl Into<String>) -> State {
    State { kind, status: if holds { "True" } else { "False" }, reason, message: message.into() }
}

fn unknown(kind: ConditionType, message: &str) -> State {
    State { kind, status: "Unknown", reason: Reason::Pending, message: message.into() }
}

/// All conditions, in the order of [`ConditionType`].
pub(crate) fn conditions(facts: &Facts<'_>, now: Timestamp) -> Vec<Condition> {
    let stall = stall(facts);
    let states = [
        ready(facts, stall.as_ref()),
        reconciling(facts, stall.as_ref()),
        stalled(stall.as_ref()),
        reachable(ConditionType::QueueReachable, &facts.queue, "Redis"),
        reachable(ConditionType::DatabaseReachable, &facts.database, "the database"),
        workers_available(facts),
        scaled_to_target(facts),
        scaling_limited(facts),
        state(
            ConditionType::Paused,
            facts.mode == ScalingMode::Paused,
            mode_reason(facts.mode),
            match facts.mode {
                ScalingMode::Paused => "the number of workers stays as it is",
                ScalingMode::Manual => "spec.replicas decides the number of workers",
                ScalingMode::Auto => "the backlog decides the number of workers",
            },
        ),
        degraded(facts),
    ];
    states.into_iter().map(|state| dated(state, facts, now)).collect()
}

fn dated(state: State, facts: &Facts<'_>, now: Timestamp) -> Condition {
    let kind = state.kind.to_string();
    let before = facts.before.iter().find(|condition| condition.type_ == kind);
    let unchanged = before.filter(|condition| condition.status == state.status);
    Condition {
        last_transition_time: unchanged.map_or(Time(now), |condition| condition.last_transition_time.clone()),
        message: state.message,
        observed_generation: Some(facts.generation),
        reason: state.reason.to_string(),
        status: state.status.into(),
        type_: kind,
    }
}

fn mode_reason(mode: ScalingMode) -> Reason {
    match mode {
        ScalingMode::Auto => Reason::ModeAuto,
        ScalingMode::Manual => Reason::ModeManual,
        ScalingMode::Paused => Reason::ModePaused,
    }
}

/// What needs a person: a finding of the reconcile, or pods that will not start by waiting.
fn stall(facts: &Facts<'_>) -> Option<Stall> {
    let pods = facts.problem.as_ref().filter(|problem| problem.stalls);
    let pods = pods.map(|problem| Stall { reason: problem.reason, message: problem.message.clone() });
    facts.stall.clone().or(pods)
}

fn ready(facts: &Facts<'_>, stall: Option<&Stall>) -> State {
    let kind = ConditionType::Ready;
    if let Some(Stall { reason, message }) = stall {
        return state(kind, false, *reason, message);
    }
    for server in [&facts.queue, &facts.database] {
        if let Reachability::Failed { reason, message } = server {
            return state(kind, false, *reason, &**message);
        }
    }
    let (Some(workers), false) = (facts.workers, facts.queue == Reachability::Unknown) else {
        return unknown(kind, "not checked yet");
    };
    let jobs = facts.jobs.unwrap_or(0);
    let sentence = facts.scaling.as_ref().map(|scaling| scaling.message.clone()).unwrap_or_default();
    let reason = match (facts.mode, jobs) {
        (ScalingMode::Paused, _) => Reason::ModePaused,
        _ if workers.ready < workers.wanted && jobs > 0 => Reason::WorkersStarting,
        (_, 0) => Reason::Idle,
        _ => limit(facts).map_or(Reason::Working, |(limit, _)| limit),
    };
    state(kind, true, reason, sentence)
}

fn reconciling(facts: &Facts<'_>, stall: Option<&Stall>) -> State {
    let kind = ConditionType::Reconciling;
    if let (None, Some(words)) = (stall, &facts.retry) {
        return state(kind, true, Reason::Retrying, words);
    }
    match (stall, facts.workers) {
        (Some(_), _) => state(kind, false, Reason::NotApplicable, "it is stalled"),
        (None, None) => state(kind, true, Reason::SpecChanged, "the workers are being set up"),
        (None, Some(Workers { current: false, .. })) => {
            state(kind, true, Reason::RollingOut, "workers are being replaced by ones of the present spec")
        }
        (None, Some(_)) if facts.rollout_queued => state(
            kind,
            true,
            Reason::RolloutQueued,
            "the operator changed: the workers are replaced after those of other queues",
        ),
        (None, Some(_)) => state(kind, false, Reason::AsSpecified, "everything is as specified"),
    }
}

fn stalled(stall: Option<&Stall>) -> State {
    let kind = ConditionType::Stalled;
    match stall {
        Some(Stall { reason, message }) => state(kind, true, *reason, message),
        None => state(kind, false, Reason::AsSpecified, "nothing waits for a person"),
    }
}

fn reachable(kind: ConditionType, server: &Reachability, what: &str) -> State {
    match server {
        Reachability::Unknown => unknown(kind, "not tried yet"),
        Reachability::Reachable => state(kind, true, Reason::Reachable, format!("{what} answers")),
        Reachability::Failed { reason, message } => state(kind, false, *reason, &**message),
        Reachability::NotApplicable => state(kind, true, Reason::NotApplicable, "the queue has none"),
    }
}

fn workers_available(facts: &Facts<'_>) -> State {
    let kind = ConditionType::WorkersAvailable;
    let Some(workers) = facts.workers else { return unknown(kind, "there is no Deployment yet") };
    let counts = format!("{} of {} workers are ready", workers.ready, workers.wanted);
    match &facts.problem {
        Some(problem) if workers.ready < workers.wanted => {
            state(kind, false, problem.reason, format!("{counts}: {}", problem.message))
        }
        _ if workers.ready < workers.wanted => state(kind, false, Reason::WorkersStarting, counts),
        _ => state(kind, true, Reason::AsSpecified, counts),
    }
}

fn scaled_to_target(facts: &Facts<'_>) -> State {
    let kind = ConditionType::ScaledToTarget;
    let Some(scaling) = &facts.scaling else { return unknown(kind, "nothing was decided yet") };
    let met = scaling.replicas == scaling.wanted;
    let reason = if met { Reason::OnTarget } else { scaling.limit.unwrap_or(Reason::OnTarget) };
    state(kind, met, reason, &scaling.message)
}

fn scaling_limited(facts: &Facts<'_>) -> State {
    let kind = ConditionType::ScalingLimited;
    match limit(facts) {
        Some((limit, scaling)) => state(kind, true, limit, &scaling.message),
        None => state(kind, false, Reason::NotLimited, "no limit keeps the number of workers down"),
    }
}

/// What keeps the number of workers below what the work takes; `None` if nothing does.
fn limit<'a>(facts: &'a Facts<'_>) -> Option<(Reason, &'a DecisionSummary)> {
    let scaling = facts.scaling.as_ref().filter(|scaling| scaling.replicas < scaling.wanted)?;
    scaling.limit.map(|limit| (limit, scaling))
}

fn degraded(facts: &Facts<'_>) -> State {
    let kind = ConditionType::Degraded;
    let unscheduled = facts.problem.as_ref().filter(|problem| !problem.stalls);
    let pods = unscheduled.map(|problem| Warning { reason: problem.reason, message: problem.message.clone() });
    match facts.warnings.iter().cloned().chain(pods).next() {
        Some(Warning { reason, message }) => state(kind, true, reason, message),
        None => state(kind, false, Reason::AsSpecified, "nothing needs a look"),
    }
}

/// Whether something is wrong. A condition that was unknown and is as it should be now is no news: thousands of new queues
/// would be as many events.
fn is_wrong(condition: &Condition) -> bool {
    let kind = condition.type_.parse::<ConditionType>();
    match kind {
        Ok(ConditionType::Stalled | ConditionType::Degraded) => condition.status == "True",
        Ok(ConditionType::Ready | ConditionType::QueueReachable | ConditionType::DatabaseReachable) => {
            condition.status == "False"
        }
        _ => false,
    }
}

/// The conditions whose status changed between two sets of them, for events.
pub(crate) fn transitions<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let changed = |condition: &&Condition| {
        let old = before.iter().find(|old| old.type_ == condition.type_ && old.status != "Unknown");
        old.map_or(is_wrong(condition), |old| old.status != condition.status)
    };
    after.iter().filter(changed).collect()
}
