//! Dates and times in text, in the spellings that producers use: ISO 8601, RFC 2822, and `/Date(1287705600123)/`.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike as _};

/// What a text says: no more than is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Date(NaiveDate),
    /// Without an offset.
    Local(NaiveDateTime),
    Instant(DateTime<FixedOffset>),
}

/// Why a date or time that is well written is none that a database keeps.
pub(crate) type Unfit = &'static str;

pub(crate) const LEAP_SECOND: Unfit = "has the second 60, a leap second, which databases do not keep";
pub(crate) const YEARS: Unfit = "has a year outside of 0001 to 9999";
const HOUR_24: Unfit = "has the hour 24; midnight is 00:00 of the next day";
const ZERO_DATE: Unfit = "is MySQL's zero date, which is no date";

impl Moment {
    /// The date as it is written.
    pub(crate) fn date(self) -> NaiveDate {
        match self {
            Self::Date(date) => date,
            Self::Local(local) => local.date(),
            Self::Instant(instant) => instant.naive_local().date(),
        }
    }

    /// The time of day as it is written, if there is one.
    pub(crate) fn time(self) -> Option<NaiveTime> {
        match self {
            Self::Date(_) => None,
            Self::Local(local) => Some(local.time()),
            Self::Instant(instant) => Some(instant.naive_local().time()),
        }
    }
}

/// Reads a text; `None` where it is in no known spelling.
///
/// # Errors
/// In a known spelling, but nothing that a database keeps.
pub(crate) fn read(text: &str) -> Result<Option<Moment>, Unfit> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        return Ok(json_date(inner).map(Moment::Instant));
    }
    match text.as_bytes() {
        [_, _, _, _, b'-', ..] => iso(text.as_bytes()),
        [] => Ok(None),
        _ => rfc2822(text),
    }
}

/// `YYYY-MM-DD`, then optionally `T` or a space, `HH:MM`, `:SS`, a fraction, and an offset. Written by hand because it runs
/// for every date of every row.
fn iso(bytes: &[u8]) -> Result<Option<Moment>, Unfit> {
    if bytes == b"0000-00-00" || bytes.starts_with(b"0000-00-00 00:00:00") {
        return Err(ZERO_DATE);
    }
    let Some((date, rest)) = iso_date(bytes) else { return Ok(None) };
    let moment = match rest {
        [] => Some(Moment::Date(date)),
        [b'T' | b't' | b' ', time @ ..] => iso_time(time)?.and_then(|(time, offset)| at(date.and_time(time), offset)),
        _ => None,
    };
    if moment.is_some() && date.year() == 0 {
        return Err(YEARS);
    }
    Ok(moment)
}

fn at(local: NaiveDateTime, offset: Option<i32>) -> Option<Moment> {
    match offset {
        None => Some(Moment::Local(local)),
        Some(seconds) => FixedOffset::east_opt(seconds)?.from_local_datetime(&local).single().map(Moment::Instant),
    }
}

fn iso_date(bytes: &[u8]) -> Option<(NaiveDate, &[u8])> {
    let (date, rest) = bytes.split_at_checked(10)?;
    if date[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&date[..4])?).ok()?;
    Some((NaiveDate::from_ymd_opt(year, digits(&date[5..7])?, digits(&date[8..10])?)?, rest))
}

/// The time of day, and the offset in seconds.
fn iso_time(bytes: &[u8]) -> Result<Option<(NaiveTime, Option<i32>)>, Unfit> {
    let Some((hour, minute, second, nanos, rest)) = clock(bytes) else { return Ok(None) };
    let offset = if rest.is_empty() { None } else { offset(rest) };
    if offset.is_none() && !rest.is_empty() {
        return Ok(None);
    }
    match (hour, second) {
        (24, _) => Err(HOUR_24),
        (_, 60) => Err(LEAP_SECOND),
        _ => Ok(NaiveTime::from_hms_nano_opt(hour, minute, second, nanos).map(|time| (time, offset))),
    }
}

/// Hour, minute, second, nanoseconds, and what follows.
fn clock(bytes: &[u8]) -> Option<(u32, u32, u32, u32, &[u8])> {
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&bytes[..2])?, digits(&bytes[3..5])?);
    let mut rest = &bytes[5..];
    let (mut second, mut nanos) = (0, 0);
    if rest.first() == Some(&b':') {
        second = digits(rest.get(1..3)?)?;
        rest = &rest[3..];
        if let Some(b'.' | b',') = rest.first() {
            let len = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if len == 0 {
                return None;
            }
            let kept = len.min(9);
            nanos = digits(&rest[1..=kept])? * 10_u32.pow(9 - u32::try_from(kept).ok()?);
            rest = &rest[1 + len..];
        }
    }
    Some((hour, minute, second, nanos, rest))
}

/// `Z`, `UTC`, `+08`, `+0800`, `+08:00` or `+08:00:00`, perhaps after a space, in seconds.
fn offset(rest: &[u8]) -> Option<i32> {
    let (sign, digits_of) = match rest.strip_prefix(b" ").unwrap_or(rest) {
        [b'Z' | b'z'] | b"UTC" | b"GMT" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let part = |from: usize| digits(digits_of.get(from..from + 2)?).and_then(|part| i32::try_from(part).ok());
    let (hours, minutes, seconds) = match digits_of {
        [_, _] => (part(0)?, 0, 0),
        [_, _, _, _] => (part(0)?, part(2)?, 0),
        [_, _, b':', _, _] => (part(0)?, part(3)?, 0),
        [_, _, b':', _, _, b':', _, _] => (part(0)?, part(3)?, part(6)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60 && seconds < 60).then_some(sign * (hours * 3600 + minutes * 60 + seconds))
}

/// `Tue, 1 Jul 2003 10:52:37 +0200`, as in mail and HTTP. A year has four digits: two would leave the century open.
fn rfc2822(text: &str) -> Result<Option<Moment>, Unfit> {
    let four_digits = |word: &str| word.len() == 4 && word.bytes().all(|byte| byte.is_ascii_digit());
    let Ok(instant) = DateTime::parse_from_rfc2822(text) else { return Ok(None) };
    if instant.nanosecond() >= 1_000_000_000 {
        return Err(LEAP_SECOND);
    }
    if !text.split_whitespace().any(four_digits) {
        return Ok(None);
    }
    Ok(Some(Moment::Instant(instant)))
}

/// The inside of `/Date(1287705600123)/` and `/Date(1287705600123+0800)/`: milliseconds since 1970 in UTC. The offset says
/// what a clock showed.
fn json_date(inner: &str) -> Option<DateTime<FixedOffset>> {
    let sign = inner.get(1..)?.find(['+', '-']).map_or(inner.len(), |at| at + 1);
    let (millis, offset_of) = inner.split_at(sign);
    let offset = if offset_of.is_empty() { 0 } else { offset(offset_of.as_bytes())? };
    let instant = DateTime::from_timestamp_millis(millis.parse().ok()?)?;
    let instant = instant.with_timezone(&FixedOffset::east_opt(offset)?);
    (1..=9999).contains(&instant.year()).then_some(instant)
}

pub(crate) fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Option<String>, Unfit> {
        read(text).map(|moment| {
            moment.map(|moment| match moment {
                Moment::Date(date) => date.to_string(),
                Moment::Local(local) => local.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
                Moment::Instant(instant) => instant.format("%Y-%m-%dT%H:%M:%S%.f%:z").to_string(),
            })
        })
    }

    #[test]
    fn every_usual_spelling_is_read_as_written() {
        for (text, expected) in [
            ("2010-10-22", "2010-10-22"),
            ("2010-10-22 08:00", "2010-10-22T08:00:00"),
            ("2010-10-22T08:00:00.25", "2010-10-22T08:00:00.250"),
            ("2010-10-22T08:00:00+08:00", "2010-10-22T08:00:00+08:00"),
            ("2010-10-22T08:00:00+0800", "2010-10-22T08:00:00+08:00"),
            ("2010-10-22 08:00:00+08", "2010-10-22T08:00:00+08:00"),
            ("2010-10-22 08:00:00 +0800", "2010-10-22T08:00:00+08:00"),
            ("2010-10-22 08:00:00 UTC", "2010-10-22T08:00:00+00:00"),
            ("2010-10-22T08:00Z", "2010-10-22T08:00:00+00:00"),
            ("2010-10-22T08:00:00.5-0330", "2010-10-22T08:00:00.500-03:30"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
            ("Tue, 1 Jul 2003 10:52:37 +0200", "2003-07-01T10:52:37+02:00"),
            ("Tue, 01 Jul 2003 10:52:37 GMT", "2003-07-01T10:52:37+00:00"),
            ("1 Jul 2003 10:52:37 +0200", "2003-07-01T10:52:37+02:00"),
            ("/Date(1287705600123)/", "2010-10-22T00:00:00.123+00:00"),
            ("/Date(1287705600123+0800)/", "2010-10-22T08:00:00.123+08:00"),
            ("/Date(-1)/", "1969-12-31T23:59:59.999+00:00"),
        ] {
            assert_eq!(shown(text), Ok(Some(expected.to_owned())), "{text}");
        }
    }

    #[test]
    fn what_is_in_no_known_spelling_is_left() {
        for text in [
            "",
            "2010-10-2",
            "2010-13-01",
            "2011-02-29",
            "20101022",
            "2010-10-22T",
            "2010-10-22T25:00",
            "2010-10-22T07:08:09.",
            "2010-10-22T07:08:09+8",
            "2010-10-22T07:08:09+24:00",
            "2010-10-22T07:08:09+08:60",
            "2010-10-22 garbage",
            "2010-10-22x",
            "not a date",
            "२०१०-10-22",
            "Tue, 1 Jul 03 10:52:37 +0200",
            "Wed, 1 Jul 2003 10:52:37 +0200",
            "/Date()/",
            "/Date(x)/",
            "/Date(12+8)/",
            "/Date(9223372036854775807)/",
            "1287705600",
            "2010/10/22",
            "10:52:37",
        ] {
            assert_eq!(shown(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn what_no_database_keeps_is_refused_with_the_reason() {
        for (text, reason) in [
            ("2010-10-22T23:59:60", LEAP_SECOND),
            ("2010-12-31T23:59:60Z", LEAP_SECOND),
            ("Tue, 1 Jul 2003 23:59:60 +0200", LEAP_SECOND),
            ("2010-10-22T24:00:00", HOUR_24),
            ("0000-01-01", YEARS),
            ("0000-00-00", ZERO_DATE),
            ("0000-00-00 00:00:00", ZERO_DATE),
        ] {
            assert_eq!(read(text), Err(reason), "{text}");
        }
    }
}
