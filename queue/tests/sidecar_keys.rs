//! What is particular to lists and streams: ids, consumers that are not ours, other groups, bytes that are not text.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use jobqueue_queue::{
    Backend, Completion, Connection, Delivery, Outcome, Payload, PayloadError, Protocol, QueueConfig, Retry, Settled,
    Timeouts, TlsOptions, connect,
};
use jobqueue_testkit::Redis;
use serde_json::json;

const LEASE: Duration = Duration::from_millis(200);

struct Fixture {
    redis: Redis,
    worker: Arc<dyn Backend>,
}

async fn fixture(protocol: Protocol, lease: Duration) -> Fixture {
    let redis = Redis::start(&[]);
    let worker = worker(&redis, protocol, lease, "w").await;
    Fixture { redis, worker }
}

async fn worker(redis: &Redis, protocol: Protocol, lease: Duration, name: &str) -> Arc<dyn Backend> {
    let url = redis.url().parse().unwrap();
    let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
    let mut config = QueueConfig::new(protocol, vec!["q".into()], name);
    config.lease = lease;
    let worker = connect(&connection, config).unwrap();
    worker.register().await.unwrap();
    worker
}

impl Fixture {
    async fn claim_one(&self) -> Delivery {
        self.worker.claim(1).await.unwrap().deliveries.remove(0)
    }

    async fn settle(&self, delivery: &Delivery, outcome: Outcome) -> Settled {
        let completion =
            Completion { delivery: delivery.clone(), outcome, started_at: Utc::now(), ended_at: Utc::now() };
        self.worker.settle(&[completion]).await.unwrap()[0]
    }

    /// Maintains until something came back.
    async fn reclaimed(&self) -> u64 {
        let begun = Instant::now();
        loop {
            let done = self.worker.maintain().await.unwrap();
            if done.reclaimed > 0 {
                return done.reclaimed;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing came back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn done() -> Outcome {
    Outcome::Finished { result: json!(null) }
}

#[tokio::test]
async fn ids_of_list_elements_are_new_even_if_their_counter_is_lost() {
    let fixture = fixture(Protocol::List, LEASE).await;
    fixture.redis.cli(&["RPUSH", "q", "1"]);
    let first = fixture.claim_one().await;
    fixture.redis.cli(&["DEL", "jobqueue:{q}:seq"]);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2) {}
    fixture.redis.cli(&["RPUSH", "q", "2"]);
    let second = fixture.claim_one().await;
    assert!(first.id.ends_with("-1") && second.id.ends_with("-1") && first.id != second.id, "{first:?} {second:?}");
}

#[tokio::test]
async fn nothing_is_left_of_finished_jobs() {
    for (protocol, put) in
        [(Protocol::List, ["RPUSH", "q", "r"].as_slice()), (Protocol::Stream, &["XADD", "q", "*", "r", "1"])]
    {
        let fixture = fixture(protocol, LEASE).await;
        fixture.redis.cli(put);
        let job = fixture.claim_one().await;
        assert_eq!(fixture.settle(&job, done()).await, Settled::Finished);
        fixture.worker.deregister().await.unwrap();
        let left = fixture.redis.cli(&["KEYS", "*"]);
        let mut left: Vec<&str> = left.lines().collect();
        left.sort_unstable();
        match protocol {
            Protocol::Stream => {
                assert_eq!(left, ["jobqueue:{q}:jobqueue:life", "q"]);
                assert_eq!(fixture.redis.cli(&["XLEN", "q"]), "0");
                let consumers = fixture.redis.cli(&["XINFO", "CONSUMERS", "q", "jobqueue"]);
                assert_eq!(consumers.matches("name").count(), 1, "{consumers}");
                assert!(consumers.contains("jobqueue-life-"));
            }
            _ => assert_eq!(left, ["jobqueue:{q}:life", "jobqueue:{q}:seq"]),
        }
    }
}

#[tokio::test]
async fn an_element_that_is_not_text_says_so() {
    let fixture = fixture(Protocol::List, LEASE).await;
    fixture.redis.cli(&["EVAL", r"return redis.call('RPUSH', 'q', '\255\254')", "0"]);
    assert!(matches!(fixture.claim_one().await.payload, Err(PayloadError::Malformed(_))));
}

#[tokio::test]
async fn an_entry_arrives_with_its_fields_and_its_time() {
    let fixture = fixture(Protocol::Stream, LEASE).await;
    fixture.redis.cli(&["XADD", "q", "1700000000123-7", "name", "上海", "note", "a:b\nc"]);
    let job = fixture.claim_one().await;
    assert_eq!(job.id, "1700000000123-7");
    assert_eq!(job.enqueued_at.unwrap().timestamp_millis(), 1_700_000_000_123);
    let Ok(Payload::Fields(fields)) = job.payload else { panic!("{job:?}") };
    assert_eq!(jobqueue_json::Value::Object(fields), jobqueue_json::json!({"name": "上海", "note": "a:b\nc"}));
}

#[tokio::test]
async fn entries_of_silent_strangers_are_taken_over() {
    let fixture = fixture(Protocol::Stream, LEASE).await;
    fixture.redis.cli(&["XADD", "q", "*", "r", "1"]);
    fixture.redis.cli(&["XADD", "q", "*", "r", "2"]);
    fixture.redis.cli(&["XREADGROUP", "GROUP", "jobqueue", "python", "COUNT", "1", "STREAMS", "q", ">"]);
    assert_eq!(fixture.reclaimed().await, 1);
    let job = fixture.claim_one().await;
    let Ok(Payload::Fields(fields)) = &job.payload else { panic!("{job:?}") };
    assert_eq!((fields["r"].as_str(), job.attempt), (Some("1"), 2));
    assert_eq!(fixture.settle(&job, done()).await, Settled::Finished);
}

#[tokio::test]
async fn entries_of_a_live_worker_are_left_alone_by_strangers() {
    let fixture = fixture(Protocol::Stream, Duration::from_secs(60)).await;
    fixture.redis.cli(&["XADD", "q", "*", "r", "1"]);
    let job = fixture.claim_one().await;
    // For so long, in milliseconds, nobody has shown to work on the entry.
    let idle = || {
        let entry = fixture.redis.cli(&["XPENDING", "q", "jobqueue", "-", "+", "10"]);
        entry.lines().nth(2).unwrap().parse::<u128>().unwrap()
    };
    let begun = Instant::now();
    while idle() < 100 {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = Instant::now();
    assert!(fixture.worker.heartbeat(&[job.lease]).await.unwrap().is_empty());
    assert!(idle() <= before.elapsed().as_millis(), "the heartbeat counts");
}

#[tokio::test]
async fn other_groups_keep_their_entries() {
    let fixture = fixture(Protocol::Stream, LEASE).await;
    fixture.redis.cli(&["XADD", "q", "*", "r", "1"]);
    assert_eq!(fixture.redis.cli(&["XGROUP", "CREATE", "q", "auditors", "0"]), "OK");
    let job = fixture.claim_one().await;
    assert_eq!(fixture.settle(&job, done()).await, Settled::Finished);
    assert_eq!(fixture.redis.cli(&["XLEN", "q"]), "1");
    assert_eq!(fixture.redis.cli(&["XPENDING", "q", "jobqueue"]).lines().next(), Some("0"));
}

#[tokio::test]
async fn a_claimed_entry_survives_trimming() {
    let fixture = fixture(Protocol::Stream, LEASE).await;
    fixture.redis.cli(&["XADD", "q", "*", "r", "1"]);
    fixture.claim_one().await;
    fixture.redis.cli(&["XTRIM", "q", "MAXLEN", "0"]);
    assert_eq!(fixture.reclaimed().await, 1);
    let job = fixture.claim_one().await;
    let Ok(Payload::Fields(fields)) = &job.payload else { panic!("{job:?}") };
    assert_eq!(fields["r"], "1");
    assert_eq!(fixture.settle(&job, done()).await, Settled::Finished);
}

#[tokio::test]
async fn old_failed_jobs_and_silent_workers_are_forgotten() {
    for (protocol, put) in
        [(Protocol::List, ["RPUSH", "q", "r"].as_slice()), (Protocol::Stream, &["XADD", "q", "*", "r", "1"])]
    {
        let fixture = fixture(protocol, LEASE).await;
        fixture.redis.cli(put);
        let job = fixture.claim_one().await;
        let outcome = Outcome::Failed { error: "no".into(), retry: Retry::Never };
        assert_eq!(fixture.settle(&job, outcome).await, Settled::Failed);
        let prefix = if protocol == Protocol::List { "jobqueue:{q}" } else { "jobqueue:{q}:jobqueue" };
        // Two years ago.
        let long_ago = (Utc::now().timestamp_millis() - 63_072_000_000).to_string();
        fixture.redis.cli(&["ZADD", &format!("{prefix}:failed"), &long_ago, &job.id]);
        fixture.redis.cli(&["ZADD", &format!("{prefix}:workers"), &long_ago, "dead"]);
        assert_eq!(fixture.worker.maintain().await.unwrap().expired, 1);
        assert_eq!(fixture.redis.cli(&["EXISTS", &format!("{prefix}:job:{}", job.id)]), "0");
        assert_eq!(fixture.redis.cli(&["ZRANGE", &format!("{prefix}:workers"), "0", "-1"]), "w");
    }
}
