//! From what was observed to the number of workers. No clock is read and nothing is written here but the queue's own state:
//! the same state, moment and load give the same result.

use jobqueue_crds::Reason;
use jobqueue_scaling::{ConnectionBudget, Decision, Limit, Limited, Mode, Observation, Policy, Workers, protect};
use tokio::time::Instant;

use crate::{
    autoscaler::observe::{Load, Moment},
    digest::fingerprint,
    state::{
        applied::{Applied, Surge},
        observed::Observed,
        queue_state::{AutoscalerView, Connections, existing_pods},
        scaling::Scaling,
        spec::Spec,
        status_cursor::StatusDigest,
    },
};

/// A new number of workers to write.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    pub(super) deployment: String,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) reason: String,
    pub(super) message: String,
}

/// What follows from one poll of one queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Evaluation {
    /// The change to write; `None` if the number of workers stays.
    pub(super) change: Option<Change>,
    /// Whether a reconcile is to renew the status, or the Deployment's surge.
    pub(super) has_news: bool,
}

/// Decides on the number of workers by the last poll. The connections `elsewhere` are those of
/// other queues of the budget.
pub(super) fn evaluate(queue: AutoscalerView<'_>, load: &Load, now: Moment, elsewhere: Connections) -> Evaluation {
    let AutoscalerView { spec, applied, status_cursor, observed, scaling } = queue;
    let mut policy = Policy::clone(&spec.policy);
    policy.bounds = spec.bounds(now.wall);
    if let Some(budget) = &mut policy.connections {
        *budget = within_budget(*budget, scaling.replicas, existing_pods(applied, observed), elsewhere);
    }
    let workers = Workers { desired: scaling.replicas, ready: applied.ready, busy: load.busy };
    let mut decision = scaling.memory.decide(&policy, &observation(load, workers, now.seconds));
    scaling.held = hold(spec, observed, scaling.replicas, &mut decision);
    keep_busy(spec, applied, observed, scaling.replicas, &mut decision);
    let change = change(applied, scaling, &decision, now.monotonic);
    scaling.write_in_progress |= change.is_some();
    let limits_before = scaling.decision.as_ref().map(|decision| decision.limits.len());
    let limits_changed = limits_before != Some(decision.limits.len());
    scaling.decision = Some(decision);
    let problems = Some(problems(spec, observed));
    let problems_changed = std::mem::replace(&mut scaling.notified, problems) != problems;
    let surge_changed = surge_changed(spec, applied, scaling, elsewhere);
    let numbers_due = status_cursor.numbers_due(now.monotonic, || StatusDigest::of(observed, scaling));
    Evaluation { change, has_news: problems_changed || limits_changed || surge_changed || numbers_due }
}

/// Whether the surge of a rollout, which follows the connections that are left, is another one than was asked for.
fn surge_changed(spec: &Spec, applied: &Applied, scaling: &Scaling, elsewhere: Connections) -> bool {
    let (Some(limit), Some(surge)) = (spec.policy.connections, applied.surge) else { return false };
    let asked = scaling.replicas_asked().saturating_mul(limit.per_worker);
    surge != Surge::within(elsewhere.room(limit, asked), scaling.replicas)
}

/// Digest of the problems that a status reports at once.
fn problems(spec: &Spec, observed: &Observed) -> u64 {
    let database = observed.database(spec.has_database);
    fingerprint((&observed.queue, database, &observed.recipe_stall, observed.warnings()))
}

/// What is left of the budget for a queue with so many workers asked for, and so many pods. What pods hold that drain or are
/// being replaced, here and `elsewhere`, allows no more workers, and takes none away.
fn within_budget(budget: ConnectionBudget, replicas: u32, pods: u32, elsewhere: Connections) -> ConnectionBudget {
    let left = budget.connections.saturating_sub(elsewhere.asked);
    let ours = pods.saturating_sub(replicas).saturating_mul(budget.per_worker);
    let free = left.saturating_sub(elsewhere.beyond).saturating_sub(ours);
    let kept = left.min(replicas.saturating_mul(budget.per_worker));
    ConnectionBudget { connections: free.max(kept), ..budget }
}

fn observation(load: &Load, workers: Workers, now: f64) -> Observation {
    let Load { backlog, rates, troubled, .. } = *load;
    Observation { now, backlog, workers, rates, troubled }
}

/// More workers do not help a database that is down, and fewer would undo what they hold for it; one must be there to
/// notice that it is back. Returns why the number is held, or `None` if it is as decided.
fn hold(spec: &Spec, observed: &Observed, replicas: u32, decision: &mut Decision) -> Option<Reason> {
    let wanted = decision.replicas;
    let is_refusal = |limited: &Limited| matches!(limited.limit, Limit::DatabaseErrors { .. });
    let database_is_down = observed.database(spec.has_database).is_failed();
    let held = match (database_is_down, observed.recipe_stall.is_some()) {
        // It serves some: the workers that it does not serve may go.
        (true, _) if wanted > 0 && decision.limits.iter().any(is_refusal) => wanted.min(replicas),
        (true, _) => replicas.max(wanted.min(1)),
        // Workers that cannot work yet: no more of them, but fewer if there is nothing to do.
        (false, true) => wanted.min(replicas.max(1)),
        (false, false) => wanted,
    };
    if spec.policy.mode != Mode::Auto || held == wanted {
        return None;
    }
    decision.replicas = held;
    Some(Reason::DatabaseSaturated)
}

/// The workers that are not known to be idle stay, if the queue is one that protects them.
fn keep_busy(spec: &Spec, applied: &Applied, observed: &Observed, replicas: u32, decision: &mut Decision) {
    if !spec.protect_busy || observed.nothing_runs() {
        return;
    }
    // Pods that are not ready are removed first and have no job, which is checked before they go.
    let busy = applied.ready.min(replicas).saturating_sub(observed.idle_pods.count_quiet());
    protect(decision, replicas, busy);
}

/// The change that a decision calls for; `None` if there is none, or none may be begun yet.
fn change(applied: &Applied, scaling: &Scaling, decision: &Decision, now: Instant) -> Option<Change> {
    let deployment = applied.deployment.as_deref()?;
    let changes = decision.replicas != scaling.replicas && scaling.may_begin_write(now);
    changes.then(|| Change {
        deployment: deployment.into(),
        from: scaling.replicas,
        to: decision.replicas,
        reason: decision.reason.name().into(),
        message: decision.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use std::time::Duration;

    use jobqueue_scaling::{Backlog, Rates};

    use super::*;
    use crate::state::{
        health::Reachability,
        scaling::Retry,
        status_cursor::StatusCursor,
        testing::{snapshot, spec},
    };

    /// The parts of a queue with five workers, jobs for many more, and a Deployment.
    fn parts() -> (Spec, Applied, Observed, Scaling) {
        let mut spec = spec("redis://r:6379/0");
        let policy = Arc::make_mut(&mut spec.policy);
        policy.max_replicas = 8;
        policy.targets.jobs_per_worker = Some(100.0);
        let applied = Applied { deployment: Some("q-worker".into()), ready: 5, ..Applied::default() };
        let observed = Observed { snapshot: Some(snapshot(1_000_000)), ..Observed::default() };
        (spec, applied, observed, Scaling { replicas: 5, ..Scaling::default() })
    }

    /// Evaluates a poll that found nothing new; the status was written a moment ago.
    fn evaluate_parts((spec, applied, observed, scaling): &mut (Spec, Applied, Observed, Scaling)) -> Evaluation {
        let backlog = Some(Backlog { waiting: 1_000_000, running: 0, oldest_wait_seconds: None });
        let load = Load { backlog, rates: Rates::default(), busy: 5, troubled: 0 };
        let reported = Some((Instant::now(), StatusDigest::of(observed, scaling)));
        let status_cursor = &StatusCursor { reported };
        evaluate(
            AutoscalerView { spec, applied, status_cursor, observed, scaling },
            &load,
            Moment::now(100.0),
            Connections::default(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_the_one_before_and_for_its_retry() {
        let mut parts = parts();
        let first = evaluate_parts(&mut parts).change.expect("jobs wait");
        assert_eq!((first.from, first.to), (5, 8));
        assert_eq!(evaluate_parts(&mut parts).change, None, "the first is being written");
        let not_before = Instant::now() + Duration::from_secs(1);
        (parts.3.write_in_progress, parts.3.retry) = (false, Some(Retry { failures: 1, not_before }));
        assert_eq!(evaluate_parts(&mut parts).change, None, "it failed a moment ago");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(evaluate_parts(&mut parts).change, Some(first));
    }

    #[test]
    fn pods_that_drain_or_are_replaced_count_in_the_budget() {
        let budget = ConnectionBudget { connections: 20, per_worker: 4 };
        let left = |replicas, pods, asked, beyond| {
            within_budget(budget, replicas, pods, Connections { asked, beyond }).connections
        };
        assert_eq!(left(2, 2, 0, 0), 20);
        assert_eq!(left(2, 5, 0, 0), 8, "three pods drain");
        assert_eq!(left(2, 2, 8, 0), 12);
        assert_eq!(left(1, 1, 8, 8), 4, "two pods of another queue drain");
        assert_eq!(left(5, 6, 0, 0), 20, "a pod that is replaced takes no worker away");
        assert_eq!(left(0, 5, 0, 0), 0, "nothing is free yet");
        assert_eq!(left(5, 5, 8, 0), 12, "what others were given is theirs");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_new_is_reported_at_once_and_once() {
        let mut parts = parts();
        assert!(evaluate_parts(&mut parts).has_news, "the first decision");
        assert!(!evaluate_parts(&mut parts).has_news);
        parts.3.decision.as_mut().expect("decided").limits.clear();
        assert!(evaluate_parts(&mut parts).has_news, "another limit binds");
        parts.2.queue = Reachability::Reachable;
        assert!(evaluate_parts(&mut parts).has_news, "Redis answers");
        assert!(!evaluate_parts(&mut parts).has_news);
    }
}
