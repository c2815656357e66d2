//! The ways on which rows reach a table without code of its own.

use std::time::Duration;

use jobqueue_ingest::{DatabaseKind, SinkOptions, UnitOutcome};
use serde_json::json;

use crate::families::{batch, expect_families, families, family, tables, write};
use crate::fixture::Database;

async fn plain(db: &Database) {
    tables(db, "id {auto}", "").await;
}

pub(crate) async fn batches_single_units_and_policies(db: Database) {
    plain(&db).await;
    let fail = families(&json!({}));
    write(&db, &fail, &batch(&fail, 1, 100)).await;
    for unit in batch(&fail, 301, 5) {
        write(&db, &fail, &[unit]).await;
    }
    expect_families(&db, "par", 315).await;
    for (number, policy) in [
        json!({"onConflict": "Update", "key": ["no"]}),
        json!({"onConflict": "Ignore", "key": ["no"]}),
        json!({"onConflict": "Ignore"}),
    ]
    .into_iter()
    .enumerate()
    {
        let recipe = families(&policy);
        let first = 400 + 20 * i64::try_from(number).unwrap();
        // Number 5 is there: its children are added by Update, and left out by Ignore.
        let mut units = batch(&recipe, first, 4);
        units.insert(2, family(&recipe, &format!("again {first}"), [first + 15, 5, first + 16]));
        write(&db, &recipe, &units).await;
    }
    assert_eq!(db.rows("SELECT count(*) FROM kid WHERE no = 5").await, ["4"]);
    db.run("DELETE FROM kid WHERE no = 5; DELETE FROM par WHERE no = 5").await;
    expect_families(&db, "par", 314 + 3 * 14).await;
}

pub(crate) async fn after_a_reconnect(db: Database) {
    plain(&db).await;
    let recipe = families(&json!({}));
    write(&db, &recipe, &batch(&recipe, 1, 5)).await;
    match db.kind {
        DatabaseKind::Postgres => {
            let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
                       AND datname = current_database()";
            db.rows(end).await;
        }
        DatabaseKind::Mysql => {
            let others = format!(
                "SELECT id FROM information_schema.processlist WHERE db = '{}' AND id <> CONNECTION_ID()",
                db.name()
            );
            for id in db.rows(&others).await {
                db.rows(&format!("KILL {id}")).await;
            }
        }
        DatabaseKind::Sqlite => {}
    }
    let units = batch(&recipe, 16, 5);
    let mut outcomes = Vec::new();
    for _ in 0..100 {
        match db.sink.write(&recipe, &units).await {
            Ok(written) => {
                outcomes = written;
                break;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    assert!(outcomes.iter().all(|outcome| matches!(outcome, UnitOutcome::Applied { .. })), "{outcomes:?}");
    expect_families(&db, "par", 30).await;
}

pub(crate) async fn four_writers(db: Database) {
    plain(&db).await;
    let recipe = families(&json!({}));
    let write = async |writer: i64| {
        let sink = db.second_sink(SinkOptions::default()).await;
        for round in 0..5 {
            let units = batch(&recipe, 1 + 1_000 * writer + 100 * round, 30);
            let outcomes = sink.write(&recipe, &units).await.unwrap();
            assert!(outcomes.iter().all(|outcome| matches!(outcome, UnitOutcome::Applied { .. })), "{outcomes:?}");
        }
    };
    tokio::join!(write(0), write(1), write(2), write(3));
    expect_families(&db, "par", 4 * 5 * 90).await;
}

pub(crate) async fn the_distance_of_ids_changes_in_the_middle(db: Database) {
    plain(&db).await;
    let recipe = families(&json!({}));
    // The sink looks at the server before, and is connected for its transactions after.
    let early = db.second_sink(SinkOptions::default()).await;
    write(&db, &recipe, &batch(&recipe, 1, 10)).await;
    let set = |step: u64| {
        if db.kind == DatabaseKind::Mysql {
            jobqueue_testkit::mariadb().sql("", &format!("SET GLOBAL auto_increment_increment = {step}"));
        }
    };
    set(2);
    if db.kind == DatabaseKind::Postgres {
        db.run("ALTER TABLE par ALTER id SET INCREMENT BY 2").await;
    }
    write(&db, &recipe, &batch(&recipe, 101, 10)).await;
    early.write(&recipe, &batch(&recipe, 201, 10)).await.unwrap();
    set(1);
    early.write(&recipe, &batch(&recipe, 301, 10)).await.unwrap();
    expect_families(&db, "par", 120).await;
}

/// An id that the table makes by itself, of another type.
pub(crate) async fn ids_that_are_no_numbers(db: Database) {
    let declared = match db.kind {
        DatabaseKind::Postgres => "id uuid PRIMARY KEY DEFAULT gen_random_uuid()",
        DatabaseKind::Mysql => "id UUID PRIMARY KEY DEFAULT UUID()",
        DatabaseKind::Sqlite => "id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16))))",
    };
    tables(&db, declared, "").await;
    for (first, policy) in [(1, json!({})), (101, json!({"onConflict": "Update", "key": ["no"]}))] {
        let recipe = families(&policy);
        write(&db, &recipe, &batch(&recipe, first, 10)).await;
    }
    expect_families(&db, "par", 60).await;
}

/// Types that are read back in forms of their own, and ids that only a trigger makes.
pub(crate) async fn ids_of_other_types(db: Database) {
    let uuid = "CREATE TRIGGER makes BEFORE INSERT ON par FOR EACH ROW SET NEW.id =";
    for (number, (declared, parent, more)) in [
        ("id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY", "INT UNSIGNED", String::new()),
        ("id INT AUTO_INCREMENT, region INT DEFAULT 7, KEY (id), PRIMARY KEY (region, id)", "INT", String::new()),
        ("id CHAR(36) NOT NULL PRIMARY KEY", "CHAR(36)", format!("{uuid} UUID();")),
        ("id BINARY(16) NOT NULL PRIMARY KEY", "BINARY(16)", format!("{uuid} UNHEX(REPLACE(UUID(), '-', ''));")),
        ("id BIGINT PRIMARY KEY DEFAULT NEXTVAL(numbers)", "BIGINT", String::new()),
        ("name2 VARCHAR(9), id VARCHAR(50) AS (CONCAT('id ', no)) PERSISTENT", "VARCHAR(50)", String::new()),
    ]
    .into_iter()
    .enumerate()
    {
        db.run("CREATE OR REPLACE SEQUENCE numbers; DROP TABLE IF EXISTS par, kid, audit").await;
        tables(&db, declared, &format!("ALTER TABLE kid MODIFY par {parent}; {more}")).await;
        for (first, policy) in [(1, json!({})), (101, json!({"onConflict": "Update", "key": ["no"]}))] {
            let recipe = families(&policy);
            write(&db, &recipe, &batch(&recipe, 1_000 * i64::try_from(number).unwrap() + first, 10)).await;
        }
        expect_families(&db, "par", 60).await;
    }
}

/// Ids of one statement would all be the same: it takes one for each row.
pub(crate) async fn a_default_that_looks_for_the_largest_id(db: Database) {
    tables(
        &db,
        "id bigint PRIMARY KEY",
        "CREATE FUNCTION next_id() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT COALESCE(max(id), 0) + 1 FROM par';
         ALTER TABLE par ALTER id SET DEFAULT next_id();",
    )
    .await;
    let recipe = families(&json!({}));
    write(&db, &recipe, &batch(&recipe, 1, 5)).await;
    expect_families(&db, "par", 15).await;
}

/// As the database reads it: 0 for an `AUTO_INCREMENT` is no id.
pub(crate) async fn an_id_of_0_is_generated(db: Database) {
    plain(&db).await;
    for (first, policy) in [(1, json!({})), (101, json!({"onConflict": "Update", "key": ["no"]}))] {
        let mut given = policy;
        given["columns"] = json!({"id": "record.id", "no": "record.no"});
        let recipe = families(&given);
        let mut units = batch(&recipe, first, 5);
        for row in units.iter_mut().skip(1).flat_map(|unit| &mut unit.rows.rows) {
            row.values[0] = jobqueue_ingest::SqlValue::Int(0);
        }
        write(&db, &recipe, &units).await;
    }
    expect_families(&db, "par", 30).await;
}
