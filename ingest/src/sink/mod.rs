//! What every database can do for a worker. One conformance suite (`tests/conformance.rs`) holds all sinks to it.
//!
//! `units` turns jobs into rows that fit their columns, `engine` applies them (ledger first, then one statement per
//! table) and splits a batch that fails; `postgres`, `mysql` and `sqlite` hold what differs between databases.

mod blame;
mod check;
mod chunks;
mod convert;
mod engine;
mod failure;
mod hosts;
mod layout;
mod ledger;
mod mysql;
mod postgres;
mod schema;
mod sqlite;
mod store;
mod units;
mod url;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    check::Misfit,
    ledger::{LEDGER_TABLE, PRUNE_LIMIT, ledger_ddl},
    url::{Certificates, DatabaseKind, DatabaseUrl},
};
use crate::{Recipe, RecipeProblem, RowTree, TimeZone};

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
    /// The zone of every session. None: what `options` of a PostgreSQL URL say, or UTC.
    pub time_zone: Option<TimeZone>,
}

impl SinkOptions {
    /// How long the server lets a statement take, so that it ends before we give it up: a statement that goes on by itself
    /// holds its locks. The limits that a database or an account has of its own are kept.
    fn statement_timeout(&self) -> Duration {
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
            time_zone: None,
        }
    }
}

/// Opens a database. `Err` is [`SinkError::Unavailable`] where it may be tried again.
pub async fn connect(url: &DatabaseUrl, options: SinkOptions) -> Result<Box<dyn Sink>, SinkError> {
    Ok(match url.kind() {
        DatabaseKind::Postgres => Box::new(postgres::PostgresSink::connect(url, options).await?),
        DatabaseKind::Mysql => Box::new(mysql::MysqlSink::connect(url, options).await?),
        DatabaseKind::Sqlite => Box::new(sqlite::SqliteSink::connect(url, options).await?),
    })
}

/// Runs a script of statements (a schema, say). An SQLite file is created if it is missing.
pub async fn run_script(url: &DatabaseUrl, script: &str) -> Result<(), SinkError> {
    match url.kind() {
        DatabaseKind::Postgres => postgres::run_script(url, script).await,
        DatabaseKind::Mysql => mysql::run_script(url, script).await,
        DatabaseKind::Sqlite => sqlite::run_script(url, script).await,
    }
}

/// What tells a redelivery from a run that somebody wants again: all deliveries of one run share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LedgerKey {
    /// Queue name.
    pub queue: String,
    /// Job id.
    pub job_id: String,
    /// The producer's `created_at`, verbatim; empty where the protocol has none.
    pub created_at: String,
    /// How many runs of this id are known to be done.
    pub generation: u64,
    /// The identity of the run, which alone makes the key; the other fields are then for people. Without it (a job that a
    /// worker of an older version had in hand) the key is made of them.
    pub run: Option<String>,
}

/// The effect of one job: applied with its ledger entry, or not at all.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its key in `jobqueue_ledger`.
    pub key: LedgerKey,
    /// Its rows.
    pub rows: RowTree,
}

/// A database that takes rows exactly once.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Checks the recipe against the live schema: missing tables and columns, types that cannot fit, keys that
    /// `onConflict` needs. All problems at once; the inner `Err` is the recipe's fault, the outer the database's.
    async fn validate(&self, recipe: &Recipe) -> Result<Result<(), Vec<RecipeProblem>>, SinkError>;

    /// What a recipe that fits may get wrong all the same.
    async fn warnings(&self, _recipe: &Recipe) -> Result<Vec<RecipeProblem>, SinkError> {
        Ok(Vec::new())
    }

    /// Creates `jobqueue_ledger` if it is missing.
    async fn ensure_ledger(&self) -> Result<(), SinkError>;

    /// Holds rows against the real columns without writing: every value that would be refused before it is sent.
    async fn check(&self, _recipe: &Recipe, _rows: &RowTree) -> Result<Vec<Misfit>, SinkError> {
        Ok(Vec::new())
    }

    /// Writes one unit, ledger entry included, and takes it back: what the database itself says of it.
    async fn rehearse(&self, _recipe: &Recipe, _unit: &Unit) -> Result<UnitOutcome, SinkError> {
        Ok(UnitOutcome::Applied { rows: 0 })
    }

    /// Writes the batch in one transaction; where that fails, splits it until each bad unit stands alone. One outcome
    /// per unit, in order. `Err`: the database is away or its tables are not what they were, and which units are in is
    /// unknown (the ledger knows). No unit is rejected for what the tables lack.
    async fn write(&self, recipe: &Recipe, units: &[Unit]) -> Result<Vec<UnitOutcome>, SinkError>;

    /// Removes ledger entries older than `age`, a bounded number per call; returns how many.
    async fn prune_ledger(&self, age: Duration) -> Result<u64, SinkError>;

    /// `SELECT 1`, for readiness.
    async fn ping(&self) -> Result<(), SinkError>;

    /// Writes to the ledger, takes it back and commits: whether the database takes writes now, which a ping does not
    /// tell. Leaves nothing.
    async fn probe(&self) -> Result<(), SinkError>;

    /// Rows of a table (`schema.table` allowed), counted by the database.
    async fn count(&self, table: &str) -> Result<u64, SinkError>;
}

/// What became of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitOutcome {
    /// Rows and ledger entry are committed.
    Applied {
        /// Rows handed to the database, children included. A row that `onConflict: Ignore` found in place counts, the
        /// children that were therefore left out do not.
        rows: u64,
    },
    /// An earlier delivery of the same run had been committed; nothing was written.
    AlreadyApplied,
    /// The database refused it; nothing of it is written.
    Rejected(Rejection),
}

/// The database's refusal of one unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Table, column if known, and the database's own words.
    pub message: String,
    /// True where a later attempt may succeed (foreign key not there yet, lock time-out); false where the data is at
    /// fault.
    pub may_pass: bool,
}

/// The database as a whole failed us. No variant carries a password.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// Down, failing over, out of connections: try again later.
    #[error("the database at {endpoint} is not available: {cause}")]
    Unavailable {
        /// Redacted URL.
        endpoint: String,
        /// The database's words.
        cause: String,
    },
    /// It answers and takes no writes: it is read-only, or full. Try again later.
    #[error("the database at {endpoint} takes no writes: {cause}")]
    Unwritable {
        /// Redacted URL.
        endpoint: String,
        /// Which of the two, and the database's words.
        cause: String,
    },
    /// The connection ended without a word while a transaction was being written. The network or the server may be at
    /// fault, or what was written.
    #[error("the connection to the database at {endpoint} ended while it was written to: {cause}")]
    Disconnected {
        /// Redacted URL.
        endpoint: String,
        /// The system's words.
        cause: String,
    },
    /// Wrong password or missing rights.
    #[error("the database at {endpoint} refused us: {cause}")]
    Denied {
        /// Redacted URL.
        endpoint: String,
        /// The database's words.
        cause: String,
    },
    /// Tables or columns are not what the recipe needs, though they were when it was checked: somebody changes them.
    #[error("the tables of the database at {endpoint} are not what the recipe needs: {cause}")]
    Misfit {
        /// Redacted URL.
        endpoint: String,
        /// What is missing, or the database's words.
        cause: String,
    },
    /// A URL or setting is wrong.
    #[error("{0}")]
    Config(String),
}
