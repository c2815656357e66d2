//! What fails every record is no record's fault.

use jobqueue_ingest::{SinkError, SinkOptions, UnitOutcome};
use serde_json::json;

use crate::{
    batch,
    fixture::{self, Database, applied, companies, company},
    tag, tags,
};

/// An account that loses a right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rights_that_are_revoked_fail_no_job() {
    let db = Database::mariadb().await;
    let (name, role) = (db.name().to_owned(), jobqueue_testkit::unique("role"));
    jobqueue_testkit::mariadb().sql(
        "",
        &format!(
            "CREATE USER {role}@'%' IDENTIFIED BY 's3cret'; GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.jobqueue_ledger TO {role}@'%'; \
             GRANT SELECT, INSERT ON {name}.tag TO {role}@'%'"
        ),
    );
    let (_, host) = db.url.split_once('@').unwrap();
    let url = format!("mysql://{role}:s3cret@{host}");
    let sink = jobqueue_ingest::connect(&url.parse().unwrap(), SinkOptions::default()).await.unwrap();
    let recipe = tags();
    assert_eq!(sink.write(&recipe, &[tag(&recipe, "before")]).await.unwrap(), [applied(1)]);
    jobqueue_testkit::mariadb().sql("", &format!("REVOKE INSERT ON {name}.tag FROM {role}@'%'"));
    let units = batch(&recipe, "one of all");
    let error = sink.write(&recipe, &units).await.unwrap_err();
    assert!(matches!(error, SinkError::Denied { .. }), "{error}");
    assert_eq!(db.rows("SELECT count(*) FROM tag").await, ["1"]);
    jobqueue_testkit::mariadb().sql("", &format!("GRANT INSERT ON {name}.tag TO {role}@'%'"));
    let outcomes = sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == applied(1)), "{outcomes:?}");
}

/// A table that a trigger of every row needs is missing: SQLite sees that before it looks at a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_cannot_run_fails_no_job() {
    let db = Database::sqlite().await;
    db.run("CREATE TABLE log (label VARCHAR(20))").await;
    db.run("CREATE TRIGGER note AFTER INSERT ON tag BEGIN INSERT INTO log VALUES (NEW.label); END").await;
    let recipe = tags();
    assert_eq!(db.sink.write(&recipe, &[tag(&recipe, "before")]).await.unwrap(), [applied(1)]);
    db.run("DROP TABLE log").await;
    let units = batch(&recipe, "one of all");
    let error = db.sink.write(&recipe, &units).await.unwrap_err();
    assert!(error.to_string().contains("no such table: main.log"), "{error}");
    db.run("CREATE TABLE log (label VARCHAR(20))").await;
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == applied(1)), "{outcomes:?}");
}

/// A table that only some units need: nothing of the call counts as refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_gone_for_some_fails_none() {
    for db in [Database::postgres().await, Database::mariadb().await, Database::sqlite().await] {
        let recipe = companies(&json!({}));
        db.sink.write(&recipe, &[company(&recipe, "before", 1)]).await.unwrap();
        db.run("ALTER TABLE partner RENAME TO hidden").await;
        let units: Vec<_> = (0..20).map(|n| company(&recipe, &format!("c{n}"), n % 2)).collect();
        let error = db.sink.write(&recipe, &units).await.unwrap_err();
        assert!(matches!(error, SinkError::SchemaMismatch { .. }) && error.to_string().contains("partner"), "{error}");
        db.run("ALTER TABLE hidden RENAME TO partner").await;
        let outcomes = db.sink.write(&recipe, &units).await.unwrap();
        assert!(!outcomes.iter().any(|outcome| matches!(outcome, UnitOutcome::Rejected(_))), "{outcomes:?}");
        assert_eq!(db.counts().await, [21, 11, 21]);
    }
}

/// A record that collides each time holds its neighbours up for a moment, and counts an attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_always_collides_goes_alone() {
    let db = Database::postgres().await;
    db.run(crate::RAISE_IN_POSTGRES).await;
    let recipe = tags();
    let began = std::time::Instant::now();
    let (words, may_pass) = crate::refused(&*db.sink, &recipe, "!40001").await;
    assert!(may_pass && words.ends_with("(SQLSTATE 40001)"), "{words}");
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    assert_eq!(fixture::rejected(&db.sink.write(&recipe, &[tag(&recipe, "!40001")]).await.unwrap()[0]).0, words);
}

/// A record whose trigger ends the session: the worker finds it by what follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_ends_its_session_is_told_from_a_server_that_stops() {
    let db = Database::postgres().await;
    db.run(
        "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF new.label = '!' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF; RETURN new; END $$; \
         CREATE TRIGGER hang_up BEFORE INSERT ON tag FOR EACH ROW EXECUTE FUNCTION hang_up()",
    )
    .await;
    let recipe = tags();
    let error = db.sink.write(&recipe, &[tag(&recipe, "!")]).await.unwrap_err();
    assert!(matches!(error, SinkError::Disconnected { .. }), "{error}");
    db.sink.probe().await.unwrap();
    assert_eq!(db.sink.write(&recipe, &[tag(&recipe, "other")]).await.unwrap(), [applied(1)]);
}
