//! What tests put into the state of a queue.

use std::time::Duration;

use jobqueue_queue::{StatsQuery, WorkerStats};
use jobqueue_scaling::{Backlog, Policy};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::state::{
    endpoint_key::{EndpointKey, RedisLogin},
    observed::QueueSnapshot,
    spec::Spec,
};

/// A queue at this Redis.
pub(crate) fn spec(url: &str) -> Spec {
    let login = RedisLogin { url: url.into(), ca: None, client: None };
    let query = StatsQuery {
        protocol: jobqueue_queue::Protocol::Rq,
        names: vec!["q".into()],
        key_prefix: "rq".into(),
        consumer_group: String::new(),
    };
    Spec {
        version: None,
        endpoint: EndpointKey::new(login, None, None).expect("a URL"),
        query: query.into(),
        policy: Policy::default().into(),
        calendar: None,
        budget: None,
        protect_busy: false,
        has_database: false,
    }
}

/// The numbers of a queue with so many jobs waiting.
pub(crate) fn snapshot(waiting: u64) -> QueueSnapshot {
    let backlog = Backlog { waiting, running: 0, oldest_wait_seconds: None };
    QueueSnapshot {
        backlog,
        failed: 0,
        scheduled: 0,
        arrivals_per_second: None,
        completions_per_second: None,
        at: Timestamp::UNIX_EPOCH,
    }
}

/// A condition of a status.
pub(crate) fn condition(kind: &str, status: &str, reason: &str) -> Condition {
    Condition {
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
        message: String::new(),
        observed_generation: None,
        reason: reason.into(),
        status: status.into(),
        type_: kind.into(),
    }
}

/// An idle worker, alone on the host of its name, that ended so many jobs.
pub(crate) fn worker(name: &str, succeeded: u64, failed: u64) -> WorkerStats {
    WorkerStats {
        name: name.into(),
        hostname: name.into(),
        state: "idle".into(),
        concurrency: 1,
        running: 0,
        succeeded,
        failed,
        busy_seconds: 0.0,
        silent_for: Duration::ZERO,
        job_age: None,
    }
}
