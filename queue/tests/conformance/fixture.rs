//! What a case of the suite works with: a Redis of its own, a producer and workers of one protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use jobqueue_queue::admin::FailedJobs;
use jobqueue_queue::{
    Backend, Claim, Completion, Connection, Delivery, Maintenance, Outcome, Payload, Protocol, QueueConfig, Retry,
    Serializer, Settled, Stopper, Timeouts, TlsOptions, connect, payload,
};
use jobqueue_testkit::{Redis, free_port};
use serde_json::{Map, Value};

/// Long enough for a case that does not want a lease to lapse.
const LONG: Duration = Duration::from_secs(60);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Fixture {
    pub(crate) protocol: Protocol,
    pub(crate) redis: Arc<Redis>,
    pub(crate) connection: Connection,
    /// RQ's key prefix.
    pub(crate) prefix: &'static str,
}

pub(crate) struct Worker {
    pub(crate) backend: Arc<dyn Backend>,
}

impl Fixture {
    pub(crate) fn new(protocol: Protocol) -> Self {
        let redis = Redis::start(&[]);
        let url = redis.url().parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        Self { protocol, redis: Arc::new(redis), connection, prefix: "rq" }
    }

    /// On a cluster (of one node, which does not make it less strict about slots).
    pub(crate) async fn cluster(protocol: Protocol) -> Self {
        // By default the bus listens at the port plus 10000, which may be no port at all.
        let bus = free_port();
        let redis = Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]);
        assert_eq!(redis.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
        let begun = Instant::now();
        while !redis.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(begun.elapsed() < PATIENCE, "{}", redis.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let url = format!("redis+cluster://127.0.0.1:{}", redis.port()).parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        Self { protocol, redis: Arc::new(redis), connection, prefix: "{rq}" }
    }

    /// The failed registry of the queue `q`.
    pub(crate) fn failed(&self) -> FailedJobs {
        FailedJobs::of(self.connection.clone(), self.protocol, self.prefix, "jobqueue", "q").unwrap()
    }

    pub(crate) fn stopper(&self, queues: &[&str]) -> Stopper {
        let queues: Vec<String> = queues.iter().map(ToString::to_string).collect();
        Stopper::new(self.connection.clone(), self.protocol, self.prefix, "jobqueue", &queues).unwrap()
    }

    pub(crate) fn config(&self, name: &str, queues: &[&str]) -> QueueConfig {
        let mut config = QueueConfig::new(self.protocol, queues.iter().map(ToString::to_string).collect(), name);
        config.key_prefix = self.prefix.into();
        config.lease = LONG;
        config.retry.backoff = Duration::from_millis(20);
        config
    }

    /// The same server, as another account.
    pub(crate) fn as_user(&self, user: &str, password: &str) -> Self {
        let url = format!("redis://{user}:{password}@127.0.0.1:{}/0", self.redis.port()).parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        Self { protocol: self.protocol, redis: Arc::clone(&self.redis), connection, prefix: self.prefix }
    }

    pub(crate) fn backend(&self, config: QueueConfig) -> Arc<dyn Backend> {
        connect(&self.connection, config).unwrap()
    }

    pub(crate) async fn worker_with(&self, config: QueueConfig) -> Worker {
        let backend = self.backend(config);
        backend.register().await.unwrap();
        Worker { backend }
    }

    pub(crate) async fn worker(&self, name: &str) -> Worker {
        self.worker_with(self.config(name, &["q"])).await
    }

    /// One whose leases lapse at once.
    pub(crate) async fn hasty_worker(&self, name: &str) -> Worker {
        self.worker_with(self.hasty_config(name)).await
    }

    pub(crate) fn hasty_config(&self, name: &str) -> QueueConfig {
        let mut config = self.config(name, &["q"]);
        config.lease = Duration::from_millis(200);
        config
    }

    /// Puts records on a queue, as a producer of the protocol does.
    pub(crate) async fn produce(&self, queue: &str, records: &[&str]) {
        for record in records {
            match self.protocol {
                Protocol::List => self.run(&["RPUSH", queue, record]).await,
                Protocol::Stream => self.run(&["XADD", queue, "*", "record", record]).await,
                Protocol::Rq => self.enqueue(queue, record).await,
            };
        }
    }

    async fn enqueue(&self, queue: &str, record: &str) -> redis::Value {
        let data = payload::encode_call("m.f", &[Value::from(record)], &Map::new(), Serializer::Pickle);
        let id = format!("{queue}-{record}");
        let mut set = redis::cmd("HSET");
        set.arg(format!("{}:job:{id}", self.prefix)).arg("data").arg(data);
        for (field, value) in [("created_at", "2026-01-02T03:04:05.000006Z"), ("status", "queued"), ("origin", queue)] {
            set.arg(field).arg(value);
        }
        self.connection.query::<i64>(&set).await.unwrap();
        let key = format!("{}:queue:{queue}", self.prefix);
        self.run(&["SADD", &format!("{}:queues", self.prefix), &key]).await;
        self.run(&["RPUSH", &key, &id]).await
    }

    async fn run(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        self.connection.query(&command).await.unwrap()
    }
}

impl Worker {
    pub(crate) async fn claim(&self, max: usize) -> Vec<Delivery> {
        let Claim { deliveries, dropped, suspended } = self.backend.claim(max).await.unwrap();
        assert!(dropped.is_empty() && !suspended, "{dropped:?}");
        deliveries
    }

    pub(crate) async fn claim_one(&self) -> Delivery {
        let mut claimed = self.claim(1).await;
        claimed.pop().expect("a job is there")
    }

    pub(crate) async fn records(&self, max: usize) -> Vec<String> {
        self.claim(max).await.iter().map(record).collect()
    }

    pub(crate) async fn settle(&self, delivery: &Delivery, outcome: Outcome) -> Settled {
        self.settle_all(std::slice::from_ref(delivery), &outcome).await[0]
    }

    pub(crate) async fn settle_all(&self, deliveries: &[Delivery], outcome: &Outcome) -> Vec<Settled> {
        let now = Utc::now();
        let completions: Vec<_> = deliveries
            .iter()
            .map(|delivery| Completion {
                delivery: delivery.clone(),
                outcome: outcome.clone(),
                started_at: now - chrono::TimeDelta::milliseconds(5),
                ended_at: now,
            })
            .collect();
        self.backend.settle(&completions).await.unwrap()
    }

    /// Maintains until the total says what is expected.
    pub(crate) async fn maintain_until(&self, reached: impl Fn(&Maintenance) -> bool) -> Maintenance {
        let mut total = Maintenance::default();
        let begun = Instant::now();
        loop {
            let done = self.backend.maintain().await.unwrap();
            total.reclaimed += done.reclaimed;
            total.abandoned += done.abandoned;
            total.due += done.due;
            total.expired += done.expired;
            if reached(&total) {
                return total;
            }
            assert!(begun.elapsed() < PATIENCE, "maintenance only did {total:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What the producer put in.
pub(crate) fn record(delivery: &Delivery) -> String {
    match delivery.payload.as_ref().expect("the payload is good") {
        Payload::Record(record) => record.clone(),
        Payload::Fields(fields) => fields["record"].as_str().unwrap().to_owned(),
        Payload::Call(call) => call.args[0].as_str().unwrap().to_owned(),
    }
}

pub(crate) fn finished() -> Outcome {
    Outcome::Finished { result: Value::Null }
}

pub(crate) fn failed(retry: Retry) -> Outcome {
    Outcome::Failed { error: "no such table: companies".into(), retry }
}
