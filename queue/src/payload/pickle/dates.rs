//! Python's packed dates and times (the state that `datetime` pickles), as RFC 3339 text. A value without a zone has
//! no offset in its text either.

use chrono::{FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone as _, Timelike as _, Utc};

use super::zone::Zone;
use crate::PayloadError;
use crate::payload::malformed;

/// `date`: year (big-endian), month, day.
pub(super) fn date(state: &[u8]) -> Result<String, PayloadError> {
    match state {
        [y1, y2, month, day] => Ok(naive_date([*y1, *y2, *month, *day])?.format("%Y-%m-%d").to_string()),
        _ => Err(malformed("a date with a state of the wrong length")),
    }
}

/// `time`: hour (the top bit is `fold`), minute, second, microseconds (big-endian).
pub(super) fn time(state: &[u8], zone: Option<Zone>) -> Result<String, PayloadError> {
    let [hour, minute, second, u1, u2, u3] = state else {
        return Err(malformed("a time with a state of the wrong length"));
    };
    let time = naive_time([hour & 0x7f, *minute, *second, *u1, *u2, *u3])?;
    let text = time.format(if time.nanosecond() == 0 { "%H:%M:%S" } else { "%H:%M:%S%.6f" }).to_string();
    Ok(text + &zone.and_then(Zone::without_date).map(offset_text).unwrap_or_default())
}

/// `datetime`: the date (the top bit of the month is `fold`), then the time.
pub(super) fn datetime(state: &[u8], zone: Option<Zone>) -> Result<String, PayloadError> {
    let [y1, y2, month, day, hour, minute, second, u1, u2, u3] = state else {
        return Err(malformed("a datetime with a state of the wrong length"));
    };
    let date = naive_date([*y1, *y2, month & 0x7f, *day])?;
    let local = NaiveDateTime::new(date, naive_time([*hour, *minute, *second, *u1, *u2, *u3])?);
    let Some(zone) = zone else {
        let format = if local.nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S%.6f" };
        return Ok(local.format(format).to_string());
    };
    let offset = zone.offset(local, month & 0x80 != 0)?;
    let zone = FixedOffset::east_opt(offset).ok_or_else(|| malformed("an offset of a day or more"))?;
    let moment = zone.from_local_datetime(&local).single().ok_or_else(|| malformed("a datetime out of range"))?;
    let digits = if local.nanosecond() == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    // RFC 3339 has no seconds in offsets (some historical zones do): such a moment is given in UTC.
    Ok(if offset % 60 == 0 {
        moment.to_rfc3339_opts(digits, true)
    } else {
        moment.with_timezone(&Utc).to_rfc3339_opts(digits, true)
    })
}

/// `Z`, or `+hh:mm[:ss]`.
pub(super) fn offset_text(offset: i32) -> String {
    let (sign, size) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    match (size / 3600, size / 60 % 60, size % 60) {
        (0, 0, 0) => "Z".into(),
        (hours, minutes, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        (hours, minutes, seconds) => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
    }
}

fn naive_date([y1, y2, month, day]: [u8; 4]) -> Result<NaiveDate, PayloadError> {
    let year = i32::from(u16::from_be_bytes([y1, y2]));
    // Python's years go from 1 to 9999.
    let date = NaiveDate::from_ymd_opt(year, u32::from(month), u32::from(day)).filter(|_| (1..=9999).contains(&year));
    date.ok_or_else(|| malformed(format!("a date that does not exist: {year}-{month}-{day}")))
}

fn naive_time([hour, minute, second, u1, u2, u3]: [u8; 6]) -> Result<NaiveTime, PayloadError> {
    let micros = u32::from_be_bytes([0, u1, u2, u3]);
    NaiveTime::from_hms_micro_opt(hour.into(), minute.into(), second.into(), micros)
        .filter(|_| micros < 1_000_000)
        .ok_or_else(|| malformed(format!("a time that does not exist: {hour}:{minute}:{second}.{micros}")))
}
