//! Rows held against the real columns, without writing: every value that would be refused, not only the first.

use std::fmt;

use serde::Serialize;

use super::{DatabaseKind, convert::show_value, layout::Layout, prepared};
use crate::{Row, RowTree, SqlValue};

/// A value that its column does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ValueMismatch {
    /// The table as the recipe spells it.
    pub table: String,
    /// The column.
    pub column: String,
    /// Which of the table's rows, from 1, where the record has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<usize>,
    /// The recipe's expression.
    pub expression: String,
    /// The value, shortened; `None` for NULL.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ValueMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = self.row.map(|row| format!(" (row {row})")).unwrap_or_default();
        write!(f, "{}.{}{row}: {}: {}", self.table, self.column, self.expression, self.reason)
    }
}

/// Every value of `tree` that does not fit.
pub(super) fn mismatches(database: DatabaseKind, layout: &Layout, tree: &RowTree) -> Vec<ValueMismatch> {
    let mut check = Check { database, layout, counts: vec![0; layout.plans.len()], found: Vec::new() };
    tree.rows.iter().for_each(|row| check.row(row, None));
    let Check { counts, mut found, .. } = check;
    for (plan, mismatch) in &mut found {
        mismatch.row = mismatch.row.filter(|_| counts[*plan] > 1);
    }
    found.into_iter().map(|(_, mismatch)| mismatch).collect()
}

struct Check<'a> {
    database: DatabaseKind,
    layout: &'a Layout,
    /// Rows of each plan so far.
    counts: Vec<usize>,
    /// With the plan of each.
    found: Vec<(usize, ValueMismatch)>,
}

impl Check<'_> {
    fn row(&mut self, row: &Row, parent: Option<usize>) {
        let Some(plan) = self.layout.plans.get(row.table) else { return };
        let parent = parent.and_then(|parent| self.layout.plans.get(parent));
        self.counts[row.table] += 1;
        for (index, (column, value)) in plan.columns.iter().zip(&row.values).enumerate() {
            if let Err(reason) = prepared::cell((self.database, self.layout.zone), plan, parent, index, value) {
                let mismatch = ValueMismatch {
                    table: plan.table.clone(),
                    column: column.name.clone(),
                    row: Some(self.counts[row.table]),
                    expression: plan.expressions[index].trim().to_owned(),
                    value: (*value != SqlValue::Null).then(|| show_value(value)),
                    reason,
                };
                self.found.push((row.table, mismatch));
            }
        }
        for child in &row.children {
            self.row(child, Some(row.table));
        }
    }
}
