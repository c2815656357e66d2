//! The resolver with name servers that mean harm, and with those that do not.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::Hosts;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RecordType};
use redis::RedisConnectionInfo;

use super::scripted::{NameServer, Reply, address, no_such_name};
use super::*;
use crate::redis::connection::{Connection, Timeouts, TlsOptions};
use crate::redis::connector::Connector;
use crate::redis::guard::dialer::{Dialer, Transport};
use crate::redis::guard::{AddressPolicy, Guard};
use crate::redis::url::Node;
use crate::{QueueError, redis::url::ConnectionUrl};

/// One that asks `servers`.
fn resolver_with(servers: &[&NameServer], search: &[&str], ndots: usize, hosts: &str) -> Arc<Resolver> {
    let servers: Vec<_> = servers.iter().map(|server| server.config()).collect();
    let search: Vec<_> = search.iter().map(|domain| Name::from_ascii(domain).unwrap()).collect();
    let mut known = Hosts::default();
    known.read_hosts_conf(hosts.as_bytes()).unwrap();
    let dns = Arc::new(Dns::new(&servers, &search, ndots, known));
    Arc::new(Resolver::new(move |host| {
        let dns = dns.clone();
        async move { dns.addresses(&host).await }.boxed()
    }))
}

fn resolver(server: &NameServer) -> Arc<Resolver> {
    resolver_with(&[server], &[], 1, "")
}

async fn found(resolver: &Resolver, host: &str) -> Vec<String> {
    let found = resolver.lookup(host, 6379).await.unwrap_or_else(|error| panic!("{host}: {error}"));
    found.iter().map(|address| address.ip().to_string()).collect()
}

async fn refused(resolver: &Resolver, host: &str) -> String {
    resolver.lookup(host, 6379).await.unwrap_err().to_string()
}

/// The slowest of a hundred, but for one.
async fn p99(resolver: &Resolver, prefix: &str) -> Duration {
    let mut times = Vec::new();
    for number in 0..200 {
        let began = Instant::now();
        found(resolver, &format!("{prefix}{number}.quick")).await;
        times.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    times.sort();
    times[197]
}

#[tokio::test]
async fn thousands_of_names_that_hang_do_not_keep_a_quick_one_waiting() {
    let server =
        NameServer::start(|name, _| if name.ends_with("quick") { address("10.0.0.1") } else { Reply::Silence });
    let resolver = resolver(&server);
    let control = p99(&resolver, "before").await;
    let attack = tokio::spawn({
        let resolver = resolver.clone();
        async move {
            let mut hanging = tokio::task::JoinSet::new();
            for number in 0..3_000 {
                let resolver = resolver.clone();
                hanging.spawn(async move { refused(&resolver, &format!("hangs{number}.slow")).await });
                if number % 50 == 0 {
                    tokio::time::sleep(MOMENT).await;
                }
            }
            hanging.join_all().await
        }
    });
    let many = async {
        while lock(&resolver.shared.hanging).by_number.len() < HANGING {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), many).await.expect("they begin, and hang");
    let attacked = p99(&resolver, "during").await;
    assert!(lock(&resolver.shared.hanging).by_number.len() > HANGING / 2, "they still hang");
    println!("99th percentile {control:?} without names that hang, {attacked:?} with 3,000");
    assert!(attacked < control + Duration::from_millis(500), "{control:?} without, {attacked:?} with");
    for said in attack.await.unwrap() {
        assert!(said.contains("did not answer for the host name in time"), "{said}");
    }
    assert!(lock(&resolver.shared.by_name).is_empty() && lock(&resolver.shared.hanging).by_number.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_one_that_hangs_longest_is_given_up_for_one_too_many() {
    let resolver = Arc::new(Resolver::new(|_| std::future::pending().boxed()));
    let names: Vec<_> = (0..=HANGING).map(|number| format!("name{number}")).collect();
    let began = tokio::time::Instant::now();
    let given_up = futures::future::join_all(names.iter().map(|name| async {
        refused(&resolver, name).await;
        began.elapsed()
    }));
    let given_up = given_up.await;
    assert!(given_up[0] < LIMIT, "{:?}", given_up[0]);
    assert!(given_up[1..].iter().all(|after| *after >= LIMIT), "{given_up:?}");
}

#[tokio::test]
async fn a_burst_of_names_that_are_quick_waits_for_its_turn() {
    let server = NameServer::start(|_, _| address("10.0.0.1"));
    let resolver = resolver(&server);
    let names: Vec<_> = (0..1_500).map(|number| format!("name{number}")).collect();
    let began = Instant::now();
    futures::future::join_all(names.iter().map(|name| found(&resolver, name))).await;
    println!("{} names in {:?}", names.len(), began.elapsed());
}

#[tokio::test]
async fn a_name_is_looked_up_once_at_a_time_and_then_as_long_as_it_holds() {
    let server = NameServer::start(|name, _| match name {
        "short" => Reply::Addresses(vec![[10, 0, 0, 1].into()], 0),
        _ => address("10.0.0.2"),
    });
    let resolver = resolver(&server);
    let all = futures::future::join_all((0..50).map(|_| found(&resolver, "long"))).await;
    assert!(all.iter().all(|found| found == &["10.0.0.2"]), "{all:?}");
    found(&resolver, "long").await;
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    resolver.forget("long");
    found(&resolver, "long").await;
    assert_eq!(server.asked().len(), 4, "{:?}", server.asked());
    found(&resolver, "short").await;
    found(&resolver, "short").await;
    assert_eq!(server.asked().len(), 8, "{:?}", server.asked());
}

#[tokio::test]
async fn what_is_remembered_is_bounded() {
    let resolver = Resolver::new(|_| {
        let addresses: Arc<[IpAddr]> = vec![[10, 0, 0, 1].into()].into();
        async move { Ok(Found { addresses, lifetime: Duration::from_secs(1_000) }) }.boxed()
    });
    for number in 0..3 * REMEMBERED {
        found(&resolver, &format!("name{number}")).await;
    }
    resolver.known.run_pending_tasks();
    assert!((REMEMBERED / 2..=REMEMBERED).contains(&resolver.known.entry_count()), "{}", resolver.known.entry_count());
}

#[tokio::test]
async fn a_name_without_an_address_is_told_so_and_not_asked_for_again_at_once() {
    let server = NameServer::start(|name, _| match name {
        "broken" => Reply::Error(ResponseCode::ServFail),
        _ => no_such_name(),
    });
    let resolver = resolver(&server);
    for _ in 0..5 {
        assert!(refused(&resolver, "nobody").await.contains("the host name has no address"));
    }
    assert_eq!(server.asked().len(), 2, "{:?}", server.asked());
    let said = refused(&resolver, "broken").await;
    assert!(said.contains("Server Failure"), "{said}");
    for wrong in ["a b", &"a".repeat(64), &"a.".repeat(200)] {
        let said = refused(&resolver, wrong).await;
        assert!(said.contains("this is not a host name"), "{wrong}: {said}");
    }
}

#[tokio::test]
async fn names_are_looked_up_as_in_a_pod() {
    let server = NameServer::start(|name, _| match name {
        "redis.tenant.svc.cluster.local" => address("10.0.0.1"),
        "cache_1.svc.cluster.local" => address("10.0.0.2"),
        "redis.example.com" => address("10.0.0.3"),
        "a.b.c.d.e.example.com" => address("10.0.0.4"),
        _ => no_such_name(),
    });
    let search = ["operator.svc.cluster.local", "svc.cluster.local", "cluster.local"];
    let hosts = "10.9.9.9 printer printer.local\nfd00::9 printer\n";
    let resolver = resolver_with(&[&server], &search, 5, hosts);
    for (host, address, first) in [
        ("redis.tenant.svc", "10.0.0.1", "redis.tenant.svc.operator.svc.cluster.local"),
        ("cache_1", "10.0.0.2", "cache_1.operator.svc.cluster.local"),
        ("redis.example.com", "10.0.0.3", "redis.example.com.operator.svc.cluster.local"),
        ("redis.example.com.", "10.0.0.3", "redis.example.com"),
        ("a.b.c.d.e.example.com", "10.0.0.4", "a.b.c.d.e.example.com"),
    ] {
        let before = server.asked().len();
        assert_eq!(found(&resolver, host).await, [address]);
        let name = server.asked()[before].split(' ').next().unwrap().to_owned();
        assert_eq!(name, first, "{host}");
    }
    let before = server.asked().len();
    assert_eq!(found(&resolver, "printer").await, ["fd00::9", "10.9.9.9"], "of the file of hosts");
    assert_eq!(found(&resolver, "2130706433").await, ["127.0.0.1"], "a number");
    assert!(found(&resolver, "localhost").await.contains(&"127.0.0.1".to_owned()));
    assert_eq!(server.asked().len(), before);
}

#[tokio::test]
async fn one_family_does_not_wait_for_the_other() {
    let server = NameServer::start(|name, family| match (name, family) {
        ("six", _) => address("fd00::1"),
        ("four", RecordType::AAAA) => Reply::Silence,
        ("four", _) => address("10.0.0.1"),
        _ => Reply::Addresses(vec!["fd00::2".parse().unwrap(), [10, 0, 0, 2].into()], 30),
    });
    let resolver = resolver(&server);
    assert_eq!(found(&resolver, "six").await, ["fd00::1"]);
    let mut both = found(&resolver, "both").await;
    both.sort();
    assert_eq!(both, ["10.0.0.2", "fd00::2"]);
    let began = Instant::now();
    assert_eq!(found(&resolver, "four").await, ["10.0.0.1"]);
    assert!(began.elapsed() < dns::PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_name_server_that_is_silent_is_followed_by_the_next() {
    let silent = NameServer::start(|_, _| Reply::Silence);
    let second = NameServer::start(|_, _| address("10.0.0.1"));
    let resolver = resolver_with(&[&silent, &second], &[], 1, "");
    assert_eq!(found(&resolver, "redis").await, ["10.0.0.1"]);
}

#[tokio::test]
async fn aliases_in_a_circle_and_without_end_are_given_up() {
    let count = Arc::new(AtomicUsize::new(0));
    let server = NameServer::start(move |name, _| match name {
        "circle" => Reply::Alias("other.".into()),
        "other" => Reply::Alias("circle.".into()),
        "alias" => Reply::Alias("redis.".into()),
        "redis" => address("10.0.0.1"),
        _ => Reply::Alias(format!("endless{}.", count.fetch_add(1, Ordering::SeqCst))),
    });
    let resolver = resolver(&server);
    assert_eq!(found(&resolver, "alias").await, ["10.0.0.1"]);
    for host in ["circle", "endless"] {
        let before = server.asked().len();
        refused(&resolver, host).await;
        let asked = server.asked().len() - before;
        assert!(asked <= 40, "{host}: {asked} questions");
    }
}

#[tokio::test]
async fn of_thousands_of_addresses_a_few_are_dialled() {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = NameServer::start(|_, _| {
        let address = |number: u16| IpAddr::from(Ipv4Addr::from(0x7f01_0000 | u32::from(number)));
        Reply::Addresses((1..3_000).map(address).collect(), 30)
    });
    let resolver = resolver(&server);
    let dialer = Dialer::new(Guard::default(), None, Transport::Plain, Timeouts::default()).with_resolver(&resolver);
    let node = Node { host: "many".into(), port };
    let settings = RedisConnectionInfo::default();
    tokio::time::timeout(Duration::from_secs(1), dialer.dial(&node, &settings)).await.unwrap_err();
    assert!(
        server.asked().iter().filter(|question| *question == "many A").count() > 1,
        "it was cut, and asked for by TCP"
    );
    listener.set_nonblocking(true).unwrap();
    let dialled = std::iter::from_fn(|| listener.accept().ok()).count();
    assert!((1..=8).contains(&dialled), "{dialled} connections");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_at_the_second_time_is_refused_then() {
    let (listener, asked) = (TcpListener::bind("127.0.0.1:0").unwrap(), AtomicUsize::new(0));
    let port = listener.local_addr().unwrap().port();
    let server = NameServer::start(move |_, family| {
        let number = if family == RecordType::A { asked.fetch_add(1, Ordering::SeqCst) } else { 0 };
        let address = if number == 0 { [127, 0, 0, 1] } else { [169, 254, 169, 254] };
        Reply::Addresses(vec![address.into()], 0)
    });
    let dialer = Dialer::new(
        Guard { addresses: AddressPolicy::default().into(), ..Guard::default() },
        None,
        Transport::Plain,
        Timeouts::default(),
    )
    .with_resolver(&resolver(&server));
    let node = Node { host: "rebinds".into(), port };
    let settings = RedisConnectionInfo::default();
    assert!(
        tokio::time::timeout(Duration::from_millis(500), dialer.dial(&node, &settings)).await.is_err(),
        "no answer"
    );
    assert!(listener.accept().is_ok(), "it was dialled");
    let said = dialer.dial(&node, &settings).await.unwrap_err().to_string();
    assert!(said.contains("an address that the operator does not connect to"), "{said}");
}

#[tokio::test]
async fn a_name_whose_address_led_nowhere_is_asked_for_anew() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = NameServer::start(|_, _| address("127.0.0.1"));
    let dialer = Dialer::new(Guard::default(), None, Transport::Plain, Timeouts::default());
    let dialer = dialer.with_resolver(&resolver(&server));
    for _ in 0..2 {
        dialer.dial(&Node { host: "moved".into(), port }, &RedisConnectionInfo::default()).await.unwrap_err();
    }
    assert_eq!(server.asked().len(), 4, "{:?}", server.asked());
}

/// A connection whose names are looked up by `ask`, and how often that was.
fn connection(host: &str, connect: Duration, answer: Option<Answer>) -> (Connection, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let resolver = Arc::new(Resolver::new(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        match answer.clone() {
            Some(answer) => async move { answer }.boxed(),
            None => std::future::pending().boxed(),
        }
    }));
    let url: ConnectionUrl = format!("redis://{host}:6379").parse().unwrap();
    let timeouts = Timeouts { connect, ..Timeouts::default() };
    let connector = Connector::new(&url, &TlsOptions::default()).unwrap();
    let connector =
        connector.guarded(Guard::default(), timeouts).unwrap().dialling_with(|dialer| dialer.with_resolver(&resolver));
    (Connection::from_connector(connector, timeouts), asked)
}

#[tokio::test]
async fn a_name_that_is_slow_is_waited_for_as_long_as_for_a_connection_and_not_asked_again_at_once() {
    let (connection, asked) = connection("slow", Duration::from_millis(100), None);
    for _ in 0..3 {
        let answer = tokio::time::timeout(Duration::from_secs(5), connection.ping()).await.expect("it has a limit");
        let error = answer.unwrap_err();
        assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
        assert!(error.to_string().contains("timed out while connecting"), "{error}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_leads_nowhere_is_asked_for_less_and_less_often() {
    // A failure that is not remembered.
    let (connection, asked) = connection("unknown", Duration::from_secs(2), Some(Err(Failure::NoAnswer)));
    let mut minutes = Vec::new();
    for _ in 0..3 {
        let before = asked.load(Ordering::SeqCst);
        for _ in 0..240 {
            connection.ping().await.unwrap_err();
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        minutes.push(asked.load(Ordering::SeqCst) - before);
    }
    assert!((10..=30).contains(&minutes[0]), "{minutes:?}: often at first");
    assert!((10..=13).contains(&minutes[2]), "{minutes:?}: each five seconds at last");
}
