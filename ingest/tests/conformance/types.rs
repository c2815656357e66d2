//! Bytes, and types that one database has and the others have not: right, or refused with the column's name.

use chrono::Utc;
use jobqueue_ingest::{DatabaseKind, JobInput, Recipe, RowTree, Unit, UnitOutcome};
use serde_json::{Map, Value, json};

use crate::fixture::{Database, applied, key, recipe, rejected};

/// A recipe that copies fields of the record to columns of the same name.
fn copies(table: &str, columns: &[&str]) -> Recipe {
    let columns: Map<String, Value> =
        columns.iter().map(|name| ((*name).to_owned(), json!(format!("record['{name}']")))).collect();
    recipe(&json!([{"table": table, "columns": columns}]))
}

fn job<'a>(
    args: &'a [jobqueue_json::Value],
    none: &'a jobqueue_json::Map<String, jobqueue_json::Value>,
) -> JobInput<'a> {
    let (kwargs, fields) = (none, none);
    JobInput { id: "j", queue: "q", function: None, args, kwargs, fields, attempt: 1, enqueued_at: None }
}

/// As a payload's text is read.
fn read(record: &Value) -> jobqueue_json::Value {
    jobqueue_json::parse(&record.to_string()).unwrap()
}

fn rows(recipe: &Recipe, record: &Value) -> RowTree {
    recipe.rows(&job(&[read(record)], &jobqueue_json::Map::new()), Utc::now()).unwrap()
}

/// What becomes of each record, as a job of its own.
async fn written(db: &Database, recipe: &Recipe, records: &[Value]) -> Vec<UnitOutcome> {
    let mut outcomes = Vec::new();
    for record in records {
        let unit = Unit { key: key(&record.to_string()), rows: rows(recipe, record) };
        outcomes.extend(db.sink.write(recipe, &[unit]).await.unwrap());
    }
    outcomes
}

/// Every record is refused, with these words.
async fn all_refused(db: &Database, recipe: &Recipe, cases: &[(Value, &str)]) {
    let records: Vec<Value> = cases.iter().map(|(record, _)| record.clone()).collect();
    for ((record, words), outcome) in cases.iter().zip(written(db, recipe, &records).await) {
        let (message, may_pass) = rejected(&outcome);
        assert!(message.contains(words) && !may_pass, "{record}: {message}");
    }
}

/// How payloads hand over Python's `bytes`.
fn bytes(hex: &str) -> Value {
    json!({ "\0bytes": hex })
}

pub(crate) async fn bytes_go_into_binary_columns_and_nowhere_else(db: Database) {
    let (binary, hex) = match db.kind {
        DatabaseKind::Postgres => ("bytea", "upper(encode(v, 'hex'))"),
        DatabaseKind::Mysql | DatabaseKind::Sqlite => ("BLOB", "hex(v)"),
    };
    let details = if db.kind == DatabaseKind::Postgres { "jsonb" } else { "JSON" };
    db.run(&format!("CREATE TABLE digests (k VARCHAR(9), v {binary}, t VARCHAR(99), n BIGINT, d {details})")).await;
    let recipe = copies("digests", &["k", "v", "t", "n", "d"]);
    let record = |k: &str, v: Value| json!({"k": k, "v": v, "t": null, "n": null, "d": null});
    // UTF-8 by chance, or not; empty; and text, whose UTF-8 it is.
    let records = [
        record("1", bytes("deadbeef")),
        record("2", bytes("c3a9c3a9")),
        record("3", bytes("")),
        record("4", json!("é")),
    ];
    assert_eq!(written(&db, &recipe, &records).await, vec![applied(1); 4]);
    let stored = db.rows(&format!("SELECT k, {hex} FROM digests ORDER BY k")).await;
    let empty = if db.kind == DatabaseKind::Sqlite { "3|" } else { "3|-" };
    assert_eq!(stored, ["1|DEADBEEF", "2|C3A9C3A9", empty, "4|C3A9"]);
    let with = |column: &str| {
        let mut record = record("x", Value::Null);
        record[column] = bytes("6162");
        record
    };
    all_refused(
        &db,
        &recipe,
        &[
            (with("t"), "digests.t: 2 bytes, which only a binary column takes"),
            (with("t"), "(from record['t'])"),
            (with("n"), "digests.n: 2 bytes"),
            (with("d"), "digests.d: 2 bytes"),
        ],
    )
    .await;
    let mut nested = with("k");
    nested["k"] = Value::Null;
    nested["d"] = json!({"photos": [bytes("ff")]});
    let error = recipe.rows(&job(&[read(&nested)], &jobqueue_json::Map::new()), Utc::now()).unwrap_err().to_string();
    assert!(error.starts_with("digests.d: record['d']: a map has bytes in it, at .photos[0]"), "{error}");
}

/// Every mismatch at once, and what only the database can say, with nothing left behind.
pub(crate) async fn rows_can_be_tried_without_a_trace(db: Database) {
    db.run("CREATE TABLE trials (a VARCHAR(3), b SMALLINT, c INTEGER NOT NULL CHECK (c < 10))").await;
    let recipe = copies("trials", &["a", "b", "c"]);
    let tree = rows(&recipe, &json!({"a": "toolong", "b": 99_999, "c": null}));
    let mismatches = db.sink.check(&recipe, &tree).await.unwrap();
    let found: Vec<(&str, Option<&str>)> =
        mismatches.iter().map(|mismatch| (mismatch.column.as_str(), mismatch.value.as_deref())).collect();
    assert_eq!(found, [("a", Some("`toolong`")), ("b", Some("`99999`")), ("c", None)]);
    let words = mismatches[0].to_string();
    assert!(words.starts_with("trials.a: record['a']: text too long: 7 characters for"), "{words}");

    let unit = |c: i64| Unit { key: key("t"), rows: rows(&recipe, &json!({"a": "x", "b": 1, "c": c})) };
    let (good, bad) = (unit(9), unit(10));
    assert_eq!(db.sink.check(&recipe, &bad.rows).await.unwrap(), []);
    assert_eq!(db.sink.rehearse(&recipe, &good).await.unwrap(), applied(1));
    let (message, _) = rejected(&db.sink.rehearse(&recipe, &bad).await.unwrap());
    assert!(message.starts_with("trials: ") && message.to_lowercase().contains("constraint"), "{message}");
    assert_eq!(db.rows("SELECT count(*) FROM trials").await, ["0"]);
    assert_eq!(db.sink.count("jobqueue_ledger").await.unwrap(), 0);
    // The rehearsal left no ledger entry, so that the run is still to come.
    assert_eq!(db.sink.write(&recipe, &[good]).await.unwrap(), [applied(1)]);
}

/// What kubectl makes of a bare `no`.
pub(crate) async fn a_column_named_by_a_yaml_word_is_explained(db: Database) {
    db.run("CREATE TABLE bills (no VARCHAR(9))").await;
    let problems = db.sink.validate(&copies("bills", &["false"])).await.unwrap().unwrap_err();
    let words = problems[0].to_string();
    assert!(
        words.contains("no column `false`") && words.contains("a bare `no`, `off` or `n`, put it in quotes"),
        "{words}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_types_arrive_as_the_database_reads_them() {
    let db = Database::postgres().await;
    db.run(
        "CREATE EXTENSION hstore; CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN labels AS text[]; \
         CREATE DOMAIN few_labels AS labels CHECK (cardinality(VALUE) < 3); \
         CREATE TABLE odd (u uuid, m mood, i inet, c cidr, t text[], l few_labels, j jsonb[], h hstore)",
    )
    .await;
    let columns = ["u", "m", "i", "c", "t", "l", "j", "h"];
    let recipe = copies("odd", &columns);
    let with = |column: &str, value: Value| {
        let mut record: Value = columns.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        record[column] = value;
        record
    };
    let cases = [
        ("u", json!("{F47AC10B-58CC-4372-A567-0E02B2C3D479}"), "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("m", json!("it's ok"), "it's ok"),
        ("i", json!("10.0.0.0/8"), "10.0.0.0/8"),
        ("c", json!("10"), "10.0.0.0/8"),
        ("t", json!(["a,b", "\"c\\", null, 7]), r#"{"a,b","\"c\\",NULL,7}"#),
        ("t", json!("{x,y}"), "{x,y}"),
        ("l", json!(["a", "b"]), "{a,b}"),
        ("j", json!(["a", {"b": [1]}, null, [2]]), r#"{"\"a\"","{\"b\": [1]}",NULL,[2]}"#),
        ("h", json!("a=>1, \"b c\" => NULL"), r#""a"=>"1", "b c"=>NULL"#),
        ("h", json!({"a": "x\"y", "b": null, "c": 1.5}), r#""a"=>"x\"y", "b"=>NULL, "c"=>"1.5""#),
    ];
    for (column, value, stored) in cases {
        assert_eq!(written(&db, &recipe, &[with(column, value.clone())]).await, [applied(1)], "{column} {value}");
        assert_eq!(db.rows(&format!("SELECT quote_literal({column}::text) FROM odd")).await, [quoted(stored)]);
        db.run("DELETE FROM odd").await;
    }
    all_refused(
        &db,
        &recipe,
        &[
            (with("u", json!("nope")), "odd.u: `nope` is not a UUID, for uuid (from record['u'])"),
            (with("u", json!(7)), "odd.u: `7` is not a UUID"),
            (with("m", json!("glad")), "odd.m: `glad` is none of mood: `sad`, `it's ok`"),
            (with("i", json!("localhost")), "odd.i: `localhost` is not an address, for inet"),
            (
                with("i", json!("10.0.0.999")),
                "odd.i: invalid input syntax for type inet: \"10.0.0.999\" (SQLSTATE 22P02) (from record['i'])",
            ),
            (with("t", json!("a")), "odd.t: `a` is not a list, for text[]"),
            (with("t", json!([["a"], ["b", "c"]])), "odd.t: malformed array literal"),
            (with("l", json!(["a", "b", "c"])), "odd.l: value for domain few_labels violates check constraint"),
            (with("h", json!({"a": [1]})), "odd.h: the value of `a` is a list or map, which hstore cannot hold"),
            (with("h", json!("a=>")), "odd.h: `a=>` is no text of hstore"),
        ],
    )
    .await;
}

/// As `quote_literal` prints it, where backslashes make it an escape string.
fn quoted(text: &str) -> String {
    let plain = format!("'{}'", text.replace('\'', "''").replace('\\', "\\\\"));
    if text.contains('\\') { format!("E{plain}") } else { plain }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upsert_names_the_column_that_postgres_does_not() {
    let db = Database::postgres().await;
    db.run("CREATE TABLE spans (k text PRIMARY KEY, a interval, b interval)").await;
    let recipe = recipe(&json!([{"table": "spans", "onConflict": "Update", "key": ["k"],
        "columns": {"k": "record.k", "a": "record.a", "b": "record.b + ' days'"}}]));
    let outcome = written(&db, &recipe, &[json!({"k": "1", "a": "2 hours", "b": "many"})]).await;
    let (message, _) = rejected(&outcome[0]);
    assert!(
        message.starts_with(
            "spans.b: invalid input syntax for type interval: \"many days\" (SQLSTATE 22007) (from record.b + ' days')"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_pads_no_bytes_and_takes_no_uuid_for_them() {
    let db = Database::mariadb().await;
    db.run("CREATE TABLE ids (id BINARY(16), c VARBINARY(4), g INET6)").await;
    let recipe = copies("ids", &["id", "c", "g"]);
    let record = |id: Value| json!({"id": id, "c": null, "g": null});
    let sixteen = "000102030405060708090a0b0c0d0eff";
    assert_eq!(written(&db, &recipe, &[record(bytes(sixteen))]).await, [applied(1)]);
    assert_eq!(db.rows("SELECT hex(id) FROM ids").await, [sixteen.to_uppercase()]);
    let uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
    all_refused(
        &db,
        &recipe,
        &[
            (record(json!(uuid)), "ids.id: `f47ac10b-58cc-4372-a567-0e02b2c3d479` is the text of a UUID"),
            (json!({"id": null, "c": null, "g": "x"}), "(from record['g']), the value is `x`"),
            (json!({"id": null, "c": null, "g": bytes("01")}), "ids.g: 1 byte, which only a binary column takes"),
            (record(bytes("0102")), "ids.id: 2 bytes are too few for binary(16)"),
            (json!({"id": null, "c": bytes("0102030405"), "g": null}), "ids.c: 5 bytes are too many for varbinary(4)"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_takes_no_number_for_the_place_of_a_member() {
    let db = Database::mariadb().await;
    db.run("CREATE TABLE grades (e ENUM('0','1','it''s'), s SET('4','b'))").await;
    let recipe = copies("grades", &["e", "s"]);
    let record = |e: Value, s: Value| json!({"e": e, "s": s});
    let records = [record(json!(1), json!("4,b")), record(json!("0"), json!(4)), record(json!("IT'S"), Value::Null)];
    assert_eq!(written(&db, &recipe, &records).await, vec![applied(1); 3]);
    assert_eq!(db.rows("SELECT e, s FROM grades ORDER BY e").await, ["0|4", "1|4,b", "it's|-"]);
    all_refused(
        &db,
        &recipe,
        &[
            (record(json!(2), Value::Null), "grades.e: `2` is none of enum('0','1','it''s') (from record['e'])"),
            (record(Value::Null, json!("2")), "grades.s: `2` is none of set('4','b')"),
            (record(json!("x"), Value::Null), "(from record['e']), the value is `x`"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_takes_odd_names_and_columns_of_no_type() {
    let db = Database::sqlite().await;
    db.run("CREATE TABLE \"order\" (\"group\", größe ANY, \"select\" TEXT, b BLOB)").await;
    db.run("CREATE TABLE strict_ones (n INTEGER, r REAL, t TEXT, b BLOB, a ANY) STRICT").await;
    let odd = copies("order", &["group", "größe", "b"]);
    let records = [
        json!({"group": "007", "größe": bytes("00ff"), "b": bytes("c3a9")}),
        json!({"group": bytes("61"), "größe": 7, "b": null}),
    ];
    assert_eq!(written(&db, &odd, &records).await, [applied(1), applied(1)]);
    let stored =
        db.rows("SELECT typeof(\"group\"), \"group\", typeof(größe), hex(größe), typeof(b) FROM \"order\"").await;
    assert_eq!(stored, ["text|007|blob|00FF|blob", "blob|a|integer|37|null"]);

    let strict = copies("strict_ones", &["n", "r", "t", "b", "a"]);
    let fine = json!({"n": "7", "r": 1, "t": 5, "b": bytes("01"), "a": "001"});
    assert_eq!(written(&db, &strict, &[fine]).await, [applied(1)]);
    let types = "SELECT typeof(n), typeof(r), typeof(t), typeof(b), typeof(a), a FROM strict_ones";
    assert_eq!(db.rows(types).await, ["integer|real|text|blob|text|001"]);
    let mut bad = json!({"n": 1, "r": 1, "t": bytes("61"), "b": null, "a": null});
    all_refused(&db, &strict, &[(bad.clone(), "strict_ones.t: 1 byte, which only a binary column takes")]).await;
    bad["t"] = json!("x");
    bad["n"] = json!("x");
    all_refused(&db, &strict, &[(bad, "strict_ones.n: `x` is not a whole number")]).await;
}
