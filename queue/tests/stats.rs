//! Stats against a real Redis: many queues of all protocols in one round trip, none of them touched.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::sync::Arc;

use jobqueue_queue::{
    Backend, Completion, Connection, FaultKind, FaultReporter, Outcome, Protocol, QueueConfig, Retry, StatsQuery,
    Timeouts, TlsOptions, WorkerFault, connect, stats,
};
use jobqueue_testkit::{Redis, unique};

struct Fixture {
    redis: Redis,
    connection: Connection,
}

impl Fixture {
    fn new() -> Self {
        let redis = Redis::start(&[]);
        let url = redis.url().parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        Self { redis, connection }
    }

    async fn worker(&self, protocol: Protocol, names: &[&str]) -> (Arc<dyn Backend>, StatsQuery) {
        let names = names.iter().map(ToString::to_string).collect();
        let config = QueueConfig::new(protocol, names, unique("worker"));
        let query = StatsQuery::from(&config);
        let worker = connect(&self.connection, config).unwrap();
        worker.register().await.unwrap();
        (worker, query)
    }

    fn enqueue_rq(&self, queue: &str, id: &str, enqueued_at: &str) {
        let key = format!("rq:job:{id}");
        self.redis.cli(&[
            "HSET",
            &key,
            "data",
            r#"["m.f",null,[],{}]"#,
            "created_at",
            enqueued_at,
            "enqueued_at",
            enqueued_at,
            "status",
            "queued",
        ]);
        self.redis.cli(&["RPUSH", &format!("rq:queue:{queue}"), id]);
    }
}

/// Takes one job and settles it.
async fn work_one(worker: &Arc<dyn Backend>, outcome: Outcome) {
    let delivery = worker.claim(1).await.unwrap().deliveries.remove(0);
    let ended_at = chrono::Utc::now();
    let started_at = ended_at - chrono::TimeDelta::milliseconds(250);
    worker.settle(&[Completion { delivery, outcome, started_at, ended_at }]).await.unwrap();
}

fn failure() -> Outcome {
    Outcome::Failed { error: "boom".into(), retry: Retry::Never }
}

fn success() -> Outcome {
    Outcome::Finished { result: serde_json::Value::Null }
}

#[tokio::test]
async fn rq_queues_are_counted_together() {
    let fixture = Fixture::new();
    let (worker, query) = fixture.worker(Protocol::Rq, &["urgent", "normal"]).await;
    let waited = chrono::Utc::now() - chrono::TimeDelta::seconds(90);
    let waited = waited.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    for i in 0..3 {
        fixture.enqueue_rq("urgent", &format!("u{i}"), &waited);
        fixture.enqueue_rq("normal", &format!("n{i}"), &waited);
    }
    work_one(&worker, success()).await;
    work_one(&worker, failure()).await;
    worker.claim(1).await.unwrap();
    fixture.redis.cli(&["ZADD", "rq:scheduled:normal", "1", "late", "99999999999", "early"]);
    fixture.redis.cli(&["RPUSH", "rq:queue:normal:intermediate", "taken"]);
    let stats = stats(&fixture.connection, &[query]).await.unwrap().remove(0).unwrap();
    assert_eq!((stats.waiting, stats.running, stats.scheduled, stats.due, stats.failed), (3, 2, 2, 1, 1));
    let wait = stats.oldest_wait.unwrap().as_secs();
    assert!((90..100).contains(&wait), "{wait}");
    let [worker] = &stats.workers[..] else { panic!("{:?}", stats.workers) };
    assert_eq!((worker.succeeded, worker.failed, worker.running, worker.state.as_str()), (1, 1, 1, "busy"));
    assert!((worker.busy_seconds - 0.5).abs() < 0.01, "{}", worker.busy_seconds);
    assert!(worker.silent_for.as_secs() < 10);
    assert!(!worker.hostname.is_empty());
}

/// As old as a job began before the first look, whichever way its worker leaves that: ours and RQ 2 as a working time at the
/// last heartbeat, RQ 3 as a run.
#[tokio::test]
async fn jobs_are_as_old_as_they_began() {
    let fixture = Fixture::new();
    let (worker, query) = fixture.worker(Protocol::Rq, &["q"]).await;
    let query = [query];
    let age = async || {
        let [worker] = &stats(&fixture.connection, &query).await.unwrap().remove(0).unwrap().workers[..] else {
            panic!()
        };
        worker.job_age.map(|age| age.as_secs_f64())
    };
    let close = |age: Option<f64>, seconds: f64| assert!((seconds..seconds + 5.0).contains(&age.unwrap()), "{age:?}");
    let now = chrono::Utc::now();
    let ago = |seconds: i64| (now - chrono::TimeDelta::seconds(seconds)).format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    assert_eq!(age().await, None);
    for job in ["a", "b"] {
        fixture.enqueue_rq("q", job, &ago(0));
    }
    let claim = worker.claim(2).await.unwrap();
    close(age().await, 0.0);
    // As if that had been a minute ago.
    let key = fixture.redis.cli(&["SRANDMEMBER", "rq:workers:q"]);
    let then = (now.timestamp() - 60).to_string();
    fixture.redis.cli(&["HSET", &key, "jobqueue_claimed_at", &then]);
    let leases: Vec<_> = claim.deliveries.iter().map(|delivery| delivery.lease.clone()).collect();
    worker.heartbeat(&leases).await.unwrap();
    close(age().await, 60.0);
    close(Some(fixture.redis.cli(&["HGET", &key, "current_job_working_time"]).parse().unwrap()), 60.0);
    let settle = async |delivery: &jobqueue_queue::Delivery| {
        let completion = Completion { delivery: delivery.clone(), outcome: success(), started_at: now, ended_at: now };
        worker.settle(&[completion]).await.unwrap();
    };
    settle(&claim.deliveries[0]).await;
    close(age().await, 60.0);
    settle(&claim.deliveries[1]).await;
    assert_eq!(age().await, None);
    worker.heartbeat(&[]).await.unwrap();
    assert_eq!(fixture.redis.cli(&["HGET", &key, "current_job_working_time"]), "0");

    fixture.redis.cli(&["DEL", &key]);
    fixture.redis.cli(&["HSET", &key, "state", "busy", "last_heartbeat", &ago(20), "current_job_working_time", "30.5"]);
    close(age().await, 50.5);
    fixture.redis.cli(&["DEL", &key]);
    fixture.redis.cli(&["HSET", &key, "state", "busy", "last_heartbeat", &ago(20)]);
    assert_eq!(age().await, None);
    let executions = format!("{key}:executions");
    fixture.redis.cli(&["SADD", &executions, "j:e"]);
    assert_eq!(age().await, None);
    fixture.redis.cli(&["HSET", "rq:execution:j:e", "created_at", &format!("{}.25", now.timestamp() - 90)]);
    close(age().await, 88.0);
    fixture.redis.cli(&["SADD", &executions, "j:f"]);
    assert_eq!(age().await, None, "which of two began first is not asked");
}

#[tokio::test]
async fn jobs_of_dead_workers_count_until_nobody_may_come_back_for_them() {
    let fixture = Fixture::new();
    let (worker, query) = fixture.worker(Protocol::Rq, &["q"]).await;
    let now = chrono::Utc::now();
    fixture.enqueue_rq("q", "held", &now.to_rfc3339());
    worker.claim(1).await.unwrap();
    let query = [query];
    let running = async || stats(&fixture.connection, &query).await.unwrap().remove(0).unwrap().running;
    assert_eq!(running().await, 1);
    let ended = |seconds: i64| (now.timestamp() - seconds).to_string();
    for (seconds, jobs, expected) in [(30, ["a:1", "b:1"], 3), (90, ["c:1", "d:1"], 4)] {
        for job in jobs {
            fixture.redis.cli(&["ZADD", "rq:wip:q", &ended(seconds), job]);
        }
        assert_eq!(running().await, expected, "ended {seconds} s ago");
    }
    fixture.redis.cli(&["ZADD", "rq:wip:q", "+inf", "forever:1"]);
    assert_eq!(running().await, 5);
}

#[tokio::test]
async fn troubles_of_workers_are_seen_until_they_are_over() {
    let fixture = Fixture::new();
    let kinds = [FaultKind::Denied, FaultKind::Unavailable, FaultKind::SchemaMismatch];
    for (protocol, kind) in [Protocol::Rq, Protocol::List, Protocol::Stream].into_iter().zip(kinds) {
        let names = vec![unique("first"), unique("second")];
        let config = QueueConfig::new(protocol, names, unique("worker"));
        let query = [StatsQuery::from(&config)];
        let see = async || stats(&fixture.connection, &query).await.unwrap().remove(0).unwrap().faults;
        assert_eq!(see().await, []);
        let fault = WorkerFault { kind, message: "no: 12 \"quoted\" words".into() };
        let reporter = FaultReporter::new(&fixture.connection, &config).unwrap();
        reporter.post(Some(&fault)).await.unwrap();
        let other = QueueConfig { worker_name: unique("worker"), ..config.clone() };
        let other = FaultReporter::new(&fixture.connection, &other).unwrap();
        other.post(Some(&fault)).await.unwrap();
        assert_eq!(see().await, [fault.clone(), fault.clone()], "{protocol:?}");
        other.post(None).await.unwrap();
        assert_eq!(see().await, [fault]);
        reporter.post(None).await.unwrap();
        assert_eq!(see().await, []);
    }
}

#[tokio::test]
async fn lists_and_streams_are_counted_too() {
    let fixture = Fixture::new();
    let (list, list_query) = fixture.worker(Protocol::List, &["l"]).await;
    let (stream, stream_query) = fixture.worker(Protocol::Stream, &["s"]).await;
    for i in 0..5 {
        fixture.redis.cli(&["RPUSH", "l", &i.to_string()]);
        fixture.redis.cli(&["XADD", "s", "*", "record", &i.to_string()]);
    }
    for worker in [&list, &stream] {
        work_one(worker, success()).await;
        work_one(worker, failure()).await;
        worker.claim(1).await.unwrap();
    }
    for stats in stats(&fixture.connection, &[list_query, stream_query]).await.unwrap() {
        let stats = stats.unwrap();
        assert_eq!((stats.waiting, stats.running, stats.scheduled, stats.failed), (2, 1, 0, 1));
        let [worker] = &stats.workers[..] else { panic!("{:?}", stats.workers) };
        assert_eq!((worker.succeeded, worker.failed), (1, 1));
    }
}

/// Queues with nothing in them are passed over quickly; whatever is there by itself must not be.
#[tokio::test]
async fn what_is_there_alone_is_seen() {
    let fixture = Fixture::new();
    let now = chrono::Utc::now();
    let (second, later, heard) = (now.timestamp(), now.timestamp() + 60, now.to_rfc3339());
    let fault = format!("{second} Denied no");
    let rq = [
        ("waiting", vec!["RPUSH rq:queue:waiting j".into()]),
        ("running", vec!["RPUSH rq:queue:running:intermediate j".into()]),
        ("running", vec![format!("ZADD rq:wip:running {later} j:1")]),
        ("scheduled", vec![format!("ZADD rq:scheduled:scheduled {later} j")]),
        ("failed", vec!["ZADD rq:failed:failed 1 j".into()]),
        (
            "workers",
            vec!["SADD rq:workers:workers rq:worker:w".into(), format!("HSET rq:worker:w last_heartbeat {heard}")],
        ),
        ("troubles", vec![format!("HSET rq:jobqueue-trouble:troubles w {fault}")]),
    ];
    let millis = now.timestamp_millis();
    let list = [
        ("waiting", vec!["RPUSH waiting j".into()]),
        ("waiting", vec!["RPUSH jobqueue:{waiting}:ready j".into()]),
        ("running", vec![format!("ZADD jobqueue:{{running}}:lease {later} j")]),
        ("scheduled", vec![format!("ZADD jobqueue:{{scheduled}}:scheduled {later}000 j")]),
        ("failed", vec!["ZADD jobqueue:{failed}:failed 1 j".into()]),
        (
            "workers",
            vec![
                "ZADD jobqueue:{workers}:workers 1 w".into(),
                format!("HSET jobqueue:{{workers}}:worker:w last_heartbeat {millis}"),
            ],
        ),
        ("troubles", vec![format!("HSET jobqueue:{{troubles}}:trouble w {fault}")]),
    ];
    for (protocol, cases) in [(Protocol::Rq, rq), (Protocol::List, list)] {
        for (what, commands) in cases {
            fixture.redis.cli(&["FLUSHALL"]);
            for command in &commands {
                // The last of four may have blanks.
                fixture.redis.cli(&command.splitn(4, ' ').collect::<Vec<_>>());
            }
            let query = StatsQuery::from(&QueueConfig::new(protocol, vec![what.into()], "me"));
            let stats = stats(&fixture.connection, &[query]).await.unwrap().remove(0).unwrap();
            let counts = [
                ("waiting", stats.waiting),
                ("running", stats.running),
                ("scheduled", stats.scheduled),
                ("failed", stats.failed),
                ("workers", stats.workers.len() as u64),
                ("troubles", stats.faults.len() as u64),
            ];
            let seen: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
            assert_eq!(seen, [(what, 1)], "{protocol:?}: {commands:?}");
        }
    }
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_does_not_hide_the_others() {
    let fixture = Fixture::new();
    let query = |protocol, name: &str| StatsQuery {
        protocol,
        names: vec![name.into()],
        key_prefix: "rq".into(),
        consumer_group: "jobqueue".into(),
    };
    fixture.redis.cli(&["SET", "rq:queue:odd", "text"]);
    fixture.redis.cli(&["XADD", "fresh", "*", "a", "1"]);
    let queries = [
        query(Protocol::Rq, "odd"),
        query(Protocol::Rq, "empty"),
        query(Protocol::Stream, "absent"),
        query(Protocol::Stream, "fresh"),
    ];
    let answers = stats(&fixture.connection, &queries).await.unwrap();
    assert!(answers[0].as_ref().unwrap_err().to_string().contains("WRONGTYPE"), "{answers:?}");
    let waiting: Vec<u64> = answers[1..].iter().map(|stats| stats.as_ref().unwrap().waiting).collect();
    assert_eq!(waiting, [0, 0, 1]);
    assert_eq!(fixture.redis.cli(&["EXISTS", "absent", "rq:queue:empty"]), "0");
}

#[tokio::test]
async fn a_script_that_the_server_does_not_know_is_sent_once_for_all_queues() {
    let fixture = Fixture::new();
    let query = |number: u32| StatsQuery {
        protocol: if number.is_multiple_of(2) { Protocol::Rq } else { Protocol::List },
        names: vec![format!("q{number}")],
        key_prefix: "rq".into(),
        consumer_group: "jobqueue".into(),
    };
    let queries: Vec<StatsQuery> = (0..20).map(query).collect();
    let answers = stats(&fixture.connection, &queries).await.unwrap();
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let sent = fixture.redis.cli(&["INFO", "commandstats"]);
    let whole = sent.lines().find(|line| line.starts_with("cmdstat_eval:")).unwrap();
    assert!(whole.starts_with("cmdstat_eval:calls=2,"), "one for each of two scripts: {whole}");
}
