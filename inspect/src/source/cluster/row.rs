//! The row of a JobQueue, from its status.

use jobqueue_crds::{ConditionType, JobQueue};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::source::{Numbers, QueueKey, Row, Standing};
use crate::text;

/// The row.
pub(super) fn row(queue: &JobQueue) -> Row {
    let numbers = numbers(queue);
    let key = QueueKey {
        namespace: queue.metadata.namespace.clone().unwrap_or_default(),
        name: queue.metadata.name.clone().unwrap_or_default(),
    };
    let (standing, reason, message) = judge(queue, &numbers);
    Row { key, standing, reason: text::line(&reason, 60), message: text::line(&message, text::SHORT), numbers }
}

/// How it does: the gravest of its conditions.
fn judge(queue: &JobQueue, numbers: &Numbers) -> (Standing, String, String) {
    let conditions = queue.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let find = |kind: ConditionType| conditions.iter().find(|condition| condition.type_ == kind.to_string());
    let of = |condition: &Condition| (condition.reason.clone(), condition.message.clone());
    let with = |standing, (reason, message)| (standing, reason, message);
    if let Some(stalled) = find(ConditionType::Stalled).filter(|condition| condition.status == "True") {
        return with(Standing::Stalled, of(stalled));
    }
    match find(ConditionType::Ready) {
        Some(ready) if ready.status != "True" => return with(Standing::NotReady, of(ready)),
        Some(_) => {}
        None => {
            let message = "No operator has looked at it yet".to_owned();
            return (Standing::NotReady, "Pending".to_owned(), message);
        }
    }
    if let Some(degraded) = find(ConditionType::Degraded).filter(|condition| condition.status == "True") {
        return with(Standing::Degraded, of(degraded));
    }
    if numbers.failed > 0 {
        let message = format!("{} in the failed registry", text::jobs(numbers.failed));
        return (Standing::Failures, "Jobs failed".to_owned(), message);
    }
    let shown = find(ConditionType::Paused).filter(|condition| condition.status == "True");
    let shown = shown.or_else(|| find(ConditionType::Ready)).map(of).unwrap_or_default();
    with(Standing::Fine, shown)
}

/// The numbers of its status.
pub(super) fn numbers(queue: &JobQueue) -> Numbers {
    let Some(status) = &queue.status else { return Numbers::default() };
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    let workers = |number: i32| u64::try_from(number).unwrap_or(0);
    let database = ConditionType::DatabaseReachable.to_string();
    let mut numbers = Numbers {
        workers: workers(status.ready_replicas),
        desired: status.desired_replicas.map(workers),
        database_trouble: status
            .conditions
            .iter()
            .any(|condition| condition.type_ == database && condition.status == "False"),
        ..Numbers::default()
    };
    if let Some(backlog) = &status.queue {
        numbers.waiting = count(backlog.waiting);
        numbers.running = count(backlog.running);
        numbers.scheduled = count(backlog.scheduled);
        numbers.failed = count(backlog.failed);
        numbers.oldest_wait = backlog.oldest_wait_seconds.map(count);
        numbers.arrivals = backlog.arrivals_per_second;
        numbers.completions = backlog.completions_per_second;
    }
    numbers
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn queue(conditions: &[(&str, &str, &str)], failed: i64) -> JobQueue {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status, reason)| {
                json!({"type": kind, "status": status, "reason": reason, "message": format!("about {reason}"),
                    "lastTransitionTime": "2026-03-01T12:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
            "metadata": {"name": "q", "namespace": "n"},
            "spec": {"queue": {"names": ["q"], "redis": {"url": "redis://redis"}}},
            "status": {"readyReplicas": 2, "desiredReplicas": 3, "conditions": conditions,
                "queue": {"waiting": 5, "failed": failed, "oldestWaitSeconds": 9}},
        }))
        .expect("a JobQueue")
    }

    #[test]
    fn the_gravest_condition_is_what_a_row_says() {
        let (stalled, ready) = (("Stalled", "True", "SecretNotFound"), ("Ready", "True", "Working"));
        let degraded = ("Degraded", "True", "JobsFailing");
        let judged = |conditions: &[_], failed| {
            let row = row(&queue(conditions, failed));
            (row.standing, row.reason)
        };
        assert_eq!(judged(&[ready, degraded, stalled], 1), (Standing::Stalled, "SecretNotFound".to_owned()));
        assert_eq!(judged(&[("Ready", "False", "Unreachable")], 1), (Standing::NotReady, "Unreachable".to_owned()));
        assert_eq!(judged(&[ready, degraded], 1), (Standing::Degraded, "JobsFailing".to_owned()));
        assert_eq!(judged(&[ready], 1), (Standing::Failures, "Jobs failed".to_owned()));
        assert_eq!(judged(&[ready], 0), (Standing::Fine, "Working".to_owned()));
        assert_eq!(judged(&[], 0).0, Standing::NotReady);
        let numbers = row(&queue(&[ready], 0)).numbers;
        assert_eq!((numbers.waiting, numbers.workers, numbers.desired), (5, 2, Some(3)));
    }
}
