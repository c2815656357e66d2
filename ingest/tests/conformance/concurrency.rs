//! Several writers at once, and databases that go away.

use jobqueue_ingest::{DatabaseKind, SinkError, SinkOptions, Unit, UnitOutcome};
use serde_json::json;

use crate::fixture::{Database, companies, company};

fn applied_units(outcomes: &[UnitOutcome]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, UnitOutcome::Applied { .. })).count()
}

/// The reclaimer and the owner commit the same jobs at the same time, in opposite order.
pub(crate) async fn two_writers_of_the_same_units_apply_each_once(db: Database) {
    let recipe = companies(&json!({}));
    let other = db.second_sink(SinkOptions::default()).await;
    let mut counted = 0;
    for round in 0..10 {
        let units: Vec<Unit> = (0..60).map(|n| company(&recipe, &format!("r{round}-{n}"), 2)).collect();
        let mut reversed = units.clone();
        reversed.reverse();
        let (one, two) = tokio::join!(db.sink.write(&recipe, &units), other.write(&recipe, &reversed));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(!one.iter().chain(&two).any(|outcome| matches!(outcome, UnitOutcome::Rejected(_))), "{one:?} {two:?}");
        counted += applied_units(&one) + applied_units(&two);
    }
    assert_eq!(counted, 600);
    assert_eq!(db.counts().await, [600, 1200, 600]);
}

/// A table that goes missing is no job's fault: the worker is to hold its jobs.
pub(crate) async fn a_missing_table_fails_no_job(db: Database) {
    let recipe = companies(&json!({}));
    db.sink.write(&recipe, &[company(&recipe, "before", 1)]).await.unwrap();
    db.run("ALTER TABLE partner RENAME TO hidden").await;
    let error = db.sink.write(&recipe, &[company(&recipe, "during", 1)]).await.unwrap_err();
    assert!(matches!(error, SinkError::SchemaMismatch { .. }) && error.to_string().contains("partner"), "{error}");
    db.run("ALTER TABLE hidden RENAME TO partner").await;
    let outcomes = db.sink.write(&recipe, &[company(&recipe, "during", 1)]).await.unwrap();
    assert_eq!(applied_units(&outcomes), 1);
    assert_eq!(db.counts().await, [2, 2, 2]);
}

/// A change that makes the database refuse rows which it would have taken before is no fault of theirs either, and units
/// that do not touch the changed table go through.
pub(crate) async fn a_column_that_the_recipe_does_not_know_fails_no_job(db: Database) {
    let recipe = companies(&json!({}));
    db.sink.write(&recipe, &[company(&recipe, "before", 1)]).await.unwrap();
    match db.kind {
        // It has no way to take a default back.
        DatabaseKind::Sqlite => return,
        DatabaseKind::Postgres => {
            db.run("ALTER TABLE partner ADD COLUMN extra INTEGER NOT NULL DEFAULT 0; ALTER TABLE partner ALTER COLUMN extra DROP DEFAULT").await;
        }
        DatabaseKind::Mysql => db.run("ALTER TABLE partner ADD COLUMN extra INTEGER NOT NULL").await,
    }
    let units = || [company(&recipe, "during", 1), company(&recipe, "alone", 0)];
    let error = db.sink.write(&recipe, &units()).await.unwrap_err();
    assert!(matches!(error, SinkError::SchemaMismatch { .. }) && error.to_string().contains("extra"), "{error}");
    db.run("ALTER TABLE partner DROP COLUMN extra").await;
    let outcomes = db.sink.write(&recipe, &units()).await.unwrap();
    assert_eq!(outcomes, [UnitOutcome::Applied { rows: 2 }, UnitOutcome::AlreadyApplied]);
    assert_eq!(db.counts().await, [3, 2, 3]);
}

/// As at the start of a worker.
pub(crate) async fn a_ledger_that_is_gone_is_made_again(db: Database) {
    let recipe = companies(&json!({}));
    db.run("DROP TABLE jobqueue_ledger").await;
    let error = db.sink.write(&recipe, &[company(&recipe, "a", 1)]).await.unwrap_err();
    assert!(matches!(error, SinkError::SchemaMismatch { .. }), "{error}");
    let outcomes = db.sink.write(&recipe, &[company(&recipe, "a", 1)]).await.unwrap();
    assert_eq!(applied_units(&outcomes), 1);
}
