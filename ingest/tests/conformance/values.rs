//! Every kind of value into every kind of column: exactly, or refused with the value named.

use chrono::{NaiveDate, TimeZone as _, Utc};
use jobqueue_ingest::{DatabaseKind, Recipe, RowTree, SqlValue, Unit};
use serde_json::json;

use crate::fixture::{Database, applied, key, recipe, rejected, row, text};

fn everything() -> Recipe {
    let columns: serde_json::Map<String, serde_json::Value> =
        ["reg_num", "name", "founded", "capital", "staff", "listed", "ratio", "note", "details", "seen", "logo"]
            .iter()
            .map(|column| ((*column).to_owned(), json!(format!("record.{column}"))))
            .collect();
    recipe(&json!([{ "table": "company", "columns": columns }]))
}

/// A company with one interesting value, as a job of its own.
fn unit(recipe: &Recipe, job: &str, column: &str, value: SqlValue) -> Unit {
    let values = [(column, value), ("reg_num", text(job)), ("name", text(job))];
    Unit { key: key(job), rows: RowTree { rows: vec![row(recipe, 0, &values, Vec::new())] } }
}

/// What the database holds, in the words of a query that it answers with 1 where it is exact.
async fn holds(db: &Database, job: &str, condition: &str) {
    let query = format!("SELECT count(*) FROM company WHERE reg_num = '{job}' AND {condition}");
    let found = db.rows(&query).await;
    let row = db.rows(&format!("SELECT * FROM company WHERE reg_num = '{job}'")).await;
    assert_eq!(found, ["1"], "{job}: not {condition}: {row:?}");
}

/// A job's name, a column, a value for it, and a condition that the row meets if the value arrived exactly.
type Case = (&'static str, &'static str, SqlValue, &'static str);

fn exact_values(kind: DatabaseKind) -> Vec<Case> {
    let day = NaiveDate::from_ymd_opt(2010, 10, 22).unwrap();
    let instant = Utc.with_ymd_and_hms(2010, 10, 22, 8, 30, 0).unwrap() + chrono::Duration::microseconds(250_000);
    let is_json = match kind {
        DatabaseKind::Postgres => "details ->> 'k' = '公😀\"'",
        DatabaseKind::Mysql => "JSON_VALUE(details, '$.k') = '公😀\"'",
        DatabaseKind::Sqlite => "json_extract(details, '$.k') = '公😀\"'",
    };
    let is_bytes = match kind {
        DatabaseKind::Postgres => "logo = '\\x00ff5c0a'::bytea",
        _ => "logo = X'00ff5c0a'",
    };
    let at_half_past = match kind {
        DatabaseKind::Sqlite => "seen = '2010-10-22 08:30:00.250000'",
        _ => "seen = '2010-10-22 08:30:00.25'",
    };
    vec![
        ("date", "founded", SqlValue::Date(day), "founded = '2010-10-22'"),
        ("text-date", "founded", text("2010-10-22"), "founded = '2010-10-22'"),
        ("iso-date", "founded", text("2010-10-22T00:00:00+08:00"), "founded = '2010-10-22'"),
        ("leap", "founded", text("2024-02-29"), "founded = '2024-02-29'"),
        ("text-decimal", "capital", text("12.50"), "capital = 12.5"),
        ("zeros", "capital", text("12.5000"), "capital = 12.5"),
        ("negative", "capital", text("-0.01"), "capital = -0.01"),
        ("largest", "capital", text("9999999999.99"), "capital = 9999999999.99"),
        ("int-decimal", "capital", SqlValue::Int(7), "capital = 7"),
        ("float-decimal", "capital", SqlValue::Float(0.1 + 0.2), "capital = 0.3"),
        ("big", "staff", SqlValue::Int(i64::MAX), "staff = 9223372036854775807"),
        ("small", "staff", SqlValue::Int(i64::MIN), "staff < -9223372036854775807"),
        ("text-int", "staff", text(" 42 "), "staff = 42"),
        ("uint", "staff", SqlValue::UInt(42), "staff = 42"),
        ("true", "listed", SqlValue::Bool(true), "listed"),
        ("text-false", "listed", text("false"), "NOT listed"),
        ("float", "ratio", SqlValue::Float(0.1), "ratio = 0.1"),
        ("text-float", "ratio", text("-1e-3"), "ratio = -0.001"),
        ("unicode", "note", text("广州市白云区 😀 é\u{301}"), "note = '广州市白云区 😀 é\u{301}'"),
        ("quotes", "note", text("it's \"a\" \\N \t tab"), "note LIKE 'it''s \"a\" _N _ tab'"),
        ("lines", "note", text("a\r\nb\\.\n\\."), "length(note) = 9"),
        ("empty", "note", text(""), "note = ''"),
        ("null", "note", SqlValue::Null, "note IS NULL"),
        ("number-text", "note", SqlValue::Int(5), "note = '5'"),
        ("json", "details", SqlValue::Json(jobqueue_json::json!({"k": "公😀\"", "n": [1, null]})), is_json),
        ("instant", "seen", SqlValue::Timestamp(instant), at_half_past),
        ("zoned", "seen", text("2010-10-22T16:30:00.25+08:00"), at_half_past),
        ("local", "seen", SqlValue::DateTime(instant.naive_utc()), at_half_past),
        ("midnight", "seen", SqlValue::Date(day), "seen = '2010-10-22 00:00:00'"),
        ("bytes", "logo", SqlValue::Bytes(vec![0, 255, b'\\', b'\n']), is_bytes),
    ]
}

pub(crate) async fn values_arrive_exactly(db: Database) {
    let recipe = everything();
    let cases = exact_values(db.kind);
    let units: Vec<Unit> =
        cases.iter().map(|(job, column, value, _)| unit(&recipe, job, column, value.clone())).collect();
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    for ((job, ..), outcome) in cases.iter().zip(&outcomes) {
        assert_eq!(*outcome, applied(1), "{job}");
    }
    for (job, _, _, condition) in &cases {
        let condition = if db.kind == DatabaseKind::Mysql {
            condition.replace("note = '广", "note = _utf8mb4'广")
        } else {
            (*condition).to_owned()
        };
        holds(&db, job, &condition).await;
    }
}

pub(crate) async fn what_does_not_fit_is_refused_by_name(db: Database) {
    let recipe = everything();
    let cases = [
        ("no-date", "founded", text("not a date"), "company.founded: `not a date` is not a date"),
        ("no-day", "founded", text("2010-02-30"), "`2010-02-30`"),
        ("time", "founded", text("2010-10-22T12:00:00Z"), "time of day"),
        ("places", "capital", text("12.505"), "company.capital: `12.505`"),
        ("wide", "capital", text("10000000000"), "out of the range"),
        ("words", "capital", text("60万元"), "`60万元` is not a number"),
        ("huge", "staff", SqlValue::UInt(u64::MAX), "18446744073709551615 is out of the range"),
        ("half", "staff", SqlValue::Float(0.5), "not a whole number"),
        ("maybe", "listed", text("maybe"), "`maybe`"),
        ("list", "ratio", SqlValue::Json(jobqueue_json::json!([1])), "`[1]` is not a number"),
        ("braces", "details", text("{\"a\":"), "is not JSON"),
        ("long", "name", text("长".repeat(5000)), "5000 characters"),
        ("none", "name", SqlValue::Null, "null"),
    ];
    let units: Vec<Unit> = cases
        .iter()
        .map(|(job, column, value, _)| {
            let values = [(*column, value.clone()), ("reg_num", text(*job)), ("name", text(*job))];
            Unit { key: key(job), rows: RowTree { rows: vec![row(&recipe, 0, &values, Vec::new())] } }
        })
        .collect();
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    for ((job, column, _, words), outcome) in cases.iter().zip(&outcomes) {
        let (message, may_pass) = rejected(outcome);
        assert!(message.contains(words) && message.contains(&format!("company.{column}")), "{job}: {message}");
        assert!(message.chars().count() <= 303 && !may_pass, "{job}: {message}");
    }
    assert_eq!(db.counts().await, [0, 0, 0]);
}

pub(crate) async fn a_value_that_only_the_database_can_judge_is_refused_in_its_words(db: Database) {
    db.run("ALTER TABLE company ADD COLUMN grade INTEGER CHECK (grade < 10)").await;
    let recipe = recipe(&json!([{"table": "company", "columns":
        {"grade": "record.g", "name": "record.n", "reg_num": "record.r"}}]));
    let graded = |job: &str, grade| {
        let values = [("grade", SqlValue::Int(grade)), ("name", text(job)), ("reg_num", text(job))];
        Unit { key: key(job), rows: RowTree { rows: vec![row(&recipe, 0, &values, Vec::new())] } }
    };
    let units = [graded("a", 1), graded("b", 11), graded("c", 2)];
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    assert_eq!([&outcomes[0], &outcomes[2]], [&applied(1), &applied(1)]);
    let (message, may_pass) = rejected(&outcomes[1]);
    assert!(message.starts_with("company") && message.to_lowercase().contains("constraint"), "{message}");
    assert!(!may_pass);
}

/// A type that the sink leaves to the database.
pub(crate) async fn a_word_that_is_none_of_the_enum_is_refused(db: Database) {
    db.run(match db.kind {
        DatabaseKind::Postgres => "CREATE TYPE size AS ENUM ('s', 'm'); ALTER TABLE tag ADD COLUMN size size",
        DatabaseKind::Mysql => "ALTER TABLE tag ADD COLUMN size ENUM('s', 'm')",
        DatabaseKind::Sqlite => "ALTER TABLE tag ADD COLUMN size VARCHAR(1) CHECK (size IN ('s', 'm'))",
    })
    .await;
    let recipe = recipe(&json!([{"table": "tag", "columns": {"label": "record.l", "size": "record.s"}}]));
    let sized = |size: &str| {
        let row = row(&recipe, 0, &[("label", text(size)), ("size", text(size))], Vec::new());
        Unit { key: key(size), rows: RowTree { rows: vec![row] } }
    };
    let outcomes = db.sink.write(&recipe, &[sized("s"), sized("x"), sized("m")]).await.unwrap();
    assert_eq!([&outcomes[0], &outcomes[2]], [&applied(1), &applied(1)]);
    let (message, may_pass) = rejected(&outcomes[1]);
    assert!(message.starts_with("tag") && message.contains("size") && !may_pass, "{message}");
    assert_eq!(db.rows("SELECT label, size FROM tag ORDER BY label").await, ["m|m", "s|s"]);
}
