//! Floors and ceilings by time of day, across midnight, weekends and changes of the clock.

use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_scaling::{Bounds, Calendar, Schedule, bounds};
use proptest::prelude::*;

const BERLIN: &str = "Europe/Berlin";

fn schedule(name: &str, start: &str, end: &str, floor: Option<u32>, ceiling: Option<u32>) -> Schedule {
    Schedule::new(name, (start, end), BERLIN, (floor, ceiling)).unwrap_or_else(|error| panic!("{error}"))
}

fn utc(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).expect("a moment").to_utc()
}

/// The floor at each moment, `-` where there is none.
fn floors(schedules: &[Schedule], moments: &[&str]) -> String {
    let floor = |moment: &&str| {
        let (Bounds { floor, .. }, _) = bounds(schedules, utc(moment));
        floor.map_or_else(|| "-".to_owned(), |floor| floor.replicas.to_string())
    };
    moments.iter().map(floor).collect::<Vec<_>>().join(" ")
}

#[test]
fn office_hours_are_those_of_the_place() {
    let office = [schedule("office-hours", "0 8 * * 1-5", "0 18 * * 1-5", Some(2), None)];
    // Tuesday in winter: UTC+1. The start belongs to it, the end does not.
    let winter = ["2026-11-24T06:59:59Z", "2026-11-24T07:00:00Z", "2026-11-24T16:59:59Z", "2026-11-24T17:00:00Z"];
    assert_eq!(floors(&office, &winter), "- 2 2 -");
    // Tuesday in summer: UTC+2.
    let summer = ["2026-07-21T05:59:59Z", "2026-07-21T06:00:00Z", "2026-07-21T15:59:59Z", "2026-07-21T16:00:00Z"];
    assert_eq!(floors(&office, &summer), "- 2 2 -");
    // Saturday and Sunday.
    assert_eq!(floors(&office, &["2026-11-28T12:00:00Z", "2026-11-29T12:00:00Z"]), "- -");
    let (now, change) = bounds(&office, utc("2026-11-24T12:00:00Z"));
    assert_eq!(now.floor.map(|floor| floor.until.to_rfc3339()), Some("2026-11-24T18:00:00+01:00".into()));
    assert_eq!(change, Some(utc("2026-11-24T17:00:00Z")));
    assert_eq!(bounds(&office, utc("2026-11-27T17:00:00Z")).1, Some(utc("2026-11-30T07:00:00Z")));
}

#[test]
fn a_night_lasts_over_midnight_and_a_weekend_over_days() {
    let night = [schedule("night", "0 22 * * *", "0 6 * * *", Some(1), None)];
    let moments = ["2026-11-24T20:59:00Z", "2026-11-24T21:00:00Z", "2026-11-25T00:30:00Z", "2026-11-25T05:00:00Z"];
    assert_eq!(floors(&night, &moments), "- 1 1 -");
    let weekend = [schedule("weekend", "0 18 * * FRI", "0 6 * * MON", Some(3), None)];
    let moments = ["2026-11-27T16:00:00Z", "2026-11-27T17:00:00Z", "2026-11-29T12:00:00Z", "2026-11-30T05:00:00Z"];
    assert_eq!(floors(&weekend, &moments), "- 3 3 -");
}

#[test]
fn in_the_hour_that_is_skipped_it_starts_and_ends_when_the_hour_is_over() {
    // On 29 March 2026 at 2:00 the clocks of Berlin go to 3:00 (01:00 UTC).
    let starts = [schedule("starts", "30 2 * * *", "0 9 * * *", Some(1), None)];
    let moments = ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", "2026-03-29T07:00:00Z"];
    assert_eq!(floors(&starts, &moments), "- 1 1 -");
    let ends = [schedule("ends", "0 20 * * *", "30 2 * * *", Some(1), None)];
    let moments = ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T18:00:00Z"];
    assert_eq!(floors(&ends, &moments), "1 - 1");
}

#[test]
fn in_the_hour_that_comes_twice_it_starts_and_ends_the_first_time() {
    // On 25 October 2026 at 3:00 the clocks of Berlin go back to 2:00 (01:00 UTC): 2:30 is at 00:30 and at 01:30 UTC.
    let starts = [schedule("starts", "30 2 * * *", "0 9 * * *", Some(1), None)];
    let moments = ["2026-10-25T00:29:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:29:00Z", "2026-10-25T01:30:00Z"];
    assert_eq!(floors(&starts, &moments), "- 1 1 1");
    let ends = [schedule("ends", "0 20 * * *", "30 2 * * *", Some(1), None)];
    assert_eq!(floors(&ends, &moments), "1 - - -");
}

#[test]
fn where_several_are_in_force_the_highest_floor_and_the_lowest_ceiling_count() {
    let several = [
        schedule("day", "0 6 * * *", "0 22 * * *", Some(2), Some(20)),
        schedule("peak", "0 12 * * *", "0 14 * * *", Some(8), None),
        schedule("backup", "0 13 * * *", "0 15 * * *", None, Some(5)),
    ];
    let told = |moment: &str| {
        let (Bounds { floor, ceiling }, _) = bounds(&several, utc(moment));
        let text = |bound: Option<jobqueue_scaling::Bound>| {
            bound.map(|bound| format!("{} {}", bound.schedule, bound.replicas))
        };
        [text(floor), text(ceiling)].map(Option::unwrap_or_default)
    };
    assert_eq!(told("2026-11-24T10:00:00Z"), ["day 2", "day 20"]);
    assert_eq!(told("2026-11-24T11:30:00Z"), ["peak 8", "day 20"]);
    assert_eq!(told("2026-11-24T12:30:00Z"), ["peak 8", "backup 5"]);
    assert_eq!(told("2026-11-24T13:30:00Z"), ["day 2", "backup 5"]);
    assert_eq!(told("2026-11-24T22:00:00Z"), ["", ""]);
}

#[test]
fn what_is_wrong_names_the_field() {
    let wrong = |start: &str, end: &str, zone: &str| {
        let error = Schedule::new("s", (start, end), zone, (Some(1), None)).expect_err("wrong");
        (error.field(), error.to_string())
    };
    assert_eq!(wrong("0 8 * *", "0 9 * * *", "UTC").0, "start");
    assert_eq!(wrong("0 8 * * *", "0 0 9 * * *", "UTC").0, "end");
    assert_eq!(wrong("61 8 * * *", "0 9 * * *", "UTC").0, "start");
    let (field, message) = wrong("0 8 30 2 *", "0 9 * * *", "UTC");
    assert_eq!((field, message.as_str()), ("start", "\"0 8 30 2 *\" names no day that ever comes"));
    let (field, message) = wrong("0 8 * * *", "0 8 * * *", "UTC");
    assert_eq!((field, message.as_str()), ("end", "\"0 8 * * *\" is when it starts"));
    let (field, message) = wrong("0 8 * * *", "0 9 * * *", "Europe/Berln");
    assert_eq!(field, "timeZone");
    assert!(message.contains("Europe/Berln"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_calendar_says_what_its_schedules_say(
        hours in prop::collection::vec((0_u32..24, 0_u32..60, 0_u32..24, 0_u32..60), 1..3),
        begin in 1_770_000_000_i64..1_800_000_000,
        steps in prop::collection::vec(-90_000_i64..90_000, 1..20),
    ) {
        let schedules: Vec<Schedule> = hours
            .iter()
            .filter(|(hour, minute, to, past)| (hour, minute) != (to, past))
            .map(|(hour, minute, to, past)| {
                schedule("s", &format!("{minute} {hour} * * *"), &format!("{past} {to} * * *"), Some(*hour), Some(*to))
            })
            .collect();
        let mut calendar = Calendar::new(schedules.clone());
        let mut now = DateTime::from_timestamp(begin, 0).expect("a moment");
        // Forward and back, over midnights and changes of the clock.
        for step in steps {
            now += TimeDelta::seconds(step);
            let (expected, change) = bounds(&schedules, now);
            prop_assert_eq!(calendar.at(now), expected);
            prop_assert_eq!(calendar.until(), change);
            prop_assert!(change.is_none_or(|change| change > now));
        }
    }
}
