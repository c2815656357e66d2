//! A database that is away, full, or whose connections end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::IN_FLIGHT;
use crate::harness::{Database, HOLD, Harness, Queue};
use crate::push;

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_fails_no_job_and_is_found_again() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 100);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    tokio::time::sleep(HOLD / 2).await;
    {
        let jobs = queue.jobs.lock().unwrap();
        assert!((1..=IN_FLIGHT).contains(&jobs.running.len()), "kept: {}", jobs.running.len());
        assert_eq!(jobs.released, 0);
    }
    assert!(!worker.instruments.circuit_breaker.is_closed());

    tokio::time::sleep(HOLD).await;
    {
        let jobs = queue.jobs.lock().unwrap();
        assert_eq!(jobs.running.len(), 0, "what is held too long is given back");
        assert_eq!(jobs.waiting.len(), 100);
        assert!(jobs.waiting.iter().all(|job| job.attempt == 0), "no attempt is counted");
    }
    let tries = database.attempts_while_away.load(Ordering::SeqCst);
    assert!(tries <= 60, "{tries} writes into a database that is away");

    database.away.store(false, Ordering::SeqCst);
    queue.until("everything is done", |jobs| jobs.finished.len() == 100).await;
    assert!(worker.instruments.circuit_breaker.is_closed());
    assert!(queue.jobs.lock().unwrap().failed.is_empty());
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_that_answers_pings_causes_no_churn() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    database.pings_anyway.store(true, Ordering::SeqCst);
    database.probes_anyway.store(true, Ordering::SeqCst);
    push(&queue, 100);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = database.attempts_while_away.load(Ordering::SeqCst);
    assert!((5..200).contains(&tries), "{tries} writes in ten minutes");
    database.away.store(false, Ordering::SeqCst);
    let begin = Instant::now();
    queue.until("everything is done", |jobs| jobs.finished.len() == 100).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "found again after {:?}", begin.elapsed());
    assert!(queue.jobs.lock().unwrap().failed.is_empty());
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_breaks_every_connection_fails_alone() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    database.breakers.lock().unwrap().push("j0".into());
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("the others are done", |jobs| jobs.finished.len() == 39).await;
    // It says that the database is away: without others that go through, it cannot be told from one that is.
    let mut pushed = 0;
    while queue.jobs.lock().unwrap().failed.is_empty() {
        assert!(pushed < 2000, "never given up");
        queue.push(&format!("k{pushed}"), "{}");
        pushed += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let error = queue.jobs.lock().unwrap().failed[0].1.clone();
    assert!(error.starts_with("writing this job broke the connection each time"), "{error}");
    queue.until("the others went on", |jobs| jobs.finished.len() == 39 + pushed).await;
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_with_room_for_small_jobs_only_fails_no_large_one() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    database.too_large.lock().unwrap().push("j0".into());
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("the others are done", |jobs| jobs.finished.len() == 39).await;
    for pushed in 0..400 {
        queue.push(&format!("k{pushed}"), "{}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(queue.jobs.lock().unwrap().failed.is_empty(), "held responsible after {pushed}");
    }
    queue.until("the others went on", |jobs| jobs.finished.len() == 439).await;
    database.too_large.lock().unwrap().clear();
    queue.until("there is room", |jobs| jobs.finished.len() == 440).await;
    assert_eq!(database.count("j0"), 1);
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_job_that_ends_every_connection_is_given_up_after_its_attempts() {
    // The connection alone, or the whole server for longer than the first waits.
    for recovery in [Duration::ZERO, Duration::from_secs(2)] {
        let (queue, database) = (Queue::new(), Database::new());
        *database.recovery.lock().unwrap() = recovery;
        database.cutters.lock().unwrap().push("alone".into());
        queue.push("alone", "{}");
        let worker = Harness::start(queue.clone(), database.clone()).await;
        queue.until("given up after maxAttempts", |jobs| jobs.failed.len() == 1).await;
        {
            let jobs = queue.jobs.lock().unwrap();
            let error = &jobs.failed[0].1;
            assert!(error.starts_with("writing this job broke the connection each time"), "{error}");
            assert!(error.contains("attempt 5"), "{error}");
            assert_eq!(jobs.released, 0, "an attempt was not counted");
        }
        let begin = Instant::now();
        queue.push("next", "{}");
        queue.until("the next job is done", |jobs| jobs.finished == ["next"]).await;
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        worker.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_connections_fails_no_lone_job() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    database.cuts.store(true, Ordering::SeqCst);
    database.pings_anyway.store(true, Ordering::SeqCst);
    queue.push("alone", "{}");
    let worker = Harness::start(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert!(database.attempts_while_away.load(Ordering::SeqCst) > 30);
    {
        let jobs = queue.jobs.lock().unwrap();
        assert!(jobs.failed.is_empty(), "{:?}", jobs.failed);
        assert!(jobs.waiting.iter().all(|job| job.attempt == 0), "no attempt is counted");
    }
    database.away.store(false, Ordering::SeqCst);
    queue.until("it is done", |jobs| jobs.finished == ["alone"]).await;
    worker.drain().await;
}
