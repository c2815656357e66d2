//! How an idle worker hears of a job.

use std::time::{Duration, Instant};

use jobqueue_queue::Protocol;

use crate::fixture::Fixture;

pub(crate) async fn waiting_ends_when_a_job_arrives(fixture: Fixture) {
    let worker = fixture.worker_with(fixture.config("w", &["urgent", "q"])).await;
    let begun = Instant::now();
    let waiting = async {
        while worker.backend.claim(1).await.unwrap().deliveries.is_empty() {
            worker.backend.wait(Duration::from_secs(30)).await.unwrap();
        }
    };
    tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        fixture.produce("q", &["1"]).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

pub(crate) async fn waiting_takes_nothing(fixture: Fixture) {
    let worker = fixture.worker("w").await;
    let begun = Instant::now();
    worker.backend.wait(Duration::from_millis(100)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    fixture.produce("q", &["1", "2"]).await;
    for _ in 0..3 {
        worker.backend.wait(Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(worker.records(10).await, ["1", "2"]);
}

/// Prints what it measures: `-- --nocapture many_queues`.
pub(crate) async fn many_queues_take_few_connections(fixture: Fixture) {
    let names: Vec<String> = (0..100).map(|number| format!("q{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let worker = fixture.worker_with(fixture.config("w", &names)).await;
    let clients = || fixture.redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| !line.contains("cmd=client")).count();
    for (queue, quarter) in [("q0", 0.05), ("q99", 0.25)] {
        let (mut slowest, mut most) = (Duration::ZERO, 0);
        for round in ["1", "2"] {
            let (wait, produce) = (worker.backend.wait(Duration::from_secs(30)), async {
                tokio::time::sleep(Duration::from_millis(150)).await;
                most = most.max(clients());
                let begun = Instant::now();
                fixture.produce(queue, &[round]).await;
                begun
            });
            let (waited, begun) = tokio::join!(
                async {
                    wait.await.unwrap();
                    Instant::now()
                },
                produce
            );
            slowest = slowest.max(waited.saturating_duration_since(begun));
            while worker.records(10).await.is_empty() {
                assert!(begun.elapsed() < Duration::from_secs(10), "{queue}: it does not come");
                worker.backend.wait(Duration::from_secs(1)).await.unwrap();
            }
        }
        println!("{queue} of 100: heard after {slowest:?} at the longest, {most} connections");
        assert!(most <= 8, "{most} connections");
        // In a cluster streams are heard of by looking again, each second.
        if fixture.protocol != Protocol::Stream || fixture.prefix == "rq" {
            assert!(slowest.as_secs_f64() < quarter + 0.25, "{queue}: heard after {slowest:?}");
        }
    }
}
