//! From a recipe's value to what a column takes: exactly, or with a message that names the value.
//!
//! Doing this before anything is sent keeps one bad value from costing the batch a round of splitting, makes the
//! databases agree (SQLite would take any text of any length, MySQL would round a decimal in silence), and names the
//! column where PostgreSQL does not.

mod cell;
mod number;
mod other;
mod print;
mod structured;
mod text;
mod time;

pub(super) use self::{
    cell::Cell,
    print::{show, show_value},
};

use self::{
    number::{as_bool, as_decimal, as_float, as_integer},
    other::as_other,
    print::as_text,
    structured::{as_array, as_hstore, as_json},
    text::{as_bytes, as_label, as_network, as_uuid, fit},
    time::{as_date, as_datetime, as_instant},
};
use super::{
    DatabaseKind,
    schema::{Column, Kind},
};
use crate::{SqlValue, TimeZone};

/// Converts `value` for `column` of a database that is used in `zone`; the error says what is wrong with which value.
pub(super) fn convert<'a>(
    (database, zone): (DatabaseKind, TimeZone),
    column: &Column,
    value: &'a SqlValue,
) -> Result<Cell<'a>, String> {
    let cell = match value {
        SqlValue::Null => return Ok(Cell::Null),
        SqlValue::ParentId => return Ok(Cell::ParentId),
        value => match &column.kind {
            Kind::Text { chars, bytes } => fit(as_text(value)?, *chars, *bytes, &column.declared)?,
            Kind::Integer { min, max } => as_integer(value, *min, *max, &column.declared)?,
            Kind::Decimal { precision, scale } => as_decimal(database, value, *precision, *scale, &column.declared)?,
            Kind::Float => as_float(database, value, &column.declared)?,
            Kind::Bool => as_bool(value)?,
            Kind::Date => Cell::Text(as_date(value)?.into()),
            Kind::DateTime { fraction } => Cell::Text(as_datetime(database, zone, value, *fraction)?.into()),
            Kind::Timestamp { fraction } => Cell::Text(as_instant(database, zone, value, *fraction)?.into()),
            Kind::Bytes { bytes, exact } => as_bytes(value, *bytes, *exact, &column.declared)?,
            Kind::Json => as_json(value)?,
            Kind::Uuid => as_uuid(value, &column.declared)?,
            Kind::Labels(labels) => as_label(value, labels, &column.declared)?,
            Kind::Network => as_network(value, &column.declared)?,
            Kind::Array { json } => as_array(value, *json, &column.declared)?,
            Kind::Hstore => as_hstore(value, &column.declared)?,
            Kind::Other => as_other(database, column, value)?,
        },
    };
    match &cell {
        Cell::Text(text) if database == DatabaseKind::Postgres && text.contains('\0') => {
            Err(format!("{} has a zero byte, which PostgreSQL's text cannot hold", show(text)))
        }
        _ => Ok(cell),
    }
}
