//! Dates: CEL values for a calendar date and a date with a time of day, neither of which CEL has, and reading both from
//! text in ISO 8601 or in formats that the recipe names.

use std::any::Any;
use std::cmp::Ordering;

use cel::ExecutionError;
use cel::common::traits::Comparer;
use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};
use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike as _};

use crate::moment::{self, LEAP_SECOND, Unfit, YEARS};

macro_rules! calendar_val {
    ($(#[$doc:meta])* $name:ident($inner:ty), $type:ident = $label:literal) => {
        static $type: Type = Type::new_unspecified_type($label);

        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl StaticVal for $name {}

        impl Val for $name {
            fn get_type(&self) -> &Type {
                &$type
            }

            fn cel_type() -> &'static Type {
                &$type
            }

            fn equals(&self, other: &dyn Val) -> bool {
                other.downcast_ref::<Self>().is_some_and(|other| self.0 == other.0)
            }

            fn as_comparer(&self) -> Option<&dyn Comparer> {
                Some(self)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
                Box::new(*self)
            }

            fn as_any(&self) -> Option<&dyn Any> {
                Some(self)
            }
        }

        impl Comparer for $name {
            fn compare(&self, rhs: &dyn Val) -> Result<Ordering, ExecutionError> {
                rhs.downcast_ref::<Self>().map(|rhs| self.0.cmp(&rhs.0)).ok_or_else(|| ExecutionError::UnexpectedType {
                    got: rhs.get_type().name().to_owned(),
                    want: $label.to_owned(),
                })
            }
        }
    };
}

calendar_val!(
    /// What `date()` gives: compares with other dates only.
    CalendarDate(NaiveDate), DATE_TYPE = "date"
);
calendar_val!(
    /// What `datetime()` gives: compares with other date-times only.
    CalendarTime(NaiveDateTime), DATETIME_TYPE = "datetime"
);

/// The name that stands for ISO 8601 in a list of formats.
pub(crate) const ISO: &str = "iso";

/// One accepted way to write a date.
#[derive(Debug, Clone)]
pub(crate) enum Format {
    /// `2010-10-22`, optionally with a time and an offset, and what else needs no format, see [`moment`].
    Iso,
    /// A strftime pattern, as the `chrono` crate documents it.
    Pattern(Vec<Item<'static>>),
}

/// A date and a time of day, as far as the text has them. An offset is not applied.
pub(crate) type DateAndTime = (NaiveDate, Option<NaiveTime>);

impl Format {
    /// Reads a pattern such as `%Y年%m月%d日`, or `iso`. It must determine a date, and where `timed` an hour and minute.
    pub(crate) fn parse(pattern: &str, timed: bool) -> Result<Self, String> {
        if pattern == ISO {
            return Ok(Self::Iso);
        }
        let items = StrftimeItems::new(pattern)
            .parse_to_owned()
            .map_err(|_| format!("{pattern:?} is not a date format; an example: \"%Y-%m-%d\""))?;
        let sample = NaiveDate::from_ymd_opt(2010, 10, 22).and_then(|d| d.and_hms_opt(13, 45, 10));
        let sample = sample.expect("a valid date").and_utc();
        let written = sample.format_with_items(items.iter()).to_string();
        let format = Self::Pattern(items);
        let (date, time) = format.read(&written).ok().flatten().unzip();
        if date != Some(sample.date_naive()) {
            return Err(format!("the format {pattern:?} does not determine a year, month and day"));
        }
        let same = |time: NaiveTime| (time.hour(), time.minute()) == (sample.hour(), sample.minute());
        if timed && !time.flatten().is_some_and(same) {
            let half = ["%I", "%l"].iter().any(|hour| pattern.contains(hour));
            return Err(if half {
                format!("the format {pattern:?} has the hour of a 12-hour clock without %p")
            } else {
                format!("the format {pattern:?} does not determine an hour and minute; date() reads a date alone")
            });
        }
        Ok(format)
    }

    /// What the text says in this format; `None` where it is not in it.
    ///
    /// # Errors
    /// It is in the format, but no date or time that a database keeps.
    pub(crate) fn read(&self, text: &str) -> Result<Option<DateAndTime>, Unfit> {
        let Self::Pattern(items) = self else {
            return Ok(moment::read(text)?.map(|moment| (moment.date(), moment.time())));
        };
        let mut parsed = Parsed::new();
        if chrono::format::parse(&mut parsed, text, items.iter()).is_err() {
            return Ok(None);
        }
        let Ok(date) = parsed.to_naive_date() else { return Ok(None) };
        let time = parsed.to_naive_time().ok();
        if time.is_some_and(|time| time.nanosecond() >= 1_000_000_000) {
            return Err(LEAP_SECOND);
        }
        if !(1..=9999).contains(&date.year()) {
            return Err(YEARS);
        }
        Ok(Some((date, time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<String> {
        let (date, time) = Format::parse(format, false).unwrap().read(text).unwrap()?;
        Some(date.and_time(time.unwrap_or_default()).to_string())
    }

    #[test]
    fn iso_text_is_read_as_written() {
        for (text, expected) in [
            ("2010-10-22", "2010-10-22 00:00:00"),
            ("2010-10-22T00:00:00+08:00", "2010-10-22 00:00:00"),
            ("2010-10-22T23:59:59.5-0330", "2010-10-22 23:59:59.500"),
            ("2010-10-22t07:08Z", "2010-10-22 07:08:00"),
            ("2010-10-22 07:08:09,123456789123+08", "2010-10-22 07:08:09.123456789"),
            ("2012-02-29", "2012-02-29 00:00:00"),
        ] {
            assert_eq!(read(ISO, text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_quite_iso_is_refused() {
        for text in [
            "2010-10-2",
            "2010-13-01",
            "2011-02-29",
            "20101022",
            "2010-10-22T",
            "2010-10-22T25:00",
            "2010-10-22T07:08:09.",
            "2010-10-22T07:08:09+8",
            "2010-10-22 garbage",
            "2010-10-22x",
            "not a date",
            "२०१०-10-22",
        ] {
            assert_eq!(read(ISO, text), None, "{text}");
        }
    }

    #[test]
    fn formats_are_read_and_must_determine_a_date() {
        assert_eq!(read("%Y年%m月%d日", "2010年10月22日").as_deref(), Some("2010-10-22 00:00:00"));
        assert_eq!(read("%d/%m/%Y %H:%M", "22/10/2010 13:45").as_deref(), Some("2010-10-22 13:45:00"));
        assert_eq!(read("%Y年%m月%d日", "2010-10-22"), None);
        for format in ["%Y年%m月", "%H:%M", "", "date", "%d.%m."] {
            let error = Format::parse(format, false).unwrap_err();
            assert!(error.contains("does not determine a year, month and day"), "{format}: {error}");
        }
        assert!(Format::parse("%Q", false).unwrap_err().contains("is not a date format"));
    }

    #[test]
    fn a_format_for_a_time_of_day_determines_one() {
        for format in ["%d/%m/%Y %H:%M", "%d/%m/%Y %I:%M %p", "%Y-%m-%dT%T%z", "%d/%m/%y %R"] {
            assert!(Format::parse(format, true).is_ok(), "{format}");
        }
        for format in ["%d/%m/%Y", "%Y-%m-%d %Hh", "%Y-%m-%d %M"] {
            let error = Format::parse(format, true).unwrap_err();
            assert!(error.contains(&format!("{format:?} does not determine an hour and minute")), "{error}");
        }
        let error = Format::parse("%d/%m/%Y %I:%M", true).unwrap_err();
        assert_eq!(error, "the format \"%d/%m/%Y %I:%M\" has the hour of a 12-hour clock without %p");
    }

    #[test]
    fn a_format_reads_no_leap_second_and_no_year_0() {
        let read = |format, text| Format::parse(format, false).unwrap().read(text);
        assert_eq!(read("%Y-%m-%d %H:%M:%S", "2016-12-31 23:59:60"), Err(LEAP_SECOND));
        assert_eq!(read("%d.%m.%Y", "01.01.0000"), Err(YEARS));
        assert_eq!(read("%d.%m.%Y", "01.01.+12345"), Err(YEARS));
    }
}
