//! How a sink uses its database.

use std::time::Duration;

use crate::TimeZone;

/// How a sink uses its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkOptions {
    /// Upper bound of open connections; each [`Sink::write`] in progress uses one.
    pub max_connections: u32,
    /// How long to wait for a connection before the database counts as away.
    pub acquire_timeout: Duration,
    /// How long a statement waits for another transaction's lock before the batch is tried again.
    pub lock_timeout: Duration,
    /// How often a batch is tried in all when it meets a deadlock, a serialization failure or a lock time-out.
    pub contention_attempts: u32,
    /// How long a transaction may take in all before the database counts as away.
    pub answer_timeout: Duration,
    /// How long the server lets a transaction wait for its next statement. Within one, statements follow each other at once: a
    /// worker that is silent for longer is gone, or stopped, and holds its locks for nothing.
    pub idle_timeout: Duration,
    /// The zone of every session. `None` means what the `options` of a PostgreSQL URL say, or UTC.
    pub time_zone: Option<TimeZone>,
}

impl SinkOptions {
    /// How long the server lets a statement take, so that it ends before we give it up: a statement that goes on by itself
    /// holds its locks. The limits that a database or an account has of its own are kept.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.answer_timeout.mul_f64(0.9)
    }
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self {
            max_connections: 5,
            acquire_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(5),
            contention_attempts: 6,
            answer_timeout: Duration::from_secs(120),
            // Locks are gone before the lease of the worker's jobs, by default 30 s, lets another worker write the same rows.
            idle_timeout: Duration::from_secs(15),
            time_zone: None,
        }
    }
}
