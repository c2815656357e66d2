//! The decision: the need, within its bounds, no faster than the ramps allow.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::memory::Window;
use crate::need::{Need, circumstances, is_idle, need};
use crate::{Backlog, Limit, Memory, Mode, Observation, OnQueueFailure, Policy, Reason};

/// Steps up are at least this far apart, in seconds, where `maxStep` limits them.
const STEP_UP_SECONDS: f64 = 1.0;
/// Steps down are at least this far apart, in seconds, where `maxStep` limits them.
const STEP_DOWN_SECONDS: f64 = 10.0;
/// However soon a worker starts, one without work is kept for so long, in seconds.
const SHORTEST_HOLD_SECONDS: f64 = 2.0;
/// How long the queue must be unreadable before `staticReplicas` counts, in seconds.
const UNREADABLE_SECONDS: f64 = 5.0;

/// How many workers there should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// How many workers to have now.
    pub replicas: u32,
    /// How many the work takes, before any limit.
    pub wanted: u32,
    /// Why so many are wanted.
    pub reason: Reason,
    /// What keeps `replicas` from being `wanted`.
    pub limits: Vec<Limited>,
    /// What each rule asks for by itself, in no order; the largest is `wanted`. Empty where the work does not decide.
    pub candidates: Vec<Candidate>,
}

/// The answer of one rule: a target, or one of the floors.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// How many workers it asks for, at least one.
    pub workers: u32,
    /// Which rule, with its numbers.
    pub reason: Reason,
}

/// A limit that applied.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limited {
    /// Which.
    pub limit: Limit,
    /// What would have been decided without it, all others being in force.
    pub without: u32,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        for Limited { limit, without } in &self.limits {
            write!(f, "; {limit}, otherwise {without}")?;
        }
        Ok(())
    }
}

/// Decides how many workers there should be. The returned memory goes into the next call. Whoever keeps no old memory calls
/// [`Memory::decide`], which copies nothing.
pub fn decide(policy: &Policy, observation: &Observation, memory: &Memory) -> (Decision, Memory) {
    let mut memory = memory.clone();
    let decision = memory.decide(policy, observation);
    (decision, memory)
}

impl Memory {
    /// Decides how many workers there should be, and remembers what the next decision needs of this one.
    pub fn decide(&mut self, policy: &Policy, observation: &Observation) -> Decision {
        let passed = self.advance(observation.now);
        let current = observation.workers.desired;
        match (policy.mode, observation.backlog) {
            (Mode::Manual { replicas }, _) => fixed(self, replicas, Reason::Manual { replicas }),
            (Mode::Paused, _) => fixed(self, current, Reason::Paused),
            (Mode::Auto, None) => unreadable(policy, current, self),
            (Mode::Auto, Some(backlog)) => automatic(policy, observation, backlog, passed, self),
        }
    }
}

/// A number that the work does not decide. What was recommended before counts no longer.
fn fixed(memory: &mut Memory, replicas: u32, reason: Reason) -> Decision {
    forget_windows(memory);
    memory.idle_since = None;
    memory.arrivals.forget();
    Decision { replicas, wanted: replicas, reason, limits: Vec::new(), candidates: Vec::new() }
}

fn unreadable(policy: &Policy, current: u32, memory: &mut Memory) -> Decision {
    let since = *memory.unreadable_since.get_or_insert(memory.clock);
    let seconds = memory.clock - since;
    let fallback = match policy.on_queue_failure {
        OnQueueFailure::Static { replicas } if seconds >= UNREADABLE_SECONDS => replicas,
        OnQueueFailure::Static { .. } | OnQueueFailure::Hold => current,
    };
    if fallback <= current {
        return fixed(memory, current, Reason::QueueUnreadable { seconds });
    }
    let caps = Caps::of(policy);
    let mut decision = fixed(memory, fallback, Reason::StaticReplicas { replicas: fallback });
    decision.replicas = fallback.min(caps.lowest).max(current);
    decision.limits = caps.binding(fallback);
    decision
}

fn automatic(
    policy: &Policy,
    observation: &Observation,
    backlog: Backlog,
    passed: f64,
    memory: &mut Memory,
) -> Decision {
    memory.unreadable_since = None;
    memory.observe(observation, backlog, passed);
    let idle = is_idle(observation, backlog);
    memory.idle_since = if idle { memory.idle_since.or(Some(memory.clock)) } else { None };
    memory.learn_rhythm(policy, observation, idle);
    let start = memory.starts.seconds();
    let hold_seconds = start.max(SHORTEST_HOLD_SECONDS);
    let down = policy.scale_down.stabilization_seconds;
    memory.holds.settle_long_gaps(memory.clock, hold_seconds);
    // Where a target is shorter than a start, whoever goes is missed.
    let may_go = down.is_none() && circumstances(policy, observation, start).is_none();
    let last_goes = may_go && memory.holds.last_goes();
    let idle_limit = policy.idle_seconds.unwrap_or(if last_goes { 0.0 } else { hold_seconds });
    let idle_for = memory.since(memory.idle_since);
    let Need { workers: wanted, reason, candidates, lasting, without_idle } =
        need(policy, observation, backlog, memory, (idle_for, idle_limit));

    let caps = Caps::of(policy);
    let bounded = wanted.min(caps.lowest);
    let mut limits = caps.binding(wanted);
    let saturated = memory.saturation.observe(memory.clock, observation, backlog, wanted > bounded);
    // A floor stands whatever the database does, and the windows remember it: who goes after its end waits as after any need.
    let helpful = saturated.map_or(bounded, |(_, cap)| bounded.min(cap.max(policy.floor())));
    if let Some((limit, _)) = saturated.filter(|_| helpful < bounded) {
        limits.push(Limited { limit, without: bounded });
    }
    let current = observation.workers.desired;
    // Whoever says how long the last worker stays does not mean as long again for what was needed before.
    let over = idle && policy.idle_seconds.is_some() && idle_for >= idle_limit;
    let worth = if down.is_some() { without_idle } else { lasting }.min(helpful);
    memory.holds.settle_short_gaps(memory.clock, hold_seconds, worth);
    let keep = Keep { seconds: down.unwrap_or(if over { 0.0 } else { hold_seconds }), may_go, worth };
    let ramped = ramp(policy, current, helpful, keep, memory, &mut limits);
    // Bounds hold at once, whatever the ramps say: a person set them.
    let mut replicas = ramped.max(policy.floor()).min(caps.lowest);
    if !idle {
        replicas = replicas.max(current.min(1));
    }
    note_step(memory, current, replicas);
    Decision { replicas, wanted, reason, limits, candidates }
}

/// What is kept should the need fall.
#[derive(Debug, Clone, Copy)]
struct Keep {
    /// For how long, in seconds.
    seconds: f64,
    /// Unless going at once has shown to be cheaper.
    may_go: bool,
    /// How many of those that are needed now.
    worth: u32,
}

/// `bounded` as far as stabilization and steps let it be reached from `current` now.
fn ramp(
    policy: &Policy,
    current: u32,
    bounded: u32,
    keep: Keep,
    memory: &mut Memory,
    limits: &mut Vec<Limited>,
) -> u32 {
    let clock = memory.clock;
    let up = policy.scale_up.stabilization_seconds.unwrap_or(0.0);
    let (lowest, up_lasted) = memory.lowest.push(clock, up, bounded, |new, old| new <= old);
    let (highest, down_lasted) = memory.highest.push(clock, keep.seconds, keep.worth, |new, old| new >= old);
    let kept = if keep.may_go { memory.holds.kept(highest, bounded) } else { highest };
    memory.holds.keep(clock, keep.worth, kept);
    let (stable, ramp, seconds, last_step, pause) = match bounded.cmp(&current) {
        std::cmp::Ordering::Equal => return current,
        std::cmp::Ordering::Greater => {
            let stable = if up_lasted { lowest.max(current) } else { current };
            (stable, policy.scale_up, up, memory.stepped_up, STEP_UP_SECONDS)
        }
        std::cmp::Ordering::Less => {
            let stable = if down_lasted { kept.max(bounded).min(current) } else { current };
            (stable, policy.scale_down, keep.seconds, memory.stepped_down, STEP_DOWN_SECONDS)
        }
    };
    if stable != bounded {
        limits.push(Limited { limit: Limit::Stabilizing { seconds }, without: bounded });
    }
    let Some(max_step) = ramp.max_step else { return stable };
    let too_soon = last_step.is_some_and(|at| clock - at < pause);
    let step = if too_soon { 0 } else { max_step };
    let stepped = stable.clamp(current.saturating_sub(step), current.saturating_add(step));
    if stepped != stable {
        limits.push(Limited { limit: Limit::Step { max_step }, without: stable });
    }
    stepped
}

fn note_step(memory: &mut Memory, current: u32, replicas: u32) {
    match replicas.cmp(&current) {
        std::cmp::Ordering::Greater => memory.stepped_up = Some(memory.clock),
        std::cmp::Ordering::Less => memory.stepped_down = Some(memory.clock),
        std::cmp::Ordering::Equal => {}
    }
}

fn forget_windows(memory: &mut Memory) {
    memory.highest = Window::default();
    memory.lowest = Window::default();
    memory.holds.forget();
}

/// The caps that hold, each with the number of workers that it allows.
struct Caps {
    all: [Option<(Limit, u32)>; 3],
    /// The least of them.
    lowest: u32,
}

impl Caps {
    fn of(policy: &Policy) -> Self {
        let most = (Limit::MaxReplicas { replicas: policy.max_replicas }, policy.max_replicas);
        let schedule = policy.bounds.ceiling.map(|bound| (Limit::Schedule { bound }, bound.replicas));
        let budget = policy.connections.map(|budget| {
            let limit = Limit::ConnectionBudget { connections: budget.connections, per_worker: budget.per_worker };
            (limit, budget.workers())
        });
        let mut lowest = most.1;
        if let Some((_, cap)) = schedule {
            lowest = lowest.min(cap);
        }
        if let Some((_, cap)) = budget {
            lowest = lowest.min(cap);
        }
        Self { all: [Some(most), schedule, budget], lowest }
    }

    /// Those below `wanted`, with what would be decided if each were lifted alone.
    fn binding(&self, wanted: u32) -> Vec<Limited> {
        if wanted <= self.lowest {
            return Vec::new();
        }
        let others = |lifted: usize| {
            let caps = self.all.iter().flatten().enumerate().filter(|(index, _)| *index != lifted);
            caps.map(|(_, (_, cap))| *cap).min().unwrap_or(u32::MAX)
        };
        let caps = self.all.iter().flatten().enumerate().filter(|(_, (_, cap))| *cap < wanted);
        caps.map(|(index, (limit, _))| Limited { limit: *limit, without: wanted.min(others(index)) }).collect()
    }
}
