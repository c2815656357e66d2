//! What crashes and time leave behind, and how it is put right.

use jobqueue_queue::{Backend, Maintenance, Settled};
use jobqueue_testkit::unique;

use crate::fixture::{Fixture, finished, ids};

#[tokio::test]
async fn a_lapsed_lease_is_reclaimed_to_the_head_and_its_zombie_changes_nothing() {
    let mut fixture = Fixture::new().await;
    let (dead, alive) = (fixture.worker(), fixture.worker());
    let (first, second) = (unique("first"), unique("second"));
    for id in [&first, &second] {
        fixture.enqueue(id, &[]).await;
    }
    let claim = dead.claim(1).await.unwrap();
    assert_eq!(alive.maintain().await.unwrap().reclaimed, 0, "a live lease is left alone");
    fixture.lapse(&claim.deliveries[0]).await;
    assert_eq!(alive.maintain().await.unwrap(), Maintenance { reclaimed: 1, ..Maintenance::default() });
    fixture.assert_no_trace(&claim.deliveries[0]).await;
    assert_eq!(fixture.waiting().await, [first.clone(), second.clone()]);
    assert_eq!(fixture.redis::<i64>(&format!("XLEN rq:results:{first}")).await, 1, "the crash leaves a result");
    let again = alive.claim(1).await.unwrap();
    assert_eq!(again.deliveries[0].attempt, 2);
    // The zombie wakes up: its lease is lost, its outcome is refused, the new run is untouched.
    let lease = claim.deliveries[0].lease.clone();
    assert_eq!(dead.heartbeat(std::slice::from_ref(&lease)).await.unwrap(), [lease]);
    assert_eq!(dead.settle(&[finished(&claim.deliveries[0])]).await.unwrap(), [Settled::NotOwned]);
    assert_eq!(fixture.status(&first).await, "started");
    assert_eq!(alive.settle(&[finished(&again.deliveries[0])]).await.unwrap(), [Settled::Finished]);
}

#[tokio::test]
async fn a_job_that_kills_its_workers_ends_in_the_failed_registry() {
    let mut fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.retry.max_attempts = 3;
    config.retry.backoff = std::time::Duration::ZERO;
    let worker = fixture.worker_with(config);
    let id = unique("killer");
    fixture.enqueue(&id, &[]).await;
    for attempt in 1..=3 {
        let claim = worker.claim(1).await.unwrap();
        assert_eq!(claim.deliveries[0].attempt, attempt);
        fixture.lapse(&claim.deliveries[0]).await;
        let maintenance = worker.maintain().await.unwrap();
        assert_eq!((maintenance.reclaimed, maintenance.abandoned), if attempt < 3 { (1, 0) } else { (0, 1) });
    }
    assert_eq!(fixture.status(&id).await, "failed");
    assert_eq!(fixture.redis::<i64>(&format!("XLEN rq:results:{id}")).await, 3);
    assert_eq!(fixture.field(&id, "jobqueue_attempts").await.unwrap(), "0", "a requeued job starts over");
}

#[tokio::test]
async fn suspects_run_in_small_batches_and_then_alone() {
    let mut fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.retry.backoff = std::time::Duration::ZERO;
    let worker = fixture.worker_with(config);
    let prefix = unique("j");
    for i in 0..40 {
        fixture.enqueue(&format!("{prefix}-{i}"), &[]).await;
    }
    let mut size = Vec::new();
    for _ in 0..3 {
        let claim = worker.claim(32).await.unwrap();
        size.push(claim.deliveries.len());
        for delivery in &claim.deliveries {
            fixture.lapse(delivery).await;
        }
        worker.maintain().await.unwrap();
    }
    assert_eq!(size, [32, 16, 1]);
    assert_eq!(fixture.waiting().await.len(), 40);
}

#[tokio::test]
async fn a_python_workers_crash_is_reclaimed_and_counted_and_its_retries_are_honoured() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (plain, spent) = (unique("plain"), unique("spent"));
    let execution = "2ca2d70eb85f4d15a2522b2d7ec7aeb9";
    for (id, fields) in [(&plain, vec![]), (&spent, vec![("retries_left", "0")])] {
        fixture.write_job(&name, id, "started", &fields).await;
        fixture.redis::<()>(&format!("ZADD rq:wip:Q 1 {id}:{execution}")).await;
        fixture.redis::<()>(&format!("ZADD rq:executions:{id} 1 {execution}")).await;
    }
    let maintenance = worker.maintain().await.unwrap();
    assert_eq!((maintenance.reclaimed, maintenance.abandoned), (1, 1));
    assert_eq!(fixture.field(&plain, "jobqueue_attempts").await.unwrap(), "1");
    assert_eq!(fixture.status(&spent).await, "failed");
    assert_eq!(worker.claim(5).await.unwrap().deliveries[0].attempt, 2);
}

#[tokio::test]
async fn stale_and_poisoned_entries_leave_the_registries_and_stop_nothing() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (over, odd, good) = (unique("over"), unique("odd"), unique("good"));
    // RQ 2.12 can leave the entry of a finished job; it must not be flipped to failed.
    fixture.write_job(&name, &over, "finished", &[]).await;
    fixture.write_job(&name, &good, "started", &[]).await;
    fixture.redis::<()>(&format!("SET rq:job:{odd} text")).await;
    for member in [format!("{over}:e1"), format!("{odd}:e2"), "a:b:c".into(), "bare".into(), format!("{good}:e3")] {
        fixture.redis::<()>(&format!("ZADD rq:wip:Q 1 {member}")).await;
    }
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 1);
    assert_eq!(fixture.redis::<i64>("ZCARD rq:wip:Q").await, 0);
    assert_eq!(fixture.status(&over).await, "finished");
    assert_eq!(fixture.waiting().await, [good]);
}

#[tokio::test]
async fn due_jobs_are_queued_unless_a_python_scheduler_is_at_it() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (due, later, canceled) = (unique("due"), unique("later"), unique("canceled"));
    let now = chrono::Utc::now().timestamp();
    for (id, status, at) in [(&due, "scheduled", now - 1), (&later, "scheduled", now + 500), (&canceled, "canceled", 1)]
    {
        fixture.write_job(&name, id, status, &[]).await;
        fixture.redis::<()>(&format!("ZADD rq:scheduled:Q {at} {id}")).await;
    }
    fixture.redis::<()>("SET rq:scheduler-lock:Q 9173531e77a44fef9b569789a108f44b").await;
    assert_eq!(worker.maintain().await.unwrap().due, 0, "the scheduler is given its second");
    fixture.redis::<()>("DEL rq:scheduler-lock:Q").await;
    assert_eq!(worker.maintain().await.unwrap().due, 1);
    assert_eq!(fixture.waiting().await, [due]);
    let left: Vec<String> = fixture.redis("ZRANGE rq:scheduled:Q 0 -1").await;
    assert_eq!(left, [later]);
}

#[tokio::test]
async fn a_scheduled_id_waits_a_while_for_its_record() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let (young, old) = (unique("young"), unique("old"));
    let now = chrono::Utc::now().timestamp();
    fixture.redis::<()>(&format!("ZADD rq:scheduled:Q {} {young} {} {old}", now - 2, now - 100)).await;
    worker.maintain().await.unwrap();
    let left: Vec<String> = fixture.redis("ZRANGE rq:scheduled:Q 0 -1").await;
    assert_eq!(left, [young]);
    assert!(fixture.redis::<Option<f64>>(&format!("ZSCORE rq:jobqueue:gone:Q {old}")).await.is_some());
}

#[tokio::test]
async fn a_job_stranded_between_list_and_start_is_put_back() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    let (fresh, stranded, lost) = (unique("fresh"), unique("stranded"), unique("lost"));
    for id in [&fresh, &stranded, &lost] {
        fixture.write_job(&name, id, "queued", &[]).await;
    }
    for id in [&fresh, &stranded] {
        fixture.redis::<()>(&format!("RPUSH rq:queue:Q:intermediate {id}")).await;
    }
    fixture.redis::<()>(&format!("SET rq:queue:Q:intermediate:first_seen:{stranded} 1000.5")).await;
    // Leased by a Python worker that died before it said started.
    fixture.redis::<()>(&format!("ZADD rq:wip:Q 1 {lost}:2ca2d70eb85f4d15a2522b2d7ec7aeb9")).await;
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 2);
    let mut waiting = fixture.waiting().await;
    waiting.sort();
    assert_eq!(waiting, [lost, stranded]);
    let left: Vec<String> = fixture.redis("LRANGE rq:queue:Q:intermediate 0 -1").await;
    assert_eq!(left, [fresh]);
}

#[tokio::test]
async fn expired_entries_and_dead_workers_are_removed() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    worker.register().await.unwrap();
    fixture.redis::<()>("ZADD rq:finished:Q 1 a +inf b").await;
    fixture.redis::<()>("ZADD rq:failed:Q 1 a -1 b").await;
    fixture.redis::<()>("SADD rq:workers:Q rq:worker:gone").await;
    assert_eq!(worker.maintain().await.unwrap().expired, 2);
    assert_eq!(fixture.redis::<i64>("SCARD rq:workers:Q").await, 1);
    assert_eq!(fixture.redis::<i64>("ZCARD rq:finished:Q").await, 1);
    // Cleaned together: not again within the interval.
    fixture.redis::<()>("ZADD rq:finished:Q 1 a").await;
    assert_eq!(worker.maintain().await.unwrap().expired, 0);
}

#[tokio::test]
async fn leaked_slots_are_freed_and_groups_forget_jobs_that_are_gone() {
    // On a server of its own: this cleaning is for all queues of a Redis together.
    let server: &'static jobqueue_testkit::Redis = Box::leak(Box::new(jobqueue_testkit::Redis::start(&[])));
    let mut fixture = Fixture::on(server).await;
    let worker = fixture.worker();
    let name = fixture.name.clone();
    fixture.write_job(&name, "canceled", "canceled", &[("rate_limit_key", "k")]).await;
    fixture.write_job(&name, "next", "rate_limited", &[("rate_limit_key", "k"), ("rate_limit_concurrency", "1")]).await;
    for command in [
        "SADD rq:rl-keys k idle",
        "HSET rq:rl:k concurrency 1",
        "HSET rq:rl:idle concurrency 1",
        "ZADD rq:rl:k:allowed 1 canceled",
        "ZADD rq:rl:k:rate_limited 2 next",
        "SADD rq:groups g empty",
        "SADD rq:group:g canceled gone",
        "SADD rq:group:empty gone",
    ] {
        fixture.redis::<()>(command).await;
    }
    worker.maintain().await.unwrap();
    assert_eq!(fixture.waiting().await, ["next"]);
    assert_eq!(fixture.redis::<Vec<String>>("SMEMBERS rq:rl-keys").await, ["k"]);
    assert_eq!(fixture.redis::<Vec<String>>("SMEMBERS rq:group:g").await, ["canceled"]);
    assert_eq!(fixture.redis::<Vec<String>>("SMEMBERS rq:groups").await, ["g"]);
    server.cli(&["SHUTDOWN", "NOSAVE"]);
}

#[tokio::test]
async fn many_lapsed_leases_come_back_in_order_in_one_go() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let prefix = unique("j");
    let all: Vec<String> = (0..300).map(|i| format!("{prefix}-{i:04}")).collect();
    for id in &all {
        fixture.enqueue(id, &[]).await;
    }
    let claim = worker.claim(300).await.unwrap();
    assert_eq!(ids(&claim.deliveries), all);
    for delivery in &claim.deliveries {
        fixture.lapse(delivery).await;
    }
    assert_eq!(worker.maintain().await.unwrap().reclaimed, 300);
    let mut waiting = fixture.waiting().await;
    // A script call handles 200 at once, the second batch stands before the first.
    waiting.rotate_left(100);
    assert_eq!(waiting, all);
}
