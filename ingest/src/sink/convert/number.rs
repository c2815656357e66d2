//! Numbers and booleans.

use std::borrow::Cow;

use jobqueue_json::{Digits, shortest};

use super::{
    cell::Cell,
    print::{as_text, show, show_value},
};
use crate::{SqlValue, sink::DatabaseKind};

/// SQLite keeps a decimal as a double, which is faithful to this many digits.
const EXACT_DIGITS: usize = 15;

/// A number without an exponent is not written out longer than this on each side of the point.
pub(super) const MOST_DIGITS: usize = 400;

/// A whole number from `min` to `max`; `declared` is the type for messages.
pub(super) fn as_integer<'a>(value: &SqlValue, min: i128, max: i128, declared: &str) -> Result<Cell<'a>, String> {
    // MySQL's BOOLEAN.
    if declared == "tinyint(1)"
        && let Ok(flag) = as_bool(value)
    {
        return Ok(flag);
    }
    let number = match value {
        SqlValue::Int(number) => i128::from(*number),
        SqlValue::UInt(number) => i128::from(*number),
        SqlValue::Bool(flag) => i128::from(*flag),
        #[expect(clippy::cast_possible_truncation, reason = "whole and far below the bound of i128")]
        SqlValue::Float(number) if number.fract() == 0.0 && number.abs() < 1e18 => *number as i128,
        // `1.0` and `1e3` are whole. What is not is refused, though PostgreSQL and MySQL would round it.
        SqlValue::Number(text) => match Digits::parse(text) {
            Some(digits) if digits.places() == 0 => {
                digits.to_integer().ok_or_else(|| format!("{} is out of the range of {declared}", show(text)))?
            }
            _ => return Err(format!("{} is not a whole number, for {declared}", show(text))),
        },
        SqlValue::Text(text) => {
            text.trim().parse().map_err(|_| format!("{} is not a whole number, for {declared}", show(text)))?
        }
        other => return Err(format!("{} is not a whole number, for {declared}", show_value(other))),
    };
    if number < min || number > max {
        return Err(format!("{number} is out of the range of {declared}"));
    }
    i64::try_from(number)
        .map(Cell::Int)
        .or_else(|_| u64::try_from(number).map(Cell::UInt))
        .map_err(|_| format!("{number} is out of the range of {declared}"))
}

/// Numbers that are too long for the column are rounded to its scale, as every database does; in a text they are refused.
pub(super) fn as_decimal<'a>(
    database: DatabaseKind,
    value: &'a SqlValue,
    precision: Option<u32>,
    scale: Option<u32>,
    declared: &str,
) -> Result<Cell<'a>, String> {
    let text: Cow<'a, str> = match value {
        SqlValue::Int(_) | SqlValue::UInt(_) | SqlValue::Number(_) => as_text(value)?,
        SqlValue::Bool(flag) => i32::from(*flag).to_string().into(),
        SqlValue::Float(number) if number.is_finite() => double_digits(database, *number, scale).into(),
        SqlValue::Text(text) => text.trim().into(),
        other => return Err(format!("{} is not a number, for {declared}", show_value(other))),
    };
    let digits = Digits::parse(&text).ok_or_else(|| format!("{} is not a number, for {declared}", show(&text)))?;
    let is_number = matches!(value, SqlValue::Number(_) | SqlValue::Float(_));
    if let Some(scale) = scale
        && !is_number
        && digits.places() > u64::from(scale)
    {
        return Err(format!("{} has more decimal places than {declared} keeps", show(&text)));
    }
    let whole = match scale {
        // SQLite rounds nothing.
        Some(scale) if is_number && database != DatabaseKind::Sqlite => digits.whole_when_rounded(scale),
        _ => digits.whole(),
    };
    if let Some(precision) = precision
        && whole > u64::from(precision - scale.unwrap_or(0).min(precision))
    {
        return Err(format!("{} is out of the range of {declared}", show(&text)));
    }
    if database == DatabaseKind::Sqlite { sqlite_number(&text) } else { Ok(Cell::Text(text)) }
}

/// The digits that the database itself takes from a double.
fn double_digits(database: DatabaseKind, number: f64, scale: Option<u32>) -> String {
    let faithful = || Digits::parse(&format!("{:.*e}", EXACT_DIGITS - 1, number))?.plain(MOST_DIGITS);
    match (database, scale) {
        (DatabaseKind::Postgres, _) => faithful().unwrap_or_else(|| shortest(number, number.to_string())),
        (DatabaseKind::Sqlite, Some(scale)) => format!("{number:.*}", scale as usize),
        (DatabaseKind::Mysql, _) | (DatabaseKind::Sqlite, None) => shortest(number, number.to_string()),
    }
}

/// The number as SQLite keeps it: an integer of 64 bits, or a double where that has the same digits.
pub(super) fn sqlite_number<'a>(text: &str) -> Result<Cell<'a>, String> {
    let whole = Digits::parse(text).and_then(|digits| digits.to_integer());
    match whole.and_then(|number| i64::try_from(number).ok()) {
        Some(number) => Ok(Cell::Int(number)),
        None => sqlite_double(text),
    }
}

/// The double that has the same digits; an error where none has.
pub(super) fn sqlite_double<'a>(text: &str) -> Result<Cell<'a>, String> {
    let digits = Digits::parse(text).ok_or_else(|| format!("{} is not a number", show(text)))?;
    match text.parse::<f64>() {
        Ok(number) if digits.significant() == 0 => Ok(Cell::Float(number)),
        Ok(number) if digits.significant() <= EXACT_DIGITS && number.is_normal() => Ok(Cell::Float(number)),
        Ok(_) if digits.significant() > EXACT_DIGITS => {
            Err(format!("{} has more than {EXACT_DIGITS} digits, which SQLite cannot keep exactly", show(text)))
        }
        _ => Err(format!("{} is out of the range of SQLite's numbers", show(text))),
    }
}

/// A number for a column of binary fractions.
pub(super) fn as_float<'a>(database: DatabaseKind, value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    Ok(match value {
        SqlValue::Float(number) => Cell::Float(*number),
        SqlValue::Int(number) => Cell::Int(*number),
        SqlValue::UInt(number) if database == DatabaseKind::Sqlite => Cell::Float(*number as f64),
        SqlValue::UInt(number) => Cell::UInt(*number),
        SqlValue::Bool(flag) => Cell::Int(i64::from(*flag)),
        SqlValue::Number(text) => {
            let number: f64 = text.parse().map_err(|_| format!("{} is not a number", show(text)))?;
            let nearest = if declared == "real" { text.parse::<f32>().map_or(number, f64::from) } else { number };
            // PostgreSQL refuses what is too small, too.
            let vanishes = nearest == 0.0 && Digits::parse(text).is_some_and(|digits| digits.significant() > 0);
            if nearest.is_infinite() || (vanishes && database == DatabaseKind::Postgres) {
                return Err(format!("{} is out of the range of {declared}", show(text)));
            }
            // PostgreSQL gets the text: a `real` is not the nearest double, rounded once more.
            if database == DatabaseKind::Postgres { Cell::Text(text.into()) } else { Cell::Float(number) }
        }
        SqlValue::Text(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => Cell::Float(number),
            _ => return Err(format!("{} is not a number", show(text))),
        },
        other => return Err(format!("{} is not a number", show_value(other))),
    })
}

/// A boolean, also from 0 and 1 and from the usual words in text.
pub(super) fn as_bool<'a>(value: &SqlValue) -> Result<Cell<'a>, String> {
    Ok(Cell::Bool(match value {
        SqlValue::Bool(flag) => *flag,
        SqlValue::Int(0) | SqlValue::UInt(0) => false,
        SqlValue::Int(1) | SqlValue::UInt(1) => true,
        SqlValue::Text(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "1" => true,
            "false" | "f" | "no" | "0" => false,
            _ => return Err(format!("{} is neither true nor false", show(text))),
        },
        other => return Err(format!("{} is neither true nor false", show_value(other))),
    }))
}
