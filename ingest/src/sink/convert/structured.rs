//! JSON documents, arrays and maps.

use jobqueue_json::Value;

use super::{
    cell::Cell,
    print::{as_text, misplaced, show, show_value},
};
use crate::SqlValue;

/// Text has to be a JSON document: making a JSON text of some texts and a document of others would depend on the data.
pub(super) fn as_json(value: &SqlValue) -> Result<Cell<'_>, String> {
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

/// A list, or PostgreSQL's own text for one (`{a,b}`).
pub(super) fn as_array<'a>(value: &'a SqlValue, json: bool, declared: &str) -> Result<Cell<'a>, String> {
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

/// A map of scalars, or the type's own text (`a=>1`).
pub(super) fn as_hstore<'a>(value: &'a SqlValue, declared: &str) -> Result<Cell<'a>, String> {
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

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
