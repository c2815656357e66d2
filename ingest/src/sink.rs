//! What every database can do for a worker. One conformance suite (`tests/conformance.rs`) holds all sinks to it.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Recipe, RecipeProblem, RowTree};

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

    /// Creates `jobqueue_ledger` if it is missing.
    async fn ensure_ledger(&self) -> Result<(), SinkError>;

    /// Writes the batch in one transaction; where that fails, splits it until each bad unit stands alone. One outcome
    /// per unit, in order. `Err`: the database is away, and which units are in is unknown (the ledger knows).
    async fn write(&self, recipe: &Recipe, units: &[Unit]) -> Result<Vec<UnitOutcome>, SinkError>;

    /// Removes ledger entries older than `age`, a bounded number per call; returns how many.
    async fn prune_ledger(&self, age: Duration) -> Result<u64, SinkError>;

    /// `SELECT 1`, for readiness.
    async fn ping(&self) -> Result<(), SinkError>;
}

/// What became of one unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitOutcome {
    /// Rows and ledger entry are committed.
    Applied {
        /// Rows written, children included.
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
    /// Down, failing over, full, read-only, out of connections: try again later.
    #[error("the database at {endpoint} is not available: {cause}")]
    Unavailable {
        /// Redacted URL.
        endpoint: String,
        /// The database's words.
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
    /// A URL or setting is wrong.
    #[error("{0}")]
    Config(String),
}
