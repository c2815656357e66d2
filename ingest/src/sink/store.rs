//! What the engine asks of a database.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;

use super::{
    DatabaseKind,
    convert::Cell,
    failure::Failure,
    layout::Plan,
    ledger::{Digest, Entry},
    schema::Table,
    units::BoundRow,
};

/// What a database has to bring.
#[async_trait]
pub(super) trait Store: Send + Sync {
    /// An open transaction.
    type Tx: Send;

    const KIND: DatabaseKind;

    /// Whether a transaction takes its room when it writes, and not only when it commits.
    const WRITES_AT_ONCE: bool;

    /// Redacted URL.
    fn endpoint(&self) -> &str;

    async fn begin(&self) -> Result<Self::Tx, Failure>;

    /// Writes ledger entries (all different, in ascending order); returns those that were not there.
    async fn enter(&self, tx: &mut Self::Tx, entries: &[&Entry]) -> Result<HashSet<Digest>, Failure>;

    /// Takes a ledger entry back that was written in the same transaction.
    async fn forget(&self, tx: &mut Self::Tx, entry: &Entry) -> Result<(), Failure>;

    /// Writes rows under the plan's conflict policy.
    async fn insert(&self, tx: &mut Self::Tx, plan: &Plan, rows: &[BoundRow<'_>]) -> Result<(), Failure>;

    /// Writes rows where a duplicate is an error, and returns their ids in order.
    async fn insert_with_ids(
        &self,
        tx: &mut Self::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
    ) -> Result<Vec<Cell<'static>>, Failure>;

    /// Writes one row under the plan's conflict policy and reports what became of it.
    async fn insert_one(&self, tx: &mut Self::Tx, plan: &Plan, row: BoundRow<'_>) -> Result<Landed, Failure>;

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure>;

    /// Whether the connection lived to answer.
    async fn rollback(&self, tx: Self::Tx) -> bool;

    /// Writes no row, so that rights and names are checked and nothing else.
    async fn rehearse(&self, tx: &mut Self::Tx, plan: &Plan) -> Result<(), Failure>;

    /// Whether what finds room in the ledger finds it in the plans' tables too. False where that is not sure.
    async fn shares_disk(&self, plans: &[Plan]) -> Result<bool, Failure>;

    /// Finds out by asking what an error's code does not tell.
    async fn clarify(&self, failure: Failure) -> Failure {
        failure
    }

    /// `None` where there is no such table.
    async fn table(&self, name: &str) -> Result<Option<Table>, Failure>;

    async fn table_names(&self) -> Result<Vec<String>, Failure>;

    async fn ensure_ledger(&self) -> Result<(), Failure>;

    async fn prune_ledger(&self, age: Duration) -> Result<u64, Failure>;

    async fn ping(&self) -> Result<(), Failure>;

    async fn count(&self, table: &str) -> Result<u64, Failure>;

    /// Told of each failure that ended a call. Another server may have to be looked for.
    fn failed(&self, _failure: &Failure) {}

    /// Why there is no connection: a pool only knows that its time is up.
    async fn diagnose(&self) -> Result<(), Failure>;
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Landed {
    /// It is in the table; its id if the plan has one.
    There(Option<Cell<'static>>),
    /// Another row had its key, and stays.
    Ignored,
}
