//! One job's effect on the database, and what became of it.

use crate::RowTree;

/// What tells a redelivery from a job that was enqueued again: all deliveries of one run share it.
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
