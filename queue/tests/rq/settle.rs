//! What each outcome leaves in Redis.

use jobqueue_queue::{Backend, Outcome, Retry, Settled};
use jobqueue_testkit::unique;
use serde_json::json;

use crate::fixture::{Fixture, done, failed, finished, ids};

#[tokio::test]
async fn a_finished_job_is_as_rq_leaves_it() {
    let mut fixture = Fixture::new().await;
    let config = fixture.config();
    let worker = fixture.worker_with(config.clone());
    worker.register().await.unwrap();
    let id = unique("job");
    fixture.enqueue(&id, &[("result_ttl", "77")]).await;
    let claim = worker.claim(1).await.unwrap();
    let completion = done(&claim.deliveries[0], Outcome::Finished { result: json!({"rows": 3}) });
    assert_eq!(worker.settle(std::slice::from_ref(&completion)).await.unwrap(), [Settled::Finished]);
    fixture.assert_no_trace(&claim.deliveries[0]).await;
    assert_eq!(fixture.status(&id).await, "finished");
    assert_eq!(fixture.field(&id, "jobqueue_run").await.unwrap(), "", "it asks for no run any more");
    let ttl: i64 = fixture.redis(&format!("TTL rq:job:{id}")).await;
    assert!((75..=77).contains(&ttl), "{ttl}");
    let ttl: i64 = fixture.redis(&format!("TTL rq:results:{id}")).await;
    assert!((75..=77).contains(&ttl), "{ttl}");
    assert!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:finished:Q {id}")).await.is_some());
    let worker_hash: Vec<Option<String>> =
        fixture.redis(&format!("HMGET rq:worker:{} successful_job_count state current_job", config.worker_name)).await;
    assert_eq!(worker_hash, [Some("1".into()), Some("idle".into()), None]);
    // The reply was lost, the settlement is sent again: nothing changes.
    assert_eq!(worker.settle(&[completion]).await.unwrap(), [Settled::NotOwned]);
    assert_eq!(fixture.redis::<i64>(&format!("XLEN rq:results:{id}")).await, 1);
}

/// RQ's `Job.enqueue` on an object that ran before: the same creation time, a new time of enqueueing.
#[tokio::test]
async fn a_finished_job_that_is_enqueued_again_starts_over() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let id = unique("job");
    fixture.enqueue(&id, &[("jobqueue_generation", "4"), ("jobqueue_attempts", "0"), ("retries_left", "1")]).await;
    let claim = worker.claim(1).await.unwrap();
    worker.settle(&[failed(&claim.deliveries[0], Retry::Allowed)]).await.unwrap();
    fixture.redis::<()>(&format!("HSET rq:job:{id} jobqueue_crashes 1")).await;
    let claim = worker.claim(1).await.unwrap();
    let first = claim.deliveries[0].clone();
    assert_eq!((first.attempt, first.crashes), (2, 1));
    worker.settle(&[finished(&first)]).await.unwrap();
    assert_eq!(fixture.field(&id, "jobqueue_generation").await.unwrap(), "5", "workers of older versions count runs");
    fixture.redis::<()>(&format!("HSET rq:job:{id} status queued enqueued_at 2026-11-24T00:00:00.000000Z")).await;
    fixture.redis::<()>(&format!("RPUSH rq:queue:Q {id}")).await;
    let claim = worker.claim(1).await.unwrap();
    let second = &claim.deliveries[0];
    assert_eq!((second.attempt, second.crashes), (1, 0));
    assert_ne!(second.run, first.run, "it is a run of its own");
    assert_eq!(fixture.field(&id, "jobqueue_crashes").await.unwrap(), "0");
}

#[tokio::test]
async fn result_ttl_zero_leaves_nothing_and_minus_one_everything() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let (none, ever) = (unique("none"), unique("ever"));
    fixture.enqueue(&none, &[("result_ttl", "0")]).await;
    fixture.enqueue(&ever, &[("result_ttl", "-1")]).await;
    let claim = worker.claim(2).await.unwrap();
    let completions: Vec<_> = claim.deliveries.iter().map(finished).collect();
    worker.settle(&completions).await.unwrap();
    assert_eq!(fixture.redis::<i64>(&format!("EXISTS rq:job:{none} rq:results:{none}")).await, 0);
    assert_eq!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:finished:Q {none}")).await, None);
    assert_eq!(fixture.redis::<i64>(&format!("TTL rq:job:{ever}")).await, -1);
    assert_eq!(fixture.redis::<i64>(&format!("TTL rq:results:{ever}")).await, -1);
    assert_eq!(fixture.redis::<String>(&format!("ZSCORE rq:finished:Q {ever}")).await, "inf");
}

#[tokio::test]
async fn a_failure_is_final_or_retried_by_our_policy() {
    let mut fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.retry.max_attempts = 2;
    let worker = fixture.worker_with(config);
    let (never, allowed) = (unique("never"), unique("allowed"));
    fixture.enqueue(&never, &[]).await;
    fixture.enqueue(&allowed, &[]).await;
    let claim = worker.claim(2).await.unwrap();
    let outcomes = [failed(&claim.deliveries[0], Retry::Never), failed(&claim.deliveries[1], Retry::Allowed)];
    assert_eq!(worker.settle(&outcomes).await.unwrap(), [Settled::Failed, Settled::Retried]);
    for delivery in &claim.deliveries {
        fixture.assert_no_trace(delivery).await;
    }
    assert_eq!((fixture.status(&never).await, fixture.status(&allowed).await), ("failed".into(), "scheduled".into()));
    let ttl: i64 = fixture.redis(&format!("TTL rq:results:{never}")).await;
    assert!(ttl > 31_000_000, "failed results expire too: {ttl}");
    assert_eq!(fixture.redis::<i64>(&format!("XLEN rq:results:{allowed}")).await, 1, "every failed attempt leaves one");
    // Due now: it comes back, and the second failure is the last.
    fixture.redis::<()>(&format!("ZADD rq:scheduled:Q 1 {allowed}")).await;
    assert_eq!(worker.maintain().await.unwrap().due, 1);
    let claim = worker.claim(2).await.unwrap();
    assert_eq!(claim.deliveries[0].attempt, 2);
    assert_eq!(worker.settle(&[failed(&claim.deliveries[0], Retry::Allowed)]).await.unwrap(), [Settled::Failed]);
    assert_eq!(fixture.redis::<i64>(&format!("XLEN rq:results:{allowed}")).await, 2);
}

#[tokio::test]
async fn the_producers_retries_and_intervals_rule() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let (now, later, spent) = (unique("now"), unique("later"), unique("spent"));
    fixture
        .enqueue(&now, &[("retries_left", "1"), ("retry_intervals", "[0]"), ("enqueue_at_front_on_retry", "1")])
        .await;
    // The short list pads at the front: three left of two intervals reads the first.
    fixture.enqueue(&later, &[("retries_left", "3"), ("retry_intervals", "[1000, 2000]")]).await;
    fixture.enqueue(&spent, &[("retries_left", "0"), ("retry_intervals", "[0]")]).await;
    let claim = worker.claim(3).await.unwrap();
    let outcomes: Vec<_> = claim.deliveries.iter().map(|delivery| failed(delivery, Retry::Never)).collect();
    let settled = worker.settle(&outcomes).await.unwrap();
    assert_eq!(settled, [Settled::Retried, Settled::Retried, Settled::Failed]);
    assert_eq!(fixture.waiting().await, std::slice::from_ref(&now));
    assert_eq!(
        (fixture.status(&now).await, fixture.field(&now, "retries_left").await),
        ("queued".into(), Some("0".into()))
    );
    let due: f64 = fixture.redis(&format!("ZSCORE rq:scheduled:Q {later}")).await;
    let ahead = due - chrono::Utc::now().timestamp() as f64;
    assert!((998.0..=1002.0).contains(&ahead), "{ahead}");
    assert_eq!(fixture.status(&spent).await, "failed");
}

#[tokio::test]
async fn released_jobs_stand_at_the_head_in_their_order_and_uncounted() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let prefix = unique("j");
    let all: Vec<String> = (0..120).map(|i| format!("{prefix}-{i}")).collect();
    for id in &all {
        fixture.enqueue(id, &[]).await;
    }
    let claim = worker.claim(110).await.unwrap();
    let completions: Vec<_> = claim.deliveries.iter().map(|delivery| done(delivery, Outcome::Released)).collect();
    assert!(worker.settle(&completions).await.unwrap().iter().all(|settled| *settled == Settled::Released));
    assert_eq!(fixture.waiting().await, all);
    let again = worker.claim(200).await.unwrap();
    assert_eq!(ids(&again.deliveries), all);
    assert!(again.deliveries.iter().all(|delivery| delivery.attempt == 1));
}

#[tokio::test]
async fn a_stopped_job_is_stopped_for_good() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let id = unique("job");
    fixture.enqueue(&id, &[("retries_left", "5"), ("retry_intervals", "[0]")]).await;
    let claim = worker.claim(1).await.unwrap();
    let stopped = done(&claim.deliveries[0], Outcome::Stopped);
    assert_eq!(worker.settle(&[stopped]).await.unwrap(), [Settled::Stopped]);
    assert_eq!(fixture.status(&id).await, "stopped");
    assert!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:failed:Q {id}")).await.is_some());
}

#[tokio::test]
async fn dependents_start_when_all_they_wait_for_is_done() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (a, b, child, soft, hard) = (unique("a"), unique("b"), unique("child"), unique("soft"), unique("hard"));
    for parent in [&a, &b] {
        fixture.enqueue(parent, &[]).await;
    }
    let waits = |fields: &'static [(&'static str, &'static str)]| fields;
    for (job, parents, fields) in [
        (&child, vec![&a, &b], waits(&[])),
        (&soft, vec![&b], waits(&[("allow_dependency_failures", "1")])),
        (&hard, vec![&b], waits(&[])),
    ] {
        fixture.write_job(&name, job, "deferred", fields).await;
        fixture.redis::<()>(&format!("ZADD rq:deferred:Q 1 {job}")).await;
        for parent in parents {
            fixture.redis::<()>(&format!("SADD rq:job:{parent}:dependents {job}")).await;
            fixture.redis::<()>(&format!("SADD rq:job::{job}:dependencies {parent}")).await;
        }
    }
    let claim = worker.claim(2).await.unwrap();
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    assert!(fixture.waiting().await.is_empty(), "the child still waits for b");
    worker.settle(&[failed(&claim.deliveries[1], Retry::Never)]).await.unwrap();
    assert_eq!(fixture.waiting().await, std::slice::from_ref(&soft));
    assert_eq!((fixture.status(&child).await, fixture.status(&hard).await), ("deferred".into(), "deferred".into()));
    // b is requeued by a person and succeeds.
    fixture.redis::<()>(&format!("ZREM rq:failed:Q {b}")).await;
    fixture.enqueue(&b, &[]).await;
    let claim = worker.claim(2).await.unwrap();
    let outcomes: Vec<_> = claim.deliveries.iter().map(finished).collect();
    worker.settle(&outcomes).await.unwrap();
    let mut waiting = fixture.waiting().await;
    waiting.sort();
    let mut expected = vec![child.clone(), hard];
    expected.sort();
    assert_eq!(waiting, expected);
    assert_eq!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:deferred:Q {child}")).await, None);
}

#[tokio::test]
async fn a_repeated_job_comes_back() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let id = unique("job");
    fixture.enqueue(&id, &[("repeats_left", "2"), ("repeat_intervals", "[0, 50]")]).await;
    let first = worker.claim(1).await.unwrap();
    worker.settle(&[finished(&first.deliveries[0])]).await.unwrap();
    assert_eq!(fixture.status(&id).await, "queued");
    assert_eq!(fixture.field(&id, "repeat_intervals").await.unwrap(), "[50]");
    let claim = worker.claim(1).await.unwrap();
    assert_ne!(claim.deliveries[0].run, first.deliveries[0].run, "another run has another key");
    assert_eq!(claim.deliveries[0].attempt, 1);
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    assert_eq!(
        (fixture.status(&id).await, fixture.field(&id, "repeats_left").await),
        ("scheduled".into(), Some("0".into()))
    );
    assert_eq!(fixture.redis::<i64>(&format!("TTL rq:job:{id}")).await, -1);
}

#[tokio::test]
async fn a_rate_limited_job_hands_its_slot_on() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (key, first, second) = (unique("key"), unique("first"), unique("second"));
    let limit = [("rate_limit_key", key.as_str()), ("rate_limit_concurrency", "1")];
    fixture.enqueue(&first, &limit).await;
    fixture.write_job(&name, &second, "rate_limited", &limit).await;
    fixture.redis::<()>(&format!("HSET rq:rl:{key} concurrency 1")).await;
    fixture.redis::<()>(&format!("ZADD rq:rl:{key}:allowed 1 {first}")).await;
    fixture.redis::<()>(&format!("ZADD rq:rl:{key}:rate_limited 2 {second}")).await;
    let claim = worker.claim(5).await.unwrap();
    assert_eq!(ids(&claim.deliveries), [&first]);
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    assert_eq!(ids(&worker.claim(5).await.unwrap().deliveries), [&second]);
    let allowed: Vec<String> = fixture.redis(&format!("ZRANGE rq:rl:{key}:allowed 0 -1")).await;
    assert_eq!(allowed, [second]);
}

/// More than one script queues at once: maintenance goes on with the rest, and what waits for others too is left.
#[tokio::test]
async fn very_many_dependents_are_queued_in_portions() {
    const MANY: usize = 1_300;
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (parent, other) = (unique("parent"), unique("other"));
    fixture.enqueue(&parent, &[("result_ttl", "0")]).await;
    fixture.write_job(&name, &other, "started", &[]).await;
    for number in 0..MANY {
        let child = format!("{parent}-{number}");
        fixture.write_job(&name, &child, "deferred", &[]).await;
        fixture.redis::<()>(&format!("SADD rq:job:{parent}:dependents {child}")).await;
        fixture.redis::<()>(&format!("SADD rq:job::{child}:dependencies {parent}")).await;
    }
    fixture.redis::<()>(&format!("SADD rq:job::{parent}-7:dependencies {other}")).await;
    let claim = worker.claim(1).await.unwrap();
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    assert!(fixture.waiting().await.is_empty(), "none within the settling");
    worker.maintain().await.unwrap();
    let waiting = fixture.waiting().await;
    assert_eq!(waiting.len(), MANY - 1);
    assert!(!waiting.contains(&format!("{parent}-7")));
    let left: i64 =
        fixture.redis(&format!("EXISTS rq:job:{parent} rq:job:{parent}:dependents rq:jobqueue:dependents")).await;
    assert_eq!(left, 0);
}
