//! RESP3: maps, doubles, booleans and another nil than in RESP2, wherever the protocol of the connection shows.

use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::producer::{Destination, Producer, Progress, Shape};
use jobqueue_queue::{Command, Connection, Protocol, QueueConfig, connect};
use jobqueue_testkit::Redis;
use redis::Value;

use crate::cluster::cluster;
use crate::life::life;
use crate::{connection, run};

async fn speaks_resp3(connection: &Connection) {
    assert_eq!(run(connection, &["HGETALL", "nothing"]).await.unwrap(), Value::Map(Vec::new()));
}

#[tokio::test]
async fn every_protocol_works_on_one_server() {
    let server = Redis::start(&[]);
    let connection = connection(&format!("{}?protocol=3", server.url()));
    speaks_resp3(&connection).await;
    life(&connection).await;
}

#[tokio::test]
async fn every_protocol_works_on_a_cluster() {
    let nodes = cluster();
    let connection = connection(&format!("redis+cluster://127.0.0.1:{}?protocol=3", nodes[0].port()));
    speaks_resp3(&connection).await;
    life(&connection).await;
}

#[tokio::test]
async fn commands_are_heard() {
    let server = Redis::start(&[]);
    let connection = connection(&format!("{}?protocol=3", server.url()));
    let worker = connect(&connection, QueueConfig::new(Protocol::Rq, vec!["q".into()], "w")).unwrap();
    worker.register().await.unwrap();
    server.cli(&["PUBLISH", "rq:pubsub:w", r#"{"command":"shutdown"}"#]);
    let command = tokio::time::timeout(Duration::from_secs(10), worker.next_command()).await.unwrap();
    assert_eq!(command, Command::Shutdown);
}

#[tokio::test]
async fn a_producer_finds_its_progress() {
    let server = Redis::start(&[]);
    let destination =
        Destination { queue: "q".into(), key_prefix: "rq".into(), shape: Shape::Element, at_front: false };
    let producer = Producer::new(connection(&format!("{}?protocol=3", server.url())), destination);
    assert!(producer.progress("file").await.unwrap().is_none());
    let run = producer.begin(Some("file"), &Progress::default()).await.unwrap();
    let after = Progress { bytes: 4, lines: 1, jobs: 1, crc32: 7, done: false };
    producer.enqueue(&run, &producer.batch(&["one"]), 0, &after, Utc::now()).await.unwrap();
    assert_eq!(producer.progress("file").await.unwrap().unwrap().bytes, 4);
    assert_eq!(server.cli(&["LRANGE", "q", "0", "-1"]), "one");
}
