//! The rows of a part, table by table.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{
    super::{
        UnitOutcome,
        convert::Cell,
        failure::Failure,
        layout::{Layout, Plan},
        ledger::Digest,
        prepared::{BoundRow, Prepared},
        store::{RowOutcome, Store},
    },
    state::Engine,
};
use crate::OnConflict;

impl<S: Store> Engine<S> {
    /// Writes the rows of those units whose ledger entry is `fresh`; the others are done already.
    pub(super) async fn write_tables(
        &self,
        tx: &mut S::Tx,
        layout: &Layout,
        part: &[(usize, Prepared<'_>)],
        fresh: &HashSet<Digest>,
        row_by_row: bool,
    ) -> Result<Vec<UnitOutcome>, Failure> {
        let is_fresh = |unit: &Prepared<'_>| fresh.contains(&unit.entry.digest);
        let rows = |unit: &Prepared<'_>| if is_fresh(unit) { vec![None; unit.rows.len()] } else { Vec::new() };
        let mut row_outcomes: Vec<Vec<Option<RowOutcome>>> = part.iter().map(|(_, unit)| rows(unit)).collect();
        for (index, plan) in layout.plans.iter().enumerate() {
            self.write_table(tx, index, plan, part, &mut row_outcomes, row_by_row)
                .await
                .map_err(|failure| failure.of_table(&plan.table))?;
        }
        let outcome = |((_, unit), rows): (&(usize, Prepared<'_>), &Vec<Option<RowOutcome>>)| {
            if is_fresh(unit) {
                UnitOutcome::Applied { rows: rows.iter().filter(|row| row.is_some()).count() as u64 }
            } else {
                UnitOutcome::AlreadyApplied
            }
        };
        Ok(part.iter().zip(&row_outcomes).map(outcome).collect())
    }

    /// All rows of one table, for all units of the batch.
    async fn write_table(
        &self,
        tx: &mut S::Tx,
        index: usize,
        plan: &Plan,
        part: &[(usize, Prepared<'_>)],
        row_outcomes: &mut [Vec<Option<RowOutcome>>],
        row_by_row: bool,
    ) -> Result<(), Failure> {
        let mut places = Vec::new();
        let mut rows = Vec::new();
        for (unit, (_, prepared)) in part.iter().enumerate() {
            if row_outcomes[unit].is_empty() {
                continue;
            }
            for (place, row) in prepared.rows.iter().enumerate().filter(|(_, row)| row.plan == index) {
                let parent = match row.parent.map(|parent| &row_outcomes[unit][parent]) {
                    None => None,
                    Some(Some(RowOutcome::Present(id))) => id.as_ref(),
                    // Children of an ignored row are not written, nor are theirs.
                    Some(Some(RowOutcome::Ignored) | None) => continue,
                };
                places.push((unit, place));
                rows.push(BoundRow { cells: &row.cells, parent });
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let results = self.write_rows(tx, plan, &rows, row_by_row).await?;
        for ((unit, place), result) in places.into_iter().zip(results) {
            row_outcomes[unit][place] = Some(result);
        }
        Ok(())
    }

    async fn write_rows(
        &self,
        tx: &mut S::Tx,
        plan: &Plan,
        rows: &[BoundRow<'_>],
        row_by_row: bool,
    ) -> Result<Vec<RowOutcome>, Failure> {
        if plan.row_by_row || (row_by_row && (plan.on_conflict != OnConflict::Fail || plan.id.is_some())) {
            let mut row_outcomes = Vec::with_capacity(rows.len());
            for row in rows {
                row_outcomes.push(self.store.insert_one(tx, plan, *row).await?);
            }
            return Ok(row_outcomes);
        }
        match &plan.id {
            Some(id) => {
                let ids = match id.given {
                    Some(column) => {
                        self.store.insert(tx, plan, rows).await?;
                        rows.iter().map(|row| row.cell(column).to_owned_cell()).collect()
                    }
                    None => self.store.insert_with_ids(tx, plan, rows).await?,
                };
                Ok(ids.into_iter().map(|id| RowOutcome::Present(Some(id))).collect())
            }
            None if plan.on_conflict == OnConflict::Update => {
                self.store.insert(tx, plan, &last_of_each_key(plan, rows)).await?;
                Ok(vec![RowOutcome::Present(None); rows.len()])
            }
            None => {
                self.store.insert(tx, plan, rows).await?;
                Ok(vec![RowOutcome::Present(None); rows.len()])
            }
        }
    }
}

/// Of rows with the same key the last one wins, as if they had been written one after the other. In the order of the
/// key, so that concurrent writers meet the rows in one order.
fn last_of_each_key<'a>(plan: &Plan, rows: &[BoundRow<'a>]) -> Vec<BoundRow<'a>> {
    let columns: Vec<usize> =
        plan.key.iter().filter_map(|name| plan.columns.iter().position(|column| column.name == *name)).collect();
    let compared = |one: usize, other: usize| {
        let cells = columns.iter().map(|column| rows[one].cell(*column).total_cmp(rows[other].cell(*column)));
        cells.fold(Ordering::Equal, Ordering::then)
    };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    // Stable: rows with the same key stay in their order.
    order.sort_by(|one, other| compared(*one, *other));
    let nulls = |index: usize| columns.iter().any(|column| *rows[index].cell(*column) == Cell::Null);
    let kept = order.iter().enumerate().filter(|(place, index)| {
        // NULL is never the same as NULL.
        nulls(**index) || order.get(place + 1).is_none_or(|next| compared(**index, *next).is_ne())
    });
    kept.map(|(_, index)| rows[*index]).collect()
}
