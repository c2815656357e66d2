//! A master, a replica and a Sentinel; the master dies.

use std::time::Duration;

use jobqueue_queue::{Backend, Protocol, QueueConfig, QueueError, RqQueue};
use jobqueue_testkit::{Redis, Sentinel, free_port, until};

use crate::{answered, connection, run};

#[tokio::test]
async fn the_new_master_is_found_after_a_failover() {
    let login = ["--requirepass", "s3cret", "--masterauth", "s3cret"];
    let mut master = Redis::start(&login);
    let replica_of = format!("127.0.0.1 {}", master.port());
    let replica = Redis::start(&[&login[..], &["--replicaof", &replica_of]].concat());
    let sentinel = Sentinel::start(&master, "s3cret");
    // The first of the Sentinels is away, and they ask for the password that the data nodes have.
    let url = format!("redis+sentinel://:s3cret@127.0.0.1:{},127.0.0.1:{}/mymaster/0", free_port(), sentinel.port());
    let connection = connection(&url);
    let worker =
        RqQueue::new(connection.clone(), QueueConfig::new(Protocol::Rq, vec!["q".into()], "sentinel-worker")).unwrap();
    worker.register().await.unwrap();
    run(&connection, &["SET", "a", "1"]).await.unwrap();
    assert_eq!(master.cli(&["-a", "s3cret", "GET", "a"]), "1");
    until("the replica has it", Duration::from_secs(10), || replica.cli(&["-a", "s3cret", "GET", "a"]) == "1");
    master.kill();
    assert!(matches!(run(&connection, &["SET", "a", "2"]).await, Err(QueueError::Unavailable { .. })));
    answered(&connection, &["SET", "a", "3"]).await;
    assert_eq!(replica.cli(&["-a", "s3cret", "GET", "a"]), "3");
    worker.heartbeat(&[]).await.unwrap();
}

#[tokio::test]
async fn an_unknown_master_is_a_mistake_in_the_url() {
    let master = Redis::start(&["--requirepass", "s3cret"]);
    let replica_of = format!("127.0.0.1 {}", master.port());
    let _replica = Redis::start(&["--masterauth", "s3cret", "--replicaof", &replica_of]);
    let sentinel = Sentinel::start(&master, "s3cret");
    let url = format!("redis+sentinel://127.0.0.1:{}/other?sentinel_password=s3cret", sentinel.port());
    let error = run(&connection(&url), &["PING"]).await.unwrap_err();
    assert!(matches!(error, QueueError::Config(_)), "{error:?}");
}
