//! Rows as a recipe produces them, still independent of any database.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// All rows of one job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowTree {
    /// In the order of writing.
    pub rows: Vec<Row>,
}

/// One row. `table` indexes [`crate::Recipe::tables`], which holds its name and the column order of `values`.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Index into the recipe's tables.
    pub table: usize,
    /// One value per column, in the table's column order.
    pub values: Vec<SqlValue>,
    /// Rows that refer to this one.
    pub children: Vec<Row>,
}

/// A value on its way into a column.
#[derive(Debug, Clone, PartialEq)]
pub enum SqlValue {
    /// SQL NULL.
    Null,
    /// Boolean.
    Bool(bool),
    /// Signed integer.
    Int(i64),
    /// Unsigned integer above `i64::MAX`, or any CEL `uint`.
    UInt(u64),
    /// A double that an expression computed.
    Float(f64),
    /// A number as the record has it, in JSON's notation: the database reads these digits.
    Number(String),
    /// Text. The sink converts it to the column's type where that is exact (e.g. a decimal in text).
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Calendar date.
    Date(NaiveDate),
    /// Date and time without a zone.
    DateTime(NaiveDateTime),
    /// An instant.
    Timestamp(DateTime<Utc>),
    /// A map or list, for JSON columns (text elsewhere).
    Json(jobqueue_json::Value),
    /// The id that the database gave the parent row.
    ParentId,
}
