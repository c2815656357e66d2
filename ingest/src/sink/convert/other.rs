//! Columns of a type that has no rules of its own here: each database reads what it is sent.

use std::borrow::Cow;

use jobqueue_json::Digits;

use super::{
    cell::Cell,
    number::{MOST_DIGITS, as_float, sqlite_double, sqlite_number},
    print::{as_text, misplaced, show},
};
use crate::{
    SqlValue,
    sink::{DatabaseKind, schema::Column},
};

/// MySQL's types whose values are bytes, besides the binary ones.
const BINARY_TYPES: [&str; 9] = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "vector",
];

/// The value as the database reads it by itself for a type without rules here.
pub(super) fn as_other<'a>(database: DatabaseKind, column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    match database {
        DatabaseKind::Postgres => as_other_postgres(column, value),
        DatabaseKind::Mysql => as_other_mysql(column, value),
        DatabaseKind::Sqlite => as_other_sqlite(column, value),
    }
}

/// Everything travels as text here.
fn as_other_postgres<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    match value {
        SqlValue::Bytes(bytes) => Err(misplaced(bytes)),
        SqlValue::Float(number) => Ok(Cell::Float(*number)),
        // `money` reads no exponent, and holds up to 92233720368547758.07.
        SqlValue::Int(_) | SqlValue::UInt(_) | SqlValue::Number(_) if column.cast == "money" => {
            let text = as_text(value)?;
            let digits = Digits::parse(&text).filter(|digits| digits.whole_when_rounded(2) <= 17);
            let plain = digits.and_then(|digits| digits.plain(MOST_DIGITS));
            let plain = plain.ok_or_else(|| format!("{} is out of the range of money", show(&text)))?;
            Ok(Cell::Text(plain.into()))
        }
        value => Ok(Cell::Text(as_text(value)?)),
    }
}

fn as_other_mysql<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    let is_choice = column.declared.starts_with("enum(") || column.declared.starts_with("set(");
    match value {
        value if is_choice => as_choice(value, &column.declared),
        SqlValue::Bytes(bytes) => {
            let name = column.declared.split(['(', ' ']).next().unwrap_or_default().to_ascii_lowercase();
            if BINARY_TYPES.contains(&name.as_str()) {
                Ok(Cell::Bytes(Cow::Borrowed(bytes)))
            } else {
                Err(misplaced(bytes))
            }
        }
        SqlValue::Bool(flag) => Ok(Cell::Bool(*flag)),
        value => Ok(Cell::Text(as_text(value)?)),
    }
}

/// The declared type decides as SQLite does (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>), but
/// a number that would lose digits is text where the column can hold one, else refused.
fn as_other_sqlite<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    let declared = column.declared.to_ascii_uppercase();
    let says = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match value {
        // Columns of no type, and of a type that SQLite does not know, take anything.
        SqlValue::Bytes(bytes) => Ok(Cell::Bytes(Cow::Borrowed(bytes))),
        SqlValue::Bool(flag) => Ok(Cell::Bool(*flag)),
        SqlValue::Int(number) => Ok(Cell::Int(*number)),
        SqlValue::Float(number) => Ok(Cell::Float(*number)),
        SqlValue::UInt(_) | SqlValue::Number(_) => {
            let text = as_text(value)?;
            if !says(&["INT"]) && says(&["CHAR", "CLOB", "TEXT"]) {
                Ok(Cell::Text(text))
            } else if declared.is_empty() || says(&["BLOB"]) {
                // Nothing is converted here: `1.0` stays apart from `1`.
                let number = text.parse().map_or_else(|_| sqlite_double(&text), |number| Ok(Cell::Int(number)));
                Ok(number.unwrap_or(Cell::Text(text)))
            } else if !says(&["INT"]) && says(&["REAL", "FLOA", "DOUB"]) {
                as_float(DatabaseKind::Sqlite, value, &column.declared)
            } else {
                sqlite_number(&text)
            }
        }
        value => Ok(Cell::Text(as_text(value)?)),
    }
}

/// MySQL takes a number, in digits too, for the place of a member, unless a member is written so.
fn as_choice<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    let text = as_text(value)?;
    let is_number = text.trim().parse::<i64>().is_ok();
    if is_number && !members(declared).any(|member| member == text.trim_end()) {
        return Err(format!("{} is none of {declared}", show(&text)));
    }
    Ok(Cell::Text(text))
}

/// The members in `enum('a','it''s')`.
fn members(declared: &str) -> impl Iterator<Item = String> {
    let inner = declared.split_once('(').map_or("", |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let inner = inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\'')).unwrap_or(inner);
    inner.split("','").map(|member| member.replace("''", "'"))
}
