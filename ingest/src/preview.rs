//! Rows as a person reads them before anything is written: names instead of indexes, values as JSON.

use std::collections::BTreeMap;

use chrono::SecondsFormat;
use jobqueue_json::{Number, Value};
use serde::Serialize;

use crate::recipe::eval::bytes;
use crate::{Recipe, Row, RowTree, SqlValue};

/// One row with its children, as `jobqueue try` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PreviewRow {
    /// Table name as written in the recipe.
    pub table: String,
    /// Column name to value. Dates and instants are ISO 8601 text, bytes are `\x` and hexadecimal digits, and the
    /// parent's id, which the database will give, is `<table.column>`.
    pub columns: BTreeMap<String, Value>,
    /// Rows that refer to this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<PreviewRow>,
}

impl Recipe {
    /// The rows of [`Recipe::rows`] with their names.
    pub fn preview(&self, tree: &RowTree) -> Vec<PreviewRow> {
        tree.rows.iter().map(|row| self.preview_row(row)).collect()
    }

    fn preview_row(&self, row: &Row) -> PreviewRow {
        let plan = &self.tables[row.table];
        let parent = plan.parent.map(|p| &self.tables[p]);
        let parent_id =
            parent.map(|p| format!("<{}.{}>", p.table, p.id.as_deref().unwrap_or("id"))).unwrap_or_default();
        PreviewRow {
            table: plan.table.clone(),
            columns: plan.columns.iter().cloned().zip(row.values.iter().map(|v| shown(v, &parent_id))).collect(),
            children: row.children.iter().map(|child| self.preview_row(child)).collect(),
        }
    }
}

fn shown(value: &SqlValue, parent_id: &str) -> Value {
    match value {
        SqlValue::Null => Value::Null,
        SqlValue::Bool(b) => Value::Bool(*b),
        SqlValue::Int(i) => Value::from(*i),
        SqlValue::UInt(u) => Value::from(*u),
        SqlValue::Float(f) => Number::from_f64(*f).map_or_else(|| Value::String(f.to_string()), Value::Number),
        SqlValue::Number(digits) => Number::parse(digits).map_or_else(|| Value::String(digits.clone()), Value::Number),
        SqlValue::Text(s) => Value::String(s.clone()),
        SqlValue::Bytes(b) => Value::String(format!("\\x{}", bytes::hex(b))),
        SqlValue::Date(d) => Value::String(d.to_string()),
        SqlValue::DateTime(d) => Value::String(d.format("%Y-%m-%dT%H:%M:%S%.f").to_string()),
        SqlValue::Timestamp(t) => Value::String(t.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        SqlValue::Json(v) => v.clone(),
        SqlValue::ParentId => Value::String(parent_id.to_owned()),
    }
}
