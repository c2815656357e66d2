//! What recipes make of dates and times: each spelling, each unit, and what is refused in which words.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use jobqueue_ingest::{IngestSpec, JobInput, Recipe, RecipeProblem, SqlValue, TimeZone};
use jobqueue_json::{Map, Value, json};

fn compile(expression: &str, zone: &str) -> Result<Recipe, Vec<RecipeProblem>> {
    let spec = serde_json::json!([{"tables": [{"table": "t", "columns": {"c": expression}}]}]);
    Recipe::compile_in(&serde_json::from_value::<Vec<IngestSpec>>(spec).unwrap(), zone.parse::<TimeZone>().unwrap())
}

fn value_in(zone: &str, expression: &str, record: &Value) -> Result<SqlValue, String> {
    let recipe = compile(expression, zone).map_err(|problems| problems[0].to_string())?;
    let (args, none) = (std::slice::from_ref(record), Map::new());
    let job = JobInput {
        id: "j",
        queue: "q",
        function: None,
        args,
        kwargs: &none,
        fields: &none,
        attempt: 1,
        enqueued_at: None,
    };
    let tree = recipe.rows(&job, "2026-01-02T03:04:05Z".parse().unwrap()).map_err(|error| error.to_string())?;
    Ok(tree.rows[0].values[0].clone())
}

/// A value as text that tells a date, a date and time of day, and an instant apart.
fn shown(value: &SqlValue) -> String {
    match value {
        SqlValue::Null => "null".into(),
        SqlValue::Int(int) => int.to_string(),
        SqlValue::Date(date) => date.to_string(),
        SqlValue::DateTime(local) => local.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        SqlValue::Timestamp(instant) => instant.format("%Y-%m-%dT%H:%M:%S%.fZ").to_string(),
        other => panic!("{other:?}"),
    }
}

fn record() -> Value {
    json!({
        "a": "2010-10-22T08:00:00+0800", "b": "2010-10-22T08:00Z", "c": "2010-10-22 08:00:00+08", "colon": "2010-10-22T08:00:00+08:00",
        "d": 1_287_705_600, "e": 1_287_705_600_123_i64, "f": "1287705600", "g": "Tue, 1 Jul 2003 10:52:37 +0200",
        "h": "2010-10-22 08:00:00", "i": "/Date(1287705600123)/", "i8": "/Date(1287705600123+0800)/", "half": 1_287_705_600.5,
        "micros": "1287705600.123456", "nanos": 1_287_705_600_123_456_789_i64, "millis": 1_287_705_600_123.25,
        "day": "2010-10-22", "none": null, "blank": " "
    })
}

/// Expressions, and their values as [`shown`].
const VALUES: &[(&str, &str)] = &[
    // Instants: offsets in all usual spellings
    ("timestamp(record.a)", "2010-10-22T00:00:00Z"),
    ("timestamp(record.b)", "2010-10-22T08:00:00Z"),
    ("timestamp(record.c)", "2010-10-22T00:00:00Z"),
    ("timestamp(record.colon)", "2010-10-22T00:00:00Z"),
    ("timestamp(record.g)", "2003-07-01T08:52:37Z"),
    ("timestamp(record.i)", "2010-10-22T00:00:00.123Z"),
    ("timestamp(record.i8)", "2010-10-22T00:00:00.123Z"),
    ("timestamp(record.h)", "2010-10-22T08:00:00Z"),
    // ... numbers, exactly
    ("timestamp(record.d)", "2010-10-22T00:00:00Z"),
    ("timestamp(record.half)", "2010-10-22T00:00:00.500Z"),
    ("timestamp(int(record.half))", "2010-10-22T00:00:00Z"),
    ("timestamp(record.e/1000)", "2010-10-22T00:00:00Z"),
    ("timestamp(int(record.f))", "2010-10-22T00:00:00Z"),
    ("timestamp(0) + duration(string(record.e) + \"ms\")", "2010-10-22T00:00:00.123Z"),
    ("timestamp(0) + duration(\"1h1.5m0.25s2ms3us4ns\")", "1970-01-01T01:01:30.252003004Z"),
    ("timestamp(0) - duration(\"-1.0000000019s\")", "1970-01-01T00:00:01.000000001Z"),
    ("timestamp(0) + duration(duration(\"0\"))", "1970-01-01T00:00:00Z"),
    ("timestamp(datetime(record.h))", "2010-10-22T08:00:00Z"),
    ("timestamp(timestamp(record.a))", "2010-10-22T00:00:00Z"),
    ("instant(record.d, \"s\")", "2010-10-22T00:00:00Z"),
    ("instant(record.half, \"seconds\")", "2010-10-22T00:00:00.500Z"),
    ("instant(record.f, \"s\")", "2010-10-22T00:00:00Z"),
    ("instant(record.micros, \"s\")", "2010-10-22T00:00:00.123456Z"),
    ("instant(record.e, \"ms\")", "2010-10-22T00:00:00.123Z"),
    ("instant(record.e, \"millis\")", "2010-10-22T00:00:00.123Z"),
    ("instant(record.millis, \"ms\")", "2010-10-22T00:00:00.123250Z"),
    ("instant(record.nanos / 1000, \"us\")", "2010-10-22T00:00:00.123456Z"),
    ("instant(record.nanos / 1000, \"micros\")", "2010-10-22T00:00:00.123456Z"),
    ("instant(record.nanos, \"ns\")", "2010-10-22T00:00:00.123456789Z"),
    ("instant(record.nanos, \"nanos\")", "2010-10-22T00:00:00.123456789Z"),
    ("instant(\"-0.25\", \"s\")", "1969-12-31T23:59:59.750Z"),
    ("instant(-1, \"ms\")", "1969-12-31T23:59:59.999Z"),
    ("instant(timestamp(record.a), \"s\")", "2010-10-22T00:00:00Z"),
    ("instant(record.none, \"s\")", "null"),
    ("instant(record.blank, \"ms\")", "null"),
    // Times of day as they are written
    ("datetime(record.a)", "2010-10-22T08:00:00"),
    ("datetime(record.c)", "2010-10-22T08:00:00"),
    ("datetime(record.g)", "2003-07-01T10:52:37"),
    ("datetime(record.g, \"%a, %d %b %Y %H:%M:%S %z\")", "2003-07-01T10:52:37"),
    ("datetime(record.i)", "2010-10-22T00:00:00.123"),
    ("datetime(record.i8)", "2010-10-22T08:00:00.123"),
    ("datetime(timestamp(record.d) + duration(\"8h\"))", "2010-10-22T08:00:00"),
    ("datetime(date(record.day))", "2010-10-22T00:00:00"),
    ("datetime(\"22/10/2010 01:45 PM\", \"%d/%m/%Y %I:%M %p\")", "2010-10-22T13:45:00"),
    ("datetime(record.none, \"iso\", \"1900-01-01\")", "1900-01-01T00:00:00"),
    ("datetime(record.h, [\"%d/%m/%Y %H:%M\", \"iso\"])", "2010-10-22T08:00:00"),
    // Dates
    ("date(record.g)", "2003-07-01"),
    ("date(record.i8)", "2010-10-22"),
    ("date(timestamp(record.d))", "2010-10-22"),
    ("timestamp(record.d).getFullYear(\"Asia/Shanghai\")", "2010"),
    ("date(\"1/2/2010\", \"%d/%m/%Y\")", "2010-02-01"),
    ("date(\"1/2/10\", \"%d/%m/%y\")", "2010-02-01"),
    ("date(\"1/2/69\", \"%d/%m/%y\")", "2069-02-01"),
    ("date(\"1/2/70\", \"%d/%m/%y\")", "1970-02-01"),
    ("date(\"1 Jan 2010\", \"%d %b %Y\")", "2010-01-01"),
    ("date(\"20101022\", \"%Y%m%d\")", "2010-10-22"),
    ("date(\"2010-W42-5\", \"%G-W%V-%u\")", "2010-10-22"),
    ("date(\"  2010-10-22\u{a0}\")", "2010-10-22"),
    ("date(\"2010-1-2\", \"%Y-%m-%d\")", "2010-01-02"),
    ("date(\"31.12.2010 \", \"%d.%m.%Y\")", "2010-12-31"),
    ("date(\"0001-01-01T00:00:00Z\")", "0001-01-01"),
];

#[test]
fn every_expression_has_its_value() {
    for (expression, expected) in VALUES {
        let value = value_in("UTC", expression, &record()).unwrap_or_else(|error| panic!("{expression}: {error}"));
        assert_eq!(shown(&value), *expected, "{expression}");
    }
}

/// Expressions that fail, and words of their errors.
const REFUSALS: &[(&str, &str)] = &[
    (
        "datetime(record.day)",
        "\"2010-10-22\" has no time of day; date() reads it, and datetime(date(x)) is its midnight",
    ),
    ("datetime(record.day, [\"iso\", \"%d/%m/%Y %H:%M\"])", "\"2010-10-22\" has no time of day"),
    (
        "datetime(\"22/10/2010 01:45\", \"%d/%m/%Y %I:%M\")",
        "\"%d/%m/%Y %I:%M\" has the hour of a 12-hour clock without %p",
    ),
    (
        "datetime(record.h, \"%d/%m/%Y\" + record.blank + \"%I:%M\")",
        "\"%d/%m/%Y %I:%M\" has the hour of a 12-hour clock without %p",
    ),
    ("datetime(\"2010-10-22 13h\", \"%Y-%m-%d %Hh\")", "\"%Y-%m-%d %Hh\" does not determine an hour and minute"),
    ("datetime(record.day, \"%Y-%m-%d\")", "\"%Y-%m-%d\" does not determine an hour and minute"),
    ("datetime(record.f, \"%s\")", "\"%s\" does not determine a year, month and day"),
    ("datetime(record.d)", "1287705600 is a number, not a date"),
    ("date(record.d)", "1287705600 is a number, not a date"),
    ("datetime(\"2010-10-22T24:00:00\")", "\"2010-10-22T24:00:00\" has the hour 24; midnight is 00:00 of the next day"),
    ("datetime(\"2010-10-22T23:59:60\")", "\"2010-10-22T23:59:60\" has the second 60, a leap second"),
    ("timestamp(\"2016-12-31T23:59:60Z\")", "\"2016-12-31T23:59:60Z\" has the second 60, a leap second"),
    ("date(\"0000-00-00\")", "\"0000-00-00\" is MySQL's zero date, which is no date"),
    ("date(\"0000-01-01\")", "\"0000-01-01\" has a year outside of 0001 to 9999"),
    ("date(\"01.01.0000\", \"%d.%m.%Y\")", "\"01.01.0000\" has a year outside of 0001 to 9999"),
    ("date(\"10000-01-01\")", "\"10000-01-01\" is not a date in ISO 8601"),
    ("date(\"2010/10/22\")", "\"2010/10/22\" is not a date in ISO 8601"),
    ("date(\"2010-1-2\")", "\"2010-1-2\" is not a date in ISO 8601"),
    ("date(\"10-10-22\")", "\"10-10-22\" is not a date in ISO 8601"),
    ("date(\"12/31/2010\", \"%d/%m/%Y\")", "\"12/31/2010\" is not a date in the given format"),
    ("timestamp(record.day)", "\"2010-10-22\" has no time of day, so it is no instant"),
    ("timestamp(record.e)", "1287705600123 is outside of the years 1 to 9999; instant(x, \"ms\") reads milliseconds"),
    ("timestamp(record.f)", "\"1287705600\" is a number in text: instant(x, \"s\") reads it"),
    ("timestamp(record.none)", "null is null, not an instant"),
    ("timestamp(\"today\")", "\"today\" is not a date and time in ISO 8601"),
    ("timestamp(\"9999-12-31T23:00:00-08:00\")", "is outside of the years 1 to 9999"),
    ("timestamp(0) + duration(\"1 hour\")", "\"1 hour\" is not a duration of at most 292 years (1h30m, 1.5s, 250ms)"),
    ("timestamp(0) + duration(\"\")", "\"\" is not a duration"),
    ("timestamp(0) + duration(\"9999999h\")", "\"9999999h\" is not a duration of at most 292 years"),
    ("timestamp(0) + duration(5)", "5 is a number, not a duration in text"),
    ("instant(record.d, \"minutes\")", "\"minutes\" is not a unit: \"s\", \"ms\", \"us\" or \"ns\""),
    ("instant(record.g, \"s\")", "is not a number"),
    ("instant(\"0.1234567891\", \"s\")", "\"0.1234567891\" has more digits than nanoseconds"),
    ("instant(true, \"s\")", "true is a boolean, not a number"),
    ("instant(record.d)", "instant() has 1 arguments; write instant(x, unit)"),
];

#[test]
fn what_is_no_date_or_time_is_refused_in_words_that_name_it() {
    for (expression, words) in REFUSALS {
        match value_in("UTC", expression, &record()) {
            Ok(value) => panic!("{expression} is {}", shown(&value)),
            Err(error) => assert!(error.contains(words), "{expression}: {error}"),
        }
    }
}

#[test]
fn text_without_an_offset_is_an_instant_of_the_databases_zone() {
    for (zone, expected) in [
        ("UTC", "2010-10-22T08:00:00Z"),
        ("+08:00", "2010-10-22T00:00:00Z"),
        ("Asia/Shanghai", "2010-10-22T00:00:00Z"),
        ("Europe/Berlin", "2010-10-22T06:00:00Z"),
    ] {
        for expression in ["timestamp(record.h)", "timestamp(datetime(record.h))", "[record.h].map(x, timestamp(x))[0]"]
        {
            assert_eq!(value_in(zone, expression, &record()).map(|value| shown(&value)), Ok(expected.into()), "{zone}");
        }
        // An offset in the text counts, whatever the zone.
        assert_eq!(
            value_in(zone, "timestamp(record.a)", &record()).map(|v| shown(&v)),
            Ok("2010-10-22T00:00:00Z".into())
        );
    }
    for (zone, text, words) in [
        ("Europe/Berlin", "2010-10-31 02:30:00", "has no offset, and in Europe/Berlin it happens twice"),
        ("Europe/Berlin", "2010-03-28 02:30:00", "has no offset, and in Europe/Berlin it never happens"),
        ("Server", "2010-10-22 08:00:00", "has no offset, and with timeZone: Server its zone is not known"),
    ] {
        let error = value_in(zone, &format!("timestamp({text:?})"), &json!({})).unwrap_err();
        assert!(error.contains(&format!("{text:?} {words}")), "{error}");
    }
}
