//! Several writers at once, and databases that go away.

use jobqueue_ingest::{SinkOptions, Unit, UnitOutcome};
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
    let error = db.sink.write(&recipe, &[company(&recipe, "during", 1)]).await.unwrap_err().to_string();
    assert!(error.contains("partner"), "{error}");
    db.run("ALTER TABLE hidden RENAME TO partner").await;
    let outcomes = db.sink.write(&recipe, &[company(&recipe, "during", 1)]).await.unwrap();
    assert_eq!(applied_units(&outcomes), 1);
    assert_eq!(db.counts().await, [2, 2, 2]);
}
