//! Time zones that a Python datetime is in, and the offset that Python computes for it.

use std::fmt;

use chrono::{Datelike as _, MappedLocalTime, NaiveDate, NaiveDateTime, Offset as _, TimeZone as _};
use chrono_tz::{GapInfo, Tz};

use super::dates::offset_text;
use crate::PayloadError;
use crate::payload::{malformed, shortened};

/// A zone that a pickle names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zone {
    /// Seconds from UTC.
    Fixed(i32),
    /// The same, of a zone of pytz, which was told the date.
    Localized(i32),
    Named(Tz, Clocks),
}

/// How clocks that are changed are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clocks {
    /// As `zoneinfo` does, and dateutil from 3.0 on.
    Tzdata,
    /// As dateutil up to 2.9 does: a time that clocks skip is after the change, and the table is that of 32 bits.
    Dateutil,
}

/// The years that are whole in a table of 32 bits.
const YEARS_OF_32_BITS: std::ops::RangeInclusive<i32> = 1902..=2037;

/// From here on only the rules count, and no table: a year is like any other with the same calendar.
const LAST_OF_TABLE: i32 = 2090;

impl Zone {
    /// A zone by its IANA name.
    pub(super) fn named(name: &str, clocks: Clocks) -> Result<Self, PayloadError> {
        let unknown = || malformed(format!("the time zone {:?} is not known", shortened(name)));
        name.parse().map(|zone| Self::Named(zone, clocks)).map_err(|_| unknown())
    }

    /// A zone by its file: the name is the path below `zoneinfo/`.
    pub(super) fn of_file(path: &str, clocks: Clocks) -> Result<Self, PayloadError> {
        Self::named(path.rsplit_once("zoneinfo/").map_or(path, |(_, name)| name.trim_start_matches("posix/")), clocks)
    }

    /// `datetime.utcoffset()`, in seconds. `fold` is the second of two times that look alike.
    pub(super) fn offset(self, local: NaiveDateTime, fold: bool) -> Result<i32, PayloadError> {
        let (zone, clocks) = match self {
            Self::Fixed(offset) | Self::Localized(offset) => return Ok(offset),
            Self::Named(zone, clocks) => (zone, clocks),
        };
        if clocks == Clocks::Dateutil && !YEARS_OF_32_BITS.contains(&local.year()) {
            return Err(malformed(format!(
                "a datetime of the year {} in {zone} of a dateutil before 3.0, which knows the years 1902 to 2037",
                local.year()
            )));
        }
        let local = in_table(local);
        let seconds = |offset: chrono_tz::TzOffset| offset.fix().local_minus_utc();
        match zone.offset_from_local_datetime(&local) {
            MappedLocalTime::Single(offset) => Ok(seconds(offset)),
            MappedLocalTime::Ambiguous(first, second) => Ok(seconds(if fold { second } else { first })),
            MappedLocalTime::None => {
                let (before, after) = GapInfo::new(&local, &zone)
                    .and_then(|gap| Some((gap.begin?.1, *gap.end?.offset())))
                    .ok_or_else(|| malformed(format!("a datetime that there is not in {zone}")))?;
                Ok(seconds(if fold || clocks == Clocks::Dateutil { after } else { before }))
            }
        }
    }

    /// `time.utcoffset()`: only of what never changes, since the date is not known.
    pub(super) fn without_date(self) -> Option<i32> {
        const CONSTANT: [&str; 9] = ["UTC", "GMT", "UCT", "GMT0", "GMT+0", "GMT-0", "Zulu", "Universal", "Greenwich"];
        match self {
            Self::Fixed(offset) => Some(offset),
            Self::Named(zone, Clocks::Tzdata) if zone.name().starts_with("Etc/") || CONSTANT.contains(&zone.name()) => {
                self.offset(NaiveDateTime::default(), false).ok()
            }
            Self::Named(..) | Self::Localized(_) => None,
        }
    }
}

/// The same moment of a year with the same days of the week, where the table of changes does not reach.
fn in_table(local: NaiveDateTime) -> NaiveDateTime {
    if local.year() <= LAST_OF_TABLE {
        return local;
    }
    let first = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1);
    let calendar = |year: i32| first(year).map(|day| (day.weekday(), day.leap_year()));
    let alike = (LAST_OF_TABLE - 27..=LAST_OF_TABLE).find(|year| calendar(*year) == calendar(local.year()));
    alike.and_then(|year| local.with_year(year)).unwrap_or(local)
}

/// A zone that is data by itself: its offset, or its name.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(offset) | Self::Localized(offset) => f.write_str(&offset_text(*offset)),
            Self::Named(zone, _) => f.write_str(zone.name()),
        }
    }
}
