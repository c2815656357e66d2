//! A cluster of three masters: each protocol's whole life on it.

use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::{
    Completion, Outcome, Protocol, QueueConfig, QueueError, Settled, StatsQuery, connect, payload, stats,
};
use jobqueue_testkit::{Redis, free_port, until};
use redis::Value;
use serde_json::Map;

use crate::{connection, run};

/// Three masters that share the slots.
fn cluster() -> Vec<Redis> {
    let buses: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let nodes: Vec<Redis> = buses
        .iter()
        .map(|bus| Redis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()]))
        .collect();
    for (node, range) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        assert_eq!(node.cli(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]), "OK");
    }
    for (node, bus) in nodes.iter().zip(&buses).skip(1) {
        nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), &bus.to_string()]);
    }
    until("the cluster is whole", Duration::from_secs(30), || {
        nodes.iter().all(|node| {
            let info = node.cli(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
        })
    });
    nodes
}

#[tokio::test]
async fn every_protocol_works_on_a_cluster() {
    let nodes = cluster();
    // One node is enough to find the others.
    let connection = connection(&format!("redis+cluster://127.0.0.1:{}", nodes[0].port()));
    let mut queries = Vec::new();
    for protocol in [Protocol::Rq, Protocol::List, Protocol::Stream] {
        let names: Vec<String> = ["one", "two", "three"].map(|name| format!("{protocol}-{name}")).into();
        let mut config = QueueConfig::new(protocol, names.clone(), format!("worker-{protocol}"));
        config.key_prefix = "{rq}".into();
        queries.push(StatsQuery::from(&config));
        let worker = connect(&connection, config).unwrap();
        worker.register().await.unwrap();
        for name in &names {
            produce(&connection, protocol, name).await;
        }
        worker.wait(Duration::from_secs(5)).await.unwrap();
        let claim = worker.claim(10).await.unwrap();
        let taken: Vec<&str> = claim.deliveries.iter().map(|delivery| delivery.queue.as_str()).collect();
        assert_eq!(taken, names, "{protocol}");
        let leases: Vec<_> = claim.deliveries.iter().map(|delivery| delivery.lease.clone()).collect();
        assert!(worker.heartbeat(&leases).await.unwrap().is_empty());
        let now = Utc::now();
        let completions: Vec<Completion> = claim
            .deliveries
            .into_iter()
            .map(|delivery| {
                let outcome = Outcome::Finished { result: serde_json::Value::Null };
                Completion { delivery, outcome, started_at: now, ended_at: now }
            })
            .collect();
        assert_eq!(worker.settle(&completions).await.unwrap(), [Settled::Finished; 3]);
        worker.maintain().await.unwrap();
    }
    for (query, stats) in queries.iter().zip(stats(&connection, &queries).await.unwrap()) {
        let stats = stats.unwrap();
        assert_eq!((stats.waiting, stats.running, stats.workers.len()), (0, 0, 1), "{query:?}");
        assert_eq!(stats.workers[0].succeeded, 3, "{query:?}");
    }
}

async fn produce(connection: &jobqueue_queue::Connection, protocol: Protocol, name: &str) {
    match protocol {
        Protocol::List => _ = run(connection, &["RPUSH", name, "record"]).await.unwrap(),
        Protocol::Stream => _ = run(connection, &["XADD", name, "*", "record", "1"]).await.unwrap(),
        Protocol::Rq => {
            let data = payload::encode_call("m.f", &[], &Map::new(), jobqueue_queue::Serializer::Json);
            let mut set = redis::cmd("HSET");
            set.arg(format!("{{rq}}:job:{name}")).arg("data").arg(data).arg("status").arg("queued");
            set.arg("created_at").arg("2026-01-02T03:04:05.000006Z");
            connection.query::<Value>(&set).await.unwrap();
            run(connection, &["RPUSH", &format!("{{rq}}:queue:{name}"), name]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn commands_reach_a_worker_on_a_cluster() {
    let nodes = cluster();
    let connection = connection(&format!("redis+cluster://127.0.0.1:{}", nodes[1].port()));
    let mut config = QueueConfig::new(Protocol::Rq, vec!["q".into()], "w");
    config.key_prefix = "{rq}".into();
    let worker = connect(&connection, config).unwrap();
    worker.register().await.unwrap();
    nodes[2].cli(&["PUBLISH", "{rq}:pubsub:w", r#"{"command":"shutdown"}"#]);
    let command = tokio::time::timeout(Duration::from_secs(10), worker.next_command()).await.unwrap();
    assert_eq!(command, jobqueue_queue::Command::Shutdown);
}

#[test]
fn rq_without_a_hash_tag_is_refused() {
    let connection = connection("redis+cluster://127.0.0.1:7000");
    let error = connect(&connection, QueueConfig::new(Protocol::Rq, vec!["q".into()], "w")).err().unwrap();
    assert!(matches!(&error, QueueError::Config(message) if message.contains("{rq}")), "{error:?}");
}
