//! Passwords, ACL users, databases.

use jobqueue_queue::{Connection, ConnectionUrl, Guard, QueueError, Timeouts, TlsOptions};
use jobqueue_testkit::Redis;
use redis::Value;

use crate::cluster::cluster;
use crate::{answered, connection, run};

#[tokio::test]
async fn an_acl_user_logs_in_and_a_wrong_one_is_denied_without_the_password_in_the_message() {
    let server = Redis::start(&[]);
    server.cli(&["ACL", "SETUSER", "worker", "on", ">s3cret/@x", "~rq:*", "+@all", "-@dangerous"]);
    let at = |login: &str| connection(&format!("redis://{login}127.0.0.1:{}/2", server.port()));
    let good = at("worker:s3cret%2F%40x@");
    run(&good, &["SET", "rq:a", "1"]).await.unwrap();
    assert_eq!(server.cli(&["-n", "2", "GET", "rq:a"]), "1", "the database of the URL");
    let Err(error @ QueueError::Denied { .. }) = run(&good, &["SET", "elsewhere", "1"]).await else { panic!() };
    assert!(error.to_string().contains("worker:***@"), "{error}");
    let Err(error @ QueueError::Denied { .. }) = run(&at("worker:wr0ng@"), &["PING"]).await else { panic!() };
    assert!(!error.to_string().contains("wr0ng"), "{error}");
}

#[tokio::test]
async fn a_password_is_asked_for_and_a_changed_one_is_followed_by_a_new_connection() {
    let server = Redis::start(&["--requirepass", "one"]);
    let at = |login: &str| connection(&format!("redis://{login}127.0.0.1:{}", server.port()));
    assert!(matches!(run(&at(""), &["PING"]).await, Err(QueueError::Denied { .. })));
    assert_eq!(run(&at(":one@"), &["PING"]).await.unwrap(), Value::SimpleString("PONG".into()));
    server.cli(&["-a", "one", "CONFIG", "SET", "requirepass", "two"]);
    assert!(matches!(run(&at(":one@"), &["PING"]).await, Err(QueueError::Denied { .. })));
    assert!(run(&at(":two@"), &["PING"]).await.is_ok());
}

#[tokio::test]
async fn a_password_in_a_file_is_read_for_each_connection() {
    let server = Redis::start(&["--requirepass", "one"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let url: ConnectionUrl = format!("redis://127.0.0.1:{}", server.port()).parse().unwrap();
    let url = url.with_password_file(&file).unwrap();
    let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
    let Err(error @ QueueError::Unavailable { .. }) = run(&connection, &["PING"]).await else { panic!() };
    assert!(error.to_string().contains("the password file"), "{error}");
    std::fs::write(&file, "one\n").unwrap();
    answered(&connection, &["PING"]).await;
    // The token is renewed, and the server ends connections that were made with the old one.
    server.cli(&["-a", "one", "CONFIG", "SET", "requirepass", "two"]);
    server.cli(&["-a", "two", "CLIENT", "KILL", "TYPE", "normal"]);
    std::fs::write(&file, "two\n").unwrap();
    answered(&connection, &["PING"]).await;
    let both = format!("redis://:one@127.0.0.1:{}", server.port()).parse::<ConnectionUrl>().unwrap();
    assert!(matches!(both.with_password_file(&file), Err(QueueError::Config(_))));
}

/// A client that began with one password, and connects to a node of the cluster when there is another.
#[tokio::test]
async fn each_node_of_a_cluster_is_given_the_password_of_the_moment() {
    let nodes = cluster();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let url: ConnectionUrl = format!("redis+cluster://127.0.0.1:{}", nodes[0].port()).parse().unwrap();
    let url = url.with_password_file(&file).unwrap();
    let (tls, limits) = (TlsOptions::default(), Timeouts::default());
    let trusting = Connection::new(&url, &tls, limits).unwrap();
    let guarded = Connection::guarded(&url, &tls, limits, Guard::default()).unwrap();
    for node in &nodes {
        node.cli(&["CONFIG", "SET", "requirepass", "one"]);
    }
    std::fs::write(&file, "one").unwrap();
    for connection in [&trusting, &guarded] {
        answered(connection, &["EVAL", "return 1", "1", "bar"]).await;
    }
    // Another node takes the new password only, and ends the connections that it has; the first ones take both for a while.
    let other = &nodes[2];
    for node in &nodes[..2] {
        node.cli(&["-a", "one", "ACL", "SETUSER", "default", ">two"]);
    }
    std::fs::write(&file, "two").unwrap();
    other.cli(&["-a", "one", "CONFIG", "SET", "requirepass", "two"]);
    other.cli(&["-a", "two", "CLIENT", "KILL", "TYPE", "normal"]);
    for connection in [&trusting, &guarded] {
        let began = std::time::Instant::now();
        loop {
            match run(connection, &["EVAL", "return 2", "1", "foo"]).await {
                Ok(answer) => break assert_eq!(answer, Value::Int(2)),
                Err(QueueError::Unavailable { .. }) if began.elapsed().as_secs() < 30 => {}
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a redis@home.sock");
    let server = Redis::start(&["--unixsocket", path.to_str().unwrap(), "--requirepass", "s3cret"]);
    let shown = path.to_str().unwrap().replace(' ', "%20");
    let at = |login: &str| connection(&format!("unix://{login}{shown}?db=3"));
    let good = at(":s3cret@");
    run(&good, &["SET", "a", "1"]).await.unwrap();
    assert_eq!(server.cli(&["-a", "s3cret", "-n", "3", "GET", "a"]), "1", "the database of the URL");
    let mut heard = good.subscribe("news").await.unwrap();
    run(&good, &["PUBLISH", "news", "x"]).await.unwrap();
    assert_eq!(futures::StreamExt::next(&mut heard.on_message()).await.unwrap().get_payload_bytes(), b"x");
    let Err(error @ QueueError::Denied { .. }) = run(&at(":wr0ng@"), &["PING"]).await else { panic!() };
    assert!(error.to_string().contains(&format!("unix://:***@{shown}")), "{error}");
    let nobody = connection(&format!("unix://{}/none.sock", directory.path().display()));
    assert!(matches!(run(&nobody, &["PING"]).await, Err(QueueError::Unavailable { .. })));
}
