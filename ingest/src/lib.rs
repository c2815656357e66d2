//! From a record to rows: recipes (pure) and one sink per database that applies them exactly once.
//!
//! [`Recipe::compile`] turns a manifest's `ingest` section into something that [`Recipe::rows`] evaluates for one job
//! without any I/O. A [`Sink`] checks the recipe against the database's schema, and writes batches of [`Unit`]s: each
//! with its rows and its ledger key, in one transaction. Nothing here knows Redis or Kubernetes.

mod interrupt;
mod job;
mod moment;
mod preview;
mod recipe;
mod rows;
pub mod sink;
mod time_zone;

pub use interrupt::Interrupt;
pub use job::JobInput;
pub use jobqueue_api::{ChildSpec, IngestSpec, OnConflict, TableSpec};
pub use preview::PreviewRow;
pub use recipe::{Recipe, RecipeError, RecipeProblem, TablePlan};
pub use rows::{Row, RowTree, SqlValue};
pub use sink::{
    Certificates, DatabaseKind, DatabaseUrl, LedgerKey, Rejection, Sink, SinkError, SinkOptions, Unit, UnitOutcome,
    ValueMismatch, connect, ledger_ddl, run_script,
};
pub use time_zone::TimeZone;
