//! Parents and children: tables `par` and `kid`, recipes over them, and the look whose child is whose.

use jobqueue_ingest::{DatabaseKind, Recipe, Row, RowTree, SqlValue, Unit, UnitOutcome};
use serde_json::{Value, json};

use crate::fixture::{Database, key, recipe, rejected, row, text};

/// Children of each parent.
const KIDS: i64 = 2;

/// Words that differ between databases.
fn words(kind: DatabaseKind) -> [(&'static str, &'static str); 2] {
    match kind {
        DatabaseKind::Postgres => [("{auto}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"), ("{ref}", "text")],
        DatabaseKind::Mysql => [("{auto}", "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"), ("{ref}", "VARCHAR(50)")],
        DatabaseKind::Sqlite => [("{auto}", "INTEGER PRIMARY KEY"), ("{ref}", "TEXT")],
    }
}

/// Makes `par`, whose id is declared as `id`, and `kid`; then runs `more`.
pub(crate) async fn tables(db: &Database, id: &str, more: &str) {
    let script = format!(
        "CREATE TABLE par ({id}, no BIGINT UNIQUE, name VARCHAR(40));
         CREATE TABLE kid (kid {{auto}}, par {{ref}}, no BIGINT);
         CREATE TABLE audit (entry {{auto}}, no BIGINT);
         {more}"
    );
    db.run(&words(db.kind).iter().fold(script, |script, (word, with)| script.replace(word, with))).await;
}

/// The recipe; `policy` is merged into the parents' table.
pub(crate) fn families(policy: &Value) -> Recipe {
    let mut table = json!({
        "table": "par",
        "columns": {"no": "record.no", "name": "record.name"},
        "children": [{"table": "kid", "forEach": "record.kids", "columns": {"par": "parent.id", "no": "item"}}],
    });
    table.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    recipe(&json!([table]))
}

/// One job with a parent for each of the numbers. Where the recipe gives the id, the ids fall as the numbers rise.
pub(crate) fn family(recipe: &Recipe, job: &str, numbers: impl IntoIterator<Item = i64>) -> Unit {
    let parent = |no: i64| -> Row {
        let kids =
            (0..KIDS).map(|_| row(recipe, 1, &[("par", SqlValue::ParentId), ("no", SqlValue::Int(no))], Vec::new()));
        let id = SqlValue::Int(1_000_000 - no);
        let values = [("no", SqlValue::Int(no)), ("name", text(format!("n{no}"))), ("id", id.clone()), ("ID", id)];
        row(recipe, 0, &values, kids.collect())
    };
    Unit { key: key(job), rows: RowTree { rows: numbers.into_iter().map(parent).collect() } }
}

/// So many jobs of three parents each, numbered from `first` on.
pub(crate) fn batch(recipe: &Recipe, first: i64, jobs: i64) -> Vec<Unit> {
    (0..jobs).map(|job| first + 3 * job).map(|no| family(recipe, &format!("job {no}"), no..no + 3)).collect()
}

/// Writes the units; all of them have to be applied.
pub(crate) async fn write(db: &Database, recipe: &Recipe, units: &[Unit]) {
    assert_eq!(db.sink.validate(recipe).await.unwrap(), Ok(()));
    let outcomes = db.sink.write(recipe, units).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, UnitOutcome::Applied { .. })), "{outcomes:?}");
}

/// There are so many parents in `table`, each with the children of its number and no others.
pub(crate) async fn expect_families(db: &Database, table: &str, parents: u64) {
    let there = [db.sink.count(table).await.unwrap(), db.sink.count("kid").await.unwrap()];
    assert_eq!(there, [parents, parents * KIDS as u64]);
    let id = if db.kind == DatabaseKind::Postgres { "p.id::text" } else { "p.id" };
    let strangers = format!(
        "SELECT k.no, k.par, p.no FROM kid k LEFT JOIN {table} p ON {id} = k.par WHERE p.no IS NULL OR p.no <> k.no"
    );
    assert_eq!(db.rows(&strangers).await, Vec::<String>::new());
}

/// The recipe is refused with these words.
pub(crate) async fn expect_problem(db: &Database, recipe: &Recipe, words: &str) {
    let problems = db.sink.validate(recipe).await.unwrap().unwrap_err();
    assert!(problems.iter().any(|problem| problem.message.contains(words)), "{problems:?}");
    assert!(problems.iter().all(|problem| problem.path.starts_with("table ")), "{problems:?}");
}

/// Of the units, those of the numbers that are 0 modulo 4 are refused with these words, and all others applied.
pub(crate) async fn expect_refused(db: &Database, recipe: &Recipe, words: &str) {
    assert_eq!(db.sink.validate(recipe).await.unwrap(), Ok(()));
    let units: Vec<Unit> = (1..=16).map(|no| family(recipe, &format!("job {no}"), [no])).collect();
    let outcomes = db.sink.write(recipe, &units).await.unwrap();
    for (no, outcome) in (1..=16).zip(&outcomes) {
        if no % 4 == 0 {
            let (message, may_pass) = rejected(outcome);
            assert!(message.starts_with("par: ") && message.contains(words) && !may_pass, "{no}: {message}");
        } else {
            assert!(matches!(outcome, UnitOutcome::Applied { rows: 3 }), "{no}: {outcome:?}");
        }
    }
    expect_families(db, "par", 12).await;
}
