//! Parents behind a view or a rule.

use jobqueue_ingest::DatabaseKind;
use serde_json::json;

use crate::families::{batch, expect_families, expect_problem, families, tables, write};
use crate::fixture::Database;

/// PostgreSQL returns what the trigger returns; SQLite does not say which id it gave.
pub(crate) async fn a_view_with_a_trigger(db: Database) {
    let given = json!({"table": "v", "columns": {"id": "record.id", "no": "record.no"}});
    let generated = families(&json!({"table": "v"}));
    if db.kind == DatabaseKind::Sqlite {
        tables(
            &db,
            "id {auto}",
            "CREATE VIEW v AS SELECT id, no, name FROM par;
             CREATE TRIGGER v INSTEAD OF INSERT ON v BEGIN INSERT INTO par (id, no) VALUES (NEW.id, NEW.no); END;",
        )
        .await;
        expect_problem(&db, &generated, "SQLite does not say which id the trigger of a view gave; give it").await;
        let given = families(&given);
        write(&db, &given, &batch(&given, 1, 10)).await;
        expect_families(&db, "par", 30).await;
        db.run(
            "DROP TRIGGER v; CREATE TRIGGER v INSTEAD OF INSERT ON v BEGIN INSERT INTO par (no) VALUES (NEW.no); END;
             DELETE FROM par; DELETE FROM kid;",
        )
        .await;
        refused(&db, &given, 101).await;
        return;
    }
    tables(
        &db,
        "id bigserial PRIMARY KEY",
        "CREATE VIEW v AS SELECT id, no, name FROM par;
         CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO audit (no) VALUES (NEW.no);
          INSERT INTO par (no) VALUES (NEW.no) RETURNING id INTO NEW.id; RETURN NEW; END';
         CREATE TRIGGER v INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION keep();
         INSERT INTO audit (no) VALUES (1), (2);",
    )
    .await;
    write(&db, &generated, &batch(&generated, 1, 10)).await;
    expect_families(&db, "par", 30).await;
    // It gives ids of its own, and says so.
    let given = families(&given);
    write(&db, &given, &batch(&given, 101, 10)).await;
    expect_families(&db, "par", 60).await;
    // It gives ids of its own, and does not say so.
    db.run(
        "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO par (no) VALUES (NEW.no); RETURN NEW; END'; DELETE FROM par; DELETE FROM kid;",
    )
    .await;
    refused(&db, &generated, 201).await;
    refused(&db, &given, 301).await;
}

/// A job is refused, and nothing is left of it.
async fn refused(db: &Database, recipe: &jobqueue_ingest::Recipe, first: i64) {
    for outcome in db.sink.write(recipe, &batch(recipe, first, 2)).await.unwrap() {
        let (message, may_pass) = crate::fixture::rejected(&outcome);
        assert!(message.starts_with("v: ") && message.contains("would have no parent") && !may_pass, "{message}");
    }
    expect_families(db, "par", 0).await;
}

/// Its table has a trigger, of which the view's description says nothing.
pub(crate) async fn a_view_that_takes_rows_by_itself(db: Database) {
    let trigger = match db.kind {
        DatabaseKind::Postgres => {
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO audit (no) VALUES (NEW.no); NEW.id := NEW.id + 1000; RETURN NEW; END';
             CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW EXECUTE FUNCTION change();"
        }
        _ => {
            "CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW BEGIN INSERT INTO audit (no) VALUES (NEW.no);
             IF NEW.no > 15 THEN SET NEW.id = 1000 - NEW.no; END IF; END;"
        }
    };
    let id = if db.kind == DatabaseKind::Postgres { "id bigserial PRIMARY KEY" } else { "id {auto}" };
    let view = "CREATE VIEW v AS SELECT id, no, name FROM par WHERE no > 3;";
    tables(&db, id, &format!("INSERT INTO audit (no) VALUES (1), (2), (3); {view} {trigger}")).await;
    let recipe = families(&json!({"table": "v"}));
    write(&db, &recipe, &batch(&recipe, 1, 10)).await;
    expect_families(&db, "par", 30).await;
    let given = families(&json!({"table": "v", "columns": {"id": "record.id", "no": "record.no"}}));
    write(&db, &given, &batch(&given, 101, 10)).await;
    expect_families(&db, "par", 60).await;
}

pub(crate) async fn a_view_that_takes_none(db: Database) {
    tables(&db, "id {auto}", "CREATE VIEW v AS SELECT max(id) AS id, no, max(name) AS name FROM par GROUP BY no;")
        .await;
    let words = match db.kind {
        DatabaseKind::Postgres => "cannot insert into view \"v\"",
        _ => "it is a view that takes no rows",
    };
    expect_problem(&db, &families(&json!({"table": "v"})), words).await;
}

pub(crate) async fn rules(db: Database) {
    tables(
        &db,
        "id bigserial PRIMARY KEY",
        "CREATE TABLE mute (id bigserial PRIMARY KEY, no bigint UNIQUE, name varchar(40));
         CREATE RULE mute AS ON INSERT TO mute DO INSTEAD INSERT INTO par (no) VALUES (NEW.no);
         CREATE TABLE telling (LIKE mute INCLUDING ALL);
         CREATE RULE telling AS ON INSERT TO telling DO INSTEAD INSERT INTO par (no) VALUES (NEW.no) RETURNING id, no, name;
         CREATE TABLE noting (LIKE mute INCLUDING ALL);
         CREATE RULE noting AS ON INSERT TO noting DO ALSO INSERT INTO audit (no) VALUES (NEW.no);",
    )
    .await;
    let over = |table: &str| families(&json!({"table": table}));
    expect_problem(&db, &over("mute"), "cannot perform INSERT RETURNING on relation \"mute\"; give it in the recipe")
        .await;
    let update = families(&json!({"table": "noting", "onConflict": "Update", "key": ["no"]}));
    expect_problem(&db, &update, "use onConflict: Fail").await;
    let recipe = over("telling");
    write(&db, &recipe, &batch(&recipe, 1, 10)).await;
    expect_families(&db, "par", 30).await;
    db.run("DELETE FROM kid").await;
    let recipe = over("noting");
    write(&db, &recipe, &batch(&recipe, 101, 10)).await;
    expect_families(&db, "noting", 30).await;
    assert_eq!(db.rows("SELECT count(*) FROM audit").await, ["30"]);
}
