//! From a recipe's value to what a column takes: exactly, or with a message that names the value.
//!
//! Doing this before anything is sent keeps one bad value from costing the batch a round of splitting, makes the
//! databases agree (SQLite would take any text of any length, MySQL would round a decimal in silence), and names the
//! column where PostgreSQL does not.

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use jobqueue_json::{Digits, Value};

use super::{
    DatabaseKind,
    schema::{Column, Kind},
};
use crate::SqlValue;

/// A value as it is bound or copied.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// Stands for the id of the parent row, which is not known yet.
    ParentId,
}

impl Cell<'_> {
    /// A copy that outlives the batch.
    pub(super) fn to_owned_cell(&self) -> Cell<'static> {
        match self {
            Self::Null => Cell::Null,
            Self::Bool(flag) => Cell::Bool(*flag),
            Self::Int(number) => Cell::Int(*number),
            Self::UInt(number) => Cell::UInt(*number),
            Self::Float(number) => Cell::Float(*number),
            Self::Text(text) => Cell::Text(Cow::Owned(text.clone().into_owned())),
            Self::Bytes(bytes) => Cell::Bytes(Cow::Owned(bytes.clone().into_owned())),
            Self::ParentId => Cell::ParentId,
        }
    }

    /// About how many bytes it takes on the wire.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// SQLite keeps a decimal as a double, which is faithful to this many digits.
const EXACT_DIGITS: usize = 15;

/// A number without an exponent is not written out longer than this on each side of the point.
const MOST_DIGITS: usize = 400;

/// Converts `value` for `column`; the error says what is wrong with which value.
pub(super) fn convert<'a>(database: DatabaseKind, column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
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
            Kind::DateTime { fraction } => Cell::Text(print_time(as_datetime(value)?, *fraction)?.into()),
            Kind::Timestamp { fraction } => {
                let mut text = print_time(as_datetime(value)?, *fraction)?;
                if database == DatabaseKind::Postgres {
                    text.push_str("+00");
                }
                Cell::Text(text.into())
            }
            Kind::Bytes { bytes } => as_bytes(value, *bytes, &column.declared)?,
            Kind::Json => as_json(value)?,
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

/// The value for a message: at most 60 characters.
pub(super) fn show(text: &str) -> String {
    const LENGTH: usize = 60;
    if text.chars().count() <= LENGTH {
        return format!("`{text}`");
    }
    format!("`{}...`", text.chars().take(LENGTH).collect::<String>())
}

fn show_value(value: &SqlValue) -> String {
    match as_text(value) {
        Ok(text) => show(&text),
        Err(_) => "a value that is not text".into(),
    }
}

fn as_text(value: &SqlValue) -> Result<Cow<'_, str>, String> {
    Ok(match value {
        SqlValue::Text(text) => Cow::Borrowed(text.as_str()),
        SqlValue::Bool(flag) => flag.to_string().into(),
        SqlValue::Int(number) => number.to_string().into(),
        SqlValue::UInt(number) => number.to_string().into(),
        SqlValue::Float(number) => number.to_string().into(),
        SqlValue::Number(digits) => Cow::Borrowed(digits.as_str()),
        SqlValue::Date(date) => print_date(*date)?.into(),
        SqlValue::DateTime(moment) => print_time(*moment, 6)?.into(),
        SqlValue::Timestamp(moment) => (print_time(moment.naive_utc(), 6)? + "+00:00").into(),
        SqlValue::Json(json) => json.to_string().into(),
        SqlValue::Bytes(bytes) => {
            std::str::from_utf8(bytes).map_err(|_| "bytes that are not UTF-8, for a text column".to_owned())?.into()
        }
        SqlValue::Null | SqlValue::ParentId => Cow::Borrowed(""),
    })
}

fn fit<'a>(text: Cow<'a, str>, chars: Option<u64>, bytes: Option<u64>, declared: &str) -> Result<Cell<'a>, String> {
    let length = text.len() as u64;
    // A character takes at least a byte, so that most texts need no counting.
    if let Some(limit) = chars
        && length > limit
    {
        let count = text.chars().count() as u64;
        if count > limit {
            return Err(format!("text too long: {count} characters for {declared}: {}", show(&text)));
        }
    }
    if let Some(limit) = bytes
        && length > limit
    {
        return Err(format!("text too long: {length} bytes for {declared}: {}", show(&text)));
    }
    Ok(Cell::Text(text))
}

fn as_integer<'a>(value: &SqlValue, min: i128, max: i128, declared: &str) -> Result<Cell<'a>, String> {
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
fn as_decimal<'a>(
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
        (DatabaseKind::Postgres, _) => faithful().unwrap_or_else(|| number.to_string()),
        (DatabaseKind::Sqlite, Some(scale)) => format!("{number:.*}", scale as usize),
        (DatabaseKind::Mysql, _) | (DatabaseKind::Sqlite, None) => number.to_string(),
    }
}

/// The number as SQLite keeps it: an integer of 64 bits, or a double where that has the same digits.
fn sqlite_number<'a>(text: &str) -> Result<Cell<'a>, String> {
    let whole = Digits::parse(text).and_then(|digits| digits.to_integer());
    match whole.and_then(|number| i64::try_from(number).ok()) {
        Some(number) => Ok(Cell::Int(number)),
        None => sqlite_double(text),
    }
}

fn sqlite_double<'a>(text: &str) -> Result<Cell<'a>, String> {
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

fn as_float<'a>(database: DatabaseKind, value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
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

fn as_bool<'a>(value: &SqlValue) -> Result<Cell<'a>, String> {
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

/// A date or time in a text.
enum Moment {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Instant(DateTime<FixedOffset>),
}

fn parse_moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(Moment::Date(date));
    }
    if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        return Some(Moment::Instant(instant));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(Moment::Local)
}

/// A time of day in a text is not dropped in silence; a recipe's own time values are, since the recipe chose the column.
fn as_date(value: &SqlValue) -> Result<String, String> {
    let date = match value {
        SqlValue::Date(date) => *date,
        SqlValue::DateTime(moment) => moment.date(),
        SqlValue::Timestamp(moment) => moment.date_naive(),
        SqlValue::Text(text) => match parse_moment(text) {
            Some(Moment::Date(date)) => date,
            Some(Moment::Local(moment)) if moment.time() == NaiveTime::MIN => moment.date(),
            Some(Moment::Instant(moment)) if moment.time() == NaiveTime::MIN => moment.date_naive(),
            Some(_) => return Err(format!("{} has a time of day, for a date", show(text))),
            None => return Err(format!("{} is not a date", show(text))),
        },
        other => return Err(format!("{} is not a date", show_value(other))),
    };
    print_date(date)
}

/// Columns without a zone take instants as UTC.
fn as_datetime(value: &SqlValue) -> Result<NaiveDateTime, String> {
    Ok(match value {
        SqlValue::Date(date) => date.and_time(NaiveTime::MIN),
        SqlValue::DateTime(moment) => *moment,
        SqlValue::Timestamp(moment) => moment.naive_utc(),
        SqlValue::Text(text) => match parse_moment(text) {
            Some(Moment::Date(date)) => date.and_time(NaiveTime::MIN),
            Some(Moment::Local(moment)) => moment,
            Some(Moment::Instant(moment)) => moment.with_timezone(&Utc).naive_utc(),
            None => return Err(format!("{} is not a date and time", show(text))),
        },
        other => return Err(format!("{} is not a date and time", show_value(other))),
    })
}

/// `2010-10-22`. By hand, since chrono's formatting was a tenth of the time of a batch.
fn print_date(date: NaiveDate) -> Result<String, String> {
    if !(1..=9999).contains(&date.year()) {
        return Err(format!("`{date}` is outside the years 1 to 9999"));
    }
    let mut text = String::with_capacity(32);
    push_digits(&mut text, date.year().unsigned_abs(), 1000);
    text.push('-');
    push_digits(&mut text, date.month(), 10);
    text.push('-');
    push_digits(&mut text, date.day(), 10);
    Ok(text)
}

/// The decimal digits of `number` from the place of `unit` down.
fn push_digits(text: &mut String, number: u32, mut unit: u32) {
    while unit > 0 {
        text.push(char::from_digit(number / unit % 10, 10).expect("a number modulo 10 is a digit"));
        unit /= 10;
    }
}

/// `2010-10-22 08:00:00.25`: digits beyond the column's are cut, not rounded into the next day.
fn print_time(moment: NaiveDateTime, fraction: u8) -> Result<String, String> {
    let mut text = print_date(moment.date())?;
    for (before, part) in [(' ', moment.hour()), (':', moment.minute()), (':', moment.second())] {
        text.push(before);
        push_digits(&mut text, part, 10);
    }
    let nanos = moment.nanosecond() % 1_000_000_000;
    if fraction > 0 && nanos > 0 {
        text.push('.');
        text.push_str(&format!("{nanos:09}")[..usize::from(fraction.min(9))]);
    }
    Ok(text)
}

fn as_bytes<'a>(value: &'a SqlValue, limit: Option<u64>, declared: &str) -> Result<Cell<'a>, String> {
    let bytes: Cow<'a, [u8]> = match value {
        SqlValue::Bytes(bytes) => Cow::Borrowed(bytes),
        value => match as_text(value)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    };
    match limit {
        Some(limit) if bytes.len() as u64 > limit => Err(format!("{} bytes are too many for {declared}", bytes.len())),
        _ => Ok(Cell::Bytes(bytes)),
    }
}

/// Text has to be a JSON document: making a JSON text of some texts and a document of others would depend on the data.
fn as_json(value: &SqlValue) -> Result<Cell<'_>, String> {
    match value {
        SqlValue::Text(text) => match serde_json::from_str::<serde::de::IgnoredAny>(text) {
            Ok(_) => Ok(Cell::Text(text.into())),
            Err(error) => Err(format!("{} is not JSON: {error}", show(text))),
        },
        SqlValue::Date(_) | SqlValue::DateTime(_) | SqlValue::Timestamp(_) | SqlValue::Bytes(_) => {
            Ok(Cell::Text(Value::String(as_text(value)?.into_owned()).to_string().into()))
        }
        value => Ok(Cell::Text(as_text(value)?)),
    }
}

fn as_other<'a>(database: DatabaseKind, column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    match database {
        DatabaseKind::Postgres => as_other_postgres(column, value),
        DatabaseKind::Mysql => as_other_mysql(column, value),
        DatabaseKind::Sqlite => as_other_sqlite(column, value),
    }
}

/// Everything travels as text here.
fn as_other_postgres<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    match value {
        SqlValue::Json(Value::Array(items)) if column.cast.ends_with("[]") => {
            Ok(Cell::Text(array_literal(items).into()))
        }
        SqlValue::Bytes(bytes) => Ok(Cell::Bytes(Cow::Borrowed(bytes))),
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

/// A number for an ENUM or SET is the text of a member, never its place in the list.
fn as_other_mysql<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    let has_members = column.declared.starts_with("enum(") || column.declared.starts_with("set(");
    match value {
        SqlValue::Bytes(bytes) => Ok(Cell::Bytes(Cow::Borrowed(bytes))),
        SqlValue::Bool(flag) if !has_members => Ok(Cell::Bool(*flag)),
        value => {
            let text = as_text(value)?;
            // MySQL takes a number that is none of the members for a place in the list, also in a text.
            if has_members && text.trim().parse::<i64>().is_ok() && !is_member(&column.declared, text.trim_end()) {
                return Err(format!("{} is none of {}", show(&text), column.declared));
            }
            Ok(Cell::Text(text))
        }
    }
}

/// Whether a number is listed in `enum('a','1')`.
fn is_member(declared: &str, number: &str) -> bool {
    [("(", ","), ("(", ")"), (",", ","), (",", ")")]
        .iter()
        .any(|(before, after)| declared.contains(&format!("{before}'{number}'{after}")))
}

/// The declared type decides as SQLite does (<https://www.sqlite.org/datatype3.html#determination_of_column_affinity>), but
/// a number that would lose digits is text where the column can hold one, else refused.
fn as_other_sqlite<'a>(column: &Column, value: &'a SqlValue) -> Result<Cell<'a>, String> {
    let declared = column.declared.to_ascii_uppercase();
    let says = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match value {
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

/// PostgreSQL's text form of an array: every element quoted.
fn array_literal(items: &[Value]) -> String {
    let element = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        Value::Array(items) => array_literal(items),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    };
    format!("{{{}}}", items.iter().map(element).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
