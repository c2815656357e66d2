//! Dates, times and instants.

use chrono::{DateTime, NaiveDateTime, NaiveTime, Utc};

use super::print::{print_date, print_time, show, show_value};
use crate::{
    SqlValue, TimeZone,
    moment::{self, Moment},
    sink::DatabaseKind,
};

/// Reads a date or time; `what` names the expected type in the error.
fn parse_moment(text: &str, what: &str) -> Result<Moment, String> {
    match moment::read(text) {
        Ok(Some(moment)) => Ok(moment),
        Ok(None) => Err(format!("{} is not a {what}", show(text))),
        Err(why) => Err(format!("{} {why}", show(text))),
    }
}

/// A time of day in a text is not dropped in silence; a recipe's own time values are, since the recipe chose the column.
pub(super) fn as_date(value: &SqlValue) -> Result<String, String> {
    let date = match value {
        SqlValue::Date(date) => *date,
        SqlValue::DateTime(moment) => moment.date(),
        SqlValue::Timestamp(moment) => moment.date_naive(),
        SqlValue::Text(text) => {
            let moment = parse_moment(text, "date")?;
            if moment.time().is_some_and(|time| time != NaiveTime::MIN) {
                return Err(format!("{} has a time of day, for a date", show(text)));
            }
            moment.date()
        }
        other => return Err(format!("{} is not a date", show_value(other))),
    };
    print_date(date)
}

/// A date and time of day, and whether it is known where.
enum Clock {
    Local(NaiveDateTime),
    Instant(DateTime<Utc>),
}

fn as_moment(value: &SqlValue) -> Result<Clock, String> {
    Ok(match value {
        SqlValue::Date(date) => Clock::Local(date.and_time(NaiveTime::MIN)),
        SqlValue::DateTime(moment) => Clock::Local(*moment),
        SqlValue::Timestamp(moment) => Clock::Instant(*moment),
        SqlValue::Text(text) => match parse_moment(text, "date and time")? {
            Moment::Date(date) => Clock::Local(date.and_time(NaiveTime::MIN)),
            Moment::Local(moment) => Clock::Local(moment),
            Moment::Instant(moment) => Clock::Instant(moment.to_utc()),
        },
        other => return Err(format!("{} is not a date and time", show_value(other))),
    })
}

/// For a column without a zone: an instant is written as the clock in `zone` shows it.
pub(super) fn as_datetime(
    database: DatabaseKind,
    zone: TimeZone,
    value: &SqlValue,
    fraction: u8,
) -> Result<String, String> {
    let local = match as_moment(value)? {
        Clock::Local(local) => local,
        Clock::Instant(instant) => zone.local(instant).ok_or_else(|| unknown_zone(value))?,
    };
    print_time(local, digits(database, fraction))
}

/// For a column of instants. What has no offset is left to the session, which is in the zone. MySQL takes instants by the
/// clock of the session too.
pub(super) fn as_instant(
    database: DatabaseKind,
    zone: TimeZone,
    value: &SqlValue,
    fraction: u8,
) -> Result<String, String> {
    let digits = digits(database, fraction);
    match as_moment(value)? {
        Clock::Local(local) => print_time(local, digits),
        Clock::Instant(instant) if database == DatabaseKind::Postgres => {
            Ok(print_time(instant.naive_utc(), digits)? + "+00")
        }
        Clock::Instant(instant) if zone.is_ambiguous(instant) => Err(format!(
            "{} is in the hour that {zone} has twice, which MySQL cannot tell apart; with timeZone: UTC or an offset it can",
            show_value(value)
        )),
        Clock::Instant(instant) => print_time(zone.local(instant).ok_or_else(|| unknown_zone(value))?, digits),
    }
}

fn unknown_zone(value: &SqlValue) -> String {
    format!(
        "{} is an instant, and the name of the server's zone is not known; say it in database.timeZone",
        show_value(value)
    )
}

/// How many digits of the fraction of a second are sent: all of them, where the database itself cuts or rounds.
fn digits(database: DatabaseKind, fraction: u8) -> u8 {
    if database == DatabaseKind::Sqlite { fraction } else { 9 }
}

#[cfg(test)]
mod tests {
    use crate::{
        SqlValue,
        sink::{
            DatabaseKind,
            convert::{Cell, convert},
            schema::{Column, Filled, Kind},
        },
    };

    fn converted(database: DatabaseKind, zone: &str, kind: Kind, value: &SqlValue) -> Result<String, String> {
        let column = Column {
            name: "c".into(),
            declared: "t".into(),
            cast: String::new(),
            kind,
            nullable: true,
            filled: Filled::No,
            draw: None,
        };
        match convert((database, zone.parse().unwrap()), &column, value)? {
            Cell::Text(text) => Ok(text.into_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_instant_that_mysql_could_not_tell_from_another_is_refused() {
        let instant = |zone, text: &str| {
            let kind = Kind::Timestamp { fraction: 0 };
            converted(DatabaseKind::Mysql, zone, kind, &SqlValue::Timestamp(text.parse().unwrap()))
        };
        assert_eq!(instant("Europe/Berlin", "2010-07-01T10:00:00Z").as_deref(), Ok("2010-07-01 12:00:00"));
        for twice in ["2010-10-31T00:30:00Z", "2010-10-31T01:30:00Z"] {
            let error = instant("Europe/Berlin", twice).unwrap_err();
            assert!(error.contains("is in the hour that Europe/Berlin has twice"), "{error}");
            assert!(instant("UTC", twice).is_ok() && instant("+01:00", twice).is_ok());
        }
        let error = instant("Server", "2010-07-01T10:00:00Z").unwrap_err();
        assert!(error.contains("the name of the server's zone is not known; say it in database.timeZone"), "{error}");
    }

    #[test]
    fn all_digits_of_a_second_are_sent_where_the_database_rounds() {
        let text = SqlValue::Text("2010-10-22T23:59:59.123456789".into());
        let sent = |database| converted(database, "UTC", Kind::DateTime { fraction: 6 }, &text);
        assert_eq!(sent(DatabaseKind::Postgres).as_deref(), Ok("2010-10-22 23:59:59.123456789"));
        assert_eq!(sent(DatabaseKind::Mysql).as_deref(), Ok("2010-10-22 23:59:59.123456789"));
        assert_eq!(sent(DatabaseKind::Sqlite).as_deref(), Ok("2010-10-22 23:59:59.123456"));
    }

    #[test]
    fn a_time_that_no_database_keeps_is_refused_with_the_reason() {
        let error = |text: &str| {
            let text = SqlValue::Text(text.into());
            converted(DatabaseKind::Postgres, "UTC", Kind::DateTime { fraction: 6 }, &text).unwrap_err()
        };
        assert!(error("2016-12-31T23:59:60Z").contains("`2016-12-31T23:59:60Z` has the second 60"));
        assert!(error("2010-10-22T24:00").contains("has the hour 24"));
        assert!(error("0000-00-00 00:00:00").contains("MySQL's zero date"));
        assert!(error("1287705600").contains("is not a date and time"));
    }
}
