//! The last step: what was found becomes the status, and its transitions become events. It is written only when something
//! changed: states at once, numbers every few seconds at most.

use std::time::Duration;

use jobqueue_crds::{ConditionType, JobQueue, JobQueueStatus, Reason, ScalingMode};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    backoff::per_queue,
    kube_client::FIELD_MANAGER,
    state::{
        health::{Reachability, Stall},
        key::{Key, Uid, reference, version},
        owners::StatusState,
        status_cursor::NUMBERS_EVERY,
    },
    status::{
        compose::{Known, compose},
        conditions::{Facts, conditions, transitions},
        events::Events,
    },
};

pub(crate) use crate::status::compose::Findings;

/// How long a new queue's first status waits for the first poll of Redis, so that it is written once and not twice.
pub(crate) const FIRST_POLL: Duration = Duration::from_secs(2);

/// The shortest time between two statuses of one queue: pods become ready one by one, and what a thousand queues write of that
/// is in the way of the pods.
fn shortest_pause(queues: usize) -> Duration {
    per_queue(queues.saturating_sub(100), 1).min(Duration::from_secs(5))
}

/// When a queue is to be reconciled again, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Not before it changes.
    Change,
    /// A person may be about to repair it, or a server to come back.
    Repair,
    /// Pods are missing, and are listed again after so long.
    Pods(Duration),
    /// Its Redis was not polled yet.
    Poll,
    /// There is news to write after so long.
    Report(Duration),
    /// Only to follow Secrets.
    Resync,
}

/// Writes statuses and the events of their transitions.
pub(crate) struct StatusWriter {
    /// The API server; writes need the lease.
    pub(crate) client: Client,
    /// For `kubectl describe`.
    pub(crate) events: Events,
    /// The queues, for the status writer.
    pub(crate) state: StatusState,
}

impl StatusWriter {
    /// Writes the status if there is news; returns when the queue is to be reconciled again.
    pub(crate) async fn report(&self, key: &Key, queue: &JobQueue, findings: Findings) -> kube::Result<Next> {
        let queues = self.state.len();
        let mut known = self.state.read(key, |state| Known::of(state, queues)).unwrap_or_default();
        let findings = known.complete(findings);
        let next = next(&findings, &known);
        let Previous { status: previous, age } = previous(&self.state, key, queue);
        if known.nothing_yet() && findings.stall.is_none() && findings.retry.is_none() {
            // The first poll is a fraction of a second away. What an earlier leader wrote stands until then.
            if previous.observed_generation.is_some() {
                self.state.record_conditions(key, &previous.conditions);
                return Ok(next);
            }
            if known.served_for < FIRST_POLL {
                return Ok(Next::Poll);
            }
        }
        let status = compose(queue, &previous, &findings, &known, Timestamp::now());
        self.state.record_conditions(key, &status.conditions);
        match when_to_write(&previous, &status, age, shortest_pause(queues)) {
            When::NotYet => return Ok(next),
            When::IsWritten => {
                self.state.record_reported(key);
                return Ok(next);
            }
            When::After(pause) => return Ok(Next::Report(pause)),
            When::Now => {}
        }
        if !self.write(queue, &status).await? {
            return Ok(next);
        }
        let changed = transitions(&previous.conditions, &status.conditions);
        let uid = Uid::of(queue);
        let about = reference(key, &uid, version(queue));
        self.state.record_written(key, uid, status.clone());
        self.state.record_reported(key);
        self.events.transitions(&about, &changed).await;
        Ok(next)
    }

    /// Writes the status of an object that cannot be read: it has a spec of another version of this API.
    pub(crate) async fn report_unreadable(&self, key: &Key, generation: i64, error: &str) -> kube::Result<()> {
        let (name, namespace) = (&key.name, key.namespace.as_deref().unwrap_or_default());
        let conditions = unreadable(generation, error);
        self.state.record_conditions(key, &conditions);
        let status = json!({"observedGeneration": generation, "conditions": conditions});
        let patch = Patch::Apply(status_patch(&json!({"name": name}), &status));
        let resource = ApiResource::erase::<JobQueue>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &patch).await.map(drop)
    }

    /// Writes the status; false if the object is gone.
    async fn write(&self, queue: &JobQueue, status: &JobQueueStatus) -> kube::Result<bool> {
        let api: Api<JobQueue> = Api::namespaced(self.client.clone(), &queue.namespace().unwrap_or_default());
        // The uid keeps a status from reaching a new object of the same name.
        let metadata = json!({"name": queue.name_any(), "uid": queue.uid()});
        let patch = Patch::Apply(status_patch(&metadata, &json!(status)));
        match api.patch_status(&queue.name_any(), &PatchParams::apply(FIELD_MANAGER).force(), &patch).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// When to reconcile again, if the status is as it should be.
fn next(findings: &Findings, known: &Known) -> Next {
    if findings.stall.is_some() || known.is_failing() {
        return Next::Repair;
    }
    let next = known.next_pod_check.map_or(Next::Resync, Next::Pods);
    if findings.rollout_queued { Next::Resync } else { next }
}

/// The status as it is in the cluster.
struct Previous {
    /// What it says.
    status: JobQueueStatus,
    /// How long ago this process wrote it; `None` if it did not.
    age: Option<Duration>,
}

/// The status that this process wrote last, if the watch may not have it yet; else that of the object, as the watch has it.
fn previous(state: &StatusState, key: &Key, queue: &JobQueue) -> Previous {
    let written = state.written_status(key).filter(|written| written.uid == Uid::of(queue));
    let age = written.as_ref().map(|written| written.at.elapsed());
    let unseen = written.and_then(|written| written.status).map(|status| *status);
    if unseen.is_some() && json!(unseen) == json!(queue.status) {
        state.record_seen_by_watch(key);
    }
    Previous { status: unseen.or_else(|| queue.status.clone()).unwrap_or_default(), age }
}

/// When a status is to be written.
#[derive(Debug, PartialEq, Eq)]
enum When {
    /// It differs in numbers only, which were written lately.
    NotYet,
    /// The status in the cluster is the same, by this process or an earlier leader.
    IsWritten,
    /// The last one was written a moment ago.
    After(Duration),
    /// At once.
    Now,
}

fn when_to_write(previous: &JobQueueStatus, status: &JobQueueStatus, age: Option<Duration>, pause: Duration) -> When {
    if !is_worth_writing(previous, status, age) {
        return if age.is_none_or(|age| age >= NUMBERS_EVERY) { When::IsWritten } else { When::NotYet };
    }
    let early = age.and_then(|age| pause.checked_sub(age)).filter(|early| !early.is_zero());
    early.map_or(When::Now, When::After)
}

/// States are written at once; numbers and sentences when the last write is old enough.
fn is_worth_writing(before: &JobQueueStatus, now: &JobQueueStatus, age: Option<Duration>) -> bool {
    let states = |status: &JobQueueStatus| {
        let mut bare = status.clone();
        bare.queue = None;
        bare.decision = None;
        for condition in &mut bare.conditions {
            condition.message.clear();
        }
        bare
    };
    let undated = |status: &JobQueueStatus| {
        let mut bare = status.clone();
        if let Some(numbers) = &mut bare.queue {
            numbers.observed_at = None;
            // With nothing to do, a first rate of zero is no news: each new queue would have another status.
            if numbers.waiting == 0 && numbers.running == 0 {
                for rate in [&mut numbers.arrivals_per_second, &mut numbers.completions_per_second] {
                    *rate = rate.filter(|rate| *rate > 0.0);
                }
            }
        }
        bare
    };
    states(before) != states(now) || (age.is_none_or(|age| age >= NUMBERS_EVERY) && undated(before) != undated(now))
}

fn status_patch(metadata: &Value, status: &Value) -> Value {
    let (api_version, kind) = (JobQueue::api_version(&()), JobQueue::kind(&()));
    json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "status": status})
}

/// The conditions of an object that cannot be read: those that say so, and no others.
fn unreadable(generation: i64, error: &str) -> Vec<Condition> {
    let facts = Facts {
        generation,
        before: &[],
        mode: ScalingMode::default(),
        stall: Some(Stall { reason: Reason::InvalidSpec, message: error.to_owned() }),
        retry: None,
        queue: Reachability::Unknown,
        database: Reachability::Unknown,
        workers: None,
        problem: None,
        scaling: None,
        jobs: None,
        warnings: Vec::new(),
        rollout_queued: false,
    };
    let reported = [ConditionType::Ready.to_string(), ConditionType::Stalled.to_string()];
    let all = conditions(&facts, Timestamp::now());
    all.into_iter().filter(|condition| reported.contains(&condition.type_)).collect()
}

#[cfg(test)]
mod tests {
    use jobqueue_crds::QueueStatus;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn numbers_wait_and_states_do_not() {
        let before = JobQueueStatus::default();
        let mut numbers = before.clone();
        numbers.queue = Some(QueueStatus { waiting: 3, ..QueueStatus::default() });
        assert!(!is_worth_writing(&before, &numbers, Some(Duration::from_secs(14))));
        assert!(is_worth_writing(&before, &numbers, Some(NUMBERS_EVERY)));
        let mut state = before.clone();
        state.ready_replicas = 1;
        assert!(is_worth_writing(&before, &state, Some(Duration::ZERO)));
        let mut later = numbers.clone();
        later.queue.as_mut().unwrap().observed_at = Some(Time(Timestamp::now()));
        assert!(!is_worth_writing(&numbers, &later, Some(NUMBERS_EVERY * 10)), "a date alone is no news");
        let rated = |waiting: i64, rate: Option<f64>| {
            let mut status = before.clone();
            status.queue = Some(QueueStatus { waiting, arrivals_per_second: rate, ..QueueStatus::default() });
            status
        };
        assert!(
            !is_worth_writing(&rated(0, None), &rated(0, Some(0.0)), Some(NUMBERS_EVERY)),
            "nothing to do, and nothing comes"
        );
        assert!(is_worth_writing(&rated(0, Some(0.01)), &rated(0, Some(0.0)), Some(NUMBERS_EVERY)));
        assert!(is_worth_writing(&rated(1, None), &rated(1, Some(0.0)), Some(NUMBERS_EVERY)));
    }
}
