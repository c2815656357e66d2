//! In which time zone a database is used: its own defaults, what text without an offset means, and instants.

use chrono::{TimeZone as _, Utc};
use jobqueue_ingest::{DatabaseKind, Recipe, RowTree, SinkError, SinkOptions, SqlValue, Unit, connect};
use serde_json::json;

use crate::fixture::{Database, applied, key, recipe, row, text};

/// A table whose columns the database fills, and two that take what is given.
async fn clocks(db: &Database) -> Recipe {
    let (local, instant) = match db.kind {
        DatabaseKind::Postgres => ("timestamp", "timestamptz"),
        DatabaseKind::Mysql => ("DATETIME", "TIMESTAMP NULL"),
        DatabaseKind::Sqlite => ("DATETIME", "DATETIME"),
    };
    db.run(&format!(
        "CREATE TABLE clock (label VARCHAR(20), made {local} DEFAULT CURRENT_TIMESTAMP, since {instant} DEFAULT CURRENT_TIMESTAMP, \
         local {local}, moment {instant} DEFAULT NULL)"
    ))
    .await;
    recipe(
        &json!([{"table": "clock", "columns": {"label": "record.label", "local": "record.l", "moment": "record.m"}}]),
    )
}

async fn write(db: &Database, zone: Option<&str>, recipe: &Recipe, label: &str, local: SqlValue, moment: SqlValue) {
    let options = SinkOptions { time_zone: zone.map(|zone| zone.parse().unwrap()), ..SinkOptions::default() };
    let sink = connect(&db.url.parse().unwrap(), options).await.unwrap();
    let values = [("label", text(label)), ("local", local), ("moment", moment)];
    let unit = Unit { key: key(label), rows: RowTree { rows: vec![row(recipe, 0, &values, Vec::new())] } };
    assert_eq!(sink.write(recipe, &[unit]).await.unwrap(), [applied(1)], "{label}");
}

/// Half hours from UTC that the database's default of a column without a zone is; the distance of one with a zone is 0.
async fn distances(db: &Database, label: &str) -> Vec<String> {
    let query = match db.kind {
        DatabaseKind::Postgres => {
            "round(extract(epoch FROM made - (now() AT TIME ZONE 'UTC')) / 1800)::int, round(extract(epoch FROM since - now()) / 1800)::int"
        }
        DatabaseKind::Mysql => {
            "ROUND(TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(), made) / 1800), ROUND((UNIX_TIMESTAMP(since) - UNIX_TIMESTAMP()) / 1800)"
        }
        DatabaseKind::Sqlite => {
            "CAST(round((julianday(made) - julianday('now')) * 48) AS INTEGER) || '', CAST(round((julianday(since) - julianday('now')) * 48) AS INTEGER) || ''"
        }
    };
    db.rows(&format!("SELECT {query} FROM clock WHERE label = '{label}'")).await
}

pub(crate) async fn the_databases_own_defaults_are_in_the_zone(db: Database) {
    let recipe = clocks(&db).await;
    let zones: &[(&str, Option<&str>, &str)] = match db.kind {
        DatabaseKind::Sqlite => &[("none", None, "0|0"), ("ahead", Some("+08:00"), "0|0")],
        // Asia/Kolkata never changes its clocks: a server without the names of zones gets its offset.
        _ => &[
            ("none", None, "0|0"),
            ("utc", Some("UTC"), "0|0"),
            ("ahead", Some("+08:00"), "16|0"),
            ("behind", Some("-03:30"), "-7|0"),
            ("named", Some("Asia/Kolkata"), "11|0"),
        ],
    };
    for (label, zone, distance) in zones {
        write(&db, *zone, &recipe, label, SqlValue::Null, SqlValue::Null).await;
        assert_eq!(distances(&db, label).await, [*distance], "{label}");
    }
}

pub(crate) async fn text_without_an_offset_is_of_the_zone_and_instants_stay_instants(db: Database) {
    let recipe = clocks(&db).await;
    let midnight = Utc.with_ymd_and_hms(2010, 10, 22, 0, 0, 0).unwrap();
    let zone = Some("+08:00");
    let all = [
        ("naive", text("2010-10-22 08:00:00")),
        ("basic", text("2010-10-22T08:00:00+0800")),
        ("hours", text("2010-10-21 20:00:00-04")),
        ("minutes", text("2010-10-22T00:00Z")),
        ("mail", text("Fri, 22 Oct 2010 02:00:00 +0200")),
        ("dotnet", text("/Date(1287705600000)/")),
        ("instant", SqlValue::Timestamp(midnight)),
        ("local", SqlValue::DateTime("2010-10-22T08:00:00".parse().unwrap())),
    ];
    for (label, value) in &all {
        write(&db, zone, &recipe, label, value.clone(), value.clone()).await;
    }
    // SQLite knows no zones, so that all of it is UTC.
    let in_utc = db.kind == DatabaseKind::Sqlite;
    for (label, _) in &all {
        let hour = if in_utc && !["naive", "local"].contains(label) { "00" } else { "08" };
        let expected = format!("2010-10-22 {hour}:00:00");
        let query = match db.kind {
            DatabaseKind::Postgres => "local::text, extract(epoch FROM moment)::bigint",
            DatabaseKind::Mysql => "local, UNIX_TIMESTAMP(moment)",
            DatabaseKind::Sqlite => "local, moment",
        };
        let moment = if in_utc { expected.clone() } else { "1287705600".into() };
        let found = db.rows(&format!("SELECT {query} FROM clock WHERE label = '{label}'")).await;
        assert_eq!(found, [format!("{expected}|{moment}")], "{label}");
    }
}

/// What the database or the server has set, where it is asked for.
pub(crate) async fn the_zone_of_the_server_is_left_where_it_is_asked_for(db: Database) {
    let recipe = clocks(&db).await;
    let midnight = SqlValue::Timestamp(Utc.with_ymd_and_hms(2010, 10, 22, 0, 0, 0).unwrap());
    match db.kind {
        DatabaseKind::Postgres => {
            db.run(&format!("ALTER DATABASE \"{}\" SET timezone = 'Asia/Shanghai'", db.name())).await;
        }
        DatabaseKind::Mysql => drop(jobqueue_testkit::mariadb().sql("", "SET GLOBAL time_zone = '+08:00'")),
        DatabaseKind::Sqlite => return,
    }
    write(&db, Some("Server"), &recipe, "server", midnight, text("2010-10-22 08:00:00")).await;
    write(&db, None, &recipe, "none", SqlValue::Null, SqlValue::Null).await;
    if db.kind == DatabaseKind::Mysql {
        jobqueue_testkit::mariadb().sql("", "SET GLOBAL time_zone = 'SYSTEM'");
    }
    assert_eq!(distances(&db, "server").await, ["16|0"]);
    assert_eq!(distances(&db, "none").await, ["0|0"]);
    let moment =
        if db.kind == DatabaseKind::Mysql { "UNIX_TIMESTAMP(moment)" } else { "extract(epoch FROM moment)::bigint" };
    let found = db.rows(&format!("SELECT local, {moment} FROM clock WHERE label = 'server'")).await;
    assert_eq!(found, ["2010-10-22 08:00:00|1287705600"]);
}

pub(crate) async fn a_zone_that_the_server_does_not_know_is_refused_when_it_is_opened(db: Database) {
    if db.kind != DatabaseKind::Mysql || db.rows("SELECT count(*) FROM mysql.time_zone_name").await != ["0"] {
        return;
    }
    let options = SinkOptions { time_zone: Some("Asia/Shanghai".parse().unwrap()), ..SinkOptions::default() };
    let Err(error) = connect(&db.url.parse().unwrap(), options).await else { panic!("opened") };
    assert!(matches!(error, SinkError::Config(_)), "{error:?}");
    let words = error.to_string();
    for part in ["does not know the time zone Asia/Shanghai", "mysql_tzinfo_to_sql", "an offset such as +08:00"] {
        assert!(words.contains(part), "{words}");
    }
}

/// PostgreSQL's own way to say it, which counts where the manifest says nothing.
pub(crate) async fn the_options_of_a_url_say_the_zone_too(mut db: Database) {
    if db.kind != DatabaseKind::Postgres {
        return;
    }
    let recipe = clocks(&db).await;
    let plain = db.url.clone();
    db.url = format!("{plain}?options=-cTimeZone%3DAsia%2FShanghai");
    write(&db, None, &recipe, "url", SqlValue::Null, SqlValue::Null).await;
    write(&db, Some("+01:00"), &recipe, "both", SqlValue::Null, SqlValue::Null).await;
    db.url = plain;
    assert_eq!(distances(&db, "url").await, ["16|0"]);
    assert_eq!(distances(&db, "both").await, ["2|0"]);
}

/// `datetime()` keeps the time of day of a text, so that a column of instants would lose its offset.
pub(crate) async fn a_recipe_that_drops_offsets_is_warned_of(db: Database) {
    clocks(&db).await;
    let table =
        |expression: &str| recipe(&json!([{"table": "clock", "columns": {"label": "record.l", "moment": expression}}]));
    for (expression, warned) in [
        ("datetime(record.at)", true),
        ("datetime(record.at, \"%d.%m.%Y %H:%M %z\")", true),
        ("datetime(record.at, \"%d.%m.%Y %H:%M\")", false),
        ("timestamp(record.at)", false),
        ("record.at", false),
    ] {
        let warnings = db.sink.warnings(&table(expression)).await.unwrap();
        let expected = warned && db.kind != DatabaseKind::Sqlite;
        assert_eq!(warnings.len(), usize::from(expected), "{expression}: {warnings:?}");
        if let Some(warning) = warnings.first().map(ToString::to_string) {
            let start = warning.starts_with("table clock: column `moment ");
            assert!(
                start && warning.contains(expression) && warning.contains("an offset in the text is dropped"),
                "{warning}"
            );
        }
    }
}
