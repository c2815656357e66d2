//! Dates: CEL values for a calendar date and a date with a time of day, neither of which CEL has, and reading both from
//! text in ISO 8601 or in formats that the recipe names.

use std::any::Any;
use std::cmp::Ordering;

use cel::ExecutionError;
use cel::common::traits::Comparer;
use cel::common::types::Type;
use cel::common::value::{StaticVal, Val};
use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Timelike};

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
    /// `2010-10-22`, optionally with a time and an offset.
    Iso,
    /// A strftime pattern, as the `chrono` crate documents it.
    Pattern(Vec<Item<'static>>),
}

impl Format {
    /// Reads a pattern such as `%Y年%m月%d日`, or `iso`. It must determine a date.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        if pattern == ISO {
            return Ok(Self::Iso);
        }
        let items = StrftimeItems::new(pattern)
            .parse_to_owned()
            .map_err(|_| format!("{pattern:?} is not a date format; an example: \"%Y-%m-%d\""))?;
        let format = Self::Pattern(items);
        let sample = NaiveDate::from_ymd_opt(2010, 10, 22).and_then(|d| d.and_hms_opt(13, 45, 10));
        let sample = sample.expect("a valid date").and_utc();
        let Self::Pattern(items) = &format else { return Ok(format) };
        let written = sample.format_with_items(items.iter()).to_string();
        match format.read(&written) {
            Some(read) if read.date() == sample.date_naive() => Ok(format),
            _ => Err(format!("the format {pattern:?} does not determine a year, month and day")),
        }
    }

    /// The date and time as written (an offset is not applied); midnight where the text has no time.
    pub(crate) fn read(&self, text: &str) -> Option<NaiveDateTime> {
        match self {
            Self::Iso => iso(text),
            Self::Pattern(items) => {
                let mut parsed = Parsed::new();
                chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
                let date = parsed.to_naive_date().ok()?;
                let time = parsed.to_naive_time().unwrap_or(NaiveTime::MIN);
                Some(date.and_time(time))
            }
        }
    }
}

/// ISO 8601 as it occurs in JSON: `YYYY-MM-DD`, then optionally `T` or a space, `HH:MM`, `:SS`, a fraction, and `Z` or
/// an offset. Written by hand because it runs for every date of every row.
fn iso(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let year = i32::try_from(digits(&bytes[..4])?).ok()?;
    let date = NaiveDate::from_ymd_opt(year, digits(&bytes[5..7])?, digits(&bytes[8..10])?)?;
    let time = match bytes.get(10) {
        None => NaiveTime::MIN,
        Some(b'T' | b't' | b' ') => iso_time(&bytes[11..])?,
        Some(_) => return None,
    };
    Some(date.and_time(time))
}

fn iso_time(bytes: &[u8]) -> Option<NaiveTime> {
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let (hour, minute) = (digits(&bytes[..2])?, digits(&bytes[3..5])?);
    let mut rest = &bytes[5..];
    let mut second = 0;
    let mut nanos = 0;
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
    let time = NaiveTime::from_hms_opt(hour, minute, second)?.with_nanosecond(nanos)?;
    offset_ends(rest).then_some(time)
}

/// `Z`, `+08:00`, `+0800`, `+08`, or nothing.
fn offset_ends(rest: &[u8]) -> bool {
    let all_digits = |b: &[u8]| b.iter().all(u8::is_ascii_digit);
    match rest {
        [] | [b'Z' | b'z'] => true,
        [b'+' | b'-', hours @ ..] => match hours.len() {
            2 | 4 => all_digits(hours),
            5 => all_digits(&hours[..2]) && hours[2] == b':' && all_digits(&hours[3..]),
            _ => false,
        },
        _ => false,
    }
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |n, b| b.is_ascii_digit().then(|| n * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, text: &str) -> Option<String> {
        Format::parse(format).unwrap().read(text).map(|d| d.to_string())
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
            let error = Format::parse(format).unwrap_err();
            assert!(error.contains("does not determine a year, month and day"), "{format}: {error}");
        }
        assert!(Format::parse("%Q").unwrap_err().contains("is not a date format"));
    }
}
