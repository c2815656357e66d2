//! A value between JSON, CEL and SQL. Everything an expression can give a column is a [`Value`], whichever way it was
//! evaluated, so that the conversions exist once.

use std::borrow::Cow;
use std::collections::HashMap;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString, CelTimestamp,
    CelUInt,
};
use cel::common::value::Val;
use chrono::{DateTime, FixedOffset, NaiveDate, NaiveDateTime, SecondsFormat, Utc};
use jobqueue_json::{Map, Number, Value as JsonValue};

use super::bytes;
use super::calendar::{CalendarDate, CalendarTime};
use super::cel_number::{CelNumber, digits_of};
use crate::SqlValue;

/// What an expression evaluates to. Maps and lists are kept as JSON, borrowed from the record where possible.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    /// A number that an expression computed, or that stands in the recipe.
    Float(f64),
    /// A number of the record in its own digits, unless it is an `Int` or a `UInt`. CEL computes with the nearest double.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    Date(NaiveDate),
    DateTime(NaiveDateTime),
    Timestamp(DateTime<FixedOffset>),
    /// Only maps and lists; scalars have their own variants.
    Json(Cow<'a, JsonValue>),
}

impl<'a> Value<'a> {
    /// A JSON value as CEL sees it: integers that fit `i64` are `int`, larger ones `uint`, the rest `double`, with
    /// its digits.
    pub(crate) fn from_json(value: &'a JsonValue) -> Self {
        match value {
            JsonValue::Null => Self::Null,
            JsonValue::Bool(b) => Self::Bool(*b),
            JsonValue::Number(n) => number(n),
            JsonValue::String(s) => Self::Text(Cow::Borrowed(s)),
            JsonValue::Object(map) => bytes::from_map(map).map_or(Self::Json(Cow::Borrowed(value)), Self::Bytes),
            JsonValue::Array(_) => Self::Json(Cow::Borrowed(value)),
        }
    }

    /// The value that goes into the column. No column takes a list or map that has bytes in it.
    pub(crate) fn into_sql(self) -> Result<SqlValue, String> {
        self.without_bytes()?;
        Ok(match self {
            Self::Null => SqlValue::Null,
            Self::Bool(b) => SqlValue::Bool(b),
            Self::Int(i) => SqlValue::Int(i),
            Self::UInt(u) => SqlValue::UInt(u),
            Self::Float(f) => SqlValue::Float(f),
            Self::Number(digits) => SqlValue::Number(digits.into_owned()),
            Self::Text(s) => SqlValue::Text(s.into_owned()),
            Self::Bytes(b) => SqlValue::Bytes(b),
            Self::Date(d) => SqlValue::Date(d),
            Self::DateTime(d) => SqlValue::DateTime(d),
            Self::Timestamp(t) => SqlValue::Timestamp(t.with_timezone(&Utc)),
            Self::Json(v) => SqlValue::Json(v.into_owned()),
        })
    }

    /// An error where bytes are inside of a list or map: it can be written neither as JSON nor as text.
    pub(crate) fn without_bytes(&self) -> Result<(), String> {
        match self {
            Self::Json(v) => bytes::within(v).map_or(Ok(()), |path| {
                Err(format!(
                    "{} has bytes in it, at {path}, which JSON cannot hold; take them out, or decode them with text()",
                    self.kind()
                ))
            }),
            _ => Ok(()),
        }
    }

    /// The JSON form, for records and list elements: dates and instants become ISO 8601 text, bytes an object that
    /// stands for them.
    pub(crate) fn into_json(self) -> Result<Cow<'a, JsonValue>, String> {
        Ok(Cow::Owned(match self {
            Self::Json(v) => return Ok(v),
            Self::Null => JsonValue::Null,
            Self::Bool(b) => JsonValue::Bool(b),
            Self::Int(i) => JsonValue::from(i),
            Self::UInt(u) => JsonValue::from(u),
            Self::Float(f) => {
                JsonValue::Number(Number::from_f64(f).ok_or_else(|| format!("{f} cannot be written as JSON"))?)
            }
            Self::Number(digits) => {
                JsonValue::Number(Number::parse(&digits).ok_or_else(|| format!("{digits} cannot be written as JSON"))?)
            }
            Self::Text(s) => JsonValue::String(s.into_owned()),
            Self::Bytes(b) => bytes::to_json(&b),
            Self::Date(_) | Self::DateTime(_) | Self::Timestamp(_) => {
                JsonValue::String(self.text().unwrap_or_default())
            }
        }))
    }

    /// The text form of a scalar, a date, or JSON; `None` for null and for bytes.
    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Self::Null | Self::Bytes(_) => return None,
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::UInt(u) => u.to_string(),
            // As JSON writes it (`12.0`), and NaN and infinities, which JSON lacks, as Rust does.
            Self::Float(f) => Number::from_f64(*f).map_or_else(|| f.to_string(), |n| n.to_string()),
            Self::Number(s) | Self::Text(s) => s.to_string(),
            Self::Date(d) => d.format("%Y-%m-%d").to_string(),
            Self::DateTime(d) => d.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
            Self::Timestamp(t) => t.with_timezone(&Utc).to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::Json(v) => v.to_string(),
        })
    }

    /// Name of the type as an expression's author knows it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::UInt(_) | Self::Float(_) | Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "a date",
            Self::DateTime(_) => "a date and time",
            Self::Timestamp(_) => "a timestamp",
            Self::Json(v) if v.is_array() => "a list",
            Self::Json(_) => "a map",
        }
    }

    /// The value for an error message: quoted if text, shortened if long.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Null => "null".into(),
            Self::Text(s) => quote(s),
            Self::Bytes(b) if b.len() == 1 => "1 byte".into(),
            Self::Bytes(b) => format!("{} bytes", b.len()),
            Self::Json(v) => shorten(&bytes::shown(v).to_string(), SHOWN).into_owned(),
            other => shorten(&other.text().unwrap_or_default(), SHOWN).into_owned(),
        }
    }

    /// Cuts the tie to the record.
    pub(crate) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(i) => Value::Int(i),
            Self::UInt(u) => Value::UInt(u),
            Self::Float(f) => Value::Float(f),
            Self::Number(s) => Value::Number(Cow::Owned(s.into_owned())),
            Self::Text(s) => Value::Text(Cow::Owned(s.into_owned())),
            Self::Bytes(b) => Value::Bytes(b),
            Self::Date(d) => Value::Date(d),
            Self::DateTime(d) => Value::DateTime(d),
            Self::Timestamp(t) => Value::Timestamp(t),
            Self::Json(v) => Value::Json(Cow::Owned(v.into_owned())),
        }
    }

    /// The CEL value.
    pub(crate) fn into_val<'v>(self) -> Box<dyn Val + 'v>
    where
        'a: 'v,
    {
        match self {
            Self::Null => Box::new(CelNull),
            Self::Bool(b) => Box::new(CelBool::from(b)),
            Self::Int(i) => Box::new(CelInt::from(i)),
            Self::UInt(u) => Box::new(CelUInt::from(u)),
            Self::Float(f) => Box::new(CelDouble::from(f)),
            Self::Number(digits) => Box::new(CelNumber::new(digits)),
            Self::Text(s) => Box::new(CelString::from(s.into_owned())),
            Self::Bytes(b) => Box::new(CelBytes::from(b)),
            Self::Date(d) => Box::new(CalendarDate(d)),
            Self::DateTime(d) => Box::new(CalendarTime(d)),
            Self::Timestamp(t) => Box::new(CelTimestamp::from(t)),
            Self::Json(v) => match v.into_owned() {
                JsonValue::Array(list) => {
                    Box::new(CelList::from(list.into_iter().map(owned_val).collect::<Vec<Box<dyn Val>>>()))
                }
                other => owned_val(other),
            },
        }
    }

    /// Reads the result of the interpreter. An optional is its value, or null; a CEL type, duration or struct has no
    /// counterpart in a database and is an error.
    pub(crate) fn from_val(val: &'a (dyn Val + '_)) -> Result<Self, String> {
        if let Some(s) = val.downcast_ref::<CelString>() {
            return Ok(Self::Text(Cow::Borrowed(s.inner())));
        }
        if val.downcast_ref::<CelNull>().is_some() {
            return Ok(Self::Null);
        }
        if let Some(i) = val.downcast_ref::<CelInt>() {
            return Ok(Self::Int(*i.inner()));
        }
        if let Some(f) = val.downcast_ref::<CelDouble>() {
            return Ok(digits_of(val).map_or(Self::Float(*f.inner()), |digits| Self::Number(Cow::Owned(digits))));
        }
        if let Some(b) = val.downcast_ref::<CelBool>() {
            return Ok(Self::Bool(*b.inner()));
        }
        if let Some(u) = val.downcast_ref::<CelUInt>() {
            return Ok(Self::UInt(*u.inner()));
        }
        if let Some(d) = val.downcast_ref::<CalendarDate>() {
            return Ok(Self::Date(d.0));
        }
        if let Some(d) = val.downcast_ref::<CalendarTime>() {
            return Ok(Self::DateTime(d.0));
        }
        if let Some(t) = val.downcast_ref::<CelTimestamp>() {
            return Ok(Self::Timestamp(*t.inner()));
        }
        if let Some(b) = val.downcast_ref::<CelBytes>() {
            return Ok(Self::Bytes(b.inner().to_vec()));
        }
        if let Some(optional) = val.downcast_ref::<CelOptional>() {
            return optional.option().map_or(Ok(Self::Null), Value::from_val);
        }
        if val.downcast_ref::<CelList>().is_some() || val.downcast_ref::<CelMap>().is_some() {
            return Ok(Self::Json(Cow::Owned(val_to_json(val)?)));
        }
        // `google.protobuf.Duration` is `duration` in a recipe.
        let name = val.get_type().name().rsplit('.').next().unwrap_or_default().to_lowercase();
        Err(format!("a {name} cannot be stored in a column"))
    }
}

/// Longest value quoted in an error message, in characters.
const SHOWN: usize = 60;

/// At most `limit` characters of `text`, and how long it was.
pub(crate) fn shorten(text: &str, limit: usize) -> Cow<'_, str> {
    match text.char_indices().nth(limit) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}... ({} characters)", &text[..end], text.chars().count())),
    }
}

/// Text in quotes, of a long one only the start.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}... ({} characters)", &text[..end], text.chars().count()),
    }
}

fn number(n: &Number) -> Value<'_> {
    n.as_i64().map(Value::Int).or_else(|| n.as_u64().map(Value::UInt)).unwrap_or_else(|| Value::Number(n.text()))
}

/// The CEL value of a JSON value; its text is borrowed.
pub(crate) fn borrowed_val<'v>(value: &'v JsonValue) -> Box<dyn Val + 'v> {
    match value {
        JsonValue::String(s) => Box::new(CelString::from(s.as_str())),
        JsonValue::Array(list) => Box::new(CelList::from(list.iter().map(borrowed_val).collect::<Vec<_>>())),
        JsonValue::Object(map) => match bytes::from_map(map) {
            Some(bytes) => Box::new(CelBytes::from(bytes)),
            None => borrowed_map(map),
        },
        scalar => Value::from_json(scalar).into_val(),
    }
}

/// The CEL map of a JSON object; its keys and text are borrowed.
pub(crate) fn borrowed_map<'v>(map: &'v Map<String, JsonValue>) -> Box<dyn Val + 'v> {
    let entries: HashMap<CelMapKey<'v>, Box<dyn Val + 'v>> =
        map.iter().map(|(k, v)| (CelMapKey::from(k.as_str()), borrowed_val(v))).collect();
    Box::new(CelMap::from(entries))
}

fn owned_val(value: JsonValue) -> Box<dyn Val> {
    match value {
        JsonValue::String(s) => Box::new(CelString::from(s)),
        JsonValue::Array(list) => {
            Box::new(CelList::from(list.into_iter().map(owned_val).collect::<Vec<Box<dyn Val>>>()))
        }
        JsonValue::Object(map) => {
            if let Some(bytes) = bytes::from_map(&map) {
                return Box::new(CelBytes::from(bytes));
            }
            let entries: HashMap<CelMapKey<'static>, Box<dyn Val>> =
                map.into_iter().map(|(k, v)| (CelMapKey::from(k), owned_val(v))).collect();
            Box::new(CelMap::from(entries))
        }
        scalar => Value::from_json(&scalar).into_owned().into_val(),
    }
}

fn val_to_json(val: &dyn Val) -> Result<JsonValue, String> {
    if let Some(list) = val.downcast_ref::<CelList>() {
        return list
            .inner()
            .iter()
            .map(|v| val_to_json(v.as_ref()))
            .collect::<Result<Vec<_>, _>>()
            .map(JsonValue::Array);
    }
    if let Some(map) = val.downcast_ref::<CelMap>() {
        // Sorted: a CEL map has no order of its own, and the same record must give the same text.
        let mut entries = Vec::with_capacity(map.inner().len());
        for (key, value) in map.inner() {
            let key = Value::from_val(key.inner())?.text().unwrap_or_default();
            entries.push((key, val_to_json(value.as_ref())?));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        return Ok(JsonValue::Object(entries.into_iter().collect()));
    }
    Value::from_val(val)?.into_json().map(Cow::into_owned)
}
