//! What holds for every policy and every sequence of observations.

use std::borrow::Borrow;

use chrono::DateTime;
use jobqueue_scaling::{
    Ages, Backlog, Bound, Bounds, ConnectionBudget, Decision, JobVariation, LifeTable, Limit, Limited, Memory,
    Observation, OnQueueFailure, Policy, Ramp, Rates, Targets, WorkerRate, Workers, decide,
};
use proptest::prelude::*;

prop_compose! {
    fn policies()(
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
    fn bounds()(
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
    fn rates()(
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

/// One look, without the number of workers, which follows from the decisions.
#[derive(Debug, Clone)]
struct Look {
    passed: f64,
    backlog: Option<Backlog>,
    busy_part: f64,
    rates: Rates,
    troubled: u32,
}

prop_compose! {
    fn looks()(
        passed in prop_oneof![4 => 0.0_f64..3.0, 1 => 3.0_f64..40.0],
        backlog in prop::option::weighted(0.9, backlogs()),
        busy_part in 0.0_f64..1.0,
        rates in rates(),
        troubled in prop_oneof![5 => Just(0_u32), 1 => 0_u32..20],
    ) -> Look {
        Look { passed, backlog, busy_part, rates, troubled }
    }
}

prop_compose! {
    fn backlogs()(
        waiting in prop_oneof![Just(0_u64), 1_u64..20, 0_u64..20_000],
        running in prop_oneof![Just(0_u64), 0_u64..50],
        oldest in prop::option::of(0.0_f64..200.0),
    ) -> Backlog {
        Backlog { waiting, running, oldest_wait_seconds: oldest.filter(|_| waiting > 0) }
    }
}

/// Follows the decisions through `looks`; calls `check` with the observation and the decision.
fn follow(
    policy: &Policy,
    looks: &[Look],
    mut check: impl FnMut(&Observation, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    follow_each(looks.iter().map(|look| (policy, look)), |_, seen, decision| check(seen, decision))
}

/// The same with a policy for each look.
fn follow_each<'a>(
    looks: impl Iterator<Item = (impl Borrow<Policy>, &'a Look)>,
    mut check: impl FnMut(&Policy, &Observation, &Decision) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut memory = Memory::default();
    let (mut now, mut desired) = (1_000.0, 0_u32);
    for (policy, look) in looks {
        let policy = policy.borrow();
        now += look.passed;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a small number")]
        let busy = (f64::from(desired) * look.busy_part) as u32;
        let workers = Workers { desired, ready: desired, busy };
        let seen = Observation { now, backlog: look.backlog, workers, rates: look.rates, troubled: look.troubled };
        let (decision, next) = decide(policy, &seen, &memory);
        check(policy, &seen, &decision)?;
        memory = next;
        desired = decision.replicas;
    }
    Ok(())
}

fn cap(policy: &Policy) -> u32 {
    let budget = policy.connections.map_or(u32::MAX, |budget| budget.connections / budget.per_worker);
    let scheduled = policy.bounds.ceiling.map_or(u32::MAX, |bound| bound.replicas);
    policy.max_replicas.min(budget).min(scheduled)
}

fn floor(policy: &Policy) -> u32 {
    policy.bounds.floor.map_or(0, |bound| bound.replicas).max(policy.min_replicas)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn stays_within_bounds(policy in policies(), looks in prop::collection::vec(looks(), 1..60)) {
        follow(&policy, &looks, |seen, decision| {
            prop_assert!(decision.replicas <= cap(&policy));
            if seen.backlog.is_some() {
                prop_assert!(decision.replicas >= floor(&policy).min(cap(&policy)));
            }
            Ok(())
        })?;
    }

    #[test]
    fn schedules_that_come_and_go_hold_at_once_and_send_nobody_away_early(
        policy in policies(),
        looks in prop::collection::vec((looks(), bounds()), 1..60),
    ) {
        let mut last_up = f64::NEG_INFINITY;
        let looks = looks.iter().map(|(look, bounds)| (Policy { bounds: *bounds, ..policy.clone() }, look));
        follow_each(looks, |policy, seen, decision| {
            if seen.backlog.is_some() {
                prop_assert!(decision.replicas <= cap(policy), "{decision}");
                prop_assert!(decision.replicas >= floor(policy).min(cap(policy)), "{decision}");
            }
            let desired = seen.workers.desired;
            if decision.replicas > desired {
                last_up = seen.now;
            }
            // Only a ceiling takes workers that came a moment ago.
            let lowered = cap(policy) < desired;
            let early = seen.now - last_up < policy.scale_down.stabilization_seconds.unwrap_or(0.0);
            prop_assert!(decision.replicas >= desired || lowered || !early, "{desired} -> {decision}");
            Ok(())
        })?;
    }

    #[test]
    fn never_to_zero_while_something_waits_or_runs(
        policy in policies(),
        looks in prop::collection::vec(looks(), 1..60),
    ) {
        follow(&policy, &looks, |seen, decision| {
            let work = seen.backlog.is_none_or(|backlog| backlog.jobs() > 0) || seen.workers.busy > 0;
            prop_assert!(!work || seen.workers.desired == 0 || decision.replicas > 0);
            Ok(())
        })?;
    }

    #[test]
    fn never_to_zero_while_jobs_pass_between_the_looks(
        policy in policies(),
        looks in prop::collection::vec(looks(), 1..60),
    ) {
        follow(&policy, &looks, |seen, decision| {
            let passes = seen.rates.ended > 0 && seen.backlog.is_some();
            prop_assert!(!passes || seen.workers.desired == 0 || decision.replicas > 0, "{decision}");
            Ok(())
        })?;
    }

    #[test]
    fn what_passes_between_the_looks_adds_no_workers(
        policy in policies(),
        rates in rates(),
        ended in 1_u64..100_000,
        backlog in backlogs(),
        desired in 0_u32..40,
    ) {
        let workers = Workers { desired, ready: desired, busy: 0 };
        let seen = |ended| {
            let rates = Rates { ended, ..rates };
            decide(&policy, &Observation { now: 0.0, backlog: Some(backlog), workers, rates, ..Observation::default() }, &Memory::default()).0
        };
        let (without, with) = (seen(0).replicas, seen(ended).replicas);
        prop_assert!(with <= without.max(desired), "{with}, and {without} without");
    }

    #[test]
    fn bursts_that_no_look_sees_keep_the_workers_they_take(
        per_worker in 1_u64..200,
        workers in 1_u32..20,
        window in 1.0_f64..30.0,
        pauses in prop::collection::vec(1_u32..8, 1..30),
    ) {
        // Each burst takes `workers`, and is over before the next look, a quarter of a second later. The next comes
        // within the window.
        let policy = Policy {
            max_replicas: 100,
            idle_seconds: Some(0.0),
            targets: Targets { jobs_per_worker: Some(per_worker as f64), ..Targets::default() },
            scale_down: Ramp { max_step: None, stabilization_seconds: Some(window) },
            ..Policy::default()
        };
        let mut memory = Memory::default();
        let mut look = 0_u32;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        for pause in pauses {
            for since in 0..pause.min((window * 4.0) as u32) {
                let ended = if since == 0 { per_worker * u64::from(workers) } else { 0 };
                let workers = Workers { desired: workers, ready: workers, busy: 0 };
                let rates = Rates { ended, ..Rates::default() };
                let now = f64::from(look) / 4.0;
                let seen = Observation { now, backlog: Some(Backlog::default()), workers, rates, ..Observation::default() };
                let (decision, next) = decide(&policy, &seen, &memory);
                memory = next;
                look += 1;
                prop_assert!(decision.replicas >= workers.desired, "{now} s: {decision}");
            }
        }
    }

    #[test]
    fn busy_workers_stay(policy in policies(), looks in prop::collection::vec(looks(), 1..60)) {
        follow(&policy, &looks, |seen, decision| {
            let saturated = |limited: &Limited| {
                matches!(limited.limit, Limit::Saturated { .. } | Limit::DatabaseErrors { .. })
            };
            // Whom the database does not serve may go.
            let least = seen.workers.busy.min(cap(&policy));
            prop_assert!(decision.replicas >= least || decision.limits.iter().any(saturated), "{decision}");
            Ok(())
        })?;
    }

    #[test]
    fn an_outage_never_scales_down(policy in policies(), looks in prop::collection::vec(looks(), 1..60)) {
        follow(&policy, &looks, |seen, decision| {
            prop_assert!(seen.backlog.is_some() || decision.replicas >= seen.workers.desired);
            Ok(())
        })?;
    }

    #[test]
    fn steps_are_kept(policy in policies(), looks in prop::collection::vec(looks(), 1..60)) {
        follow(&policy, &looks, |seen, decision| {
            let current = seen.workers.desired;
            // An outage's static number and a floor are wanted at once.
            if let (Some(step), Some(_)) = (policy.scale_up.max_step, seen.backlog) {
                prop_assert!(decision.replicas <= (current + step).max(floor(&policy)));
            }
            if let Some(step) = policy.scale_down.max_step {
                prop_assert!(decision.replicas >= current.saturating_sub(step));
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_reversal_within_the_stabilization_window(
        policy in policies(),
        looks in prop::collection::vec(looks(), 1..60),
    ) {
        // Moves that the queue did not cause (minReplicas at the start, an outage) are not reversed either.
        let mut last_up = f64::NEG_INFINITY;
        follow(&policy, &looks, |seen, decision| {
            if decision.replicas > seen.workers.desired {
                last_up = seen.now;
            }
            if decision.replicas < seen.workers.desired {
                prop_assert!(seen.now - last_up >= policy.scale_down.stabilization_seconds.unwrap_or(0.0));
            }
            Ok(())
        })?;
    }

    #[test]
    fn wants_no_less_for_a_larger_backlog(
        policy in policies(),
        rates in rates(),
        backlog in backlogs(),
        more in 1_u64..5_000,
        desired in 0_u32..40,
        busy in 0_u32..40,
    ) {
        let workers = Workers { desired, ready: desired, busy: busy.min(desired) };
        let seen = |waiting, running| {
            let backlog = Some(Backlog { waiting, running, ..backlog });
            let seen = Observation { now: 0.0, backlog, workers, rates, ..Observation::default() };
            decide(&policy, &seen, &Memory::default()).0
        };
        let less = seen(backlog.waiting, backlog.running);
        let waiting = seen(backlog.waiting + more, backlog.running);
        let running = seen(backlog.waiting, backlog.running + more);
        prop_assert!(waiting.wanted >= less.wanted && waiting.replicas >= less.replicas);
        prop_assert!(running.wanted >= less.wanted && running.replicas >= less.replicas);
    }

    #[test]
    fn settles_when_nothing_changes(policy in policies(), look in looks(), from in 0_u32..40) {
        // Moves come to an end, and do not go back and forth: as jobs that nobody takes grow old, and as the load that is
        // reported builds up in its average, workers that were not needed may be needed again, once.
        let mut memory = Memory::default();
        for (now, ready) in [(-2.0, 0), (-1.0, 1)] {
            // What a start takes is known: no longer than between two looks.
            let workers = Workers { desired: ready, ready, busy: 0 };
            let seen = Observation { now, backlog: Some(Backlog::default()), workers, ..Observation::default() };
            memory = decide(&policy, &seen, &memory).1;
        }
        let mut counts = vec![from];
        for step in 0..400_u32 {
            let desired = counts[counts.len() - 1];
            let workers = Workers { desired, ready: desired, busy: 0 };
            let seen = Observation { now: f64::from(step), backlog: look.backlog, workers, rates: look.rates, ..Observation::default() };
            let (decision, next) = decide(&policy, &seen, &memory);
            memory = next;
            counts.push(decision.replicas);
        }
        let lowest = (0..counts.len()).min_by_key(|index| counts[*index]).expect("some");
        let valley = counts[..=lowest].is_sorted_by(|a, b| a >= b) && counts[lowest..].is_sorted();
        prop_assert!(valley, "{counts:?}");
        prop_assert_eq!(counts[counts.len() - 2], counts[counts.len() - 1]);
    }

    #[test]
    fn clock_jumps_are_safe(
        policy in policies(),
        looks in prop::collection::vec(looks(), 1..30),
        jump in prop_oneof![-1e9_f64..0.0, 0.0..1e9_f64, Just(f64::NAN), Just(f64::INFINITY)],
    ) {
        // Whatever the clock says in the middle, a stabilization window longer than the longest gap is kept.
        let mut policy = policy;
        policy.min_replicas = 0;
        policy.bounds.floor = None;
        policy.scale_down.stabilization_seconds = Some(100.0);
        let mut memory = Memory::default();
        let busy = Observation {
            now: 0.0,
            backlog: Some(Backlog { waiting: 100_000, running: 0, oldest_wait_seconds: None }),
            workers: Workers::default(),
            rates: Rates::default(),
            troubled: 0,
        };
        policy.scale_up = Ramp::default();
        let (first, next) = decide(&policy, &busy, &memory);
        memory = next;
        prop_assume!(first.replicas > 0);
        for now in [0.1, jump, 0.2, 0.3] {
            let workers = Workers { desired: first.replicas, ready: first.replicas, busy: 0 };
            let seen = Observation { now, backlog: Some(Backlog::default()), workers, rates: looks[0].rates, ..Observation::default() };
            let (decision, next) = decide(&policy, &seen, &memory);
            prop_assert!(decision.replicas >= first.replicas, "{decision}");
            memory = next;
        }
    }

    #[test]
    fn the_same_look_again_changes_nothing(policy in policies(), looks in prop::collection::vec(looks(), 1..60)) {
        let mut memory = Memory::default();
        let (mut now, mut desired) = (1_000.0, 0_u32);
        for look in looks {
            now += look.passed;
            let mut told = Vec::new();
            for _ in 0..3 {
                let workers = Workers { desired, ready: desired, busy: 0 };
                let Look { backlog, rates, troubled, .. } = look;
                let seen = Observation { now, backlog, workers, rates, troubled };
                let (decision, next) = decide(&policy, &seen, &memory);
                memory = next;
                desired = decision.replicas;
                told.push(desired);
            }
            prop_assert!(told.iter().all(|replicas| *replicas == told[0]), "{told:?}");
        }
    }

    #[test]
    fn looks_in_any_order_and_repeated_are_safe(
        policy in policies(),
        looks in prop::collection::vec((looks(), 0.0_f64..500.0), 1..60),
    ) {
        // As if the looks of several hours arrived shuffled: times go back and forth.
        let mut memory = Memory::default();
        let mut desired = 0_u32;
        for (Look { backlog, rates, troubled, .. }, now) in looks {
            let workers = Workers { desired, ready: desired, busy: 0 };
            let (decision, next) = decide(&policy, &Observation { now, backlog, workers, rates, troubled }, &memory);
            prop_assert!(decision.replicas <= cap(&policy));
            let work = backlog.is_none_or(|backlog| backlog.jobs() > 0) || rates.ended > 0;
            prop_assert!(!work || desired == 0 || decision.replicas > 0);
            memory = next;
            desired = decision.replicas;
        }
    }

    #[test]
    fn memory_stays_small(policy in policies(), looks in prop::collection::vec(looks(), 300..400)) {
        let mut memory = Memory::default();
        for (index, look) in looks.iter().enumerate() {
            let workers = Workers { desired: 5, ready: 5, busy: 0 };
            let now = index as f64 / 4.0;
            let seen = Observation { now, backlog: look.backlog, workers, rates: look.rates, ..Observation::default() };
            memory = decide(&policy, &seen, &memory).1;
        }
        let size = format!("{memory:?}").len();
        prop_assert!(size < 8_000, "{size}");
    }
}
