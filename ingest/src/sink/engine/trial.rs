//! Whose fault a failure is, where its code leaves that open: a trigger can raise any code for a single record. The database is
//! healthy if its tables still fit the recipe and a trial write succeeds.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{
        LEDGER_TABLE, UnitOutcome,
        failure::Failure,
        layout::Layout,
        ledger::Entry,
        prepared::Prepared,
        store::{BACK_TO_SAVEPOINT, SAVEPOINT, Store},
    },
    room::room_for,
    state::Engine,
    transaction::{NotCommitted, WriteMode},
};
use crate::Recipe;

impl<S: Store> Engine<S> {
    /// Tries each unit that failed alone, for a reason that may be the database's, once more. The unit is at fault if the
    /// database was healthy before and after it failed.
    pub(super) async fn judge(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        suspects: Vec<(&(usize, Prepared<'_>), Failure)>,
        batch: usize,
        outcomes: &mut [Option<UnitOutcome>],
    ) -> Result<(), Failure> {
        let room = suspects.iter().map(|(unit, failure)| room_for(failure, std::slice::from_ref(*unit))).max();
        if let (Some(room), Some((_, failure)), 2..) = (room, suspects.last(), batch) {
            self.must_be_well(recipe, layout, room, failure).await?;
        }
        for (unit, _) in suspects {
            let part = std::slice::from_ref(unit);
            outcomes[unit.0] =
                match self.commit_part(layout, part, true, WriteMode::AllRowsAtOnce, Instant::now()).await {
                    Ok(mut written) => written.pop().and_then(Result::ok),
                    Err(NotCommitted::Outage(failure)) => return Err(failure),
                    Err(NotCommitted::Answer(failure)) => Some(self.reject(layout, &unit.1, failure).await),
                };
        }
        Ok(())
    }

    /// Returns an error if a trial write fails too: then `failure` is an outage, and no unit's fault.
    pub(super) async fn must_be_well(
        &self,
        recipe: &Recipe,
        layout: &Layout,
        room: usize,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let Err(found) = self.in_time(self.experiment(recipe, layout, room)).await else { return Ok(()) };
        tracing::debug!(?found, ?failure, "the database fails a trial write, too");
        Err(if matches!(found, Failure::SchemaMismatch(_)) { found } else { failure.clone() })
    }

    /// Whether the tables are what the recipe needs, a ledger entry can be committed, each table can be written to, and,
    /// if asked for, there are `room` bytes left. Leaves nothing.
    async fn experiment(&self, recipe: &Recipe, layout: &Layout, room: usize) -> Result<(), Failure> {
        self.layout(recipe, Duration::ZERO).await?;
        if self.store.table(LEDGER_TABLE).await?.is_none() {
            return Err(Failure::SchemaMismatch(format!("the table {LEDGER_TABLE} is gone")));
        }
        self.trial_write().await?;
        let mut tx = self.store.begin().await?;
        for plan in layout.plans.iter().filter(|plan| !plan.columns.is_empty()) {
            self.store.rehearse(&mut tx, plan).await?;
        }
        self.store.rollback(tx).await;
        if room > 0 { self.trial_of_room(layout, room).await } else { Ok(()) }
    }

    /// Writes to the ledger, takes it back and commits.
    pub(super) async fn trial_write(&self) -> Result<(), Failure> {
        let entry = Entry::trial(String::new());
        let mut tx = self.store.begin().await?;
        self.store.enter(&mut tx, &[&entry]).await?;
        self.store.forget(&mut tx, &entry).await?;
        self.store.commit(tx).await
    }

    /// Fills the ledger with so many bytes and takes them back. That says nothing of tables that lie elsewhere.
    async fn trial_of_room(&self, layout: &Layout, room: usize) -> Result<(), Failure> {
        if !self.store.shares_disk(&layout.plans).await? {
            return Err(Failure::Full("the tables lie on another disk than the ledger".into()));
        }
        self.one_disk.record();
        let mut tx = self.store.begin().await?;
        if S::WRITES_AT_ONCE {
            self.find_room(&mut tx, room).await?;
            self.store.rollback(tx).await;
            return Ok(());
        }
        let ballast = Entry::ballast(S::KIND, room);
        self.store.enter(&mut tx, &ballast.iter().collect::<Vec<_>>()).await?;
        self.store.commit(tx).await?;
        let mut tx = self.store.begin().await?;
        for entry in &ballast {
            self.store.forget(&mut tx, entry).await?;
        }
        self.store.commit(tx).await
    }

    /// The same within a transaction, for a database that takes the room when it writes.
    pub(super) async fn find_room(&self, tx: &mut S::Tx, room: usize) -> Result<(), Failure> {
        let ballast = Entry::ballast(S::KIND, room);
        self.store.run(tx, SAVEPOINT).await?;
        self.store.enter(tx, &ballast.iter().collect::<Vec<_>>()).await?;
        self.store.run(tx, BACK_TO_SAVEPOINT).await
    }
}
