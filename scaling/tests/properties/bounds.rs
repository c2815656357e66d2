//! How many workers there may be: within the bounds, and from one number to the next in steps.

use jobqueue_scaling::Policy;
use proptest::prelude::*;

use crate::drawn::{bounds, cap, floor, follow, follow_each, policies, polls};

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn stays_within_bounds(policy in policies(), polls in prop::collection::vec(polls(), 1..60)) {
        follow(&policy, &polls, |seen, decision| {
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
        polls in prop::collection::vec((polls(), bounds()), 1..60),
    ) {
        let mut last_up = f64::NEG_INFINITY;
        let polls = polls.iter().map(|(poll, bounds)| (Policy { bounds: *bounds, ..policy.clone() }, poll));
        follow_each(polls, |policy, seen, decision| {
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
    fn steps_are_kept(policy in policies(), polls in prop::collection::vec(polls(), 1..60)) {
        follow(&policy, &polls, |seen, decision| {
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
}
