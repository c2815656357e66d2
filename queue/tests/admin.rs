//! The failed registry as rq leaves it, read and dealt with.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;

use base64::Engine;
use chrono::Utc;
use flate2::write::ZlibEncoder;
use jobqueue_queue::admin::{FailedJobs, Requeued, queue_names};
use jobqueue_queue::producer::{Destination, JobOptions, Producer, Progress, Shape};
use jobqueue_queue::{Connection, ConnectionUrl, PayloadLimits, Serializer, Timeouts, TlsOptions};
use jobqueue_testkit::{redis, unique};

fn connection() -> Connection {
    let url: ConnectionUrl = redis().url().parse().unwrap();
    Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap()
}

/// Two jobs that failed, as rq's own worker records it.
async fn failed_jobs(queue: &str) -> (FailedJobs, Vec<String>) {
    let shape = Shape::Job(JobOptions {
        function: "tasks.f".into(),
        serializer: Serializer::Pickle,
        timeout: 180,
        result_ttl: None,
        failure_ttl: None,
        retry: None,
    });
    let destination = Destination { queue: queue.into(), key_prefix: "rq".into(), shape, at_front: false };
    let producer = Producer::new(connection(), destination);
    let run = producer.begin(None, &Progress::default()).await.unwrap();
    let after = Progress { bytes: 4, lines: 2, jobs: 2, crc32: 0, done: false };
    let ids = producer.enqueue(&run, &producer.batch(&["one", "two"]), 0, &after, Utc::now()).await.unwrap();
    redis().cli(&["DEL", &format!("rq:queue:{queue}")]);
    for (id, error) in ids.iter().zip(["ValueError: first", "KeyError: second"]) {
        let mut deflated = ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        deflated.write_all(error.as_bytes()).unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(deflated.finish().unwrap());
        let ended = "2026-01-02T03:04:05.678901Z";
        redis().cli(&["HSET", &format!("rq:job:{id}"), "status", "failed", "ended_at", ended, "started_at", ended]);
        redis().cli(&["XADD", &format!("rq:results:{id}"), "*", "type", "2", "worker_name", "w", "exc_string", &text]);
        redis().cli(&[
            "ZADD",
            &format!("rq:failed:{queue}"),
            if id == &ids[0] { "9000000001" } else { "9000000002" },
            id,
        ]);
    }
    (FailedJobs::new(connection(), "rq", queue), ids)
}

#[tokio::test]
async fn a_failed_job_is_read_with_its_record_and_its_error() {
    let queue = unique("failed");
    let (failed, ids) = failed_jobs(&queue).await;
    assert_eq!(failed.ids().await.unwrap(), ids);
    assert!(failed.contains(&ids[0]).await.unwrap() && !failed.contains("other").await.unwrap());
    let jobs = failed.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    assert_eq!(jobs[0].function(), Some("tasks.f"));
    assert_eq!(jobs[0].record(), Some(&"one".into()));
    assert_eq!(jobs[0].queue, queue);
    assert_eq!(jobs[0].failed_at.unwrap().to_rfc3339(), "2026-01-02T03:04:05.678901+00:00");
    let errors: Vec<&str> = jobs.iter().map(|job| job.error.as_str()).collect();
    assert_eq!(errors, ["ValueError: first", "KeyError: second"]);
    let attempts = failed.attempts(&ids[1]).await.unwrap();
    assert_eq!((attempts.len(), attempts[0].worker.as_str(), attempts[0].succeeded), (1, "w", false));
}

#[tokio::test]
async fn a_record_that_is_gone_is_told_and_forgotten_when_requeued() {
    let queue = unique("failed");
    let (failed, ids) = failed_jobs(&queue).await;
    redis().cli(&["DEL", &format!("rq:job:{}", ids[0]), &format!("rq:results:{}", ids[0])]);
    let jobs = failed.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    assert_eq!((jobs[0].call.is_none(), jobs[0].error.as_str()), (true, "the record of this job is gone"));
    assert_eq!(failed.requeue(&ids, false).await.unwrap(), [Requeued::Gone, Requeued::Queued]);
    assert_eq!(failed.ids().await.unwrap(), Vec::<String>::new());
    assert_eq!(redis().cli(&["EXISTS", &format!("rq:job:{}", ids[0])]), "0");
}

#[tokio::test]
async fn a_job_is_requeued_once_and_as_new() {
    let queue = unique("failed");
    let (failed, ids) = failed_jobs(&queue).await;
    assert_eq!(failed.requeue(&ids[..1], true).await.unwrap(), [Requeued::Queued]);
    assert_eq!(failed.requeue(&ids[..1], true).await.unwrap(), [Requeued::NotFailed]);
    assert_eq!(redis().cli(&["LRANGE", &format!("rq:queue:{queue}"), "0", "-1"]), ids[0]);
    let fields = redis().cli(&["HMGET", &format!("rq:job:{}", ids[0]), "status", "started_at", "ended_at"]);
    assert_eq!(fields.trim_end(), "queued");
    assert_eq!(failed.ids().await.unwrap(), ids[1..]);
}

#[tokio::test]
async fn a_rate_limited_job_that_is_requeued_stands_in_line() {
    let queue = unique("failed");
    let (failed, ids) = failed_jobs(&queue).await;
    let limit = unique("limit");
    for id in &ids {
        redis().cli(&["HSET", &format!("rq:job:{id}"), "rate_limit_key", &limit, "rate_limit_concurrency", "1"]);
    }
    assert_eq!(failed.requeue(&ids, false).await.unwrap(), [Requeued::Queued, Requeued::Queued]);
    assert_eq!(redis().cli(&["LRANGE", &format!("rq:queue:{queue}"), "0", "-1"]), ids[0]);
    assert_eq!(redis().cli(&["HGET", &format!("rq:job:{}", ids[1]), "status"]), "rate_limited");
}

#[tokio::test]
async fn a_purged_job_leaves_nothing() {
    let queue = unique("failed");
    let (failed, ids) = failed_jobs(&queue).await;
    assert_eq!(failed.purge(&ids[..1]).await.unwrap(), 1);
    assert_eq!(failed.purge(&ids[..1]).await.unwrap(), 0);
    let left = redis().cli(&["EXISTS", &format!("rq:job:{}", ids[0]), &format!("rq:results:{}", ids[0])]);
    assert_eq!(left, "0");
    assert_eq!(failed.ids().await.unwrap(), ids[1..]);
}

#[tokio::test]
async fn every_queue_that_was_used_is_known() {
    let (one, other) = (unique("a_named"), unique("b_named"));
    redis().cli(&["SADD", "rq:queues", &format!("rq:queue:{other}"), &format!("rq:queue:{one}")]);
    let names = queue_names(&connection(), "rq").await.unwrap();
    let ours: Vec<&String> = names.iter().filter(|name| [&one, &other].contains(name)).collect();
    assert_eq!(ours, [&one, &other]);
}
