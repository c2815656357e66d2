//! `jobqueue try`: what it says would fail does fail, and nothing else.

use std::path::Path;

use crate::support::{file, jobqueue, jobqueue_with, text};

/// A manifest of a list whose recipe copies fields of the record to `table`.
fn manifest(directory: &Path, database: &str, columns: &str) -> String {
    let content = format!(
        "apiVersion: jobqueue.dev/v1alpha1\nkind: JobQueue\nmetadata: {{name: h}}\nspec:\n  \
         queue: {{names: [h], protocol: List, redis: {{url: \"redis://127.0.0.1:1/0\"}}}}\n  \
         database: {{url: \"{database}\"}}\n  ingest:\n    - tables:\n        - table: tc\n          columns: {columns}\n"
    );
    text(&file(directory, "jobqueue.yaml", content)).to_owned()
}

const COLUMNS: &str = "{a: record.a, b: record.b, c: record.c, d: record.d}";

#[test]
fn every_column_that_refuses_its_value_is_told() {
    let postgres = jobqueue_testkit::postgres();
    let url = postgres.database();
    postgres.sql(&url, "CREATE TABLE tc (a varchar(3), b smallint, c numeric(38,18), d uuid)");
    let directory = tempfile::tempdir().unwrap();
    let manifest = manifest(directory.path(), &url, COLUMNS);
    let record = r#"{"a": "toolong", "b": 99999, "c": 0.1, "d": "nope"}"#;
    let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-"], record);
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.out.starts_with("tc\n  a  \"toolong\""), "the rows are shown: {}", ran.out);
    for words in [
        "3 problems",
        "tc.a: record.a: text too long: 7 characters for character varying(3): `toolong`",
        "tc.b: record.b: 99999 is out of the range of smallint",
        "tc.d: record.d: `nope` is not a UUID",
    ] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let good = r#"{"a": "x", "b": 1, "c": 0.1, "d": null}"#;
    let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-", "--all"], record);
    assert_eq!(ran.code, 3);
    assert!(ran.err.contains("1 of 1 would fail, at tc.a, tc.b, tc.d"), "{}", ran.err);
    let ran = jobqueue_with(
        &["try", "-f", &manifest, "--record", "-", "--all", "-o", "json"],
        &format!("{good}\n{record}\n"),
    );
    let tally: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &tally["lines"], &tally["rows"]), (3, &2.into(), &1.into()));
    let first = &tally["failed"][0]["problems"][0];
    assert_eq!((&first["column"], &first["value"]), (&"a".into(), &"`toolong`".into()));
    assert_eq!(tally["failed"][0]["problems"].as_array().unwrap().len(), 3);
    // Rows are there only where the recipe could make them all.
    for (record, rows) in [(record, true), (r#"{"a": "x", "b": 1, "c": 0.1}"#, false)] {
        let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-", "-o", "json"], record);
        let told: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.code, told.get("rows").is_some()), (3, rows), "{told}");
    }
    let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-"], good);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(postgres.sql(&url, "SELECT count(*) FROM tc").trim(), "0");
}

#[test]
fn rows_are_shown_beside_what_the_tables_lack() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}?mode=rwc", directory.path().join("d.sqlite").display());
    let manifest = manifest(directory.path(), &database, "{a: record.a}");
    let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-"], r#"{"a": 1}"#);
    assert_eq!((ran.code, ran.out.as_str()), (2, "tc\n  a  1\n"), "{}", ran.err);
    assert!(ran.err.contains("table tc: no such table"), "{}", ran.err);
}

#[test]
fn every_missing_field_is_named_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = manifest(directory.path(), "sqlite:nowhere/at/all.sqlite", COLUMNS);
    let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-"], r#"{"b": 1}"#);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    for field in ["a", "c", "d"] {
        assert!(ran.err.contains(&format!("tc.{field}: record.{field}: no such key: {field}")), "{}", ran.err);
    }
}

#[test]
fn a_database_that_is_not_there_yet_is_said_and_the_rows_are_shown() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}", directory.path().join("later.sqlite").display());
    let manifest = manifest(directory.path(), &database, "{a: record.a}");
    let args = ["try", "-f", &manifest, "--record", "-"];
    let ran = jobqueue_with(&args, r#"{"a": 1}"#);
    assert_eq!((ran.code, ran.out.as_str()), (0, "tc\n  a  1\n"), "{}", ran.err);
    assert!(
        ran.err.contains("later.sqlite") && ran.err.contains("values are not checked against its columns"),
        "{}",
        ran.err
    );
    // Who names the database wants it asked; and so does who wants the rows written.
    let named = jobqueue_with(&[&args[..], &["--database", &database]].concat(), r#"{"a": 1}"#);
    let written = jobqueue_with(&[&args[..], &["--write-and-roll-back"]].concat(), r#"{"a": 1}"#);
    assert_eq!((named.code, written.code), (4, 4), "{} {}", named.err, written.err);
    assert!(!directory.path().join("later.sqlite").exists());
}

#[test]
fn rows_are_written_and_rolled_back() {
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite:{}?mode=rwc", directory.path().join("d.sqlite").display());
    let parsed = database.parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let script = |script: &str| runtime.block_on(jobqueue_ingest::run_script(&parsed, script)).unwrap();
    script("CREATE TABLE tc (a INTEGER UNIQUE CHECK (a < 10)); INSERT INTO tc VALUES (7)");
    let manifest = manifest(directory.path(), &database, "{a: record.a}");
    let args = ["try", "-f", &manifest, "--record", "-", "--all", "--write-and-roll-back"];
    let ran = jobqueue_with(&args, r#"{"a": 1}"#);
    assert_eq!(ran.code, 4);
    assert!(ran.err.contains("jobqueue_ledger") && ran.err.contains("`jobqueue schema` prints it"), "{}", ran.err);
    script(jobqueue_ingest::ledger_ddl(jobqueue_ingest::DatabaseKind::Sqlite));
    let ran = jobqueue_with(&args, "{\"a\": 1}\n{\"a\": 7}\n{\"a\": 11}\n{\"a\": 1}\n");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("2 of 4 would fail, at tc"), "{}", ran.err);
    assert!(
        ran.out.contains("UNIQUE constraint failed: tc.a (code 2067) (from record.a), the value is 7")
            && ran.out.contains("CHECK constraint failed"),
        "{}",
        ran.out
    );
    let sink = runtime.block_on(jobqueue_ingest::connect(&parsed, jobqueue_ingest::SinkOptions::default())).unwrap();
    let counts = [sink.count("tc"), sink.count("jobqueue_ledger")].map(|count| runtime.block_on(count).unwrap());
    assert_eq!(counts, [1, 0]);
}

#[test]
fn a_terminal_sees_no_control_characters_of_a_record() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = manifest(directory.path(), "sqlite:nowhere.sqlite", "{a: record.a}");
    let record = "{\"a\": \"\u{9b}31m\u{202e}x\"}";
    for format in ["text", "json"] {
        let ran = jobqueue_with(&["try", "-f", &manifest, "--record", "-", "-o", format], record);
        let all = ran.out + &ran.err;
        assert_eq!(ran.code, 0, "{all}");
        assert!(!all.contains(['\u{9b}', '\u{202e}']) && all.contains("\\u009b31m\\u202ex"), "{all:?}");
    }
}

/// kubectl reads YAML 1.1, in which `no` is false: the column would be another one there.
#[test]
fn a_key_that_kubectl_reads_as_a_boolean_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = manifest(directory.path(), "sqlite:nowhere.sqlite", "{no: record.no, 'on': record.no}");
    let record = text(&file(directory.path(), "records", "{\"no\": 1}\n")).to_owned();
    let commands: [(&[&str], i32); 3] = [
        (&["try", "--record", &record], 0),
        (&["local", "--workers-binary", "/nowhere"], 5),
        (&["enqueue", &record], 4),
    ];
    for (command, code) in commands {
        let ran = jobqueue(&[command, &["-f", &manifest]].concat());
        let words = "columns.no: kubectl reads the bare key `no` as the boolean false; put it in quotes: \"no\"";
        assert!(ran.err.contains(words) && !ran.err.contains("columns.on"), "{command:?}: {}", ran.err);
        assert_eq!(ran.code, code, "{command:?}: {}", ran.err);
    }
}
