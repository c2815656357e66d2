//! `jobqueue local` before the first worker starts: what is wrong is told with what to do.

use jobqueue_testkit::{Redis, postgres};

use crate::support::{file, jobqueue, text};

const MANIFEST: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: people}
spec:
  queue: {names: [people], redis: {url: "redis://127.0.0.1:1/0"}}
  database: {url: "postgres://127.0.0.1:1/people"}
  ingest: [{functions: [people.add], record: "job.args[0]", tables: [{table: person, columns: {name: record.name}}]}]
"#;

#[test]
fn a_missing_sqlite_file_or_directory_is_named_with_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(directory.path(), "jobqueue.yaml", MANIFEST);
    let schema = file(directory.path(), "schema.sql", "CREATE TABLE person (name TEXT)");
    let local = |path: &str, more: &[&str]| {
        let database = format!("sqlite:{}", directory.path().join(path).display());
        // Any program will do: no worker is started.
        let args = ["local", "-f", text(&manifest), "--workers-binary", "/bin/sh", "--database", &database];
        jobqueue(&[&args[..], more].concat())
    };
    let ran = local("people.sqlite", &[]);
    assert_eq!(ran.code, 4, "{}", ran.err);
    for words in ["there is no file", "people.sqlite", "--schema FILE"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    for more in [&[][..], &["--schema", text(&schema)]] {
        let ran = local("data/people.sqlite?mode=rwc", more);
        assert_eq!(ran.code, 4, "{}", ran.err);
        let expected = format!("there is no directory {}: create it", directory.path().join("data").display());
        assert!(ran.err.contains(&expected) && !ran.err.contains("--schema"), "{}", ran.err);
    }
}

#[test]
fn a_server_that_is_down_or_refuses_us_is_named_with_what_to_check() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(directory.path(), "jobqueue.yaml", MANIFEST);
    let schema = file(directory.path(), "schema.sql", "CREATE TABLE person (name TEXT)");
    let redis = Redis::start(&["--requirepass", "secret"]);
    let sqlite = format!("sqlite:{}?mode=rwc", directory.path().join("people.sqlite").display());
    let refused = format!("postgres://nobody@127.0.0.1:{}/postgres", postgres().port());
    let wrong = redis.url().replace("redis://", "redis://:wrong-secret@");
    let cases = [
        ("postgres://127.0.0.1:1/people", "redis://127.0.0.1:1", ["is not available", "check that the database runs"]),
        (&refused, "redis://127.0.0.1:1", ["refused us", "check user and password in the URL (--database"]),
        (&sqlite, "redis://127.0.0.1:1", ["is not available", "check that Redis runs"]),
        (&sqlite, &redis.url(), ["refused us", "Redis asks for a password: give one in the URL (--redis"]),
        (&sqlite, &wrong, ["refused us", "check user and password in the URL (--redis"]),
    ];
    for (database, redis, expected) in cases {
        let args = ["local", "-f", text(&manifest), "--workers-binary", "/bin/sh", "--schema", text(&schema)];
        let ran = jobqueue(&[&args[..], &["--database", database, "--redis", redis]].concat());
        assert_eq!(ran.code, 4, "{database}, {redis}: {}", ran.err);
        for words in expected {
            assert!(ran.err.contains(words), "{database}, {redis}, {words}: {}", ran.err);
        }
        assert!(!ran.err.contains("wrong-secret"), "{}", ran.err);
        // The other commands say the same.
        let asked = jobqueue(&["status", "--redis", redis, "--queue", "people"]);
        let hint = ran.err.lines().find(|line| line.starts_with(" hint:") && ran.err.contains("Redis at"));
        assert!(hint.is_none_or(|hint| asked.err.contains(hint)), "{}\n{}", ran.err, asked.err);
    }
}
