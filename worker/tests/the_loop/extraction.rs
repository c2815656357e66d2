//! Records that take too long to compute.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_queue::Command;
use tokio::time::Instant;

use crate::harness::{DRAIN, Database, Harness, Job, LET_GO, Queue};
use crate::push;

/// A job whose extraction takes for ever, or until it is interrupted (`slow`).
fn endless(queue: &Queue, id: &str, body: &str, timeout: Option<Duration>) {
    queue.push_job(Job { id: id.into(), body: body.into(), attempt: 0, crashes: 0, timeout });
}

/// Lets the paused clock run, which it does not by itself while a blocking thread computes.
async fn pass(time: Duration) {
    let step = Duration::from_millis(100);
    let begin = Instant::now();
    while begin.elapsed() < time {
        tokio::time::advance(step).await;
        // The threads have a clock of their own.
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[tokio::test]
async fn a_record_that_takes_too_long_fails_with_its_limit_and_its_neighbours_are_written() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 3);
    endless(&queue, "slow", "slow", Some(Duration::from_millis(300)));
    endless(&queue, "behind", "{}", Some(Duration::from_secs(600)));
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("the neighbours are done", |jobs| jobs.finished.len() == 4).await;
    queue.until("it is given up after maxAttempts", |jobs| jobs.failed.len() == 1).await;
    let (id, error) = queue.jobs.lock().unwrap().failed[0].clone();
    assert_eq!(id, "slow");
    assert!(error.lines().last().unwrap().starts_with("rq.timeouts.JobTimeoutException: Task exceeded"), "{error}");
    assert_eq!(queue.jobs.lock().unwrap().executions, 4 + 5, "the neighbours ran once");
    worker.drain().await;
}

#[tokio::test]
async fn a_record_that_takes_too_long_can_be_stopped() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    push(&queue, 3);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("it is in hand", |jobs| !jobs.running.is_empty()).await;
    queue.command.send(Command::StopJob("slow".into())).unwrap();
    queue.until("it is stopped", |jobs| jobs.stopped == ["slow"]).await;
    queue.until("the neighbours are done", |jobs| jobs.finished.len() == 3).await;
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_limits_a_record_the_worker_does() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    let limit = Duration::from_secs(60);
    let worker =
        Harness::start_with(queue.clone(), database.clone(), |settings| settings.extract_limit = Some(limit)).await;
    pass(limit * 5 + Duration::from_secs(30)).await;
    assert_eq!(queue.jobs.lock().unwrap().failed.len(), 1, "{:?}", queue.jobs.lock().unwrap());
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_takes_for_ever_does_not_hold_the_stop_and_the_attempt_counts() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    push(&queue, 3);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    pass(Duration::from_secs(2)).await;
    worker.shutdown.request();
    pass(DRAIN + Duration::from_secs(1)).await;
    tokio::time::timeout(Duration::from_secs(1), worker.ended_and_deregistered())
        .await
        .expect("the worker ended with its drain");
    let jobs = queue.jobs.lock().unwrap();
    let left: Vec<&str> = jobs.running.values().map(|(job, _)| job.id.as_str()).collect();
    assert_eq!(left, ["slow"], "only its lease lapses");
    assert_eq!(jobs.waiting.len(), 3, "those behind it are given back");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_only_just_begun_is_given_back() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    pass(Duration::from_secs(2)).await;
    worker.shutdown.request();
    worker.shutdown.request();
    pass(Duration::from_secs(1)).await;
    worker.ended_and_deregistered().await;
    assert_eq!(queue.jobs.lock().unwrap().released, 1);
}

#[tokio::test]
async fn records_that_cannot_be_interrupted_end_the_worker_before_they_hold_all_processors() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..4 {
        endless(&queue, &format!("deaf{number}"), "deaf", Some(Duration::from_millis(100)));
    }
    let worker = Harness::start(queue.clone(), database.clone()).await;
    let end = worker.result().await;
    LET_GO.store(true, Ordering::SeqCst);
    assert!(end.unwrap_err().to_string().contains("cannot be interrupted"));
}

/// Every other record takes longer to compute than the one behind it.
async fn order_of_writes(concurrency: usize) -> Vec<String> {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..20 {
        queue.push(&number.to_string(), if number % 2 == 0 { "late" } else { "{}" });
    }
    let worker = Harness::start_with(queue.clone(), database.clone(), |settings| {
        (settings.concurrency, settings.batch_size) = (concurrency, 1);
    });
    let worker = worker.await;
    queue.until("all are done", |jobs| jobs.finished.len() == 20).await;
    worker.drain().await;
    database.order.lock().unwrap().clone()
}

#[tokio::test]
async fn one_at_a_time_means_one_after_the_other() {
    let in_order: Vec<String> = (0..20).map(|number: u32| number.to_string()).collect();
    assert_eq!(order_of_writes(1).await, in_order);
    assert_ne!(order_of_writes(2).await, in_order, "with more, none waits for another");
}
