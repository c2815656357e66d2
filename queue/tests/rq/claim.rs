//! What a claim takes, in which order, what it leaves, and what it refuses.

use std::time::Duration;

use jobqueue_queue::{Backend, Payload};
use jobqueue_testkit::unique;

use crate::fixture::{Fixture, OURS, finished, ids};

#[tokio::test]
async fn earlier_queues_come_first_and_order_is_kept() {
    let mut fixture = Fixture::new().await;
    let (urgent, normal) = (unique("urgent"), unique("normal"));
    for (queue, id) in [(&normal, "n1"), (&normal, "n2"), (&urgent, "u1"), (&urgent, "u2"), (&normal, "n3")] {
        fixture.enqueue_on(queue, &format!("{normal}-{id}"), &[]).await;
    }
    let mut config = fixture.config();
    config.names = vec![urgent, normal.clone()];
    let worker = fixture.worker_with(config);
    worker.register().await.unwrap();
    let first = worker.claim(3).await.unwrap();
    let expected: Vec<String> = ["u1", "u2", "n1"].map(|id| format!("{normal}-{id}")).into();
    assert_eq!(ids(&first.deliveries), expected);
    assert_eq!(worker.claim(10).await.unwrap().deliveries.len(), 2);
    assert!(worker.claim(10).await.unwrap().deliveries.is_empty());
}

#[tokio::test]
async fn a_claimed_job_looks_started_and_is_leased() {
    let mut fixture = Fixture::new().await;
    let id = unique("job");
    fixture.enqueue(&id, &[("jobqueue_generation", "4"), ("jobqueue_attempts", "0")]).await;
    fixture.redis::<()>(&format!("EXPIRE rq:job:{id} 1000")).await;
    let worker = fixture.worker();
    worker.register().await.unwrap();
    let claim = worker.claim(10).await.unwrap();
    let delivery = &claim.deliveries[0];
    assert_eq!((delivery.generation, delivery.attempt, delivery.timeout), (4, 1, Some(Duration::from_secs(180))));
    assert_eq!(delivery.created_at, "2026-11-23T23:43:46.082897Z");
    let Ok(Payload::Call(call)) = &delivery.payload else { panic!("{:?}", delivery.payload) };
    assert_eq!(call.function, "tasks.parse");
    assert_eq!(fixture.status(&id).await, "started");
    assert_eq!(fixture.redis::<i64>(&format!("TTL rq:job:{id}")).await, -1);
    let member = format!("{id}:{}", delivery.lease.execution);
    let score: f64 = fixture.redis(&format!("ZSCORE rq:wip:Q {member}")).await;
    let ahead = score - OURS as f64 - chrono::Utc::now().timestamp() as f64;
    assert!((28.0..=32.0).contains(&ahead), "{ahead}");
    assert!(score.fract().abs() < 1e-9, "readers want whole seconds");
    let execution: Vec<String> = fixture.redis(&format!("HMGET rq:execution:{member} id job_id worker_name")).await;
    assert_eq!(execution[0], delivery.lease.execution);
    assert_eq!(execution[1], id);
    assert!(fixture.waiting().await.is_empty());
}

#[tokio::test]
async fn what_is_over_or_running_is_dropped_and_a_missing_record_is_recorded() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    worker.register().await.unwrap();
    let (over, gone, twice) = (unique("over"), unique("gone"), unique("twice"));
    fixture.enqueue(&over, &[("status", "canceled")]).await;
    fixture.redis::<()>(&format!("RPUSH rq:queue:Q {gone}")).await;
    fixture.enqueue(&twice, &[]).await;
    fixture.redis::<()>(&format!("RPUSH rq:queue:Q {twice}")).await;
    let claim = worker.claim(10).await.unwrap();
    assert_eq!(ids(&claim.deliveries), [&twice]);
    let dropped: Vec<&str> = claim.dropped.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(dropped, [&over, &gone, &twice]);
    // Named and counted, with nothing written under the producer's id.
    let left: i64 = fixture.redis(&format!("EXISTS rq:job:{gone} rq:results:{gone}")).await;
    assert_eq!(left, 0);
    assert!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:jobqueue:gone:Q {gone}")).await.is_some());
    assert_eq!(fixture.redis::<i64>("HGET rq:jobqueue:gone Q").await, 1);
    // Finished and popped again: still one run.
    worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    fixture.redis::<()>(&format!("RPUSH rq:queue:Q {twice}")).await;
    let again = worker.claim(10).await.unwrap();
    assert!(again.deliveries.is_empty());
    assert_eq!(again.dropped.len(), 1);
}

#[tokio::test]
async fn a_record_of_another_type_does_not_stop_the_queue() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let (odd, good) = (unique("odd"), unique("good"));
    fixture.redis::<()>(&format!("SET rq:job:{odd} text")).await;
    fixture.redis::<()>(&format!("RPUSH rq:queue:Q {odd}")).await;
    fixture.enqueue(&good, &[]).await;
    let claim = worker.claim(10).await.unwrap();
    assert_eq!(ids(&claim.deliveries), [&good]);
    assert!(claim.dropped[0].1.contains("WRONGTYPE"), "{:?}", claim.dropped);
}

#[tokio::test]
async fn an_oversized_payload_is_not_fetched_and_a_full_batch_leaves_the_rest() {
    let mut fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.limits.max_bytes = 1000;
    let worker = fixture.worker_with(config);
    let (big, small) = (unique("big"), unique("small"));
    fixture.enqueue(&big, &[("data", &"x".repeat(2000))]).await;
    fixture.enqueue(&small, &[]).await;
    let claim = worker.claim(10).await.unwrap();
    assert_eq!(ids(&claim.deliveries), [&big, &small]);
    let error = claim.deliveries[0].payload.as_ref().unwrap_err().to_string();
    assert!(error.contains("2000 bytes"), "{error}");
    // Two that do not fit together come one by one, in order.
    let huge = "x".repeat(20 << 20);
    let (first, second) = (unique("first"), unique("second"));
    let worker = fixture.worker_with({
        let mut config = fixture.config();
        config.limits.max_bytes = 64 << 20;
        config
    });
    fixture.enqueue(&first, &[("data", &huge)]).await;
    fixture.enqueue(&second, &[("data", &huge)]).await;
    assert_eq!(ids(&worker.claim(10).await.unwrap().deliveries), [&first]);
    assert_eq!(fixture.waiting().await, [second]);
}

#[tokio::test]
async fn two_workers_never_get_the_same_job() {
    let mut fixture = Fixture::new().await;
    let prefix = unique("j");
    for i in 0..200 {
        fixture.enqueue(&format!("{prefix}-{i}"), &[]).await;
    }
    let workers: Vec<_> = (0..4).map(|_| fixture.worker()).collect();
    let mut seen = std::collections::HashSet::new();
    let rounds = (0..60).flat_map(|_| workers.iter().map(|worker| worker.claim(1)));
    for claim in futures::future::join_all(rounds).await {
        for delivery in claim.unwrap().deliveries {
            assert!(seen.insert(delivery.id));
        }
    }
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn an_idle_worker_hears_of_work_and_consumes_nothing_by_listening() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let began = std::time::Instant::now();
    worker.wait(Duration::from_millis(200)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(190));
    let id = unique("job");
    let began = std::time::Instant::now();
    let (waited, ()) = tokio::join!(worker.wait(Duration::from_secs(20)), fixture.enqueue(&id, &[]));
    waited.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(fixture.waiting().await, std::slice::from_ref(&id));
    assert_eq!(ids(&worker.claim(1).await.unwrap().deliveries), [&id]);
}

/// Its producer writes over a job that crashed once and waits: the newer has attempts of its own.
#[tokio::test]
async fn a_newer_version_has_all_of_its_attempts() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let id = unique("job");
    fixture.enqueue(&id, &[]).await;
    let first = worker.claim(1).await.unwrap().deliveries.remove(0);
    fixture.lapse(&first).await;
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 1);
    let name = fixture.name.clone();
    fixture.write_job(&name, &id, "queued", &[("created_at", "2026-11-24T00:00:00.000000Z")]).await;
    let second = worker.claim(1).await.unwrap().deliveries.remove(0);
    assert_eq!((second.attempt, second.crashes), (1, 0));
    assert_ne!(second.run, first.run);
}
