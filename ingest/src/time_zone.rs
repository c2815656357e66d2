//! The time zone in which a database is used: `database.timeZone` of a manifest.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Duration, FixedOffset, MappedLocalTime, NaiveDateTime, Offset as _, TimeZone as _, Utc};
use chrono_tz::Tz;

/// What `database.timeZone` says. It governs the session of every connection (and so the database's own defaults), and how a
/// time without an offset becomes an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeZone {
    /// The same distance from UTC at all times.
    Offset(FixedOffset),
    /// A zone of the IANA database.
    Named(Tz),
    /// What the server, the database or the role has set.
    Server,
}

/// UTC.
impl Default for TimeZone {
    fn default() -> Self {
        Self::Offset(Utc.fix())
    }
}

/// Why a text names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time zone: give an IANA name (Asia/Shanghai), an offset (+08:00), UTC or Server")]
pub struct UnknownTimeZone(String);

impl FromStr for TimeZone {
    type Err = UnknownTimeZone;

    fn from_str(text: &str) -> Result<Self, UnknownTimeZone> {
        match text {
            "UTC" | "Etc/UTC" | "Z" => return Ok(Self::default()),
            "Server" => return Ok(Self::Server),
            _ => {}
        }
        if text.starts_with(['+', '-']) {
            return offset(text).map(Self::Offset).ok_or_else(|| UnknownTimeZone(text.to_owned()));
        }
        text.parse().map(Self::Named).map_err(|_| UnknownTimeZone(text.to_owned()))
    }
}

/// As it is read.
impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) if offset.local_minus_utc() == 0 => f.write_str("UTC"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::Named(zone) => f.write_str(zone.name()),
            Self::Server => f.write_str("Server"),
        }
    }
}

/// `+08:00`: at most 14 hours, as far as any place is from UTC.
fn offset(text: &str) -> Option<FixedOffset> {
    let (sign, rest) = (if text.starts_with('-') { -1 } else { 1 }, text.get(1..)?);
    let (hours, minutes) = rest.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    if !two_digits(hours) || !two_digits(minutes) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = hours * 3600 + minutes * 60;
    FixedOffset::east_opt(sign * seconds).filter(|_| minutes < 60 && seconds <= 14 * 3600)
}

impl TimeZone {
    /// The date and time of day that clocks of the zone show at an instant. `None` where the zone is the server's, which is not
    /// known here.
    pub(crate) fn local(self, instant: DateTime<Utc>) -> Option<NaiveDateTime> {
        match self {
            Self::Offset(offset) => Some(instant.with_timezone(&offset).naive_local()),
            Self::Named(zone) => Some(instant.with_timezone(&zone).naive_local()),
            Self::Server => None,
        }
    }

    /// The instant at which clocks of the zone show this.
    ///
    /// # Errors
    /// Clocks show it twice, or never, or the zone is not known here.
    pub(crate) fn instant(self, local: NaiveDateTime) -> Result<DateTime<FixedOffset>, String> {
        let found = match self {
            Self::Offset(offset) => offset.from_local_datetime(&local),
            Self::Named(zone) => zone.from_local_datetime(&local).map(|instant| instant.fixed_offset()),
            Self::Server => {
                return Err("has no offset, and with timeZone: Server its zone is not known; name the zone".into());
            }
        };
        match found {
            MappedLocalTime::Single(instant) => Ok(instant),
            MappedLocalTime::Ambiguous(..) => Err(format!("has no offset, and in {self} it happens twice")),
            MappedLocalTime::None => Err(format!("has no offset, and in {self} it never happens: clocks skip it")),
        }
    }

    /// Whether clocks of the zone show the time of this instant twice.
    pub(crate) fn is_ambiguous(self, instant: DateTime<Utc>) -> bool {
        match self {
            Self::Named(zone) => {
                let local = instant.with_timezone(&zone).naive_local();
                matches!(zone.from_local_datetime(&local), MappedLocalTime::Ambiguous(..))
            }
            Self::Offset(_) | Self::Server => false,
        }
    }

    /// The offset of a zone whose clocks were not changed since 1970, nor will be as far as is known: a database without the
    /// names of zones can use it instead.
    pub(crate) fn constant(self) -> Option<FixedOffset> {
        let Self::Named(zone) = self else { return None };
        let offset = |instant: DateTime<Utc>| zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
        let first = offset(DateTime::UNIX_EPOCH);
        // Clocks that are changed keep their time for weeks: none is missed.
        let weeks = (0..52 * 130).map(|week| DateTime::UNIX_EPOCH + Duration::weeks(week));
        weeks.map(offset).all(|offset| offset == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_offsets_utc_and_the_servers_own_are_read_and_shown_alike() {
        for text in ["UTC", "Server", "+08:00", "-03:30", "+14:00", "Asia/Shanghai", "Europe/Berlin", "Etc/GMT-8"] {
            assert_eq!(text.parse::<TimeZone>().map(|zone| zone.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("+00:00".parse(), Ok(TimeZone::default()));
        for text in
            ["", "utc+8", "+8", "+0800", "+14:30", "-15:00", "+08:60", "Asia/Shanghia", "server", "CST", "+é:00"]
        {
            let error = text.parse::<TimeZone>().unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text:?} is not a time zone")), "{error}");
        }
    }

    #[test]
    fn only_zones_that_never_changed_are_an_offset() {
        for (zone, constant) in [
            ("Etc/GMT-8", Some("+08:00")),
            ("Asia/Dubai", Some("+04:00")),
            ("Asia/Kolkata", Some("+05:30")),
            ("Asia/Shanghai", None),
            ("Europe/Berlin", None),
            ("Africa/Casablanca", None),
        ] {
            let offset = zone.parse::<TimeZone>().unwrap().constant();
            assert_eq!(offset.map(|offset| offset.to_string()).as_deref(), constant, "{zone}");
        }
    }

    #[test]
    fn a_time_that_clocks_show_twice_or_never_is_no_instant() {
        let berlin: TimeZone = "Europe/Berlin".parse().unwrap();
        let at = |text: &str| berlin.instant(text.parse().unwrap()).map(|instant| instant.to_rfc3339());
        assert_eq!(at("2010-07-01T12:00:00").as_deref(), Ok("2010-07-01T12:00:00+02:00"));
        assert!(at("2010-10-31T02:30:00").unwrap_err().contains("it happens twice"));
        assert!(at("2010-03-28T02:30:00").unwrap_err().contains("it never happens"));
        for (instant, twice) in
            [("2010-10-31T00:30:00Z", true), ("2010-10-31T01:30:00Z", true), ("2010-10-31T02:00:00Z", false)]
        {
            assert_eq!(berlin.is_ambiguous(instant.parse().unwrap()), twice, "{instant}");
        }
    }
}
