//! Tables with triggers, which may have ids of their own, change the row's, or make away with the row.

use jobqueue_ingest::{DatabaseKind, SinkOptions, SqlValue, UnitOutcome, connect};
use serde_json::json;

use crate::families::{batch, expect_families, expect_refused, families, tables, write};
use crate::fixture::Database;

/// Policies under which each case runs, with the number of the first parent.
fn policies() -> [(i64, serde_json::Value); 3] {
    [
        (1, json!({})),
        (101, json!({"onConflict": "Update", "key": ["no"]})),
        (201, json!({"onConflict": "Ignore", "key": ["no"]})),
    ]
}

async fn write_all(db: &Database) {
    for (first, policy) in policies() {
        let recipe = families(&policy);
        write(db, &recipe, &batch(&recipe, first, 10)).await;
        write(db, &recipe, &batch(&recipe, first + 50, 1)).await;
    }
    expect_families(db, "par", 99).await;
}

pub(crate) async fn an_audit_trigger_with_ids_of_its_own(db: Database) {
    let trigger = match db.kind {
        DatabaseKind::Postgres => {
            "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN INSERT INTO audit (no) VALUES (NEW.no), (NEW.no); RETURN NEW; END';
             CREATE TRIGGER before_par BEFORE INSERT ON par FOR EACH ROW EXECUTE FUNCTION note();
             CREATE TRIGGER after_par AFTER INSERT ON par FOR EACH ROW EXECUTE FUNCTION note();"
        }
        DatabaseKind::Mysql => {
            "CREATE TRIGGER before_par BEFORE INSERT ON par FOR EACH ROW INSERT INTO audit (no) VALUES (NEW.no), (NEW.no);
             CREATE TRIGGER after_par AFTER INSERT ON par FOR EACH ROW INSERT INTO audit (no) VALUES (NEW.no);"
        }
        DatabaseKind::Sqlite => {
            "CREATE TRIGGER before_par BEFORE INSERT ON PAR BEGIN INSERT INTO audit (no) VALUES (NEW.no), (NEW.no); END;
             CREATE TRIGGER after_par AFTER INSERT ON PAR BEGIN INSERT INTO audit (no) VALUES (NEW.no);
             UPDATE par SET name = 'audited' WHERE id = NEW.id; END;"
        }
    };
    tables(&db, "id {auto}", &format!("INSERT INTO audit (no) VALUES (1), (2), (3); {trigger}")).await;
    write_all(&db).await;
}

pub(crate) async fn a_trigger_that_changes_the_id(db: Database) {
    let trigger = match db.kind {
        DatabaseKind::Postgres => {
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN NEW.id := 1000000 - 7 * NEW.no; RETURN NEW; END';
             CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW EXECUTE FUNCTION change();"
        }
        _ => "CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW SET NEW.id = 1000000 - 7 * NEW.no;",
    };
    tables(&db, "id {auto}", trigger).await;
    write_all(&db).await;
    assert_eq!(db.rows("SELECT count(*) FROM par WHERE id = 1000000 - 7 * no").await, ["99"]);
    // Nor does an id that the recipe gives stay.
    let given = families(&json!({"columns": {"id": "record.id", "no": "record.no"}}));
    write(&db, &given, &batch(&given, 301, 10)).await;
    expect_families(&db, "par", 129).await;
}

/// An account without the right TRIGGER does not know of them.
pub(crate) async fn a_trigger_that_the_account_does_not_see(db: Database) {
    let trigger = "CREATE TRIGGER changes BEFORE INSERT ON par FOR EACH ROW SET NEW.id = 1000000 - NEW.no;";
    tables(&db, "id {auto}", trigger).await;
    let account = jobqueue_testkit::unique("blind");
    let grant = format!("CREATE USER '{account}'; GRANT SELECT, INSERT, UPDATE ON {}.* TO '{account}'", db.name());
    jobqueue_testkit::mariadb().sql("", &grant);
    let url = format!("mysql://{account}@{}", db.url.split_once('@').unwrap().1);
    let sink = connect(&url.parse().unwrap(), SinkOptions::default()).await.unwrap();
    let generated = families(&json!({}));
    let given = families(&json!({"columns": {"id": "record.id", "no": "record.no"}}));
    for (recipe, first) in [(&generated, 1), (&given, 101)] {
        let mut units = batch(recipe, first, 10);
        if first > 100 {
            units.iter_mut().flat_map(|unit| &mut unit.rows.rows).for_each(|row| row.values[0] = SqlValue::Int(first));
        }
        let outcomes = sink.write(recipe, &units).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, UnitOutcome::Applied { .. })), "{outcomes:?}");
    }
    expect_families(&db, "par", 60).await;
}

/// The statement has said which id it gave when the trigger gives another one.
pub(crate) async fn a_trigger_that_changes_the_id_afterwards(db: Database) {
    let (id, trigger) = match db.kind {
        DatabaseKind::Postgres => (
            "id bigserial PRIMARY KEY",
            "CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN UPDATE par SET id = -id WHERE id = NEW.id; RETURN NULL; END';
             CREATE TRIGGER changes AFTER INSERT ON par FOR EACH ROW WHEN (NEW.no % 4 = 0) EXECUTE FUNCTION change();",
        ),
        _ => (
            "id {auto}",
            "CREATE TRIGGER changes AFTER INSERT ON par WHEN NEW.no % 4 = 0
             BEGIN UPDATE par SET id = -NEW.id WHERE id = NEW.id; END;",
        ),
    };
    tables(&db, id, trigger).await;
    let recipe = families(&json!({}));
    expect_refused(&db, &recipe, "no row has the `id` that was written").await;
    if db.kind == DatabaseKind::Sqlite {
        // The number of the row is another column, by which it is found again.
        db.run(
            "DROP TABLE par; DELETE FROM kid; CREATE TABLE par (id TEXT PRIMARY KEY, no BIGINT UNIQUE, name TEXT);
             CREATE TRIGGER changes AFTER INSERT ON par WHEN NEW.id IS NULL
             BEGIN UPDATE par SET id = lower(hex(randomblob(16))) WHERE rowid = NEW.rowid; END;",
        )
        .await;
        for (first, policy) in policies() {
            let recipe = families(&policy);
            write(&db, &recipe, &batch(&recipe, 1_000 + first, 10)).await;
        }
        expect_families(&db, "par", 90).await;
        // One of updates, which the policy fires.
        db.run(
            "DROP TABLE par; DELETE FROM kid;
             CREATE TABLE par (id TEXT PRIMARY KEY DEFAULT (hex(randomblob(9))), no BIGINT UNIQUE, name TEXT);
             CREATE TRIGGER updates AFTER UPDATE ON par WHEN NEW.id NOT LIKE 'u%'
             BEGIN UPDATE par SET id = 'u' || NEW.no WHERE rowid = NEW.rowid; END;
             INSERT INTO par (id, no) VALUES ('a', 2001), ('b', 2002);",
        )
        .await;
        let recipe = families(&json!({"onConflict": "Update", "key": ["no"]}));
        write(&db, &recipe, &[crate::families::family(&recipe, "updated", [2001, 2002])]).await;
        expect_families(&db, "par", 2).await;
    }
}

pub(crate) async fn a_trigger_that_drops_rows(db: Database) {
    let trigger = match db.kind {
        DatabaseKind::Postgres => {
            "CREATE FUNCTION drop_row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER drop_row BEFORE INSERT ON par FOR EACH ROW WHEN (NEW.no % 4 = 0) EXECUTE FUNCTION drop_row();"
        }
        _ => {
            "CREATE TRIGGER drop_row BEFORE INSERT ON par WHEN NEW.no % 4 = 0 BEGIN SELECT RAISE(IGNORE); END;"
        }
    };
    tables(&db, "id {auto}", trigger).await;
    for (_, policy) in policies() {
        expect_refused(&db, &families(&policy), "its children would have no parent").await;
        // Under Ignore, a row whose key is there is left out with its children, as without a trigger.
        if policy["onConflict"] == "Ignore" {
            let recipe = families(&policy);
            write(&db, &recipe, &[crate::families::family(&recipe, "again", [1, 2, 3])]).await;
            expect_families(&db, "par", 12).await;
        }
        db.run("DELETE FROM kid; DELETE FROM par; DELETE FROM jobqueue_ledger").await;
    }
}

/// `UNIQUE ON CONFLICT IGNORE` drops a row without a word.
pub(crate) async fn a_table_that_drops_rows_itself(db: Database) {
    tables(
        &db,
        "id {auto}",
        "DROP TABLE par; CREATE TABLE par (id INTEGER PRIMARY KEY, no BIGINT UNIQUE ON CONFLICT IGNORE, name TEXT);
         INSERT INTO par (no) VALUES (4), (8), (12), (16);",
    )
    .await;
    let recipe = families(&json!({}));
    let units: Vec<_> = (1..=16).map(|no| crate::families::family(&recipe, &format!("job {no}"), [no])).collect();
    let outcomes = db.sink.write(&recipe, &units).await.unwrap();
    for (no, outcome) in (1..=16).zip(&outcomes) {
        assert_eq!(no % 4 == 0, matches!(outcome, jobqueue_ingest::UnitOutcome::Rejected(_)), "{no}: {outcome:?}");
    }
    let ignore = families(&json!({"onConflict": "Ignore", "key": ["no"]}));
    write(&db, &ignore, &[crate::families::family(&ignore, "again", [4, 5, 6])]).await;
    db.run("DELETE FROM par WHERE no % 4 = 0").await;
    expect_families(&db, "par", 12).await;
}

/// Partitions as they were made before there were any: rows go into tables that inherit from this one.
pub(crate) async fn a_trigger_that_moves_rows(db: Database) {
    tables(
        &db,
        "id bigserial PRIMARY KEY",
        "CREATE TABLE odd () INHERITS (par);
         CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN INSERT INTO odd VALUES (NEW.id, NEW.no, NEW.name); RETURN NULL; END';
         CREATE TRIGGER move BEFORE INSERT ON par FOR EACH ROW WHEN (NEW.no % 2 = 1) EXECUTE FUNCTION move();",
    )
    .await;
    let recipe = families(&json!({}));
    write(&db, &recipe, &batch(&recipe, 1, 10)).await;
    write(&db, &recipe, &batch(&recipe, 101, 1)).await;
    assert_eq!(db.rows("SELECT count(*) FROM odd").await, ["17"]);
    expect_families(&db, "par", 33).await;
}

/// A partition has its own triggers.
pub(crate) async fn a_trigger_of_a_partition(db: Database) {
    tables(
        &db,
        "id bigserial",
        "DROP TABLE par; CREATE TABLE par (id bigserial, no bigint, name text) PARTITION BY RANGE (no);
         CREATE TABLE low PARTITION OF par FOR VALUES FROM (0) TO (20);
         CREATE TABLE high PARTITION OF par FOR VALUES FROM (20) TO (1000);
         CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.id := 500 - NEW.no; RETURN NEW; END';
         CREATE TRIGGER changes BEFORE INSERT ON high FOR EACH ROW EXECUTE FUNCTION change();",
    )
    .await;
    let recipe = families(&json!({}));
    write(&db, &recipe, &batch(&recipe, 1, 10)).await;
    expect_families(&db, "par", 30).await;
}
