//! The functions that recipes have beyond standard CEL, or in its place: `date`, `datetime`, `timestamp`, `instant`,
//! `number`, `decimal`, `text`, `json`, `default` and `now`. Pure functions of their arguments, shared by the interpreter and the direct evaluation.

use std::borrow::Cow;

use chrono::{DateTime as Instant, Datelike as _, FixedOffset, NaiveDateTime, NaiveTime};
use jobqueue_json::{Digits, Value, shortest};
use strum::{EnumIter, EnumString, IntoStaticStr};

use super::calendar::Format;
use super::datum::{Datum, quote};
use crate::TimeZone;
use crate::moment::{self, Moment};

/// A function of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Helper {
    Date,
    DateTime,
    /// In place of CEL's own: it reads more spellings, and no other number than seconds.
    Timestamp,
    Instant,
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
            Self::Text | Self::Json | Self::Timestamp => (1, 1),
            Self::Default | Self::Instant => (2, 2),
            Self::Now => (0, 0),
        }
    }

    /// How it is written, for error messages.
    pub(crate) fn signature(self) -> &'static str {
        match self {
            Self::Date => "date(x), date(x, format) or date(x, format, default)",
            Self::DateTime => "datetime(x), datetime(x, format) or datetime(x, format, default)",
            Self::Timestamp => "timestamp(x)",
            Self::Instant => "instant(x, unit)",
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
        Datum::Text(s) => Some(written(helper, x, s.trim(), formats)?),
        other => Some(calendar(other).ok_or_else(|| format!("{} is {}, not a date", other.shown(), other.kind()))?),
    };
    let read = match (read, default) {
        (Some(read), _) => read,
        (None, None | Some(Datum::Null)) => return Ok(Datum::Null),
        (None, Some(default)) => default_date(default)?,
    };
    Ok(if helper == Helper::Date { Datum::Date(read.date()) } else { Datum::DateTime(read) })
}

/// What a text says in the first of the formats that it is in. A time of day that is not there is not made up.
fn written(helper: Helper, x: &Datum<'_>, text: &str, formats: &[Format]) -> Result<NaiveDateTime, String> {
    let mut why = None;
    for format in formats {
        match format.read(text) {
            Ok(Some((date, Some(time)))) => return Ok(date.and_time(time)),
            Ok(Some((date, None))) if helper == Helper::Date => return Ok(date.and_time(NaiveTime::MIN)),
            Ok(Some(_)) => why = Some("has no time of day; date() reads it, and datetime(date(x)) is its midnight"),
            Ok(None) => {}
            Err(unfit) => why = Some(unfit),
        }
    }
    Err(match why {
        Some(why) => format!("{} {why}", x.shown()),
        None => format!("{} is not a date{}", x.shown(), expected(formats)),
    })
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
        Datum::Text(s) => {
            let read = Format::Iso.read(s.trim()).ok().flatten();
            read.map(|(date, time)| date.and_time(time.unwrap_or(NaiveTime::MIN)))
        }
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

/// The second argument of `date` and `datetime`: one format, a list of formats, or null for ISO 8601.
pub(crate) fn formats(helper: Helper, format: Option<&Datum<'_>>) -> Result<Vec<Format>, String> {
    let parse = |format: &str| Format::parse(format, helper == Helper::DateTime);
    match format {
        None | Some(Datum::Null) => Ok(vec![Format::Iso]),
        Some(Datum::Text(s)) => Ok(vec![parse(s)?]),
        Some(Datum::Json(list)) if list.as_array().is_some_and(|l| !l.is_empty() && l.iter().all(Value::is_string)) => {
            list.as_array().into_iter().flatten().filter_map(Value::as_str).map(parse).collect()
        }
        Some(other) => Err(format!("{} is not a date format, nor a list of them", other.shown())),
    }
}

/// `timestamp`: an instant. Numbers are seconds since 1970; text without an offset is read in `zone`.
pub(crate) fn timestamp<'a>(x: &Datum<'_>, zone: TimeZone) -> Result<Datum<'a>, String> {
    match x {
        Datum::Timestamp(instant) => Ok(Datum::Timestamp(*instant)),
        Datum::Int(_) | Datum::UInt(_) | Datum::Float(_) | Datum::Written(_) => since_1970(x, Unit::Seconds),
        Datum::DateTime(local) => in_zone(x, *local, zone),
        Datum::Text(text) => match moment::read(text) {
            Ok(Some(Moment::Instant(instant))) => {
                in_years(instant).map(Datum::Timestamp).ok_or_else(|| out_of_range(x))
            }
            Ok(Some(Moment::Local(local))) => in_zone(x, local, zone),
            Ok(Some(Moment::Date(_))) => Err(format!("{} has no time of day, so it is no instant", x.shown())),
            Ok(None) if plain_number(text.trim()).is_some() => {
                Err(format!("{} is a number in text: instant(x, \"s\") reads it", x.shown()))
            }
            Ok(None) => Err(format!("{} is not a date and time in ISO 8601 (2010-10-22T08:00:00+08:00)", x.shown())),
            Err(unfit) => Err(format!("{} {unfit}", x.shown())),
        },
        other => Err(format!("{} is {}, not an instant", other.shown(), other.kind())),
    }
}

fn in_zone<'a>(x: &Datum<'_>, local: NaiveDateTime, zone: TimeZone) -> Result<Datum<'a>, String> {
    let instant = zone.instant(local).map_err(|why| format!("{} {why}", x.shown()))?;
    in_years(instant).map(Datum::Timestamp).ok_or_else(|| out_of_range(x))
}

/// The years that CEL and databases agree on, in UTC.
fn in_years(instant: Instant<FixedOffset>) -> Option<Instant<FixedOffset>> {
    (1..=9999).contains(&instant.to_utc().year()).then_some(instant)
}

fn out_of_range(x: &Datum<'_>) -> String {
    format!("{} is outside of the years 1 to 9999", x.shown())
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
pub(crate) enum Unit {
    #[strum(serialize = "seconds", serialize = "s")]
    Seconds,
    #[strum(serialize = "millis", serialize = "ms")]
    Millis,
    #[strum(serialize = "micros", serialize = "us")]
    Micros,
    #[strum(serialize = "nanos", serialize = "ns")]
    Nanos,
}

impl Unit {
    /// The second argument of `instant`.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let unknown = || format!("{name:?} is not a unit: \"s\", \"ms\", \"us\" or \"ns\"");
        name.parse().map_err(|_| unknown())
    }

    /// Zeros that make nanoseconds of it.
    const fn zeros(self) -> usize {
        match self {
            Self::Seconds => 9,
            Self::Millis => 6,
            Self::Micros => 3,
            Self::Nanos => 0,
        }
    }
}

/// `instant`: a number since 1970, or one in text, exactly. Null and blank text are null.
pub(crate) fn instant<'a>(x: &Datum<'_>, unit: &Datum<'_>) -> Result<Datum<'a>, String> {
    let Datum::Text(unit) = unit else { return Err(format!("{} is not the name of a unit", unit.shown())) };
    let unit = Unit::parse(unit)?;
    match x {
        Datum::Null => Ok(Datum::Null),
        Datum::Text(s) if s.trim().is_empty() => Ok(Datum::Null),
        Datum::Timestamp(instant) => Ok(Datum::Timestamp(*instant)),
        _ => since_1970(x, unit),
    }
}

/// No instant needs so many digits on either side of the point.
const MOST_PLACES: usize = 40;

/// Digit by digit: the fraction of a second would not survive a binary fraction.
fn since_1970<'a>(x: &Datum<'_>, unit: Unit) -> Result<Datum<'a>, String> {
    let digits = match x {
        Datum::Text(s) => s.trim().to_owned(),
        Datum::Int(i) => i.to_string(),
        Datum::UInt(u) => u.to_string(),
        // The shortest digits that are this double, and no exponent.
        Datum::Float(f) => shortest(*f, f.to_string()),
        Datum::Written(digits) => {
            Digits::parse(digits).and_then(|digits| digits.plain(MOST_PLACES)).ok_or_else(|| out_of_range(x))?
        }
        other => return Err(format!("{} is {}, not a number", other.shown(), other.kind())),
    };
    let (negative, whole, fraction) = plain_number(&digits).ok_or_else(|| not_a_number(x))?;
    let zeros = unit.zeros();
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > zeros {
        return Err(format!("{} has more digits than nanoseconds", x.shown()));
    }
    let nanos: Option<i128> = format!("{whole}{fraction:0<zeros$}").parse().ok();
    let nanos = nanos.map(|nanos| if negative { -nanos } else { nanos });
    let instant = nanos.and_then(|nanos| {
        let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).ok()?;
        let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).ok()?;
        in_years(Instant::from_timestamp(seconds, rest)?.fixed_offset())
    });
    instant.map(Datum::Timestamp).ok_or_else(|| {
        let hint = if unit == Unit::Seconds { "; instant(x, \"ms\") reads milliseconds" } else { "" };
        format!("{}{hint}", out_of_range(x))
    })
}

/// The nanoseconds of a duration as CEL writes it: `1h30m`, `-1.5s`, `1287705600123ms`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let unit = |name: &str| {
        Some(match name {
            "h" => 3_600_000_000_000_i128,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        })
    };
    let part = |number: &str, name: &str| {
        let (_, whole, fraction) = plain_number(number)?;
        // More digits are below the nanosecond of any unit.
        let fraction = &fraction[..fraction.len().min(18)];
        let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        whole
            .parse::<i128>()
            .ok()?
            .checked_mul(unit(name)?)?
            .checked_add(fraction.parse::<i128>().ok()? * unit(name)? / scale)
    };
    let sum = || {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let mut rest = if unsigned == "0" { "0s" } else { unsigned };
        let mut nanos = 0_i128;
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
            let (name, after) =
                after.split_at(after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len()));
            nanos = nanos.checked_add(part(number, name)?)?;
            rest = after;
        }
        i64::try_from(if text.starts_with('-') { -nanos } else { nanos }).ok().filter(|_| !text.is_empty())
    };
    sum().ok_or_else(|| format!("{} is not a duration of at most 292 years (1h30m, 1.5s, 250ms)", quote(text)))
}

/// The sign and the digits before and after the point, of a number without an exponent.
fn plain_number(text: &str) -> Option<(bool, &str, &str)> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    (digits(whole) && digits(fraction)).then_some((text.starts_with('-'), whole, fraction))
}

/// `number`: a double, from a number or the number that a text begins with.
pub(crate) fn number<'a>(x: &Datum<'_>, default: Option<&Datum<'_>>) -> Result<Datum<'a>, String> {
    let inexact = || format!("{} has more digits than a double holds; decimal() keeps them", x.shown());
    let exact = |f: f64, digits: usize| if digits > 15 { Err(inexact()) } else { Ok(Datum::Float(f)) };
    match leading_number(x)? {
        None => default.map_or(Ok(Datum::Null), |d| number(d, None)),
        Some(Read::Double(f)) => Ok(Datum::Float(f)),
        // A number of the record is a double like any other to CEL, unless there is none so large.
        Some(Read::Written(digits)) => match digits.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Datum::Float(f)),
            _ => Err(inexact()),
        },
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
        Some(Read::Written(digits) | Read::Digits(digits)) => Ok(Datum::Text(Cow::Owned(digits))),
    }
}

enum Read {
    Double(f64),
    /// The text of a number of the record.
    Written(String),
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
        Datum::Written(digits) => Ok(Some(Read::Written(digits.to_string()))),
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
        Datum::Json(_) => {
            x.without_bytes()?;
            Ok(Datum::Text(Cow::Owned(x.text().unwrap_or_default())))
        }
        other => Ok(Datum::Text(Cow::Owned(other.text().unwrap_or_default()))),
    }
}

/// `json` of text, or of bytes that are text.
pub(crate) fn json(x: Datum<'_>) -> Result<Datum<'static>, String> {
    match text(x)? {
        Datum::Text(s) => parse_json(&s).map(|v| Datum::from_json(&v).into_owned()),
        other => Ok(other.into_owned()),
    }
}

/// A JSON document in text: where it is broken and how it starts. Nesting is limited by the parser, to 128 levels.
pub(crate) fn parse_json(text: &str) -> Result<Value, String> {
    let body = text.strip_prefix('\u{feff}').unwrap_or(text);
    jobqueue_json::parse(body).map_err(|error| {
        format!(
            "not valid JSON at line {} column {}: {}; the text is {}",
            error.line,
            error.column,
            error.message,
            quote(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;

    fn of(value: &Value) -> Datum<'_> {
        Datum::from_json(value)
    }

    fn text_of(result: Result<Datum<'_>, String>) -> Result<Option<String>, String> {
        result.map(|d| d.text())
    }

    #[test]
    fn a_missing_date_is_null_or_the_default() {
        let iso = [Format::Iso];
        for missing in [json!(null), json!(""), json!("  ")] {
            assert_eq!(date(Helper::Date, &of(&missing), &iso, None), Ok(Datum::Null));
            let default = json!("1900-01-01");
            let date = date(Helper::Date, &of(&missing), &iso, Some(&of(&default)));
            assert_eq!(text_of(date), Ok(Some("1900-01-01".into())));
        }
    }

    #[test]
    fn the_default_is_for_what_is_missing_not_for_what_is_wrong() {
        let (wrong, default) = (json!("not a date"), json!("1900-01-01"));
        let error = date(Helper::Date, &of(&wrong), &[Format::Iso], Some(&of(&default))).unwrap_err();
        assert!(error.starts_with("\"not a date\" is not a date in ISO 8601"), "{error}");
        let error = date(Helper::Date, &of(&json!(20_101_022)), &[Format::Iso], None).unwrap_err();
        assert_eq!(error, "20101022 is a number, not a date");
        let error = date(Helper::Date, &Datum::Null, &[Format::Iso], Some(&of(&wrong))).unwrap_err();
        assert_eq!(error, "the default \"not a date\" is not a date in ISO 8601 (1900-01-01)");
    }

    #[test]
    fn datetime_keeps_the_time_as_written() {
        let x = json!("2010-10-22T13:45:10.25+08:00");
        let read = |helper| text_of(date(helper, &of(&x), &[Format::Iso], None));
        assert_eq!(read(Helper::DateTime), Ok(Some("2010-10-22T13:45:10.250".into())));
        assert_eq!(read(Helper::Date), Ok(Some("2010-10-22".into())));
    }

    #[test]
    fn several_formats_are_tried_in_order() {
        let list = json!(["%Y年%m月%d日", "iso"]);
        let formats = formats(Helper::Date, Some(&of(&list))).unwrap();
        for x in ["2010年10月22日", "2010-10-22", " 2010-10-22T00:00:00Z "] {
            let x = json!(x);
            assert_eq!(text_of(date(Helper::Date, &of(&x), &formats, None)), Ok(Some("2010-10-22".into())));
        }
        let error = date(Helper::Date, &of(&json!("22.10.2010")), &formats, None).unwrap_err();
        assert_eq!(error, "\"22.10.2010\" is not a date in any of the given formats");
    }

    #[test]
    fn numbers_are_read_from_the_start_of_a_text() {
        for (x, double, digits) in [
            (json!("1,234.50"), 1234.5, "1234.50"),
            (json!("500.000000万元"), 500.0, "500.000000"),
            (json!(" -35 % "), -35.0, "-35"),
            (json!("+7"), 7.0, "7"),
            (json!(".5"), 0.5, "0.5"),
            (json!("1.5e3"), 1500.0, "1.5e3"),
            (json!("1,234,567"), 1_234_567.0, "1234567"),
            (json!("3 eggs"), 3.0, "3"),
            (json!(42), 42.0, "42"),
            (json!(0.25), 0.25, "0.25"),
        ] {
            assert_eq!(number(&of(&x), None), Ok(Datum::Float(double)), "{x}");
            assert_eq!(text_of(decimal(&of(&x), None)), Ok(Some(digits.into())), "{x}");
        }
    }

    #[test]
    fn what_only_resembles_a_number_is_refused() {
        for x in ["2010-10-22", "1.2.3", "1,23", "12,3456", "万元", "-", ".", "e5", "x1", "1,,000"] {
            let x = json!(x);
            assert_eq!(number(&of(&x), None), Err(format!("{x} is not a number")));
            assert_eq!(decimal(&of(&x), None), Err(format!("{x} is not a number")));
        }
        assert_eq!(number(&of(&json!([1])), None), Err("[1] is a list, not a number".into()));
        assert_eq!(number(&of(&json!(true)), None), Err("true is a boolean, not a number".into()));
    }

    #[test]
    fn a_missing_number_is_null_or_the_default() {
        let default = json!(0);
        assert_eq!(number(&Datum::Null, None), Ok(Datum::Null));
        assert_eq!(number(&of(&json!(" ")), Some(&of(&default))), Ok(Datum::Float(0.0)));
        assert_eq!(text_of(decimal(&Datum::Null, Some(&of(&default)))), Ok(Some("0".into())));
        assert!(number(&of(&json!("x")), Some(&of(&default))).is_err());
    }

    #[test]
    fn digits_that_a_double_would_lose_are_refused_by_number_and_kept_by_decimal() {
        let long = json!("1234567890.1234567890");
        let error = number(&of(&long), None).unwrap_err();
        assert_eq!(error, "\"1234567890.1234567890\" has more digits than a double holds; decimal() keeps them");
        assert_eq!(text_of(decimal(&of(&long), None)), Ok(Some("1234567890.1234567890".into())));
        assert_eq!(number(&of(&json!("000100.000000000000000000")), None), Ok(Datum::Float(100.0)));
    }

    #[test]
    fn text_writes_scalars_and_keeps_null() {
        assert_eq!(text(Datum::Null), Ok(Datum::Null));
        for (x, written) in
            [(json!(7), "7"), (json!(12.0), "12.0"), (json!(true), "true"), (json!({"a": [1]}), "{\"a\":[1]}")]
        {
            assert_eq!(text_of(text(of(&x))), Ok(Some(written.into())));
        }
        assert!(text(Datum::Bytes(vec![0xff])).is_err());
        assert_eq!(text_of(text(Datum::Bytes(b"ok".to_vec()))), Ok(Some("ok".into())));
    }

    #[test]
    fn broken_json_is_located_and_shown_from_its_start() {
        let error = parse_json("{\"a\": 1,\n \"b\"").unwrap_err();
        assert_eq!(
            error,
            "not valid JSON at line 2 column 4: EOF while parsing an object; the text is \"{\\\"a\\\": 1,\\n \\\"b\\\"\""
        );
        let error = parse_json(&format!("x{}", "长".repeat(500))).unwrap_err();
        assert!(error.ends_with("\"... (501 characters)"), "{error}");
        assert!(error.chars().count() < 200, "{error}");
    }

    #[test]
    fn json_may_start_with_a_byte_order_mark_and_must_not_be_deep() {
        assert_eq!(parse_json("\u{feff}{}"), Ok(json!({})));
        assert!(!parse_json(&"[".repeat(120)).unwrap_err().contains("recursion"));
        let error = parse_json(&"[".repeat(10_000)).unwrap_err();
        assert!(error.starts_with("not valid JSON at line 1 column 128: recursion limit exceeded"), "{error}");
    }
}
