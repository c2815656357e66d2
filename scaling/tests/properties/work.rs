//! What the work takes: nothing that waits or runs is left without workers, and a larger backlog gets no fewer.

use jobqueue_scaling::{Backlog, Limit, Limited, Memory, Observation, Policy, Ramp, Rates, Targets, Workers, decide};
use proptest::prelude::*;

use crate::drawn::{backlogs, cap, follow, policies, polls, rates};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn never_to_zero_while_something_waits_or_runs(
        policy in policies(),
        polls in prop::collection::vec(polls(), 1..60),
    ) {
        follow(&policy, &polls, |seen, decision| {
            let work = seen.backlog.is_none_or(|backlog| backlog.jobs() > 0) || seen.workers.busy > 0;
            prop_assert!(!work || seen.workers.desired == 0 || decision.replicas > 0);
            Ok(())
        })?;
    }

    #[test]
    fn never_to_zero_while_jobs_pass_between_the_polls(
        policy in policies(),
        polls in prop::collection::vec(polls(), 1..60),
    ) {
        follow(&policy, &polls, |seen, decision| {
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
    fn bursts_that_no_poll_sees_keep_the_workers_they_take(
        per_worker in 1_u64..200,
        workers in 1_u32..20,
        window in 1.0_f64..30.0,
        pauses in prop::collection::vec(1_u32..8, 1..30),
    ) {
        // Each burst takes `workers`, and is over before the next poll, a quarter of a second later. The next comes
        // within the window.
        let policy = Policy {
            max_replicas: 100,
            idle_seconds: Some(0.0),
            targets: Targets { jobs_per_worker: Some(per_worker as f64), ..Targets::default() },
            scale_down: Ramp { max_step: None, stabilization_seconds: Some(window) },
            ..Policy::default()
        };
        let mut memory = Memory::default();
        let mut poll = 0_u32;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and positive")]
        for pause in pauses {
            for since in 0..pause.min((window * 4.0) as u32) {
                let ended = if since == 0 { per_worker * u64::from(workers) } else { 0 };
                let workers = Workers { desired: workers, ready: workers, busy: 0 };
                let rates = Rates { ended, ..Rates::default() };
                let now = f64::from(poll) / 4.0;
                let seen = Observation { now, backlog: Some(Backlog::default()), workers, rates, ..Observation::default() };
                let (decision, next) = decide(&policy, &seen, &memory);
                memory = next;
                poll += 1;
                prop_assert!(decision.replicas >= workers.desired, "{now} s: {decision}");
            }
        }
    }

    #[test]
    fn busy_workers_stay(policy in policies(), polls in prop::collection::vec(polls(), 1..60)) {
        follow(&policy, &polls, |seen, decision| {
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
}
