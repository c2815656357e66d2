//! Values in text: as columns get them, and as messages show them.

use std::borrow::Cow;

use chrono::{Datelike as _, NaiveDate, NaiveDateTime, Timelike as _};
use jobqueue_json::shortest;

use crate::SqlValue;

/// The value for a message: at most 60 characters.
pub(in crate::sink) fn show(text: &str) -> String {
    const LENGTH: usize = 60;
    if text.chars().count() <= LENGTH {
        return format!("`{text}`");
    }
    format!("`{}...`", text.chars().take(LENGTH).collect::<String>())
}

/// The same for any value.
pub(in crate::sink) fn show_value(value: &SqlValue) -> String {
    if let SqlValue::Bytes(bytes) = value {
        return count_bytes(bytes);
    }
    match as_text(value) {
        Ok(text) => show(&text),
        Err(_) => "a value that is not text".into(),
    }
}

/// The value as text; an error for bytes.
pub(super) fn as_text(value: &SqlValue) -> Result<Cow<'_, str>, String> {
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

/// How many bytes they are, in words.
pub(super) fn count_bytes(bytes: &[u8]) -> String {
    if bytes.len() == 1 { "1 byte".into() } else { format!("{} bytes", bytes.len()) }
}

/// The message for bytes in a column that takes none.
pub(super) fn misplaced(bytes: &[u8]) -> String {
    format!("{}, which only a binary column takes; text(...) makes text of UTF-8", count_bytes(bytes))
}

/// `2010-10-22`. By hand, since chrono's formatting was a tenth of the time of a batch.
pub(super) fn print_date(date: NaiveDate) -> Result<String, String> {
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
pub(super) fn print_time(moment: NaiveDateTime, fraction: u8) -> Result<String, String> {
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
