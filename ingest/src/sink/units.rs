//! Units as they are written: values converted for their columns, rows flattened with a reference to their parent.

use super::{DatabaseKind, Rejection, Unit, convert, convert::Cell, failure::shorten, layout::Layout, ledger::Entry};
use crate::{Row, SqlValue};

/// A unit whose rows fit their columns, as far as that can be known beforehand.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) entry: &'a Entry,
    pub(super) rows: Vec<PreparedRow<'a>>,
}

/// One row; parents come before their children.
#[derive(Debug)]
pub(super) struct PreparedRow<'a> {
    /// Index into the layout's plans.
    pub(super) plan: usize,
    /// Index of the parent in the unit's rows.
    pub(super) parent: Option<usize>,
    pub(super) cells: Vec<Cell<'a>>,
}

/// A row with its parent's id at hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct BoundRow<'a> {
    pub(super) cells: &'a [Cell<'a>],
    pub(super) parent: Option<&'a Cell<'static>>,
}

impl<'a> BoundRow<'a> {
    /// The value for the column, with the parent's id in its place.
    pub(super) fn cell(&self, column: usize) -> &'a Cell<'a> {
        match (&self.cells[column], self.parent) {
            (Cell::ParentId, Some(id)) => id,
            (cell, _) => cell,
        }
    }

    pub(super) fn size(&self) -> usize {
        self.cells.iter().map(|cell| cell.size() + 16).sum()
    }
}

/// Converts every value of a unit, or says which one cannot be stored.
pub(super) fn prepare<'a>(
    database: DatabaseKind,
    layout: &Layout,
    entry: &'a Entry,
    unit: &'a Unit,
) -> Result<Prepared<'a>, Rejection> {
    let mut rows = Vec::with_capacity(unit.rows.rows.len() * 4);
    for row in &unit.rows.rows {
        flatten(database, layout, row, None, &mut rows)
            .map_err(|message| Rejection { message: shorten(&message), may_pass: false })?;
    }
    Ok(Prepared { entry, rows })
}

fn flatten<'a>(
    database: DatabaseKind,
    layout: &Layout,
    row: &'a Row,
    parent: Option<usize>,
    rows: &mut Vec<PreparedRow<'a>>,
) -> Result<(), String> {
    let plan = layout.plans.get(row.table).ok_or_else(|| format!("the recipe has no table {}", row.table))?;
    if row.values.len() != plan.columns.len() {
        return Err(format!("{}: {} values for {} columns", plan.table, row.values.len(), plan.columns.len()));
    }
    let mut cells = Vec::with_capacity(row.values.len());
    for (column, value) in plan.columns.iter().zip(&row.values) {
        let problem = |words: String| format!("{}.{}: {words}", plan.table, column.name);
        if plan.refuse_null && *value == SqlValue::Null && column.must_be_given() {
            return Err(problem("null, for a column that is NOT NULL".into()));
        }
        if *value == SqlValue::ParentId && parent.is_none_or(|parent| layout.plans[rows[parent].plan].id.is_none()) {
            return Err(problem("parent.id, but there is no parent with an id".into()));
        }
        if *value == SqlValue::Null && plan.id.as_ref().is_some_and(|id| id.given == Some(cells.len())) {
            return Err(problem("null, for the id that other rows refer to".into()));
        }
        cells.push(convert::convert((database, layout.zone), column, value).map_err(problem)?);
    }
    let index = rows.len();
    rows.push(PreparedRow { plan: row.table, parent, cells });
    for child in &row.children {
        flatten(database, layout, child, Some(index), rows)?;
    }
    Ok(())
}
