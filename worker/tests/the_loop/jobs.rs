//! What becomes of single jobs: bad ones, refused ones, lost ones, stopped ones, and ordinary ones.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_ingest::Rejection;
use jobqueue_queue::{Command, Outcome};
use tokio::time::Instant;

use crate::harness::{Database, Harness, Job, Queue};
use crate::push;

#[tokio::test(start_paused = true)]
async fn bad_jobs_fail_alone_and_the_rest_of_the_batch_is_written() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 4);
    queue.push("record", "bad");
    queue.push("fault", "panic");
    queue.push("refused", "{}");
    let no = Rejection { message: "column name: value too long".into(), may_pass: false };
    database.refuse.lock().unwrap().insert("refused".into(), no);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("all are settled", |jobs| jobs.finished.len() == 4 && jobs.failed.len() == 3).await;
    worker.drain().await;

    let jobs = queue.jobs.lock().unwrap();
    let error = |id: &str| jobs.failed.iter().find(|(job, _)| job == id).unwrap().1.clone();
    assert!(error("record").starts_with("table t, column c: \"bad\" is no date\n"));
    assert!(error("record").ends_with("\njobqueue.RecordError: table t, column c: \"bad\" is no date"));
    assert!(error("fault").contains("out of bounds"));
    assert!(error("refused").ends_with("jobqueue.RejectedError: column name: value too long"));
    assert_eq!(jobs.claims[0], 10, "one claim for all of them");
    assert_eq!(*database.writes.lock().unwrap(), [5], "one write for all that could be written");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_tried_again() {
    let (queue, database) = (Queue::new(), Database::new());
    queue.push("early", "{}");
    let not_yet = Rejection { message: "foreign key".into(), may_pass: true };
    database.refuse.lock().unwrap().insert("early".into(), not_yet);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("given up after maxAttempts", |jobs| jobs.failed.len() == 1).await;
    assert_eq!(database.writes.lock().unwrap().len(), 5);
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_job_does_not_wait_for_company() {
    let (queue, database) = (Queue::new(), Database::new());
    let worker = Harness::start(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Instant::now();
    queue.push("alone", "{}");
    queue.until("the job is done", |jobs| jobs.finished.len() == 1).await;
    assert!(begin.elapsed() < Duration::from_millis(50), "{:?}", begin.elapsed());
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn batches_overlap() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    push(&queue, 60);
    let begin = Instant::now();
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("all are done", |jobs| jobs.finished.len() == 60).await;
    let took = begin.elapsed().as_secs_f64();
    assert!((3.0..3.5).contains(&took), "six writes of a second, two at once: {took} s");
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_reply_was_lost_is_not_repeated() {
    let (queue, database) = (Queue::new(), Database::new());
    database.lose_replies.store(2, Ordering::SeqCst);
    push(&queue, 40);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("everything is done", |jobs| jobs.finished.len() == 40).await;
    assert!((0..40).all(|number| database.count(&format!("j{number}")) == 1));
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn the_queue_hears_of_a_job_only_after_its_commit() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_millis(10);
    let seen = database.clone();
    *queue.at_settle.lock().unwrap() = Some(Box::new(move |completion| {
        if matches!(completion.outcome, Outcome::Finished { .. }) {
            assert_eq!(seen.count(&completion.delivery.id), 1, "acknowledged before the commit");
        }
    }));
    push(&queue, 50);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("everything is done", |jobs| jobs.finished.len() == 50).await;
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_went_elsewhere_is_neither_written_nor_settled() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 5);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| jobs.running.len() == 5).await;
    queue.steal_all();
    tokio::time::sleep(Duration::from_secs(11)).await;
    database.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(database.count("j0"), 0);
    let finished = |wanted: usize| queue.jobs.lock().unwrap().finished.len() == wanted;
    assert!(finished(0));
    queue.push("next", "{}");
    queue.until("the worker goes on", |jobs| jobs.finished == ["next"]).await;
    assert_eq!(queue.jobs.lock().unwrap().not_owned, 0);
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn stop_job_stops_what_is_not_yet_written() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 3);
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("claimed", |jobs| jobs.running.len() == 3).await;
    queue.command.send(Command::StopJob("j1".into())).unwrap();
    queue.command.send(Command::StopJob("unknown".into())).unwrap();
    queue.command.send(Command::KillHorse).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    database.away.store(false, Ordering::SeqCst);
    queue.until("settled", |jobs| jobs.finished.len() == 2 && jobs.stopped == ["j1"]).await;
    assert_eq!(database.count("j1"), 0);
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_write_fails_only_the_job_that_is_stuck() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..8 {
        let timeout = Some(Duration::from_secs(3));
        queue.push_job(Job { id: format!("j{number}"), body: "{}".into(), attempt: 4, crashes: 0, timeout });
    }
    database.stuck.lock().unwrap().push("j5".into());
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("settled", |jobs| jobs.finished.len() == 7 && jobs.failed.len() == 1).await;
    let text = queue.jobs.lock().unwrap().failed[0].1.clone();
    let last = "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (3 seconds)";
    assert_eq!(text.lines().last().unwrap(), last);
    worker.drain().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_whose_worker_died_are_kept_apart() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..40 {
        let crashes = if number < 20 { 1 } else { 2 };
        let id = format!("j{number}");
        queue.push_job(Job { id, body: "{}".into(), attempt: crashes, crashes, timeout: None });
    }
    let worker = Harness::start(queue.clone(), database.clone()).await;
    queue.until("done", |jobs| jobs.finished.len() == 40).await;
    let writes = database.writes.lock().unwrap().clone();
    assert_eq!(writes.iter().filter(|jobs| **jobs == 1).count(), 20, "after two crashes each goes alone: {writes:?}");
    assert!((0..40).all(|number| database.count(&format!("j{number}")) == 1));
    worker.drain().await;
}
