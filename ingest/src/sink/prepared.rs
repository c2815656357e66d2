//! Units as they are written: values converted for their columns, rows flattened with a reference to their parent.

use super::{
    DatabaseKind, Rejection, Unit, convert,
    convert::Cell,
    failure::shorten,
    layout::{Layout, Plan},
    ledger::Entry,
};
use crate::{Row, SqlValue, TimeZone};

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

/// A row with its parent's id.
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

    /// About how many bytes the row takes in a statement.
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

/// Where a value came from, for the end of a message.
pub(super) fn from(expression: &str) -> String {
    const LENGTH: usize = 80;
    let expression = expression.trim();
    let cut = expression.char_indices().nth(LENGTH).map(|(at, _)| format!("{}...", &expression[..at]));
    format!(" (from {})", cut.as_deref().unwrap_or(expression))
}

/// The value for the plan's column of the index; the error is the reason alone.
pub(super) fn cell<'a>(
    place: (DatabaseKind, TimeZone),
    plan: &Plan,
    parent: Option<&Plan>,
    index: usize,
    value: &'a SqlValue,
) -> Result<Cell<'a>, String> {
    let column = &plan.columns[index];
    match value {
        SqlValue::Null if plan.refuse_null && column.must_be_given() => {
            Err("null, for a column that is NOT NULL".into())
        }
        SqlValue::Null if plan.id.as_ref().is_some_and(|id| id.from_recipe == Some(index)) => {
            Err("null, for the id that other rows refer to".into())
        }
        SqlValue::ParentId if parent.is_none_or(|parent| parent.id.is_none()) => {
            Err("parent.id, but there is no parent with an id".into())
        }
        value => convert::convert(place, column, value),
    }
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
        let parent = parent.map(|parent| &layout.plans[rows[parent].plan]);
        let cell = cell((database, layout.zone), plan, parent, cells.len(), value);
        cells.push(cell.map_err(|words| {
            let expression = from(&plan.expressions[cells.len()]);
            format!("{}.{}: {words}{expression}", plan.table, column.name)
        })?);
    }
    let index = rows.len();
    rows.push(PreparedRow { plan: row.table, parent, cells });
    for child in &row.children {
        flatten(database, layout, child, Some(index), rows)?;
    }
    Ok(())
}
