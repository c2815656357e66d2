//! The ledger's table and its pruning, validation, and what errors may say.

use std::time::Duration;

use jobqueue_ingest::{DatabaseKind, SinkError, SinkOptions, Unit, UnitOutcome, connect, ledger_ddl};
use serde_json::json;

use crate::fixture::{Database, companies, company, recipe};

pub(crate) async fn the_ledger_can_be_ensured_again_and_is_what_the_ddl_says(db: Database) {
    db.sink.ensure_ledger().await.unwrap();
    db.run("DROP TABLE jobqueue_ledger").await;
    db.run(ledger_ddl(db.kind)).await;
    db.run(ledger_ddl(db.kind)).await;
    db.sink.ensure_ledger().await.unwrap();
    let recipe = companies(&json!({}));
    db.sink.write(&recipe, &[company(&recipe, "a", 0)]).await.unwrap();
    let entries = db.rows("SELECT queue, job_id, created_at, generation FROM jobqueue_ledger").await;
    assert_eq!(entries, ["companies|a|2026-01-01T00:00:00Z|0"]);
    db.sink.ping().await.unwrap();
}

/// An account that may only write rows needs somebody else to create the ledger, and is told so.
pub(crate) async fn a_probe_writes_and_leaves_nothing(db: Database) {
    db.sink.probe().await.unwrap();
    assert_eq!(db.counts().await, [0, 0, 0]);
    db.run("DROP TABLE jobqueue_ledger").await;
    db.sink.ping().await.unwrap();
    db.sink.probe().await.unwrap_err();
}

pub(crate) async fn without_the_right_to_create_the_ddl_is_asked_for(db: Database) {
    let name = jobqueue_testkit::unique("limited");
    let port = match db.kind {
        DatabaseKind::Postgres => {
            db.run(&format!("CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA public TO {name}")).await;
            jobqueue_testkit::postgres().port()
        }
        DatabaseKind::Mysql => {
            db.run(&format!(
                "CREATE USER {name}@'%' IDENTIFIED BY 'secret'; GRANT SELECT, INSERT ON {}.* TO {name}@'%'",
                db.name()
            ))
            .await;
            jobqueue_testkit::mariadb().port()
        }
        DatabaseKind::Sqlite => return,
    };
    let scheme = if db.kind == DatabaseKind::Postgres { "postgres" } else { "mysql" };
    let url = format!("{scheme}://{name}:secret@127.0.0.1:{port}/{}", db.name());
    let sink = connect(&url.parse().unwrap(), SinkOptions::default()).await.unwrap();
    // The table is there: nothing has to be created.
    sink.ensure_ledger().await.unwrap();
    let recipe = companies(&json!({}));
    assert_eq!(sink.validate(&recipe).await.unwrap(), Ok(()));
    let outcomes = sink.write(&recipe, &[company(&recipe, "a", 2)]).await.unwrap();
    assert_eq!(outcomes, [UnitOutcome::Applied { rows: 3 }]);
    db.run("DROP TABLE jobqueue_ledger").await;
    let error = sink.ensure_ledger().await.unwrap_err();
    assert!(matches!(error, SinkError::Denied { .. }), "{error}");
    assert!(error.to_string().contains("jobqueue schema") && !format!("{error:?}").contains("secret"), "{error}");
}

pub(crate) async fn old_entries_are_pruned_and_young_ones_stay(db: Database) {
    let recipe = companies(&json!({}));
    let units: Vec<Unit> = (0..20).map(|n| company(&recipe, &format!("c{n:02}"), 0)).collect();
    db.sink.write(&recipe, &units).await.unwrap();
    let week = Duration::from_secs(7 * 24 * 3600);
    assert_eq!(db.sink.prune_ledger(week).await.unwrap(), 0);
    let eight_days_ago = match db.kind {
        DatabaseKind::Postgres => "now() - interval '8 days'",
        DatabaseKind::Mysql => "now() - INTERVAL 8 DAY",
        DatabaseKind::Sqlite => "datetime('now', '-8 days')",
    };
    db.run(&format!("UPDATE jobqueue_ledger SET applied_at = {eight_days_ago} WHERE job_id < 'c05'")).await;
    assert_eq!(db.sink.prune_ledger(week).await.unwrap(), 5);
    assert_eq!(db.sink.prune_ledger(week).await.unwrap(), 0);
    assert_eq!(db.counts().await, [20, 0, 15]);
    let outcomes = db.sink.write(&recipe, &units[5..]).await.unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == UnitOutcome::AlreadyApplied), "{outcomes:?}");
}

pub(crate) async fn every_problem_of_a_recipe_is_reported_at_once(db: Database) {
    let recipe = recipe(&json!([
        {"table": "compny", "columns": {"name": "record.n"}},
        {"table": "company", "onConflict": "Update", "key": ["name"], "id": "ident",
         "columns": {"nme": "record.n", "name": "record.n", "founded": "record.f"},
         "children": [{"table": "partner", "columns": {"company_id": "parent.id", "name": "record.n", "since": "record.s"}}]},
        {"table": "tag", "columns": {"weight": "1"}},
    ]));
    let problems = db.sink.validate(&recipe).await.unwrap().unwrap_err();
    let text = problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "table compny: no such table; did you mean `company`?",
        "table company: no column `nme` (for `record.n`); did you mean `name`?",
        "table company: no primary key or unique index over exactly (name)",
        "table company: no column `ident` for parent.id",
        "table partner: no column `since`",
        "table tag: NOT NULL without a default, and the recipe gives no value: `label",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    assert_eq!(problems.len(), 6, "{text}");
}

/// `id` of `tag` is not generated, so that no child can refer to it.
pub(crate) async fn a_parent_without_a_generated_id_is_a_problem(db: Database) {
    db.run("CREATE TABLE label (id VARCHAR(10) NOT NULL PRIMARY KEY, name VARCHAR(10))").await;
    let child = json!([{"table": "tag", "columns": {"label": "parent.id"}}]);
    let with = |columns: serde_json::Value| recipe(&json!([{"table": "label", "columns": columns, "children": child}]));
    let problems = db.sink.validate(&with(json!({"name": "record.n"}))).await.unwrap().unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains("does not generate it")), "{problems:?}");
    // The recipe may give it itself, and the children then take that.
    let given = with(json!({"name": "record.n", "id": "record.i"}));
    assert_eq!(db.sink.validate(&given).await.unwrap(), Ok(()));
    let child = crate::fixture::row(&given, 1, &[("label", jobqueue_ingest::SqlValue::ParentId)], Vec::new());
    let parent = crate::fixture::row(&given, 0, &[("id", crate::fixture::text("own"))], vec![child]);
    let unit = Unit { key: crate::fixture::key("k"), rows: jobqueue_ingest::RowTree { rows: vec![parent] } };
    assert_eq!(db.sink.write(&given, &[unit]).await.unwrap(), [UnitOutcome::Applied { rows: 2 }]);
    assert_eq!(db.rows("SELECT label FROM tag").await, ["own"]);
}

pub(crate) async fn errors_name_the_place_and_never_the_password(db: Database) {
    let urls = match db.kind {
        DatabaseKind::Postgres => vec![
            "postgres://jobqueue:hunter2@127.0.0.1:1/shop".to_owned(),
            format!("postgres://nobody:hunter2@127.0.0.1:{}/shop", jobqueue_testkit::postgres().port()),
        ],
        DatabaseKind::Mysql => vec![
            "mysql://jobqueue:hunter2@127.0.0.1:1/shop".to_owned(),
            format!("mysql://jobqueue:hunter2@127.0.0.1:{}/shop", jobqueue_testkit::mariadb().port()),
        ],
        DatabaseKind::Sqlite => vec!["sqlite:/nowhere/hunter2.sqlite".to_owned()],
    };
    for (n, url) in urls.iter().enumerate() {
        let Err(error) = connect(&url.parse().unwrap(), SinkOptions::default()).await else { panic!("{n} connected") };
        let words = format!("{error} {error:?}");
        if db.kind == DatabaseKind::Sqlite {
            assert!(matches!(error, SinkError::Unavailable { .. }), "{words}");
        } else {
            assert!(words.contains("127.0.0.1") && words.contains(":***@") && !words.contains("hunter2"), "{words}");
            assert_eq!(matches!(error, SinkError::Denied { .. }), n == 1, "{words}");
        }
    }
}
