//! From a recipe's value to what a column takes: exactly, or with a message that names the value.
//!
//! Doing this before anything is sent keeps one bad value from costing the batch a round of splitting, makes the
//! databases agree (SQLite would take any text of any length, MySQL would round a decimal in silence), and names the
//! column where PostgreSQL does not.

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _, Utc};
use jobqueue_json::{Digits, Value, shortest};

use super::{
    DatabaseKind,
    schema::{Column, Kind},
};
use crate::{
    SqlValue, TimeZone,
    moment::{self, Moment},
};

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
            Kind::DateTime { fraction } => {
                let local = match as_moment(value)? {
                    Clock::Local(local) => local,
                    Clock::Instant(instant) => zone.local(instant).ok_or_else(|| unknown_zone(value))?,
                };
                Cell::Text(print_time(local, digits(database, *fraction))?.into())
            }
            Kind::Timestamp { fraction } => {
                Cell::Text(as_instant(database, zone, value, digits(database, *fraction))?.into())
            }
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

/// The value for a message: at most 60 characters.
pub(super) fn show(text: &str) -> String {
    const LENGTH: usize = 60;
    if text.chars().count() <= LENGTH {
        return format!("`{text}`");
    }
    format!("`{}...`", text.chars().take(LENGTH).collect::<String>())
}

/// The same for any value.
pub(super) fn show_value(value: &SqlValue) -> String {
    if let SqlValue::Bytes(bytes) = value {
        return count_bytes(bytes);
    }
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
        SqlValue::Float(number) => shortest(*number, number.to_string()).into(),
        SqlValue::Number(digits) => Cow::Borrowed(digits.as_str()),
        SqlValue::Date(date) => print_date(*date)?.into(),
        SqlValue::DateTime(moment) => print_time(*moment, 6)?.into(),
        SqlValue::Timestamp(moment) => (print_time(moment.naive_utc(), 6)? + "+00:00").into(),
        SqlValue::Json(json) => json.to_string().into(),
        SqlValue::Bytes(bytes) => return Err(misplaced(bytes)),
        SqlValue::Null | SqlValue::ParentId => Cow::Borrowed(""),
    })
}

fn count_bytes(bytes: &[u8]) -> String {
    if bytes.len() == 1 { "1 byte".into() } else { format!("{} bytes", bytes.len()) }
}

fn misplaced(bytes: &[u8]) -> String {
    format!("{}, which only a binary column takes; text(...) makes text of UTF-8", count_bytes(bytes))
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
        (DatabaseKind::Postgres, _) => faithful().unwrap_or_else(|| shortest(number, number.to_string())),
        (DatabaseKind::Sqlite, Some(scale)) => format!("{number:.*}", scale as usize),
        (DatabaseKind::Mysql, _) | (DatabaseKind::Sqlite, None) => shortest(number, number.to_string()),
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

/// Reads a date or time; `what` names the expected type in the error.
fn parse_moment(text: &str, what: &str) -> Result<Moment, String> {
    match moment::read(text) {
        Ok(Some(moment)) => Ok(moment),
        Ok(None) => Err(format!("{} is not a {what}", show(text))),
        Err(why) => Err(format!("{} {why}", show(text))),
    }
}

/// A time of day in a text is not dropped in silence; a recipe's own time values are, since the recipe chose the column.
fn as_date(value: &SqlValue) -> Result<String, String> {
    let date = match value {
        SqlValue::Date(date) => *date,
        SqlValue::DateTime(moment) => moment.date(),
        SqlValue::Timestamp(moment) => moment.date_naive(),
        SqlValue::Text(text) => {
            let moment = parse_moment(text, "date")?;
            if moment.time().is_some_and(|time| time != NaiveTime::MIN) {
                return Err(format!("{} has a time of day, for a date", show(text)));
            }
            moment.date()
        }
        other => return Err(format!("{} is not a date", show_value(other))),
    };
    print_date(date)
}

/// A date and time of day, and whether it is known where.
enum Clock {
    Local(NaiveDateTime),
    Instant(DateTime<Utc>),
}

fn as_moment(value: &SqlValue) -> Result<Clock, String> {
    Ok(match value {
        SqlValue::Date(date) => Clock::Local(date.and_time(NaiveTime::MIN)),
        SqlValue::DateTime(moment) => Clock::Local(*moment),
        SqlValue::Timestamp(moment) => Clock::Instant(*moment),
        SqlValue::Text(text) => match parse_moment(text, "date and time")? {
            Moment::Date(date) => Clock::Local(date.and_time(NaiveTime::MIN)),
            Moment::Local(moment) => Clock::Local(moment),
            Moment::Instant(moment) => Clock::Instant(moment.to_utc()),
        },
        other => return Err(format!("{} is not a date and time", show_value(other))),
    })
}

/// For a column of instants. What has no offset is left to the session, which is in the zone. MySQL takes instants by the
/// clock of the session too.
fn as_instant(database: DatabaseKind, zone: TimeZone, value: &SqlValue, digits: u8) -> Result<String, String> {
    match as_moment(value)? {
        Clock::Local(local) => print_time(local, digits),
        Clock::Instant(instant) if database == DatabaseKind::Postgres => {
            Ok(print_time(instant.naive_utc(), digits)? + "+00")
        }
        Clock::Instant(instant) if zone.is_ambiguous(instant) => Err(format!(
            "{} is in the hour that {zone} has twice, which MySQL cannot tell apart; with timeZone: UTC or an offset it can",
            show_value(value)
        )),
        Clock::Instant(instant) => print_time(zone.local(instant).ok_or_else(|| unknown_zone(value))?, digits),
    }
}

fn unknown_zone(value: &SqlValue) -> String {
    format!(
        "{} is an instant, and the name of the server's zone is not known; say it in database.timeZone",
        show_value(value)
    )
}

/// How many digits of the fraction of a second are sent: all of them, where the database itself cuts or rounds.
fn digits(database: DatabaseKind, fraction: u8) -> u8 {
    if database == DatabaseKind::Sqlite { fraction } else { 9 }
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

/// `2010-10-22 08:00:00.25`: digits beyond `fraction` are cut.
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

/// Bytes as they are, and the UTF-8 of everything else.
fn as_bytes<'a>(value: &'a SqlValue, limit: Option<u64>, exact: bool, declared: &str) -> Result<Cell<'a>, String> {
    let bytes: Cow<'a, [u8]> = match value {
        SqlValue::Bytes(bytes) => Cow::Borrowed(bytes),
        value => match as_text(value)? {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        },
    };
    let length = bytes.len() as u64;
    match limit {
        Some(16) if length > 16 && std::str::from_utf8(&bytes).is_ok_and(is_uuid) => Err(format!(
            "{} is the text of a UUID, and {declared} takes 16 bytes: send the bytes (in Python, `value.bytes`), or write \
             through a view or trigger that uses UNHEX(REPLACE(value, '-', ''))",
            show_value(value)
        )),
        Some(limit) if length > limit => Err(format!("{} are too many for {declared}", count_bytes(&bytes))),
        Some(limit) if exact && length < limit => {
            Err(format!("{} are too few for {declared}, which would add zero bytes", count_bytes(&bytes)))
        }
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

/// 32 hexadecimal digits; PostgreSQL lets them be grouped and braced.
fn is_uuid(text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let digits = inner.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && inner.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

fn as_uuid<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    match value {
        SqlValue::Text(text) if is_uuid(text) => Ok(Cell::Text(text.into())),
        SqlValue::Bytes(bytes) => Err(misplaced(bytes)),
        other => Err(format!("{} is not a UUID, for {declared}", show_value(other))),
    }
}

fn as_label<'a>(value: &'a SqlValue, labels: &[String], declared: &str) -> Result<Cell<'a>, String> {
    let text = as_text(value)?;
    if labels.iter().any(|label| *label == text) {
        return Ok(Cell::Text(text));
    }
    let known: Vec<String> = labels.iter().take(8).map(|label| show(label)).collect();
    let more = if labels.len() > known.len() { ", ..." } else { "" };
    Err(format!("{} is none of {declared}: {}{more}", show(&text), known.join(", ")))
}

/// An address or a network; the rest of its grammar is for the database.
fn as_network<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    let text = as_text(value)?;
    let plausible = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    if !text.is_empty() && text.bytes().all(plausible) {
        return Ok(Cell::Text(text));
    }
    Err(format!("{} is not an address, for {declared}", show(&text)))
}

/// A list, or PostgreSQL's own text for one (`{a,b}`).
fn as_array<'a>(value: &'a SqlValue, json: bool, declared: &str) -> Result<Cell<'a>, String> {
    match value {
        SqlValue::Json(Value::Array(items)) => Ok(Cell::Text(array_literal(items, json).into())),
        SqlValue::Text(text) if text.trim_start().starts_with('{') || text.contains("]={") => {
            Ok(Cell::Text(text.into()))
        }
        SqlValue::Bytes(bytes) => Err(misplaced(bytes)),
        other => Err(format!("{} is not a list, for {declared}", show_value(other))),
    }
}

/// PostgreSQL's text form of an array: every element quoted. A list in a list is another dimension, except among JSON
/// documents, where each element is one.
fn array_literal(items: &[Value], json: bool) -> String {
    let element = |item: &Value| match item {
        Value::Null => "NULL".to_owned(),
        document if json => quoted(&document.to_string()),
        Value::Array(items) => array_literal(items, json),
        Value::String(text) => quoted(text),
        other => quoted(&other.to_string()),
    };
    format!("{{{}}}", items.iter().map(element).collect::<Vec<_>>().join(","))
}

/// Pairs of words or quoted texts, separated by commas. PostgreSQL's word for anything else is "internal error".
fn is_hstore(text: &str) -> bool {
    fn word(text: &str) -> Option<&str> {
        let text = text.trim_start();
        if let Some(inner) = text.strip_prefix('"') {
            let mut escaped = false;
            for (at, c) in inner.char_indices() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => return Some(&inner[at + 1..]),
                    _ => {}
                }
            }
            return None;
        }
        let end = text.find(|c: char| c.is_whitespace() || matches!(c, ',' | '=' | '"' | '\\')).unwrap_or(text.len());
        (end > 0).then(|| &text[end..])
    }
    let mut rest = text.trim();
    while !rest.is_empty() {
        let value = word(rest).and_then(|rest| rest.trim_start().strip_prefix("=>")).and_then(word);
        let Some(after) = value.map(str::trim_start) else { return false };
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => after,
            None => return false,
        };
    }
    true
}

/// A map of scalars, or the type's own text (`a=>1`).
fn as_hstore<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    let map = match value {
        SqlValue::Json(Value::Object(map)) => map,
        SqlValue::Text(text) if is_hstore(text) => return Ok(Cell::Text(text.into())),
        SqlValue::Text(text) => {
            return Err(format!("{} is no text of {declared} (`\"key\" => \"value\"`)", show(text)));
        }
        SqlValue::Bytes(bytes) => return Err(misplaced(bytes)),
        other => return Err(format!("{} is not a map, for {declared}", show_value(other))),
    };
    let mut pairs = Vec::with_capacity(map.len());
    for (key, value) in map {
        let value = match value {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => quoted(text),
            Value::Array(_) | Value::Object(_) => {
                return Err(format!("the value of {} is a list or map, which {declared} cannot hold", show(key)));
            }
            scalar => quoted(&scalar.to_string()),
        };
        pairs.push(format!("{}=>{value}", quoted(key)));
    }
    Ok(Cell::Text(pairs.join(", ").into()))
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::schema::Filled;

    fn converted(database: DatabaseKind, zone: &str, kind: Kind, value: &SqlValue) -> Result<String, String> {
        let column = Column {
            name: "c".into(),
            declared: "t".into(),
            cast: String::new(),
            kind,
            nullable: true,
            filled: Filled::No,
            draw: None,
        };
        match convert((database, zone.parse().unwrap()), &column, value)? {
            Cell::Text(text) => Ok(text.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_instant_that_mysql_could_not_tell_from_another_is_refused() {
        let instant = |zone, text: &str| {
            let kind = Kind::Timestamp { fraction: 0 };
            converted(DatabaseKind::Mysql, zone, kind, &SqlValue::Timestamp(text.parse().unwrap()))
        };
        assert_eq!(instant("Europe/Berlin", "2010-07-01T10:00:00Z").as_deref(), Ok("2010-07-01 12:00:00"));
        for twice in ["2010-10-31T00:30:00Z", "2010-10-31T01:30:00Z"] {
            let error = instant("Europe/Berlin", twice).unwrap_err();
            assert!(error.contains("is in the hour that Europe/Berlin has twice"), "{error}");
            assert!(instant("UTC", twice).is_ok() && instant("+01:00", twice).is_ok());
        }
        let error = instant("Server", "2010-07-01T10:00:00Z").unwrap_err();
        assert!(error.contains("the name of the server's zone is not known; say it in database.timeZone"), "{error}");
    }

    #[test]
    fn all_digits_of_a_second_are_sent_where_the_database_rounds() {
        let text = SqlValue::Text("2010-10-22T23:59:59.123456789".into());
        let sent = |database| converted(database, "UTC", Kind::DateTime { fraction: 6 }, &text);
        assert_eq!(sent(DatabaseKind::Postgres).as_deref(), Ok("2010-10-22 23:59:59.123456789"));
        assert_eq!(sent(DatabaseKind::Mysql).as_deref(), Ok("2010-10-22 23:59:59.123456789"));
        assert_eq!(sent(DatabaseKind::Sqlite).as_deref(), Ok("2010-10-22 23:59:59.123456"));
    }

    #[test]
    fn a_time_that_no_database_keeps_is_refused_with_the_reason() {
        let error = |text: &str| {
            let text = SqlValue::Text(text.into());
            converted(DatabaseKind::Postgres, "UTC", Kind::DateTime { fraction: 6 }, &text).unwrap_err()
        };
        assert!(error("2016-12-31T23:59:60Z").contains("`2016-12-31T23:59:60Z` has the second 60"));
        assert!(error("2010-10-22T24:00").contains("has the hour 24"));
        assert!(error("0000-00-00 00:00:00").contains("MySQL's zero date"));
        assert!(error("1287705600").contains("is not a date and time"));
    }
}
