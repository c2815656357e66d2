//! Redis away, slow, restarted.

use std::time::{Duration, Instant};

use jobqueue_queue::{Connection, QueueError, Timeouts, TlsOptions};
use jobqueue_testkit::{Redis, free_port};

use crate::{answered, connection, run};

#[tokio::test]
async fn nobody_there_is_unavailable_at_once() {
    let connection = connection(&format!("redis://:s3cret@127.0.0.1:{}", free_port()));
    let began = Instant::now();
    let Err(error @ QueueError::Unavailable { .. }) = run(&connection, &["PING"]).await else { panic!() };
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn a_restarted_server_is_found_again_by_the_same_connection() {
    let mut server = Redis::start(&[]);
    let connection = connection(&server.url());
    run(&connection, &["SET", "a", "1"]).await.unwrap();
    server.kill();
    assert!(matches!(run(&connection, &["GET", "a"]).await, Err(QueueError::Unavailable { .. })));
    server.revive();
    let value = answered(&connection, &["GET", "a"]).await;
    assert_eq!(value, redis::Value::BulkString(b"1".into()));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_in_time_and_does_not_block_others() {
    let server = Redis::start(&[]);
    let timeouts = Timeouts { connect: Duration::from_secs(1), response: Duration::from_secs(1) };
    let connection = Connection::new(&server.url().parse().unwrap(), &TlsOptions::default(), timeouts).unwrap();
    run(&connection, &["PING"]).await.unwrap();
    let signal = |name: &str| {
        let pid = server.pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let began = Instant::now();
    let calls = (0..20).map(|_| run(&connection, &["PING"]));
    for answer in futures::future::join_all(calls).await {
        assert!(matches!(answer, Err(QueueError::Unavailable { .. })), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    signal("-CONT");
    answered(&connection, &["PING"]).await;
}
