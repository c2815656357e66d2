//! A cluster of three masters: each protocol's whole life on it, and a slot that moves.

use std::time::Duration;

use jobqueue_queue::{Protocol, QueueConfig, QueueError, Script, connect};
use jobqueue_testkit::{Redis, free_port, until};

use crate::connection;
use crate::life::life;

/// Three masters that share the slots.
pub(crate) fn cluster() -> Vec<Redis> {
    of(&[], "127.0.0.1")
}

/// Those that listen at an address and have `settings`.
pub(crate) fn of(settings: &[&str], address: &str) -> Vec<Redis> {
    let buses: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let nodes: Vec<Redis> = buses
        .iter()
        .map(|bus| {
            Redis::start(&[&["--cluster-enabled", "yes", "--cluster-port", &bus.to_string()], settings].concat())
        })
        .collect();
    for (node, range) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
        assert_eq!(node.cli(&["CLUSTER", "ADDSLOTSRANGE", range.0, range.1]), "OK");
    }
    for (node, bus) in nodes.iter().zip(&buses).skip(1) {
        nodes[0].cli(&["CLUSTER", "MEET", address, &node.port().to_string(), &bus.to_string()]);
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
    life(&connection(&format!("redis+cluster://127.0.0.1:{}", nodes[0].port()))).await;
}

/// A slot's move, by hand and stopped at each step: until it is over nothing runs where only a part of the keys may be.
#[tokio::test]
async fn a_slot_on_its_way_is_away_for_a_moment_and_found_again_where_it_arrived() {
    let nodes = cluster();
    let connection = connection(&format!("redis+cluster://127.0.0.1:{}", nodes[2].port()));
    // Slot 7000 or so is the second node's, whatever the tag: the test takes a tag that is there.
    let (tag, slot) = (0..)
        .map(|n| format!("{{tag{n}}}"))
        .map(|tag| (nodes[0].cli(&["CLUSTER", "KEYSLOT", &tag]).parse::<u16>().unwrap(), tag))
        .find_map(|(slot, tag)| (5461..=10922).contains(&slot).then(|| (tag, slot.to_string())))
        .unwrap();
    let (source, target) = (&nodes[1], &nodes[0]);
    let key = |name: &str| format!("{tag}:{name}");
    let touch = Script::new(&["redis.call('INCR', ARGV[1])\nreturn redis.call('INCR', ARGV[2])"]);
    let call = || touch.on(&key("one")).arg(key("one")).arg(key("two"));
    assert_eq!(connection.invoke::<u64>(&call()).await.unwrap(), 1);
    let id = |node: &Redis| node.cli(&["CLUSTER", "MYID"]);
    assert_eq!(target.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &id(source)]), "OK");
    assert_eq!(source.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &id(target)]), "OK");
    // Everything is where it was.
    assert_eq!(connection.invoke::<u64>(&call()).await.unwrap(), 2);
    let migrate = |name: &str| {
        let port = target.port().to_string();
        assert_eq!(source.cli(&["MIGRATE", "127.0.0.1", &port, &key(name), "0", "5000"]), "OK");
    };
    let away = async |step: &str| {
        let Err(error) = connection.invoke::<u64>(&call()).await else { panic!("{step}: it ran") };
        assert!(matches!(error, QueueError::Unavailable { .. }), "{step}: {error:?}");
        let Err(error) = connection.invoke_all(&[call(), call()]).await.and_then(|mut all| all.remove(0)) else {
            panic!("{step}: it ran")
        };
        assert!(matches!(error, QueueError::Unavailable { .. }), "{step}: {error:?}");
    };
    migrate("two");
    away("the script finds a key gone").await;
    migrate("one");
    away("the key that leads it is gone").await;
    for node in [target, source, &nodes[2]] {
        assert_eq!(node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id(target)]), "OK");
    }
    assert_eq!(connection.invoke::<u64>(&call()).await.unwrap(), 3, "none ran at the destination");
    assert_eq!(target.cli(&["GET", &key("one")]), "6", "where only the second was away the first was there");
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
