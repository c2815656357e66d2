//! How a worker ends: drained, at once, after so many jobs, after so long without one.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_queue::Command;
use tokio::time::Instant;

use crate::IN_FLIGHT;
use crate::harness::{DRAIN, Database, HOLD, Harness, Queue};
use crate::push;

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_in_flight_and_claims_nothing_more() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(5);
    push(&queue, 100);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| jobs.running.len() == IN_FLIGHT).await;
    let begin = Instant::now();
    queue.command.send(Command::Shutdown).unwrap();
    worker.ended_and_deregistered().await;
    assert!(begin.elapsed() <= Duration::from_secs(11), "{:?}", begin.elapsed());
    let jobs = queue.jobs.lock().unwrap();
    assert_eq!((jobs.finished.len(), jobs.waiting.len(), jobs.running.len()), (IN_FLIGHT, 100 - IN_FLIGHT, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_back_what_cannot_be_finished_in_time() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(3600);
    push(&queue, 100);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| jobs.running.len() == IN_FLIGHT).await;
    let begin = Instant::now();
    worker.drain().await;
    assert_eq!(begin.elapsed().as_secs(), DRAIN.as_secs());
    let jobs = queue.jobs.lock().unwrap();
    assert_eq!((jobs.finished.len(), jobs.waiting.len(), jobs.running.len()), (0, 100, 0));
    assert!(jobs.waiting.iter().all(|job| job.attempt == 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_gives_back_at_once() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(3600);
    push(&queue, 5);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| jobs.running.len() == 5).await;
    let begin = Instant::now();
    worker.shutdown.request();
    worker.drain().await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(queue.jobs.lock().unwrap().waiting.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_worker_for_so_many_jobs_ends_after_exactly_these() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    let worker = Harness::start_with(queue.clone(), database.clone(), |settings| settings.max_jobs = Some(25)).await;
    worker.ended_and_deregistered().await;
    let jobs = queue.jobs.lock().unwrap();
    assert_eq!((jobs.finished.len(), jobs.waiting.len(), jobs.released), (25, 15, 0));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_came_to_nothing_do_not_count() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 5);
    database.away.store(true, Ordering::SeqCst);
    let worker = Harness::start_with(queue.clone(), database.clone(), |settings| settings.max_jobs = Some(5)).await;
    tokio::time::sleep(HOLD * 2).await;
    database.away.store(false, Ordering::SeqCst);
    worker.ended_and_deregistered().await;
    assert_eq!(queue.jobs.lock().unwrap().finished.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_idle_for_so_long_ends() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(30);
    queue.push("first", "{}");
    let begin = Instant::now();
    let idle = Duration::from_secs(12);
    let worker = Harness::start_with(queue.clone(), database.clone(), |settings| settings.max_idle = Some(idle)).await;
    tokio::time::sleep(Duration::from_secs(38)).await;
    queue.push("second", "{}");
    worker.ended_and_deregistered().await;
    assert_eq!(queue.jobs.lock().unwrap().finished.len(), 2);
    let took = begin.elapsed().as_secs();
    assert!(
        (38 + 30 + 12..38 + 30 + 15).contains(&took),
        "as long as a job is written the worker is not idle: {took} s"
    );
}
