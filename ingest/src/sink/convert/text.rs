//! Texts, bytes, and types whose values are texts of one form.

use std::borrow::Cow;

use super::{
    cell::Cell,
    print::{as_text, count_bytes, misplaced, show, show_value},
};
use crate::SqlValue;

/// The text, if it is not longer than the limits of the column (characters, bytes).
pub(super) fn fit<'a>(
    text: Cow<'a, str>,
    chars: Option<u64>,
    bytes: Option<u64>,
    declared: &str,
) -> Result<Cell<'a>, String> {
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

/// Bytes as they are, and the UTF-8 of everything else.
pub(super) fn as_bytes<'a>(
    value: &'a SqlValue,
    limit: Option<u64>,
    exact: bool,
    declared: &str,
) -> Result<Cell<'a>, String> {
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

/// 32 hexadecimal digits; PostgreSQL lets them be grouped and braced.
fn is_uuid(text: &str) -> bool {
    let text = text.trim();
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    let digits = inner.bytes().filter(u8::is_ascii_hexdigit).count();
    digits == 32 && inner.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}

/// The text of a UUID.
pub(super) fn as_uuid<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    match value {
        SqlValue::Text(text) if is_uuid(text) => Ok(Cell::Text(text.into())),
        SqlValue::Bytes(bytes) => Err(misplaced(bytes)),
        other => Err(format!("{} is not a UUID, for {declared}", show_value(other))),
    }
}

/// One of the labels of PostgreSQL's enum.
pub(super) fn as_label<'a>(value: &'a SqlValue, labels: &[String], declared: &str) -> Result<Cell<'a>, String> {
    let text = as_text(value)?;
    if labels.iter().any(|label| *label == text) {
        return Ok(Cell::Text(text));
    }
    let known: Vec<String> = labels.iter().take(8).map(|label| show(label)).collect();
    let more = if labels.len() > known.len() { ", ..." } else { "" };
    Err(format!("{} is none of {declared}: {}{more}", show(&text), known.join(", ")))
}

/// An address or a network; the rest of its grammar is for the database.
pub(super) fn as_network<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
    let text = as_text(value)?;
    let plausible = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'/');
    if !text.is_empty() && text.bytes().all(plausible) {
        return Ok(Cell::Text(text));
    }
    Err(format!("{} is not an address, for {declared}", show(&text)))
}
