//! What a claim gives, and to whom.

use std::collections::BTreeSet;
use std::sync::Arc;

use jobqueue_queue::{Lease, Order, Outcome, Protocol, Settled};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, finished, record};

pub(crate) async fn jobs_come_in_order_and_in_batches(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    assert!(worker.claim(10).await.is_empty());
    fixture.produce("q", &["1", "2", "3", "4", "5"]).await;
    assert!(worker.claim(0).await.is_empty());
    assert_eq!(worker.records(2).await, ["1", "2"]);
    assert_eq!(worker.records(1).await, ["3"]);
    assert_eq!(worker.records(100).await, ["4", "5"]);
    assert!(worker.claim(100).await.is_empty());
}

pub(crate) async fn earlier_queues_are_served_first(fixture: Fixture) {
    let worker = fixture.worker_with(fixture.config("w", &["urgent", "q"])).await;
    fixture.produce("q", &["1", "2"]).await;
    fixture.produce("urgent", &["3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(claimed.iter().map(record).collect::<Vec<_>>(), ["3", "4", "1"]);
    assert_eq!(claimed.iter().map(|job| job.queue.as_str()).collect::<Vec<_>>(), ["urgent", "urgent", "q"]);
    fixture.produce("urgent", &["5"]).await;
    assert_eq!(worker.records(3).await, ["5", "2"]);
    assert_eq!(worker.settle_all(&claimed, &finished()).await, [Settled::Finished; 3]);
}

pub(crate) async fn queues_are_served_in_turn_or_at_random(fixture: Fixture) {
    let ordered = |name, order| {
        let mut config = fixture.config(name, &["a", "b", "c"]);
        config.order = order;
        config
    };
    fixture.produce("a", &["a1", "a2", "a3", "a4"]).await;
    fixture.produce("b", &["b1"]).await;
    fixture.produce("c", &["c1", "c2"]).await;
    let worker = fixture.worker_with(ordered("in-turn", Order::RoundRobin)).await;
    let mut records = Vec::new();
    for _ in 0..5 {
        records.extend(worker.records(1).await);
    }
    assert_eq!(records, ["a1", "b1", "c1", "a2", "c2"]);
    assert_eq!(worker.records(5).await, ["a3", "a4"], "the others are empty");
    assert!(worker.records(5).await.is_empty());

    let many: Vec<String> = (0..40).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for queue in ["a", "b", "c"] {
        fixture.produce(queue, &many).await;
    }
    let worker = fixture.worker_with(ordered("at-random", Order::Random)).await;
    let mut queues = BTreeSet::new();
    for _ in 0..40 {
        queues.insert(worker.claim_one().await.queue);
    }
    assert_eq!(queues.len(), 3, "{queues:?}");
}

pub(crate) async fn a_job_carries_what_the_worker_needs(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "1"]).await;
    let first = worker.claim_one().await;
    assert_eq!((first.queue.as_str(), first.attempt, first.generation), ("q", 1, 0));
    assert_eq!(
        first.lease,
        Lease { queue: "q".into(), job: first.id.clone(), execution: first.lease.execution.clone() }
    );
    assert!(!first.lease.execution.is_empty());
}

pub(crate) async fn workers_never_share_a_job(fixture: Fixture) {
    let records: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    fixture.produce("q", &records.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let worker = Arc::new(fixture.worker(&format!("w{number}")).await);
        for _ in 0..2 {
            let worker = Arc::clone(&worker);
            tasks.spawn(async move {
                let mut taken = Vec::new();
                loop {
                    let claimed = worker.claim(7).await;
                    if claimed.is_empty() {
                        return taken;
                    }
                    taken.extend(claimed.iter().map(|job| (record(job), job.id.clone(), job.lease.execution.clone())));
                    worker.settle_all(&claimed, &finished()).await;
                }
            });
        }
    }
    let taken: Vec<_> = tasks.join_all().await.concat();
    assert_eq!(taken.len(), 600);
    assert_eq!(taken.iter().map(|job| &job.0).collect::<BTreeSet<_>>().len(), 600);
    assert_eq!(taken.iter().map(|job| &job.1).collect::<BTreeSet<_>>().len(), 600);
    assert_eq!(taken.iter().map(|job| &job.2).collect::<BTreeSet<_>>().len(), 600);
}

pub(crate) async fn one_broken_queue_does_not_stop_the_others(fixture: Fixture) {
    let worker = fixture.worker_with(fixture.config("w", &["broken", "q"])).await;
    let key =
        if fixture.protocol == Protocol::Rq { format!("{}:queue:broken", fixture.prefix) } else { "broken".into() };
    fixture.redis.cli(&["DEL", &key]);
    assert_eq!(fixture.redis.cli(&["SET", &key, "text"]), "OK");
    assert!(worker.backend.claim(1).await.is_err());
    fixture.produce("q", &["1"]).await;
    assert_eq!(worker.records(10).await, ["1"]);
}

pub(crate) async fn leaving_and_returning(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    fixture.produce("q", &["1", "2"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, Outcome::Released).await, Settled::Released);
    worker.backend.deregister().await.unwrap();
    let successor = fixture.worker("w2").await;
    assert_eq!(successor.records(10).await, ["1", "2"]);
    worker.backend.register().await.unwrap();
    assert!(worker.claim(10).await.is_empty());
}
