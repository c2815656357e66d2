//! Decisions do not go back and forth, and neither outages, clocks nor the order of the polls do harm.

use jobqueue_scaling::{Backlog, Memory, Observation, Ramp, Rates, Workers, decide};
use proptest::prelude::*;

use crate::drawn::{Poll, cap, follow, policies, polls};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn an_outage_never_scales_down(policy in policies(), polls in prop::collection::vec(polls(), 1..60)) {
        follow(&policy, &polls, |seen, decision| {
            prop_assert!(seen.backlog.is_some() || decision.replicas >= seen.workers.desired);
            Ok(())
        })?;
    }

    #[test]
    fn no_reversal_within_the_stabilization_window(
        policy in policies(),
        polls in prop::collection::vec(polls(), 1..60),
    ) {
        // Moves that the queue did not cause (minReplicas at the start, an outage) are not reversed either.
        let mut last_up = f64::NEG_INFINITY;
        follow(&policy, &polls, |seen, decision| {
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
    fn settles_when_nothing_changes(policy in policies(), poll in polls(), from in 0_u32..40) {
        // Moves come to an end, and do not go back and forth: as jobs that nobody takes grow old, and as the load that is
        // reported builds up in its average, workers that were not needed may be needed again, once.
        let mut memory = Memory::default();
        for (now, ready) in [(-2.0, 0), (-1.0, 1)] {
            // What a start takes is known: no longer than between two polls.
            let workers = Workers { desired: ready, ready, busy: 0 };
            let seen = Observation { now, backlog: Some(Backlog::default()), workers, ..Observation::default() };
            memory = decide(&policy, &seen, &memory).1;
        }
        let mut counts = vec![from];
        for step in 0..400_u32 {
            let desired = counts[counts.len() - 1];
            let workers = Workers { desired, ready: desired, busy: 0 };
            let seen = Observation { now: f64::from(step), backlog: poll.backlog, workers, rates: poll.rates, ..Observation::default() };
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
        polls in prop::collection::vec(polls(), 1..30),
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
            let seen = Observation { now, backlog: Some(Backlog::default()), workers, rates: polls[0].rates, ..Observation::default() };
            let (decision, next) = decide(&policy, &seen, &memory);
            prop_assert!(decision.replicas >= first.replicas, "{decision}");
            memory = next;
        }
    }

    #[test]
    fn the_same_poll_again_changes_nothing(policy in policies(), polls in prop::collection::vec(polls(), 1..60)) {
        let mut memory = Memory::default();
        let (mut now, mut desired) = (1_000.0, 0_u32);
        for poll in polls {
            now += poll.passed;
            let mut told = Vec::new();
            for _ in 0..3 {
                let workers = Workers { desired, ready: desired, busy: 0 };
                let Poll { backlog, rates, troubled, .. } = poll;
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
        polls in prop::collection::vec((polls(), 0.0_f64..500.0), 1..60),
    ) {
        // As if the polls of several hours arrived shuffled: times go back and forth.
        let mut memory = Memory::default();
        let mut desired = 0_u32;
        for (Poll { backlog, rates, troubled, .. }, now) in polls {
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
    fn memory_stays_small(policy in policies(), polls in prop::collection::vec(polls(), 300..400)) {
        let mut memory = Memory::default();
        for (index, poll) in polls.iter().enumerate() {
            let workers = Workers { desired: 5, ready: 5, busy: 0 };
            let now = index as f64 / 4.0;
            let seen = Observation { now, backlog: poll.backlog, workers, rates: poll.rates, ..Observation::default() };
            memory = decide(&policy, &seen, &memory).1;
        }
        let size = format!("{memory:?}").len();
        prop_assert!(size < 8_000, "{size}");
    }
}
