//! What every database can do for a worker. One conformance suite (`tests/conformance/`) holds all sinks to it.
//!
//! `prepared` turns jobs into rows that fit their columns, `engine` applies them (ledger first, then one statement per
//! table) and splits a batch that fails; `postgres`, `mysql` and `sqlite` hold what differs between databases.
//! Here: `Sink`, the trait for callers. A new database implements `Store` (`store.rs`), of which `Engine` makes a `Sink`. `unit`, `options` and `error` hold the types in its signatures, `open` makes one of a URL.

mod check;
mod chunks;
mod convert;
mod engine;
mod error;
mod failure;
mod hosts;
mod layout;
mod ledger;
mod mysql;
mod open;
mod options;
mod pool;
mod postgres;
mod prepared;
mod rejection;
mod schema;
mod sqlite;
mod store;
mod unit;
mod url;

use std::time::Duration;

use async_trait::async_trait;

pub use self::{
    check::ValueMismatch,
    error::SinkError,
    ledger::{LEDGER_TABLE, ledger_ddl},
    open::{connect, run_script},
    options::SinkOptions,
    unit::{LedgerKey, Rejection, Unit, UnitOutcome},
    url::{Certificates, DatabaseKind, DatabaseUrl},
};
use crate::{Recipe, RecipeProblem, RowTree};

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
    async fn check(&self, _recipe: &Recipe, _rows: &RowTree) -> Result<Vec<ValueMismatch>, SinkError> {
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
