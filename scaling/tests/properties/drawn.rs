//! Drawn policies and observations, and the decisions that follow from them.

use std::borrow::Borrow;

use chrono::DateTime;
use jobqueue_scaling::{
    Ages, Backlog, Bound, Bounds, ConnectionBudget, Decision, JobVariation, LifeTable, Memory, Observation,
    OnQueueFailure, Policy, Ramp, Rates, Targets, WorkerRate, Workers, decide,
};
use proptest::prelude::*;

prop_compose! {
    pub(crate) fn policies()(
        min in 0_u32..4,
        more in 1_u32..40,
        jobs_per_worker in prop::option::of(1.0_f64..200.0),
        drain_seconds in prop::option::of(1.0_f64..600.0),
        max_wait_seconds in prop::option::of(1.0_f64..120.0),
        idle_seconds in prop::option::of(0.0_f64..60.0),
        up in ramps(),
        down in ramps(),
        connections in prop::option::of((4_u32..120, 1_u32..5)),
        fallback in prop::option::of(1_u32..4),
        bounds in bounds(),
    ) -> Policy {
        Policy {
            bounds,
            min_replicas: min,
            max_replicas: min + more,
            targets: Targets { jobs_per_worker, drain_seconds, max_wait_seconds },
            idle_seconds,
            scale_up: up,
            scale_down: down,
            on_queue_failure: fallback
                .map_or(OnQueueFailure::Hold, |replicas| OnQueueFailure::Static { replicas }),
            connections: connections.map(|(connections, per_worker)| ConnectionBudget { connections, per_worker }),
            ..Policy::default()
        }
    }
}

prop_compose! {
    /// What schedules may say at a moment: seldom anything.
    pub(crate) fn bounds()(
        floor in prop::option::weighted(0.2, 1_u32..12),
        ceiling in prop::option::weighted(0.2, 1_u32..12),
    ) -> Bounds {
        let until = DateTime::UNIX_EPOCH.fixed_offset();
        let bound = |replicas| Bound { schedule: "night".parse().expect("a name"), replicas, until };
        Bounds { floor: floor.map(bound), ceiling: ceiling.map(bound) }
    }
}

prop_compose! {
    fn ramps()(
        max_step in prop::option::of(1_u32..10),
        window in prop::option::of(prop_oneof![Just(0.0), 0.0_f64..30.0]),
    ) -> Ramp {
        Ramp { max_step, stabilization_seconds: window }
    }
}

prop_compose! {
    pub(crate) fn rates()(
        per_worker in prop::option::of((0.01_f64..1000.0, 1.0_f64..100.0)),
        arrivals_per_second in prop::option::of(0.0_f64..500.0),
        ended in prop_oneof![3 => Just(0_u64), 1 => 0_u64..2_000],
        occupied in prop::option::of(0.0_f64..40.0),
        slots in 0_u32..5,
        variation in prop::option::of((0.0_f64..9.0, 5.0_f64..200.0)),
        ages in prop::collection::vec(0.0_f64..400.0, 0..12),
        lives in prop::collection::vec((0.0_f64..400.0, 0.0_f64..10.0, 0_u64..100), 0..8),
    ) -> Rates {
        let per_worker = per_worker
            .map(|(jobs_per_second, completions)| WorkerRate { jobs_per_second, completions });
        let ages = Ages::of(ages.into_iter());
        let job_variation = variation.map(|(squared, samples)| JobVariation { squared, samples });
        let lives = lives.into_iter().fold(LifeTable::default(), |mut all, (age, seconds, jobs)| {
            all.run(jobs, age, age + seconds);
            all.end(jobs, age + seconds);
            all
        });
        Rates {
            per_worker,
            arrivals_per_second,
            completions_per_second: None,
            ended,
            occupied,
            slots,
            job_variation,
            ages,
            lives,
        }
    }
}

/// One poll, without the number of workers, which follows from the decisions.
#[derive(Debug, Clone)]
pub(crate) struct Poll {
    pub(crate) passed: f64,
    pub(crate) backlog: Option<Backlog>,
    pub(crate) busy_part: f64,
    pub(crate) rates: Rates,
    pub(crate) troubled: u32,
}

prop_compose! {
    pub(crate) fn polls()(
        passed in prop_oneof![4 => 0.0_f64..3.0, 1 => 3.0_f64..40.0],
        backlog in prop::option::weighted(0.9, backlogs()),
        busy_part in 0.0_f64..1.0,
        rates in rates(),
        troubled in prop_oneof![5 => Just(0_u32), 1 => 0_u32..20],
    ) -> Poll {
        Poll { passed, backlog, busy_part, rates, troubled }
    }
}

prop_compose! {
    pub(crate) fn backlogs()(
        waiting in prop_oneof![Just(0_u64), 1_u64..20, 0_u64..20_000],
        running in prop_oneof![Just(0_u64), 0_u64..50],
        oldest in prop::option::of(0.0_f64..200.0),
    ) -> Backlog {
        Backlog { waiting, running, oldest_wait_seconds: oldest.filter(|_| waiting > 0) }
    }
}

/// Follows the decisions through `polls`; calls `check` with the observation and the decision.
pub(crate) fn follow(
    policy: &Policy,
    polls: &[Poll],
    mut check: impl FnMut(&Observation, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    follow_each(polls.iter().map(|poll| (policy, poll)), |_, seen, decision| check(seen, decision))
}

/// The same with a policy for each poll.
pub(crate) fn follow_each<'a>(
    polls: impl Iterator<Item = (impl Borrow<Policy>, &'a Poll)>,
    mut check: impl FnMut(&Policy, &Observation, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut memory = Memory::default();
    let (mut now, mut desired) = (1_000.0, 0_u32);
    for (policy, poll) in polls {
        let policy = policy.borrow();
        now += poll.passed;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small number")]
        let busy = (f64::from(desired) * poll.busy_part) as u32;
        let workers = Workers { desired, ready: desired, busy };
        let seen = Observation { now, backlog: poll.backlog, workers, rates: poll.rates, troubled: poll.troubled };
        let (decision, next) = decide(policy, &seen, &memory);
        check(policy, &seen, &decision)?;
        memory = next;
        desired = decision.replicas;
    }
    Ok(())
}

pub(crate) fn cap(policy: &Policy) -> u32 {
    let budget = policy.connections.map_or(u32::MAX, |budget| budget.connections / budget.per_worker);
    let scheduled = policy.bounds.ceiling.map_or(u32::MAX, |bound| bound.replicas);
    policy.max_replicas.min(budget).min(scheduled)
}

pub(crate) fn floor(policy: &Policy) -> u32 {
    policy.bounds.floor.map_or(0, |bound| bound.replicas).max(policy.min_replicas)
}
