//! Servers that are known by IPv6 addresses only: alone, with TLS, as a cluster, and behind a Sentinel.

use std::time::Duration;

use jobqueue_queue::{Connection, Guard, Script, Timeouts, TlsOptions};
use jobqueue_testkit::{Authority, Redis, Sentinel, free_port, until};

use crate::{cluster, connection, life::life, run, with_tls};

/// Also on IPv4, where the harness looks whether the server is up.
const BOTH: [&str; 3] = ["--bind", "127.0.0.1", "::1"];

fn guarded(url: &str, tls: &TlsOptions) -> Connection {
    Connection::guarded(&url.parse().unwrap(), tls, Timeouts::default(), Guard::default()).unwrap()
}

#[tokio::test]
async fn one_server() {
    let redis = Redis::start(&BOTH);
    let url = format!("redis://[::1]:{}/0", redis.port());
    life(&connection(&url)).await;
    run(&guarded(&url, &TlsOptions::default()), &["SET", "seen", "yes"]).await.unwrap();
    assert_eq!(redis.cli(&["GET", "seen"]), "yes");
}

#[tokio::test]
async fn a_certificate_names_the_address() {
    let authority = Authority::new();
    let (redis, port) = authority.redis(false, &BOTH);
    let url = format!("rediss://[::1]:{port}");
    let tls = TlsOptions { ca: Some(authority.pem("ca.pem")), ..TlsOptions::default() };
    for (name, connection) in [("plain", with_tls(&url, &tls)), ("guarded", guarded(&url, &tls))] {
        run(&connection, &["SET", name, "yes"]).await.unwrap();
        assert_eq!(redis.cli(&["GET", name]), "yes");
    }
}

#[tokio::test]
async fn the_nodes_of_a_cluster() {
    let nodes = cluster::of(&[&BOTH[..], &["--cluster-announce-ip", "::1"]].concat(), "::1");
    let slots = nodes[0].cli(&["CLUSTER", "SLOTS"]);
    assert!(slots.contains("::1") && !slots.contains("127.0.0.1"), "they are known by IPv6 only: {slots}");
    let url = format!("redis+cluster://[::1]:{}", nodes[0].port());
    life(&connection(&url)).await;
    let connection = guarded(&url, &TlsOptions::default());
    let script = Script::new(&["return redis.call('INCR', ARGV[1])"]);
    // Keys of all three nodes.
    for key in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(connection.invoke::<u64>(&script.on(key).arg(key.to_owned())).await.unwrap(), 1, "{key}");
    }
}

#[tokio::test]
async fn the_master_that_a_sentinel_names() {
    let login = ["--requirepass", "s3cret", "--masterauth", "s3cret"];
    let master = Redis::start(&[&login[..], &BOTH].concat());
    let replica_of = format!("::1 {}", master.port());
    let _replica = Redis::start(&[&login[..], &BOTH, &["--replicaof", &replica_of]].concat());
    let sentinel = Sentinel::start_at("::1", &master, "s3cret");
    let url = format!("redis+sentinel://:s3cret@[::1]:{},[::1]:{}/mymaster/0", free_port(), sentinel.port());
    for (name, connection) in [("plain", connection(&url)), ("guarded", guarded(&url, &TlsOptions::default()))] {
        run(&connection, &["SET", name, "yes"]).await.unwrap();
        until("the master has it", Duration::from_secs(5), || master.cli(&["-a", "s3cret", "GET", name]) == "yes");
    }
}
