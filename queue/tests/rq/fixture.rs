//! A queue of its own on the shared Redis, with a producer and a worker.

use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::{
    Completion, Connection, Delivery, Outcome, Protocol, QueueConfig, Retry, RqQueue, Serializer, Timeouts, TlsOptions,
    payload::encode_call,
};
use jobqueue_testkit::{Redis, redis, unique};
use redis::{AsyncTypedCommands, FromRedisValue, aio::MultiplexedConnection};
use serde_json::{Map, Value, json};

/// What the scores of our leases have on top of their end.
pub(crate) const OURS: i64 = 10_000_000_000;

/// A fresh queue name, a raw connection, and the key prefix `rq`.
pub(crate) struct Fixture {
    pub(crate) name: String,
    pub(crate) server: &'static Redis,
    pub(crate) raw: MultiplexedConnection,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::on(redis()).await
    }

    pub(crate) async fn on(server: &'static Redis) -> Self {
        let client = redis::Client::open(server.url()).unwrap();
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(60)));
        let raw = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        Self { name: unique("fixture"), server, raw }
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection::new(&self.server.url().parse().unwrap(), &TlsOptions::default(), Timeouts::default()).unwrap()
    }

    pub(crate) fn config(&self) -> QueueConfig {
        QueueConfig::new(Protocol::Rq, vec![self.name.clone()], unique("worker"))
    }

    pub(crate) fn worker(&self) -> RqQueue {
        self.worker_with(self.config())
    }

    pub(crate) fn worker_with(&self, config: QueueConfig) -> RqQueue {
        RqQueue::new(self.connection(), config).unwrap()
    }

    /// What `Queue.enqueue` writes, with further fields.
    pub(crate) async fn enqueue(&mut self, id: &str, fields: &[(&str, &str)]) {
        let name = self.name.clone();
        self.enqueue_on(&name, id, fields).await;
    }

    pub(crate) async fn enqueue_on(&mut self, queue: &str, id: &str, fields: &[(&str, &str)]) {
        self.write_job(queue, id, "queued", fields).await;
        self.raw.rpush(format!("rq:queue:{queue}"), id).await.unwrap();
    }

    pub(crate) async fn write_job(&mut self, queue: &str, id: &str, status: &str, fields: &[(&str, &str)]) {
        let data = encode_call("tasks.parse", &[json!("ACME;1")], &Map::new(), Serializer::Pickle);
        let mut hset = redis::cmd("HSET");
        hset.arg(format!("rq:job:{id}")).arg("data").arg(data);
        for (field, value) in [
            ("created_at", "2026-11-23T23:43:46.082897Z"),
            ("enqueued_at", "2026-11-23T23:43:46.090997Z"),
            ("status", status),
            ("origin", queue),
            ("timeout", "180"),
        ] {
            hset.arg(field).arg(value);
        }
        for (field, value) in fields {
            hset.arg(*field).arg(*value);
        }
        hset.query_async::<()>(&mut self.raw).await.unwrap();
    }

    /// A raw command, words separated by spaces; `Q` stands for the queue's name.
    pub(crate) async fn redis<T: FromRedisValue>(&mut self, command: &str) -> T {
        let words = command.replace('Q', &self.name);
        let mut words = words.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap());
        for word in words {
            cmd.arg(word);
        }
        cmd.query_async(&mut self.raw).await.unwrap()
    }

    pub(crate) async fn field(&mut self, id: &str, field: &str) -> Option<String> {
        self.redis(&format!("HGET rq:job:{id} {field}")).await
    }

    pub(crate) async fn status(&mut self, id: &str) -> String {
        self.field(id, "status").await.unwrap_or_default()
    }

    pub(crate) async fn waiting(&mut self) -> Vec<String> {
        self.redis("LRANGE rq:queue:Q 0 -1").await
    }

    /// Everything a run leaves while it lasts is gone.
    pub(crate) async fn assert_no_trace(&mut self, delivery: &Delivery) {
        let lease = &delivery.lease;
        let member = format!("{}:{}", lease.job, lease.execution);
        let wip: Option<String> = self.redis(&format!("ZSCORE rq:wip:{} {member}", lease.queue)).await;
        assert_eq!(wip, None, "wip");
        let left: i64 = self.redis(&format!("EXISTS rq:execution:{member} rq:executions:{}", lease.job)).await;
        assert_eq!(left, 0, "execution keys");
    }

    /// As if the lease of this delivery had ended a second ago.
    pub(crate) async fn lapse(&mut self, delivery: &Delivery) {
        let lease = &delivery.lease;
        let past = OURS + Utc::now().timestamp() - 1;
        let command = format!("ZADD rq:wip:{} XX CH {past} {}:{}", lease.queue, lease.job, lease.execution);
        assert_eq!(self.redis::<i64>(&command).await, 1);
    }
}

pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.id.as_str()).collect()
}

pub(crate) fn done(delivery: &Delivery, outcome: Outcome) -> Completion {
    let ended_at = Utc::now();
    Completion {
        delivery: delivery.clone(),
        outcome,
        started_at: ended_at - chrono::Duration::milliseconds(3),
        ended_at,
    }
}

pub(crate) fn finished(delivery: &Delivery) -> Completion {
    done(delivery, Outcome::Finished { result: Value::Null })
}

pub(crate) fn failed(delivery: &Delivery, retry: Retry) -> Completion {
    done(delivery, Outcome::Failed { error: "boom".into(), retry })
}
