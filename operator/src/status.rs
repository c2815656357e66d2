//! Conditions and numbers of a JobQueue's status: a pure function of what was found out.
//!
//! The rules that tools rely on: every type is always present; `Ready` stays True while idle at zero, paused or limited;
//! `Stalled` and `Reconciling` are never both True; a condition's `lastTransitionTime` moves with its status only.

use jobqueue_crds::{ConditionType, Reason, ScalingMode};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::observe::{PodProblem, Workers};

/// What is known of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Not tried yet.
    Unknown,
    /// It answers.
    Reachable,
    /// It does not, for long enough to say so.
    Failed {
        /// `Unreachable`, `Denied` or `WrongData`.
        reason: Reason,
        /// Its words.
        message: String,
    },
    /// The queue has none.
    NotApplicable,
}

/// Something only a person can repair.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Blocked {
    /// Why.
    pub reason: Reason,
    /// What to do.
    pub message: String,
}

/// The last decision, as the status shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling {
    /// Workers asked for.
    pub replicas: u32,
    /// Workers that the work takes.
    pub wanted: u32,
    /// The sentence.
    pub message: String,
    /// The limit that binds, which is the last that was applied: its condition reason.
    pub limit: Option<Reason>,
}

/// Everything that conditions are made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// `metadata.generation`.
    pub generation: i64,
    /// Conditions of the last status.
    pub before: &'a [Condition],
    /// `spec.scaling.mode`.
    pub mode: ScalingMode,
    /// What stops us, if anything.
    pub blocked: Option<Blocked>,
    /// Redis.
    pub queue: Reach,
    /// The database, as the workers say.
    pub database: Reach,
    /// The Deployment's numbers, once there is one.
    pub workers: Option<Workers>,
    /// What keeps pods from starting.
    pub problem: Option<PodProblem>,
    /// The last decision.
    pub scaling: Option<Scaling>,
    /// Jobs waiting and running.
    pub jobs: Option<u64>,
    /// Another autoscaler on our Deployment, or Redis evicting keys: work goes on, but somebody should look.
    pub warnings: Vec<Blocked>,
}

/// A condition without its bookkeeping.
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
pub fn conditions(facts: &Facts<'_>, now: Timestamp) -> Vec<Condition> {
    let stall = stall(facts);
    let states = [
        ready(facts, stall.as_ref()),
        reconciling(facts, stall.as_ref()),
        stalled(stall.as_ref()),
        reach(ConditionType::QueueReachable, &facts.queue, "Redis"),
        reach(ConditionType::DatabaseReachable, &facts.database, "the database"),
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

/// What stops us until a person acts: our own finding, or pods that will not start by waiting.
fn stall(facts: &Facts<'_>) -> Option<Blocked> {
    let pods = facts.problem.as_ref().filter(|problem| problem.stalls);
    let pods = pods.map(|problem| Blocked { reason: problem.reason, message: problem.message.clone() });
    facts.blocked.clone().or(pods)
}

fn ready(facts: &Facts<'_>, stall: Option<&Blocked>) -> State {
    let kind = ConditionType::Ready;
    if let Some(Blocked { reason, message }) = stall {
        return state(kind, false, *reason, message);
    }
    for server in [&facts.queue, &facts.database] {
        if let Reach::Failed { reason, message } = server {
            return state(kind, false, *reason, message);
        }
    }
    let (Some(workers), false) = (facts.workers, facts.queue == Reach::Unknown) else {
        return unknown(kind, "not looked at yet");
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

fn reconciling(facts: &Facts<'_>, stall: Option<&Blocked>) -> State {
    let kind = ConditionType::Reconciling;
    match (stall, facts.workers) {
        (Some(_), _) => state(kind, false, Reason::NotApplicable, "it is stalled"),
        (None, None) => state(kind, true, Reason::SpecChanged, "the workers are being set up"),
        (None, Some(Workers { current: false, .. })) => {
            state(kind, true, Reason::RollingOut, "workers are being replaced by ones of the present spec")
        }
        (None, Some(_)) => state(kind, false, Reason::AsSpecified, "everything is as specified"),
    }
}

fn stalled(stall: Option<&Blocked>) -> State {
    let kind = ConditionType::Stalled;
    match stall {
        Some(Blocked { reason, message }) => state(kind, true, *reason, message),
        None => state(kind, false, Reason::AsSpecified, "nothing waits for a person"),
    }
}

fn reach(kind: ConditionType, server: &Reach, what: &str) -> State {
    match server {
        Reach::Unknown => unknown(kind, "not tried yet"),
        Reach::Reachable => state(kind, true, Reason::Reachable, format!("{what} answers")),
        Reach::Failed { reason, message } => state(kind, false, *reason, message),
        Reach::NotApplicable => state(kind, true, Reason::NotApplicable, "the queue has none"),
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

/// What keeps the number of workers below what the work takes.
fn limit<'a>(facts: &'a Facts<'_>) -> Option<(Reason, &'a Scaling)> {
    let scaling = facts.scaling.as_ref().filter(|scaling| scaling.replicas < scaling.wanted)?;
    scaling.limit.map(|limit| (limit, scaling))
}

fn degraded(facts: &Facts<'_>) -> State {
    let kind = ConditionType::Degraded;
    let unscheduled = facts.problem.as_ref().filter(|problem| !problem.stalls);
    let pods = unscheduled.map(|problem| Blocked { reason: problem.reason, message: problem.message.clone() });
    match facts.warnings.iter().cloned().chain(pods).next() {
        Some(Blocked { reason, message }) => state(kind, true, reason, message),
        None => state(kind, false, Reason::AsSpecified, "nothing needs a look"),
    }
}

/// Nothing was known of it, and it is as it should be: no news. Thousands of new queues would be as many events.
fn wrong(condition: &Condition) -> bool {
    let kind = condition.type_.parse::<ConditionType>();
    match kind {
        Ok(ConditionType::Stalled | ConditionType::Degraded) => condition.status == "True",
        Ok(ConditionType::Ready | ConditionType::QueueReachable | ConditionType::DatabaseReachable) => {
            condition.status == "False"
        }
        _ => false,
    }
}

/// What changed between two sets of conditions, for events: type, status, reason and message of each transition.
pub fn transitions<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let changed = |condition: &&Condition| {
        let old = before.iter().find(|old| old.type_ == condition.type_ && old.status != "Unknown");
        old.map_or(wrong(condition), |old| old.status != condition.status)
    };
    after.iter().filter(changed).collect()
}
