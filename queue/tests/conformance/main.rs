//! The suite that every backend passes, against a real Redis: what a worker may rely on whatever the producers speak.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

mod rights;
mod stand;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jobqueue_queue::admin::Requeued;
use jobqueue_queue::{Asked, Command, Lease, Order, Outcome, PayloadLimits, Protocol, Retry, Settled, Standing};
use rights::{
    a_clock_that_is_set_back_holds_no_lease, a_full_redis_takes_nothing_and_loses_no_lease,
    a_key_of_another_type_takes_nothing, a_missing_right_takes_nothing,
    a_right_that_goes_while_jobs_are_in_hand_loses_none, the_generated_account_is_enough,
};
use stand::{Stand, failed, finished, record};
use tokio::task::JoinSet;

/// A test per case and protocol.
macro_rules! conformance {
    ($($case:ident)*) => {
        conformance!(@on rq, Stand::new(Protocol::Rq), $($case)*);
        conformance!(@on list, Stand::new(Protocol::List), $($case)*);
        conformance!(@on stream, Stand::new(Protocol::Stream), $($case)*);
    };
    (@on $name:ident, $stand:expr, $($case:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($stand).await;
                }
            )*
        }
    };
}

/// The cases that touch every script, in a cluster (which takes two seconds to be ready).
macro_rules! conformance_in_a_cluster {
    ($($case:ident)*) => {
        conformance!(@on rq_in_a_cluster, Stand::cluster(Protocol::Rq).await, $($case)*);
        conformance!(@on list_in_a_cluster, Stand::cluster(Protocol::List).await, $($case)*);
        conformance!(@on stream_in_a_cluster, Stand::cluster(Protocol::Stream).await, $($case)*);
    };
}

conformance! {
    jobs_come_in_order_and_in_batches
    earlier_queues_are_served_first
    queues_are_served_in_turn_or_at_random
    a_job_carries_what_the_worker_needs
    finished_jobs_are_gone
    settling_twice_changes_nothing
    released_jobs_are_next_and_not_counted
    a_failure_is_retried_until_attempts_run_out
    a_hopeless_failure_is_final
    retries_wait_for_their_time
    a_stopped_job_does_not_come_back
    a_person_stops_a_job_that_runs
    heartbeats_keep_a_job
    a_lapsed_lease_is_reclaimed_in_order
    a_lost_job_cannot_be_settled_or_kept
    a_job_that_kills_workers_is_abandoned
    workers_never_share_a_job
    waiting_ends_when_a_job_arrives
    waiting_takes_nothing
    many_queues_take_few_connections
    one_broken_queue_does_not_stop_the_others
    leaving_and_returning
    failed_jobs_are_listed_requeued_and_purged
    the_generated_account_is_enough
    a_missing_right_takes_nothing
    a_right_that_goes_while_jobs_are_in_hand_loses_none
    a_key_of_another_type_takes_nothing
    a_full_redis_takes_nothing_and_loses_no_lease
    a_clock_that_is_set_back_holds_no_lease
    a_server_that_lost_its_data_is_served_again
}

conformance_in_a_cluster! {
    earlier_queues_are_served_first
    a_failure_is_retried_until_attempts_run_out
    a_lost_job_cannot_be_settled_or_kept
    a_person_stops_a_job_that_runs
    one_broken_queue_does_not_stop_the_others
    many_queues_take_few_connections
    leaving_and_returning
    failed_jobs_are_listed_requeued_and_purged
}

async fn jobs_come_in_order_and_in_batches(stand: Stand) {
    let worker = stand.worker("w").await;
    assert!(worker.claim(10).await.is_empty());
    stand.produce("q", &["1", "2", "3", "4", "5"]).await;
    assert!(worker.claim(0).await.is_empty());
    assert_eq!(worker.records(2).await, ["1", "2"]);
    assert_eq!(worker.records(1).await, ["3"]);
    assert_eq!(worker.records(100).await, ["4", "5"]);
    assert!(worker.claim(100).await.is_empty());
}

async fn earlier_queues_are_served_first(stand: Stand) {
    let worker = stand.worker_with(stand.config("w", &["urgent", "q"])).await;
    stand.produce("q", &["1", "2"]).await;
    stand.produce("urgent", &["3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(claimed.iter().map(record).collect::<Vec<_>>(), ["3", "4", "1"]);
    assert_eq!(claimed.iter().map(|job| job.queue.as_str()).collect::<Vec<_>>(), ["urgent", "urgent", "q"]);
    stand.produce("urgent", &["5"]).await;
    assert_eq!(worker.records(3).await, ["5", "2"]);
    assert_eq!(worker.settle_all(&claimed, &finished()).await, [Settled::Finished; 3]);
}

async fn queues_are_served_in_turn_or_at_random(stand: Stand) {
    let ordered = |name, order| {
        let mut config = stand.config(name, &["a", "b", "c"]);
        config.order = order;
        config
    };
    stand.produce("a", &["a1", "a2", "a3", "a4"]).await;
    stand.produce("b", &["b1"]).await;
    stand.produce("c", &["c1", "c2"]).await;
    let worker = stand.worker_with(ordered("in-turn", Order::RoundRobin)).await;
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
        stand.produce(queue, &many).await;
    }
    let worker = stand.worker_with(ordered("at-random", Order::Random)).await;
    let mut queues = BTreeSet::new();
    for _ in 0..40 {
        queues.insert(worker.claim_one().await.queue);
    }
    assert_eq!(queues.len(), 3, "{queues:?}");
}

async fn a_job_carries_what_the_worker_needs(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "1"]).await;
    let first = worker.claim_one().await;
    assert_eq!((first.queue.as_str(), first.attempt, first.generation), ("q", 1, 0));
    assert_eq!(
        first.lease,
        Lease { queue: "q".into(), job: first.id.clone(), execution: first.lease.execution.clone() }
    );
    assert!(!first.lease.execution.is_empty());
}

async fn finished_jobs_are_gone(stand: Stand) {
    let worker = stand.hasty_worker("w").await;
    stand.produce("q", &["1", "2"]).await;
    let claimed = worker.claim(10).await;
    assert_eq!(worker.settle_all(&claimed, &finished()).await, [Settled::Finished; 2]);
    // A third job's lease lapses after theirs would have.
    stand.produce("q", &["3"]).await;
    worker.claim_one().await;
    let total = worker.maintain_until(|total| total.reclaimed > 0).await;
    assert_eq!((total.reclaimed, total.abandoned, total.due), (1, 0, 0));
    assert_eq!(worker.records(10).await, ["3"]);
}

async fn settling_twice_changes_nothing(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, finished()).await, Settled::Finished);
    for outcome in [finished(), failed(Retry::Allowed), failed(Retry::Never), Outcome::Released, Outcome::Stopped] {
        assert_eq!(worker.settle(&job, outcome).await, Settled::NotOwned);
    }
    assert!(worker.claim(10).await.is_empty());
    assert_eq!(worker.backend.settle(&[]).await.unwrap(), []);
}

async fn released_jobs_are_next_and_not_counted(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "2", "3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(worker.settle_all(&claimed, &Outcome::Released).await, [Settled::Released; 3]);
    let again = worker.claim(10).await;
    assert_eq!(again.iter().map(record).collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    assert!(again.iter().all(|job| job.attempt == 1));
    for (before, after) in claimed.iter().zip(&again) {
        assert_eq!((&before.id, before.generation), (&after.id, after.generation));
        assert_ne!(before.lease, after.lease);
    }
}

async fn a_failure_is_retried_until_attempts_run_out(stand: Stand) {
    let mut config = stand.config("w", &["q"]);
    config.retry.max_attempts = 3;
    let worker = stand.worker_with(config).await;
    stand.produce("q", &["1"]).await;
    let first = worker.claim_one().await;
    for attempt in 1..=3 {
        let job = if attempt == 1 { first.clone() } else { worker.claim_one().await };
        assert_eq!((job.attempt, &job.id, job.generation), (attempt, &first.id, first.generation));
        let expected = if attempt < 3 { Settled::Retried } else { Settled::Failed };
        assert_eq!(worker.settle(&job, failed(Retry::Allowed)).await, expected);
        if attempt < 3 {
            worker.maintain_until(|total| total.due == 1).await;
        }
    }
    assert!(worker.claim(10).await.is_empty());
}

async fn a_hopeless_failure_is_final(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "2"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, failed(Retry::Never)).await, Settled::Failed);
    assert_eq!(worker.records(10).await, ["2"]);
}

async fn retries_wait_for_their_time(stand: Stand) {
    let mut config = stand.config("w", &["q"]);
    config.retry.backoff = Duration::from_secs(3600);
    config.retry.max_backoff = Duration::from_secs(3600);
    let worker = stand.worker_with(config).await;
    stand.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, failed(Retry::Allowed)).await, Settled::Retried);
    assert_eq!(worker.backend.maintain().await.unwrap().due, 0);
    assert!(worker.claim(10).await.is_empty());
}

async fn a_stopped_job_does_not_come_back(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, Outcome::Stopped).await, Settled::Stopped);
    worker.backend.maintain().await.unwrap();
    assert!(worker.claim(10).await.is_empty());
}

async fn a_person_stops_a_job_that_runs(stand: Stand) {
    let stopper = stand.stopper(&["other", "q"]);
    let worker = stand.worker_with(stand.config("w", &["q", "other"])).await;
    stand.produce("q", &["1"]).await;
    assert_eq!(stopper.standing("nonsense").await.unwrap(), Standing::Unknown);
    assert_eq!(stopper.ask("nonsense").await.unwrap(), Asked::Unheard);
    let job = worker.claim_one().await;
    assert_eq!(stopper.standing(&job.id).await.unwrap(), Standing::Running { worker: "w".into() });
    let (asked, command) = tokio::join!(stopper.ask(&job.id), worker.backend.next_command());
    assert_eq!(asked.unwrap(), Asked::Heard);
    let meant = match stand.protocol {
        Protocol::Rq => Command::StopJob(job.id.clone()),
        Protocol::List | Protocol::Stream => Command::StopJobOf { queue: "q".into(), job: job.id.clone() },
    };
    assert_eq!(command, meant);
    assert_eq!(worker.settle(&job, Outcome::Stopped).await, Settled::Stopped);
    assert_eq!(stopper.standing(&job.id).await.unwrap(), Standing::Stopped);
    assert!(stand.failed().contains(&job.id).await.unwrap());
}

async fn heartbeats_keep_a_job(stand: Stand) {
    let worker = stand.hasty_worker("w").await;
    stand.produce("q", &["kept", "lapsing"]).await;
    let kept = worker.claim_one().await;
    worker.claim_one().await;
    // The other job's lease shows that the time of the first one was over, had it not been renewed.
    let begun = Instant::now();
    let mut reclaimed = 0;
    while reclaimed == 0 || begun.elapsed() < Duration::from_millis(600) {
        assert_eq!(worker.backend.heartbeat(std::slice::from_ref(&kept.lease)).await.unwrap(), []);
        reclaimed += worker.backend.maintain().await.unwrap().reclaimed;
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((reclaimed, worker.records(10).await), (1, vec!["lapsing".to_owned()]));
    assert_eq!(worker.settle(&kept, finished()).await, Settled::Finished);
}

async fn a_lapsed_lease_is_reclaimed_in_order(stand: Stand) {
    let crashing = stand.hasty_worker("crashing").await;
    let other = stand.worker("other").await;
    let records: Vec<String> = (1..=12).map(|number| number.to_string()).collect();
    stand.produce("q", &records.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let lost = crashing.claim(11).await;
    other.maintain_until(|total| total.reclaimed == 11).await;
    // Perhaps in several batches: a backend may keep apart what may have killed a worker.
    let mut again = Vec::new();
    while again.len() < records.len() {
        let claimed = other.claim(20).await;
        assert!(!claimed.is_empty());
        again.extend(claimed);
    }
    // Before the one that was waiting, in the order they had.
    assert_eq!(again.iter().map(record).collect::<Vec<_>>(), records);
    assert_eq!(again.iter().map(|job| job.attempt).collect::<Vec<_>>(), [[2; 11].as_slice(), &[1]].concat());
    assert!(lost.iter().zip(&again).all(|(lost, again)| lost.id == again.id && lost.generation == again.generation));
}

async fn a_lost_job_cannot_be_settled_or_kept(stand: Stand) {
    let zombie = stand.hasty_worker("zombie").await;
    let other = stand.worker("other").await;
    stand.produce("q", &["1"]).await;
    let stale = zombie.claim_one().await;
    other.maintain_until(|total| total.reclaimed == 1).await;
    for _ in 0..2 {
        assert_eq!(
            zombie.backend.heartbeat(std::slice::from_ref(&stale.lease)).await.unwrap(),
            std::slice::from_ref(&stale.lease)
        );
        for outcome in [finished(), failed(Retry::Allowed), failed(Retry::Never), Outcome::Released, Outcome::Stopped] {
            assert_eq!(zombie.settle(&stale, outcome).await, Settled::NotOwned);
        }
    }
    // Also when it is the same worker that claims it again.
    let again = zombie.claim_one().await;
    assert_eq!(again.attempt, 2);
    assert_eq!(zombie.settle(&stale, finished()).await, Settled::NotOwned);
    assert_eq!(zombie.settle(&again, finished()).await, Settled::Finished);
}

async fn a_job_that_kills_workers_is_abandoned(stand: Stand) {
    let mut config = stand.config("w", &["q"]);
    config.lease = Duration::from_millis(50);
    config.retry.max_attempts = 2;
    let worker = stand.worker_with(config).await;
    stand.produce("q", &["deadly", "harmless"]).await;
    worker.claim_one().await;
    worker.maintain_until(|total| total.reclaimed == 1).await;
    assert_eq!(worker.claim_one().await.attempt, 2);
    let total = worker.maintain_until(|total| total.abandoned == 1).await;
    assert_eq!(total.reclaimed, 0);
    assert_eq!(worker.records(10).await, ["harmless"]);
}

async fn workers_never_share_a_job(stand: Stand) {
    let records: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    stand.produce("q", &records.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut tasks = JoinSet::new();
    for number in 0..4 {
        let worker = Arc::new(stand.worker(&format!("w{number}")).await);
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

async fn waiting_ends_when_a_job_arrives(stand: Stand) {
    let worker = stand.worker_with(stand.config("w", &["urgent", "q"])).await;
    let begun = Instant::now();
    let waiting = async {
        while worker.backend.claim(1).await.unwrap().deliveries.is_empty() {
            worker.backend.wait(Duration::from_secs(30)).await.unwrap();
        }
    };
    tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stand.produce("q", &["1"]).await;
    });
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

async fn waiting_takes_nothing(stand: Stand) {
    let worker = stand.worker("w").await;
    let begun = Instant::now();
    worker.backend.wait(Duration::from_millis(100)).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    stand.produce("q", &["1", "2"]).await;
    for _ in 0..3 {
        worker.backend.wait(Duration::from_secs(5)).await.unwrap();
    }
    assert_eq!(worker.records(10).await, ["1", "2"]);
}

/// Prints what it measures: `-- --nocapture many_queues`.
async fn many_queues_take_few_connections(stand: Stand) {
    let names: Vec<String> = (0..100).map(|number| format!("q{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let worker = stand.worker_with(stand.config("w", &names)).await;
    let clients = || stand.redis.cli(&["CLIENT", "LIST"]).lines().filter(|line| !line.contains("cmd=client")).count();
    for (queue, quarter) in [("q0", 0.05), ("q99", 0.25)] {
        let (mut slowest, mut most) = (Duration::ZERO, 0);
        for round in ["1", "2"] {
            let (wait, produce) = (worker.backend.wait(Duration::from_secs(30)), async {
                tokio::time::sleep(Duration::from_millis(150)).await;
                most = most.max(clients());
                let begun = Instant::now();
                stand.produce(queue, &[round]).await;
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
        if stand.protocol != Protocol::Stream || stand.prefix == "rq" {
            assert!(slowest.as_secs_f64() < quarter + 0.25, "{queue}: heard after {slowest:?}");
        }
    }
}

async fn one_broken_queue_does_not_stop_the_others(stand: Stand) {
    let worker = stand.worker_with(stand.config("w", &["broken", "q"])).await;
    let key = if stand.protocol == Protocol::Rq { format!("{}:queue:broken", stand.prefix) } else { "broken".into() };
    stand.redis.cli(&["DEL", &key]);
    assert_eq!(stand.redis.cli(&["SET", &key, "text"]), "OK");
    assert!(worker.backend.claim(1).await.is_err());
    stand.produce("q", &["1"]).await;
    assert_eq!(worker.records(10).await, ["1"]);
}

async fn leaving_and_returning(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "2"]).await;
    let job = worker.claim_one().await;
    assert_eq!(worker.settle(&job, Outcome::Released).await, Settled::Released);
    worker.backend.deregister().await.unwrap();
    let successor = stand.worker("w2").await;
    assert_eq!(successor.records(10).await, ["1", "2"]);
    worker.backend.register().await.unwrap();
    assert!(worker.claim(10).await.is_empty());
}

async fn failed_jobs_are_listed_requeued_and_purged(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "2", "3", "4"]).await;
    let claimed = worker.claim(3).await;
    assert_eq!(worker.settle_all(&claimed, &failed(Retry::Never)).await, [Settled::Failed; 3]);
    let registry = stand.failed();
    let ids = registry.ids().await.unwrap();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>(), claimed.iter().map(|job| &job.id).collect());
    let jobs = registry.fetch(&ids, &PayloadLimits::default()).await.unwrap();
    for (job, claimed) in jobs.iter().zip(ids.iter().map(|id| claimed.iter().find(|job| job.id == *id).unwrap())) {
        assert_eq!((job.queue.as_str(), job.status.as_str(), job.worker.as_str()), ("q", "failed", "w"));
        assert_eq!(job.record().unwrap().as_str(), Some(record(claimed).as_str()));
        assert!(job.error.contains("no such table: companies") && job.failed_at.is_some(), "{job:?}");
    }
    let [kept, requeued, purged] = &ids[..] else { panic!("{ids:?}") };
    let again = registry.requeue(&[requeued.clone(), "nonsense".into()], true).await.unwrap();
    assert_eq!(again, [Requeued::Queued, Requeued::NotFailed]);
    assert_eq!(registry.requeue(std::slice::from_ref(requeued), true).await.unwrap(), [Requeued::NotFailed]);
    assert_eq!(registry.purge(&[purged.clone(), requeued.clone()]).await.unwrap(), 1);
    assert_eq!(registry.ids().await.unwrap(), std::slice::from_ref(kept));
    // It comes first, with all its attempts; the runs that failed are remembered.
    let job = worker.claim_one().await;
    assert_eq!((&job.id, job.attempt), (requeued, 1));
    assert_eq!(worker.settle(&job, failed(Retry::Never)).await, Settled::Failed);
    let attempts = registry.attempts(requeued).await.unwrap();
    assert_eq!(attempts.len(), 2);
    assert!(attempts.iter().all(|run| !run.succeeded && run.worker == "w" && run.ended_at.is_some()), "{attempts:?}");
    assert_eq!(worker.records(10).await, ["4"]);
}

async fn a_server_that_lost_its_data_is_served_again(stand: Stand) {
    let worker = stand.worker("w").await;
    stand.produce("q", &["1", "2"]).await;
    let before = worker.claim_one().await;
    stand.redis.cli(&["FLUSHALL"]);
    assert_eq!(worker.backend.heartbeat(std::slice::from_ref(&before.lease)).await.unwrap().len(), 1);
    assert_eq!(worker.settle(&before, finished()).await, Settled::NotOwned);
    worker.backend.maintain().await.unwrap();
    stand.produce("q", &["3"]).await;
    let after = worker.claim_one().await;
    assert_eq!(record(&after), "3");
    assert_ne!(after.id, before.id);
    assert_eq!(worker.settle(&after, finished()).await, Settled::Finished);
}
