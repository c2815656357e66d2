//! The functions that recipes have beyond standard CEL: `date`, `datetime`, `number`, `decimal`, `text`, `json`,
//! `default` and `now`. Pure functions of their arguments, shared by the interpreter and the direct evaluation.

use std::borrow::Cow;

use chrono::NaiveDateTime;
use serde_json::Value;
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::calendar::Format;
use super::datum::{Datum, SHOWN, shorten};

/// A function of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Helper {
    Date,
    DateTime,
    Number,
    Decimal,
    Text,
    Json,
    Default,
    Now,
}

impl Helper {
    /// Fewest and most arguments.
    pub(crate) fn arity(self) -> (usize, usize) {
        match self {
            Self::Date | Self::DateTime => (1, 3),
            Self::Number | Self::Decimal => (1, 2),
            Self::Text | Self::Json => (1, 1),
            Self::Default => (2, 2),
            Self::Now => (0, 0),
        }
    }

    /// How it is written, for error messages.
    pub(crate) fn signature(self) -> &'static str {
        match self {
            Self::Date => "date(x), date(x, format) or date(x, format, default)",
            Self::DateTime => "datetime(x), datetime(x, format) or datetime(x, format, default)",
            Self::Number => "number(x) or number(x, default)",
            Self::Decimal => "decimal(x) or decimal(x, default)",
            Self::Text => "text(x)",
            Self::Json => "json(x)",
            Self::Default => "default(x, fallback)",
            Self::Now => "now()",
        }
    }
}

/// `date` and `datetime`: null or blank text is the default, or null where there is none.
pub(crate) fn date<'a>(
    helper: Helper,
    x: &Datum<'_>,
    formats: &[Format],
    default: Option<&Datum<'_>>,
) -> Result<Datum<'a>, String> {
    let read = match x {
        Datum::Null => None,
        Datum::Text(s) if s.trim().is_empty() => None,
        Datum::Text(s) => Some(
            formats
                .iter()
                .find_map(|f| f.read(s.trim()))
                .ok_or_else(|| format!("{} is not a date{}", x.shown(), expected(formats)))?,
        ),
        other => Some(calendar(other).ok_or_else(|| format!("{} is {}, not a date", other.shown(), other.kind()))?),
    };
    let read = match (read, default) {
        (Some(read), _) => read,
        (None, None | Some(Datum::Null)) => return Ok(Datum::Null),
        (None, Some(default)) => default_date(default)?,
    };
    Ok(if helper == Helper::Date { Datum::Date(read.date()) } else { Datum::DateTime(read) })
}

fn expected(formats: &[Format]) -> &'static str {
    match formats {
        [Format::Iso] => " in ISO 8601 (2010-10-22, or 2010-10-22T08:00:00+08:00)",
        [_] => " in the given format",
        _ => " in any of the given formats",
    }
}

/// The default of `date` and `datetime`, in ISO 8601.
pub(crate) fn default_date(default: &Datum<'_>) -> Result<NaiveDateTime, String> {
    match default {
        Datum::Text(s) => Format::Iso.read(s.trim()),
        other => calendar(other),
    }
    .ok_or_else(|| format!("the default {} is not a date in ISO 8601 (1900-01-01)", default.shown()))
}

fn calendar(x: &Datum<'_>) -> Option<NaiveDateTime> {
    match x {
        Datum::Date(d) => d.and_hms_opt(0, 0, 0),
        Datum::DateTime(d) => Some(*d),
        Datum::Timestamp(t) => Some(t.naive_local()),
        _ => None,
    }
}

/// The second argument of `date`: one format, a list of formats, or null for ISO 8601.
pub(crate) fn formats(format: Option<&Datum<'_>>) -> Result<Vec<Format>, String> {
    match format {
        None | Some(Datum::Null) => Ok(vec![Format::Iso]),
        Some(Datum::Text(s)) => Ok(vec![Format::parse(s)?]),
        Some(Datum::Json(list)) if list.as_array().is_some_and(|l| !l.is_empty() && l.iter().all(Value::is_string)) => {
            list.as_array().into_iter().flatten().filter_map(Value::as_str).map(Format::parse).collect()
        }
        Some(other) => Err(format!("{} is not a date format, nor a list of them", other.shown())),
    }
}

/// `number`: a double, from a number or the number that a text begins with.
pub(crate) fn number<'a>(x: &Datum<'_>, default: Option<&Datum<'_>>) -> Result<Datum<'a>, String> {
    let inexact = || format!("{} has more digits than a double holds; decimal() keeps them", x.shown());
    let exact = |f: f64, digits: usize| if digits > 15 { Err(inexact()) } else { Ok(Datum::Float(f)) };
    match leading_number(x)? {
        None => default.map_or(Ok(Datum::Null), |d| number(d, None)),
        Some(Read::Double(f)) => Ok(Datum::Float(f)),
        Some(Read::Digits(digits)) => {
            let f: f64 = digits.parse().map_err(|_| not_a_number(x))?;
            exact(f, significant(&digits))
        }
    }
}

/// `decimal`: the same reading, kept as text digit by digit, for DECIMAL columns.
pub(crate) fn decimal<'a>(x: &Datum<'_>, default: Option<&Datum<'_>>) -> Result<Datum<'a>, String> {
    match leading_number(x)? {
        None => default.map_or(Ok(Datum::Null), |d| decimal(d, None)),
        Some(Read::Double(f)) => Ok(Datum::Text(Cow::Owned(f.to_string()))),
        Some(Read::Digits(digits)) => Ok(Datum::Text(Cow::Owned(digits))),
    }
}

enum Read {
    Double(f64),
    /// Optional sign, digits, optional fraction, optional exponent: what `f64::from_str` takes.
    Digits(String),
}

/// None for null and blank text. Text may group its digits by commas (`1,234.50`), and may end in a unit that has no
/// ASCII digits (`500.00万元`, `35 %`).
fn leading_number(x: &Datum<'_>) -> Result<Option<Read>, String> {
    match x {
        Datum::Null => Ok(None),
        Datum::Int(i) => Ok(Some(Read::Digits(i.to_string()))),
        Datum::UInt(u) => Ok(Some(Read::Digits(u.to_string()))),
        Datum::Float(f) => Ok(Some(Read::Double(*f))),
        Datum::Text(s) if s.trim().is_empty() => Ok(None),
        Datum::Text(s) => leading_digits(s.trim()).map(|d| Some(Read::Digits(d))).ok_or_else(|| not_a_number(x)),
        other => Err(format!("{} is {}, not a number", other.shown(), other.kind())),
    }
}

fn not_a_number(x: &Datum<'_>) -> String {
    format!("{} is not a number", x.shown())
}

fn leading_digits(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut number = String::with_capacity(text.len().min(32));
    let mut at = 0;
    if let Some(sign @ (b'+' | b'-')) = bytes.first() {
        if *sign == b'-' {
            number.push('-');
        }
        at = 1;
    }
    let run = |at: usize| bytes[at.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = run(at);
    number.push_str(text.get(at..at + whole)?);
    at += whole;
    if (1..=3).contains(&whole) {
        while bytes.get(at) == Some(&b',') && run(at + 1) == 3 {
            number.push_str(text.get(at + 1..at + 4)?);
            at += 4;
        }
    }
    let mut fraction = 0;
    if bytes.get(at) == Some(&b'.') && run(at + 1) > 0 {
        fraction = run(at + 1);
        if whole == 0 {
            number.push('0');
        }
        number.push_str(text.get(at..=at + fraction)?);
        at += 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = run(at + 1 + sign);
        if exponent > 0 {
            number.push_str(text.get(at..at + 1 + sign + exponent)?);
            at += 1 + sign + exponent;
        }
    }
    // `2010-10-22`, `1.2.3` and `1,23` are no numbers with a unit.
    (!text.get(at..)?.bytes().any(|b| b.is_ascii_digit())).then_some(number)
}

/// Digits that carry value: neither leading zeros nor a fraction's trailing ones.
fn significant(number: &str) -> usize {
    let mantissa = number.split(['e', 'E']).next().unwrap_or(number).trim_start_matches('-');
    let trimmed = if mantissa.contains('.') { mantissa.trim_end_matches('0') } else { mantissa };
    let digits: String = trimmed.chars().filter(char::is_ascii_digit).collect();
    digits.trim_start_matches('0').len()
}

/// `text`: null stays null.
pub(crate) fn text(x: Datum<'_>) -> Result<Datum<'_>, String> {
    match x {
        Datum::Null | Datum::Text(_) => Ok(x),
        Datum::Bytes(b) => match String::from_utf8(b) {
            Ok(s) => Ok(Datum::Text(Cow::Owned(s))),
            Err(_) => Err("the bytes are not UTF-8 text".into()),
        },
        other => Ok(Datum::Text(Cow::Owned(other.text().unwrap_or_default()))),
    }
}

/// A JSON document in text: where it is broken and how it starts. Nesting is limited by the parser, to 128 levels.
pub(crate) fn parse_json(text: &str) -> Result<Value, String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(body).map_err(|error| {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        format!(
            "not valid JSON at line {} column {}: {message}; the text is {:?}",
            error.line(),
            error.column(),
            shorten(text, SHOWN)
        )
    })
}
