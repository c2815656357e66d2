//! `timestamp`, `instant` and `duration`.

use chrono::{DateTime as Instant, Datelike as _, FixedOffset, NaiveDateTime};
use jobqueue_json::{Digits, shortest};
use strum::EnumString;

use super::numbers::{not_a_number, plain_number};
use crate::TimeZone;
use crate::moment::{self, Moment};
use crate::recipe::eval::value::{Value, quote};

/// `timestamp`: an instant. Numbers are seconds since 1970; text without an offset is read in `zone`.
pub(crate) fn timestamp<'a>(x: &Value<'_>, zone: TimeZone) -> Result<Value<'a>, String> {
    match x {
        Value::Timestamp(instant) => Ok(Value::Timestamp(*instant)),
        Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Number(_) => since_1970(x, TimeUnit::Seconds),
        Value::DateTime(local) => in_zone(x, *local, zone),
        Value::Text(text) => match moment::read(text) {
            Ok(Some(Moment::Instant(instant))) => {
                in_years(instant).map(Value::Timestamp).ok_or_else(|| out_of_range(x))
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

fn in_zone<'a>(x: &Value<'_>, local: NaiveDateTime, zone: TimeZone) -> Result<Value<'a>, String> {
    let instant = zone.instant(local).map_err(|why| format!("{} {why}", x.shown()))?;
    in_years(instant).map(Value::Timestamp).ok_or_else(|| out_of_range(x))
}

/// The years that CEL and databases agree on, in UTC.
fn in_years(instant: Instant<FixedOffset>) -> Option<Instant<FixedOffset>> {
    (1..=9999).contains(&instant.to_utc().year()).then_some(instant)
}

fn out_of_range(x: &Value<'_>) -> String {
    format!("{} is outside of the years 1 to 9999", x.shown())
}

/// What a number since 1970 counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
pub(crate) enum TimeUnit {
    #[strum(serialize = "seconds", serialize = "s")]
    Seconds,
    #[strum(serialize = "millis", serialize = "ms")]
    Millis,
    #[strum(serialize = "micros", serialize = "us")]
    Micros,
    #[strum(serialize = "nanos", serialize = "ns")]
    Nanos,
}

impl TimeUnit {
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
pub(crate) fn instant<'a>(x: &Value<'_>, unit: &Value<'_>) -> Result<Value<'a>, String> {
    let Value::Text(unit) = unit else { return Err(format!("{} is not the name of a unit", unit.shown())) };
    let unit = TimeUnit::parse(unit)?;
    match x {
        Value::Null => Ok(Value::Null),
        Value::Text(s) if s.trim().is_empty() => Ok(Value::Null),
        Value::Timestamp(instant) => Ok(Value::Timestamp(*instant)),
        _ => since_1970(x, unit),
    }
}

/// No instant needs so many digits on either side of the point.
const MOST_PLACES: usize = 40;

/// Digit by digit: the fraction of a second would not survive a binary fraction.
fn since_1970<'a>(x: &Value<'_>, unit: TimeUnit) -> Result<Value<'a>, String> {
    let digits = match x {
        Value::Text(s) => s.trim().to_owned(),
        Value::Int(i) => i.to_string(),
        Value::UInt(u) => u.to_string(),
        // The shortest digits that are this double, and no exponent.
        Value::Float(f) => shortest(*f, f.to_string()),
        Value::Number(digits) => {
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
    instant.map(Value::Timestamp).ok_or_else(|| {
        let hint = if unit == TimeUnit::Seconds { "; instant(x, \"ms\") reads milliseconds" } else { "" };
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
