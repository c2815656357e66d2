//! A Redis that is away, and a queue that is suspended.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Database, Harness, Queue};
use crate::push;

#[tokio::test(start_paused = true)]
async fn redis_away_is_waited_for_and_outcomes_are_told_late() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    push(&queue, 20);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| !jobs.running.is_empty()).await;
    queue.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(worker.instruments.health.not_ready(true, false).is_some());
    queue.away.store(false, Ordering::SeqCst);
    queue.until("everything is done", |jobs| jobs.finished.len() == 20).await;
    assert_eq!(queue.jobs.lock().unwrap().not_owned, 0, "the leases were still ours");
    assert!(worker.instruments.health.not_ready(true, false).is_none());
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_redis_still_ends_in_time() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 20);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("done", |jobs| jobs.finished.len() == 20).await;
    queue.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begin = Instant::now();
    worker.shutdown.request();
    worker.ended().await;
    assert!(begin.elapsed() <= Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_queue_is_left_alone_until_it_resumes() {
    let (queue, database) = (Queue::new(), Database::new());
    queue.suspended.store(true, Ordering::SeqCst);
    push(&queue, 5);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(worker.instruments.health.is_suspended());
    assert_eq!(queue.jobs.lock().unwrap().waiting.len(), 5);
    queue.suspended.store(false, Ordering::SeqCst);
    let begin = Instant::now();
    queue.until("done", |jobs| jobs.finished.len() == 5).await;
    assert!(begin.elapsed() <= Duration::from_millis(1100));
    worker.drain().await;
}
