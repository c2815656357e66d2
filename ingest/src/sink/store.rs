//! What the engine asks of a database.

use std::{collections::HashSet, time::Duration};

use async_trait::async_trait;

use super::{
    DatabaseKind,
    convert::Cell,
    failure::Failure,
    layout::{Id, Plan},
    ledger::{Digest, Entry},
    prepared::BoundRow,
    schema::Table,
};
use crate::TimeZone;

/// Marks a place that a transaction can go back to, instead of the one before.
pub(super) const SAVEPOINT: &str = "SAVEPOINT jobqueue";
/// Undoes what was written since then, as often as need be.
pub(super) const BACK_TO_SAVEPOINT: &str = "ROLLBACK TO SAVEPOINT jobqueue";

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

    /// The zone of its sessions; [`TimeZone::Server`] where it is not known here. UTC for a database without zones.
    fn zone(&self) -> TimeZone {
        TimeZone::default()
    }

    async fn begin(&self) -> Result<Self::Tx, Failure>;

    /// Writes ledger entries (all different, in ascending order); returns those that were not there.
    async fn enter(&self, tx: &mut Self::Tx, entries: &[&Entry]) -> Result<HashSet<Digest>, Failure>;

    /// Takes a ledger entry back that was written in the same transaction.
    async fn forget(&self, tx: &mut Self::Tx, entry: &Entry) -> Result<(), Failure>;

    /// Writes rows under the plan's conflict policy.
    async fn insert(&self, tx: &mut Self::Tx, plan: &Plan, rows: &[BoundRow<'_>]) -> Result<(), Failure>;

    /// Writes rows where a duplicate is an error, and returns their ids in order: as the database confirms them, or
    /// [`Failure::RepeatedKey`] where it does not tell which row has which.
    async fn insert_with_ids(
        &self,
        tx: &mut Self::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
    ) -> Result<Vec<Cell<'static>>, Failure>;

    /// Writes one row under the plan's conflict policy and reports what became of it.
    async fn insert_one(&self, tx: &mut Self::Tx, plan: &Plan, row: BoundRow<'_>) -> Result<RowOutcome, Failure>;

    /// Has the server end statements of this transaction that take longer, where it can.
    async fn limit_statements(&self, _tx: &mut Self::Tx, _limit: Duration) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs a statement that all databases share and that answers nothing.
    async fn run(&self, tx: &mut Self::Tx, statement: &'static str) -> Result<(), Failure>;

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

    /// Makes checks that wait for the commit happen now.
    async fn check_deferred(&self, _tx: &mut Self::Tx) -> Result<(), Failure> {
        Ok(())
    }

    /// The first of a row's values that the database does not take for its column's type, and its words. Asked where a
    /// refusal names no column; `None` where there is none, or the database always names it.
    async fn objection(&self, _plan: &Plan, _cells: &[Cell<'_>]) -> Option<(usize, String)> {
        None
    }

    /// Told of each failure that ended a call. Another server may have to be looked for.
    fn failed(&self, _failure: &Failure) {}

    /// Why there is no connection: a pool only knows that its time is up.
    async fn diagnose(&self) -> Result<(), Failure>;
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RowOutcome {
    /// It is in the table; its id if the plan has one.
    Present(Option<Cell<'static>>),
    /// Another row had its key, and stays.
    Ignored,
}

/// Of so many rows it is not known which has which id.
pub(super) fn unpaired(rows: usize) -> Failure {
    if rows > 1 {
        return Failure::RepeatedKey("the ids that came back do not tell which row has which".into());
    }
    Failure::refused(
        "the row was taken and not written (a trigger or a rule dropped it, or put it where it cannot be found), so that \
         its children would have no parent: have the trigger write it, or leave the row out with `when`",
    )
}

/// The row has no value in the column that its children refer to.
pub(super) fn without_id(id: &Id) -> Failure {
    Failure::refused(format!(
        "column `{}` of the new row is not known (NULL), so that its children would have no parent: have the table, or \
         the trigger that writes the row, set it, or give it in the recipe",
        id.column.name
    ))
}

/// There is no row of the id that the statement gave, or was given.
pub(super) fn id_changed(id: &Id) -> Failure {
    Failure::refused(format!(
        "no row has the `{}` that was written, so that its children would have no parent: a trigger that changes it has \
         to be a BEFORE trigger, and one of a view has to keep the value that the recipe gives",
        id.column.name
    ))
}
