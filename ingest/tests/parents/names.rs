//! A column is what the database takes its name for, however the recipe spells it.

use serde_json::json;

use crate::families::{batch, expect_families, expect_problem, families, tables, write};
use crate::fixture::Database;

/// Where case does not count, `id`, which is the default, is the column `ID`.
pub(crate) async fn the_id_is_given_and_spelled_as_in_the_table(db: Database) {
    let (quoted, id) = match db.kind {
        jobqueue_ingest::DatabaseKind::Postgres => (r#""ID" bigint PRIMARY KEY"#, "ID"),
        jobqueue_ingest::DatabaseKind::Mysql => ("ID BIGINT AUTO_INCREMENT PRIMARY KEY", "id"),
        jobqueue_ingest::DatabaseKind::Sqlite => ("ID INTEGER PRIMARY KEY", "id"),
    };
    tables(&db, quoted, "").await;
    let recipe = families(&json!({"id": id, "columns": {"ID": "record.id", "no": "record.no", "NAME": "record.name"}}));
    if db.kind == jobqueue_ingest::DatabaseKind::Postgres {
        expect_problem(&db, &recipe, "no column `NAME`").await;
        let exact = families(&json!({"id": id, "columns": {"ID": "record.id", "no": "record.no"}}));
        write(&db, &exact, &batch(&exact, 1, 20)).await;
        db.run(r#"ALTER TABLE par RENAME COLUMN "ID" TO id"#).await;
    } else {
        write(&db, &recipe, &batch(&recipe, 1, 20)).await;
    }
    assert_eq!(db.rows("SELECT id FROM par WHERE no = 7").await, ["999993"]);
    expect_families(&db, "par", 60).await;
}

pub(crate) async fn a_column_is_spelled_in_two_ways(db: Database) {
    tables(&db, "id INTEGER PRIMARY KEY", "").await;
    let recipe = families(&json!({"columns": {"id": "record.id", "no": "record.no", "NO": "record.name"}}));
    expect_problem(&db, &recipe, "column `no` is given twice: the database takes it for `no`").await;
}

pub(crate) async fn letters_of_any_script_have_a_case(db: Database) {
    tables(&db, "id BIGINT AUTO_INCREMENT PRIMARY KEY, `Été` BIGINT NOT NULL", "").await;
    let recipe = families(&json!({"columns": {"éTÉ": "record.no", "no": "record.no"}}));
    let units = batch(&recipe, 1, 5).into_iter().map(|mut unit| {
        for row in &mut unit.rows.rows {
            // The columns are in the order of their names: `no`, `éTÉ`.
            row.values[1] = row.values[0].clone();
        }
        unit
    });
    write(&db, &recipe, &units.collect::<Vec<_>>()).await;
    assert_eq!(db.rows("SELECT count(*) FROM par WHERE `Été` = no").await, ["15"]);
    expect_families(&db, "par", 15).await;
}
