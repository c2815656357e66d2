//! The worker's loop against a queue and a database in memory, on a paused clock: what it does with bad jobs, with a
//! database or a Redis that is away, with lost leases, and when it is told to stop.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fakes;

use std::sync::atomic::Ordering;
use std::time::Duration;

use fakes::{DRAIN, Database, HOLD, Job, LET_GO, Queue, Shop};
use jobqueue_ingest::Rejection;
use jobqueue_queue::{Command, Outcome};
use tokio::time::Instant;

/// Jobs that a shop takes at most: two batches of ten are being written, and two are on their way.
const IN_HAND: usize = 40;

fn push(queue: &Queue, jobs: usize) {
    for number in 0..jobs {
        queue.push(&format!("j{number}"), "{}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_jobs_fail_alone_and_the_rest_of_the_batch_is_written() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 4);
    queue.push("record", "bad");
    queue.push("fault", "panic");
    queue.push("refused", "{}");
    let no = Rejection { message: "column name: value too long".into(), may_pass: false };
    database.refuse.lock().unwrap().insert("refused".into(), no);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("all are settled", |stock| stock.finished.len() == 4 && stock.failed.len() == 3).await;
    shop.close().await;

    let stock = queue.stock.lock().unwrap();
    let error = |id: &str| stock.failed.iter().find(|(job, _)| job == id).unwrap().1.clone();
    assert!(error("record").starts_with("table t, column c: \"bad\" is no date\n"));
    assert!(error("record").ends_with("\njobqueue.RecordError: table t, column c: \"bad\" is no date"));
    assert!(error("fault").contains("out of bounds"));
    assert!(error("refused").ends_with("jobqueue.RejectedError: column name: value too long"));
    assert_eq!(stock.claims[0], 10, "one claim for all of them");
    assert_eq!(*database.writes.lock().unwrap(), [5], "one write for all that could be written");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_tried_again() {
    let (queue, database) = (Queue::new(), Database::new());
    queue.push("early", "{}");
    let not_yet = Rejection { message: "foreign key".into(), may_pass: true };
    database.refuse.lock().unwrap().insert("early".into(), not_yet);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("given up after maxAttempts", |stock| stock.failed.len() == 1).await;
    assert_eq!(database.writes.lock().unwrap().len(), 5);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_job_does_not_wait_for_company() {
    let (queue, database) = (Queue::new(), Database::new());
    let shop = Shop::open(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let begin = Instant::now();
    queue.push("alone", "{}");
    queue.until("the job is done", |stock| stock.finished.len() == 1).await;
    assert!(begin.elapsed() < Duration::from_millis(50), "{:?}", begin.elapsed());
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn batches_overlap() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    push(&queue, 60);
    let begin = Instant::now();
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("all are done", |stock| stock.finished.len() == 60).await;
    let took = begin.elapsed().as_secs_f64();
    assert!((3.0..3.5).contains(&took), "six writes of a second, two at once: {took} s");
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_away_fails_no_job_and_is_found_again() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 100);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    tokio::time::sleep(HOLD / 2).await;
    {
        let stock = queue.stock.lock().unwrap();
        assert!((1..=IN_HAND).contains(&stock.running.len()), "kept: {}", stock.running.len());
        assert_eq!(stock.released, 0);
    }
    assert!(!shop.instruments.gate.is_open());

    tokio::time::sleep(HOLD).await;
    {
        let stock = queue.stock.lock().unwrap();
        assert_eq!(stock.running.len(), 0, "what is held too long is given back");
        assert_eq!(stock.waiting.len(), 100);
        assert!(stock.waiting.iter().all(|job| job.attempt == 0), "no attempt is counted");
    }
    let tries = database.attempts_while_away.load(Ordering::SeqCst);
    assert!(tries <= 60, "{tries} writes into a database that is away");

    database.away.store(false, Ordering::SeqCst);
    queue.until("everything is done", |stock| stock.finished.len() == 100).await;
    assert!(shop.instruments.gate.is_open());
    assert!(queue.stock.lock().unwrap().failed.is_empty());
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_that_answers_pings_causes_no_churn() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    database.pings_anyway.store(true, Ordering::SeqCst);
    database.probes_anyway.store(true, Ordering::SeqCst);
    push(&queue, 100);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let tries = database.attempts_while_away.load(Ordering::SeqCst);
    assert!((5..200).contains(&tries), "{tries} writes in ten minutes");
    database.away.store(false, Ordering::SeqCst);
    let begin = Instant::now();
    queue.until("everything is done", |stock| stock.finished.len() == 100).await;
    assert!(begin.elapsed() < Duration::from_secs(20), "found again after {:?}", begin.elapsed());
    assert!(queue.stock.lock().unwrap().failed.is_empty());
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_reply_was_lost_is_not_repeated() {
    let (queue, database) = (Queue::new(), Database::new());
    database.lose_replies.store(2, Ordering::SeqCst);
    push(&queue, 40);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("everything is done", |stock| stock.finished.len() == 40).await;
    assert!((0..40).all(|number| database.count(&format!("j{number}")) == 1));
    shop.close().await;
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
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("everything is done", |stock| stock.finished.len() == 50).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_went_elsewhere_is_neither_written_nor_settled() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 5);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| stock.running.len() == 5).await;
    queue.steal_all();
    tokio::time::sleep(Duration::from_secs(11)).await;
    database.away.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(database.count("j0"), 0);
    let shelf_says = |wanted: usize| queue.stock.lock().unwrap().finished.len() == wanted;
    assert!(shelf_says(0));
    queue.push("next", "{}");
    queue.until("the worker goes on", |stock| stock.finished == ["next"]).await;
    assert_eq!(queue.stock.lock().unwrap().not_owned, 0);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn stop_job_stops_what_is_not_yet_written() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    push(&queue, 3);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| stock.running.len() == 3).await;
    queue.command.send(Command::StopJob("j1".into())).unwrap();
    queue.command.send(Command::StopJob("unknown".into())).unwrap();
    queue.command.send(Command::KillHorse).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    database.away.store(false, Ordering::SeqCst);
    queue.until("settled", |stock| stock.finished.len() == 2 && stock.stopped == ["j1"]).await;
    assert_eq!(database.count("j1"), 0);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_finishes_what_is_in_hand_and_claims_nothing_more() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(5);
    push(&queue, 100);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| stock.running.len() == IN_HAND).await;
    let begin = Instant::now();
    queue.command.send(Command::Shutdown).unwrap();
    shop.closed().await;
    assert!(begin.elapsed() <= Duration::from_secs(11), "{:?}", begin.elapsed());
    let stock = queue.stock.lock().unwrap();
    assert_eq!((stock.finished.len(), stock.waiting.len(), stock.running.len()), (IN_HAND, 100 - IN_HAND, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_gives_back_what_cannot_be_finished_in_time() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(3600);
    push(&queue, 100);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| stock.running.len() == IN_HAND).await;
    let begin = Instant::now();
    shop.close().await;
    assert_eq!(begin.elapsed().as_secs(), DRAIN.as_secs());
    let stock = queue.stock.lock().unwrap();
    assert_eq!((stock.finished.len(), stock.waiting.len(), stock.running.len()), (0, 100, 0));
    assert!(stock.waiting.iter().all(|job| job.attempt == 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_gives_back_at_once() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(3600);
    push(&queue, 5);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| stock.running.len() == 5).await;
    let begin = Instant::now();
    shop.stop.request();
    shop.close().await;
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(queue.stock.lock().unwrap().waiting.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn redis_away_is_waited_for_and_outcomes_are_told_late() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    push(&queue, 20);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("claimed", |stock| !stock.running.is_empty()).await;
    queue.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(shop.instruments.health.not_ready(true, false).is_some());
    queue.away.store(false, Ordering::SeqCst);
    queue.until("everything is done", |stock| stock.finished.len() == 20).await;
    assert_eq!(queue.stock.lock().unwrap().not_owned, 0, "the leases were still ours");
    assert!(shop.instruments.health.not_ready(true, false).is_none());
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_redis_still_ends_in_time() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 20);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("done", |stock| stock.finished.len() == 20).await;
    queue.away.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let begin = Instant::now();
    shop.stop.request();
    shop.ended().await;
    assert!(begin.elapsed() <= Duration::from_secs(1), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_suspended_queue_is_left_alone_until_it_resumes() {
    let (queue, database) = (Queue::new(), Database::new());
    queue.suspended.store(true, Ordering::SeqCst);
    push(&queue, 5);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(shop.instruments.health.is_suspended());
    assert_eq!(queue.stock.lock().unwrap().waiting.len(), 5);
    queue.suspended.store(false, Ordering::SeqCst);
    let begin = Instant::now();
    queue.until("done", |stock| stock.finished.len() == 5).await;
    assert!(begin.elapsed() <= Duration::from_millis(1100));
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_stuck_write_fails_only_the_job_that_is_stuck() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..8 {
        let timeout = Some(Duration::from_secs(3));
        queue.push_job(Job { id: format!("j{number}"), body: "{}".into(), attempt: 4, crashes: 0, timeout });
    }
    database.stuck.lock().unwrap().push("j5".into());
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("settled", |stock| stock.finished.len() == 7 && stock.failed.len() == 1).await;
    let text = queue.stock.lock().unwrap().failed[0].1.clone();
    let last = "rq.timeouts.JobTimeoutException: Task exceeded maximum timeout value (3 seconds)";
    assert_eq!(text.lines().last().unwrap(), last);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn jobs_whose_worker_died_are_kept_apart() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..40 {
        let crashes = if number < 20 { 1 } else { 2 };
        let id = format!("j{number}");
        queue.push_job(Job { id, body: "{}".into(), attempt: crashes, crashes, timeout: None });
    }
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("done", |stock| stock.finished.len() == 40).await;
    let writes = database.writes.lock().unwrap().clone();
    assert_eq!(writes.iter().filter(|jobs| **jobs == 1).count(), 20, "after two crashes each goes alone: {writes:?}");
    assert!((0..40).all(|number| database.count(&format!("j{number}")) == 1));
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_breaks_every_connection_fails_alone() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    database.breakers.lock().unwrap().push("j0".into());
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("the others are done", |stock| stock.finished.len() == 39).await;
    // It says that the database is away: without others that go through, it cannot be told from one that is.
    let mut pushed = 0;
    while queue.stock.lock().unwrap().failed.is_empty() {
        assert!(pushed < 2000, "never given up");
        queue.push(&format!("k{pushed}"), "{}");
        pushed += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let error = queue.stock.lock().unwrap().failed[0].1.clone();
    assert!(error.starts_with("writing this job broke the connection each time"), "{error}");
    queue.until("the others went on", |stock| stock.finished.len() == 39 + pushed).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_with_room_for_small_jobs_only_fails_no_large_one() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    database.too_large.lock().unwrap().push("j0".into());
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("the others are done", |stock| stock.finished.len() == 39).await;
    for pushed in 0..400 {
        queue.push(&format!("k{pushed}"), "{}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(queue.stock.lock().unwrap().failed.is_empty(), "held responsible after {pushed}");
    }
    queue.until("the others went on", |stock| stock.finished.len() == 439).await;
    database.too_large.lock().unwrap().clear();
    queue.until("there is room", |stock| stock.finished.len() == 440).await;
    assert_eq!(database.count("j0"), 1);
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_lone_job_that_ends_every_connection_is_given_up_after_its_attempts() {
    // The connection alone, or the whole server for longer than the first waits.
    for recovery in [Duration::ZERO, Duration::from_secs(2)] {
        let (queue, database) = (Queue::new(), Database::new());
        *database.recovery.lock().unwrap() = recovery;
        database.cutters.lock().unwrap().push("alone".into());
        queue.push("alone", "{}");
        let shop = Shop::open(queue.clone(), database.clone()).await;
        queue.until("given up after maxAttempts", |stock| stock.failed.len() == 1).await;
        {
            let stock = queue.stock.lock().unwrap();
            let error = &stock.failed[0].1;
            assert!(error.starts_with("writing this job broke the connection each time"), "{error}");
            assert!(error.contains("attempt 5"), "{error}");
            assert_eq!(stock.released, 0, "an attempt was not counted");
        }
        let begin = Instant::now();
        queue.push("next", "{}");
        queue.until("the next job is done", |stock| stock.finished == ["next"]).await;
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        shop.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_connections_fails_no_lone_job() {
    let (queue, database) = (Queue::new(), Database::new());
    database.away.store(true, Ordering::SeqCst);
    database.cuts.store(true, Ordering::SeqCst);
    database.pings_anyway.store(true, Ordering::SeqCst);
    queue.push("alone", "{}");
    let shop = Shop::open(queue.clone(), database.clone()).await;
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert!(database.attempts_while_away.load(Ordering::SeqCst) > 30);
    {
        let stock = queue.stock.lock().unwrap();
        assert!(stock.failed.is_empty(), "{:?}", stock.failed);
        assert!(stock.waiting.iter().all(|job| job.attempt == 0), "no attempt is counted");
    }
    database.away.store(false, Ordering::SeqCst);
    queue.until("it is done", |stock| stock.finished == ["alone"]).await;
    shop.close().await;
}

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
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("the neighbours are done", |stock| stock.finished.len() == 4).await;
    queue.until("it is given up after maxAttempts", |stock| stock.failed.len() == 1).await;
    let (id, error) = queue.stock.lock().unwrap().failed[0].clone();
    assert_eq!(id, "slow");
    assert!(error.lines().last().unwrap().starts_with("rq.timeouts.JobTimeoutException: Task exceeded"), "{error}");
    assert_eq!(queue.stock.lock().unwrap().executions, 4 + 5, "the neighbours ran once");
    shop.close().await;
}

#[tokio::test]
async fn a_record_that_takes_too_long_can_be_stopped() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    push(&queue, 3);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    queue.until("it is in hand", |stock| !stock.running.is_empty()).await;
    queue.command.send(Command::StopJob("slow".into())).unwrap();
    queue.until("it is stopped", |stock| stock.stopped == ["slow"]).await;
    queue.until("the neighbours are done", |stock| stock.finished.len() == 3).await;
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_limits_a_record_the_worker_does() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    let limit = Duration::from_secs(60);
    let shop = Shop::open_with(queue.clone(), database.clone(), |settings| settings.extract_limit = Some(limit)).await;
    pass(limit * 5 + Duration::from_secs(30)).await;
    assert_eq!(queue.stock.lock().unwrap().failed.len(), 1, "{:?}", queue.stock.lock().unwrap());
    shop.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_takes_for_ever_does_not_hold_the_stop_and_the_attempt_counts() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    push(&queue, 3);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    pass(Duration::from_secs(2)).await;
    shop.stop.request();
    pass(DRAIN + Duration::from_secs(1)).await;
    tokio::time::timeout(Duration::from_secs(1), shop.closed()).await.expect("the worker ended with its drain");
    let stock = queue.stock.lock().unwrap();
    let left: Vec<&str> = stock.running.values().map(|(job, _)| job.id.as_str()).collect();
    assert_eq!(left, ["slow"], "only its lease lapses");
    assert_eq!(stock.waiting.len(), 3, "those behind it are given back");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_only_just_begun_is_given_back() {
    let (queue, database) = (Queue::new(), Database::new());
    endless(&queue, "slow", "slow", None);
    let shop = Shop::open(queue.clone(), database.clone()).await;
    pass(Duration::from_secs(2)).await;
    shop.stop.request();
    shop.stop.request();
    pass(Duration::from_secs(1)).await;
    shop.closed().await;
    assert_eq!(queue.stock.lock().unwrap().released, 1);
}

#[tokio::test]
async fn records_that_cannot_be_interrupted_end_the_worker_before_they_hold_all_processors() {
    let (queue, database) = (Queue::new(), Database::new());
    for number in 0..4 {
        endless(&queue, &format!("deaf{number}"), "deaf", Some(Duration::from_millis(100)));
    }
    let shop = Shop::open(queue.clone(), database.clone()).await;
    let end = shop.end().await;
    LET_GO.store(true, Ordering::SeqCst);
    assert!(end.unwrap_err().to_string().contains("cannot be interrupted"));
}

#[tokio::test(start_paused = true)]
async fn a_worker_for_so_many_jobs_ends_after_exactly_these() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 40);
    *database.takes.lock().unwrap() = Duration::from_secs(1);
    let shop = Shop::open_with(queue.clone(), database.clone(), |settings| settings.max_jobs = Some(25)).await;
    shop.closed().await;
    let stock = queue.stock.lock().unwrap();
    assert_eq!((stock.finished.len(), stock.waiting.len(), stock.released), (25, 15, 0));
}

#[tokio::test(start_paused = true)]
async fn jobs_that_came_to_nothing_do_not_count() {
    let (queue, database) = (Queue::new(), Database::new());
    push(&queue, 5);
    database.away.store(true, Ordering::SeqCst);
    let shop = Shop::open_with(queue.clone(), database.clone(), |settings| settings.max_jobs = Some(5)).await;
    tokio::time::sleep(HOLD * 2).await;
    database.away.store(false, Ordering::SeqCst);
    shop.closed().await;
    assert_eq!(queue.stock.lock().unwrap().finished.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_idle_for_so_long_ends() {
    let (queue, database) = (Queue::new(), Database::new());
    *database.takes.lock().unwrap() = Duration::from_secs(30);
    queue.push("first", "{}");
    let begin = Instant::now();
    let idle = Duration::from_secs(12);
    let shop = Shop::open_with(queue.clone(), database.clone(), |settings| settings.max_idle = Some(idle)).await;
    tokio::time::sleep(Duration::from_secs(38)).await;
    queue.push("second", "{}");
    shop.closed().await;
    assert_eq!(queue.stock.lock().unwrap().finished.len(), 2);
    let took = begin.elapsed().as_secs();
    assert!(
        (38 + 30 + 12..38 + 30 + 15).contains(&took),
        "as long as a job is written the worker is not idle: {took} s"
    );
}
