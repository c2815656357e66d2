//! Servers that mean harm, and the connection that is held to a guard: what they answer costs little, and they are not
//! reached where they must not be.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

mod addresses;
#[path = "../shared/certificates.rs"]
mod certificates;
mod kinds;
mod limits;
mod replies;
mod server;
mod trusted;

use std::time::Duration;

use jobqueue_queue::{Connection, Guard, Protocol, QueueError, QueueStats, StatsQuery, Timeouts, TlsOptions, stats};

/// Large answers are few at a time in a process: a test that is about them has them for itself.
static LARGE_ANSWERS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Resident memory of this process, in MiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
}

/// A connection as the operator makes it.
fn guarded(url: &str, guard: Guard) -> Connection {
    guarded_with_tls(url, &TlsOptions::default(), guard)
}

fn guarded_with_tls(url: &str, tls: &TlsOptions, guard: Guard) -> Connection {
    let limit = Duration::from_secs(2);
    Connection::guarded(&url.parse().unwrap(), tls, Timeouts { connect: limit, response: limit }, guard).unwrap()
}

/// What a scaler asks for one queue.
async fn poll(connection: &Connection) -> Result<QueueStats, QueueError> {
    poll_as(Protocol::Rq, connection).await
}

async fn poll_as(protocol: Protocol, connection: &Connection) -> Result<QueueStats, QueueError> {
    let query = StatsQuery {
        protocol,
        names: vec!["q".into()],
        key_prefix: if connection.is_cluster() { "{rq}" } else { "rq" }.into(),
        consumer_group: String::new(),
    };
    stats(connection, &[query]).await.and_then(|mut answers| answers.remove(0))
}
