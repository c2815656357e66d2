//! Addresses that must not be dialled, by whatever way they are reached: the server there never hears of it.

use std::io::Write;

use jobqueue_queue::{AddressPolicy, Guard, QueueError};
use jobqueue_testkit::free_port;

use crate::server::Server;
use crate::{guarded, poll};

const REFUSED: &str = "it leads to an address that the operator does not connect to";

/// One that allows one loopback address only, for the server that redirects.
fn guard() -> Guard {
    let addresses = AddressPolicy {
        deny_loopback: true,
        allowed: vec!["127.0.0.1".parse().unwrap()],
        denied: vec!["10.96.0.1".parse().unwrap()],
    };
    Guard { addresses: addresses.into(), ..Guard::default() }
}

async fn refused(url: &str, guard: Guard) -> String {
    let error = poll(&guarded(url, guard)).await.unwrap_err();
    assert!(matches!(error, QueueError::Config(_)), "{url}: {error:?}");
    let message = error.to_string();
    assert!(message.contains(REFUSED), "{url}: {message}");
    message
}

#[tokio::test]
async fn no_spelling_leads_to_a_denied_address() {
    let server = Server::answering(|_, stream| stream.write_all(b"+OK\r\n"));
    let loopback = AddressPolicy { deny_loopback: true, ..AddressPolicy::default() };
    let loopback = Guard { addresses: loopback.into(), ..Guard::default() };
    for host in
        ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
    {
        refused(&format!("redis://{host}:{}/0", server.port), loopback.clone()).await;
    }
    for host in
        ["169.254.169.254", "2852039166", "0xa9fea9fe", "[fe80::1]", "[::ffff:a9fe:a9fe]", "0.0.0.0", "10.96.0.1"]
    {
        refused(&format!("redis://{host}:{}/0", server.port), guard()).await;
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn what_is_said_does_not_tell_an_open_port_from_a_closed_one() {
    let open = Server::answering(|_, stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let policy = AddressPolicy { deny_loopback: true, ..AddressPolicy::default() };
    let guard = Guard { addresses: policy.into(), ..Guard::default() };
    let mut said = Vec::new();
    for port in [open.port, free_port()] {
        let message = refused(&format!("redis://127.0.0.1:{port}/0"), guard.clone()).await;
        said.push(message.replace(&port.to_string(), "PORT"));
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test]
async fn sentinel_leads_to_no_denied_address() {
    for denied in ["127.0.0.2", "2130706434", "169.254.169.254", "localhost.localdomain.invalid"] {
        let sentinel = Server::answering(move |words, stream| {
            if words[0].eq_ignore_ascii_case(b"SENTINEL") {
                return write!(stream, "*2\r\n${}\r\n{denied}\r\n$4\r\n6379\r\n", denied.len());
            }
            stream.write_all(b"+OK\r\n")
        });
        let url = format!("redis+sentinel://127.0.0.1:{}/mymaster/0", sentinel.port);
        if denied.contains("invalid") {
            poll(&guarded(&url, guard())).await.unwrap_err();
        } else {
            refused(&url, guard()).await;
        }
        assert!(sentinel.connections() > 0);
    }
}

#[tokio::test]
async fn a_cluster_leads_to_no_denied_address() {
    for denied in ["127.0.0.2", "::ffff:169.254.169.254"] {
        let node = Server::answering(move |words, stream| {
            if words[0].eq_ignore_ascii_case(b"CLUSTER") {
                let host = format!("${}\r\n{denied}\r\n", denied.len());
                return write!(stream, "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n{host}:6379\r\n$2\r\nid\r\n");
            }
            stream.write_all(b"+OK\r\n")
        });
        refused(&format!("redis+cluster://127.0.0.1:{}", node.port), guard()).await;
    }
}

#[tokio::test]
async fn a_slot_that_moves_leads_to_no_denied_address() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let node = Server::answering(move |words, stream| {
        if words[0].eq_ignore_ascii_case(b"CLUSTER") {
            // At first it is here; once it has moved it is elsewhere.
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let host = if first { "$0\r\n\r\n" } else { "$9\r\n127.0.0.3\r\n" };
            let port = stream.local_addr()?.port();
            return write!(stream, "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n{host}:{port}\r\n$2\r\nid\r\n");
        }
        let moved = words[0].starts_with(b"EVAL");
        stream.write_all(if moved { b"-MOVED 1 127.0.0.3:6379\r\n" } else { b"+OK\r\n" })
    });
    refused(&format!("redis+cluster://127.0.0.1:{}", node.port), guard()).await;
}
