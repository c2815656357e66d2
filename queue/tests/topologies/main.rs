//! Every way a Redis can be reached: logins, TLS, Sentinel, Cluster; and what is said when it cannot.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

#[path = "../shared/certificates.rs"]
mod certificates;
mod cluster;
mod ipv6;
mod life;
mod login;
mod outage;
mod resp3;
mod sentinel;
mod tls;

use jobqueue_queue::{Connection, QueueError, Timeouts, TlsOptions};
use redis::Value;

fn connection(url: &str) -> Connection {
    with_tls(url, &TlsOptions::default())
}

fn with_tls(url: &str, tls: &TlsOptions) -> Connection {
    Connection::new(&url.parse().unwrap(), tls, Timeouts::default()).unwrap()
}

async fn run(connection: &Connection, words: &[&str]) -> Result<Value, QueueError> {
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    connection.query(&command).await
}

/// Asks until it is answered; for what heals by itself.
async fn answered(connection: &Connection, words: &[&str]) -> Value {
    let began = std::time::Instant::now();
    loop {
        match run(connection, words).await {
            Ok(value) => return value,
            Err(error) => assert!(began.elapsed().as_secs() < 30, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
