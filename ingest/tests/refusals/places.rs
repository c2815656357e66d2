//! Databases that refuse one record in ways of their own: policies, routes to partitions, languages.

use jobqueue_ingest::{DatabaseKind, SinkOptions, SqlValue, Unit, UnitOutcome, connect, run_script};
use jobqueue_testkit::MariaDb;
use serde_json::json;

use crate::fixture::{self, Database, applied, company_as, key, recipe, rejected, row, text};

/// A role that a policy lets write one tenant's rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_level_security_refuses_one_record() {
    let db = Database::postgres().await;
    let tenant = jobqueue_testkit::unique("tenant");
    db.run(&format!(
        "CREATE TABLE owned (id bigserial PRIMARY KEY, tenant text, v int); ALTER TABLE owned ENABLE ROW LEVEL SECURITY; \
         CREATE ROLE {tenant} LOGIN PASSWORD 's3cret'; CREATE POLICY p ON owned FOR INSERT TO {tenant} WITH CHECK (tenant = 'a'); \
         CREATE POLICY q ON owned FOR SELECT TO {tenant} USING (true); GRANT SELECT, INSERT ON owned TO {tenant}; \
         GRANT USAGE ON SEQUENCE owned_id_seq TO {tenant}; GRANT ALL ON jobqueue_ledger TO {tenant}"
    ))
    .await;
    let sink = connect(&url_of(&db, &tenant).parse().unwrap(), SinkOptions::default()).await.unwrap();
    let recipe = recipe(&json!([{"table": "owned", "columns": {"tenant": "record.t", "v": "record.v"}}]));
    let unit = |job: &str, tenant: &str| {
        let values = [("tenant", text(tenant)), ("v", SqlValue::Int(1))];
        Unit { key: key(job), rows: tree(row(&recipe, 0, &values, Vec::new())) }
    };
    let outcomes = sink.write(&recipe, &[unit("1", "a"), unit("2", "b"), unit("3", "a")]).await.unwrap();
    assert_eq!([&outcomes[0], &outcomes[2]], [&applied(1); 2]);
    let (words, may_pass) = rejected(&outcomes[1]);
    assert!(words.starts_with("owned: new row violates row-level security policy") && may_pass, "{words}");
    assert!(words.ends_with("(SQLSTATE 42501)"), "{words}");
    // Alone in its batch, too.
    let (words, _) = rejected(&sink.write(&recipe, &[unit("2", "b")]).await.unwrap()[0]);
    assert!(words.ends_with("(SQLSTATE 42501)"), "{words}");

    // What no policy lets through any more is nobody's fault: the right itself is gone.
    for revoke in ["INSERT ON owned", "USAGE ON SEQUENCE owned_id_seq"] {
        db.run(&format!("REVOKE {revoke} FROM {tenant}")).await;
        let error = sink.write(&recipe, &[unit("4", "a"), unit("5", "a")]).await.unwrap_err();
        assert!(matches!(error, jobqueue_ingest::SinkError::Denied { .. }), "{error}");
        db.run(&format!("GRANT {revoke} TO {tenant}")).await;
    }
    let outcomes = sink.write(&recipe, &[unit("4", "a"), unit("5", "a")]).await.unwrap();
    assert_eq!(outcomes, [applied(1), applied(1)]);
}

/// A trigger routes each record to the table of its year, which one of them does not have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_missing_fails_the_one_job() {
    let db = Database::postgres().await;
    db.run(
        "CREATE TABLE ev (id bigserial, y int, v int); CREATE TABLE ev_2024 () INHERITS (ev); CREATE TABLE ev_2025 () INHERITS (ev); \
         CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         EXECUTE format('INSERT INTO ev_%s SELECT ($1).*', new.y) USING new; RETURN NULL; END $$; \
         CREATE TRIGGER route BEFORE INSERT ON ev FOR EACH ROW EXECUTE FUNCTION route()",
    )
    .await;
    let recipe = recipe(&json!([{"table": "ev", "columns": {"y": "record.y", "v": "record.v"}}]));
    let unit = |year: i64| {
        let values = [("y", SqlValue::Int(year)), ("v", SqlValue::Int(1))];
        Unit { key: key(&year.to_string()), rows: tree(row(&recipe, 0, &values, Vec::new())) }
    };
    let outcomes = db.sink.write(&recipe, &[unit(2024), unit(1999), unit(2025)]).await.unwrap();
    assert_eq!([&outcomes[0], &outcomes[2]], [&applied(1); 2]);
    let (words, may_pass) = rejected(&outcomes[1]);
    assert!(words.starts_with("ev: relation \"ev_1999\" does not exist") && may_pass, "{words}");
    assert!(words.contains("PL/pgSQL function route()") && words.ends_with("(SQLSTATE 42P01)"), "{words}");
    assert_eq!(db.rows("SELECT y FROM ev ORDER BY y").await, ["2024", "2025"]);
}

/// A value that only PostgreSQL can judge names its column, whichever way it goes in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_only_the_database_reads_names_its_column() {
    let db = Database::postgres().await;
    db.run("CREATE TABLE u (id interval PRIMARY KEY, n text)").await;
    let recipe = recipe(&json!([{"table": "u", "columns": {"id": "record.id", "n": "record.n"}}]));
    let unit = |id: &str| {
        let values = [("id", text(id)), ("n", text("n"))];
        Unit { key: key(id), rows: tree(row(&recipe, 0, &values, Vec::new())) }
    };
    let good = "2 hours";
    let outcomes = db.sink.write(&recipe, &[unit(good), unit("no id")]).await.unwrap();
    assert_eq!(outcomes[0], applied(1));
    let expected = "u.id: invalid input syntax for type interval: \"no id\" (SQLSTATE 22007) (from record.id), the value is `no id`";
    assert_eq!(rejected(&outcomes[1]), (expected.to_owned(), false));
}

/// Children refer to the row of the recipe's key, in whatever language the server names the key; another key is an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_is_found_in_any_language() {
    let server = MariaDb::start();
    for language in ["ja_JP", "zh_CN", "ko_KR", "de_DE", "fr_FR", "ru_RU"] {
        server.sql("", &format!("SET GLOBAL lc_messages = '{language}'"));
        let url = server.database();
        run_script(&url.parse().unwrap(), &fixture::schema(DatabaseKind::Mysql)).await.unwrap();
        server.sql(&url, "ALTER TABLE company ADD UNIQUE KEY by_name (name)");
        let sink = connect(&url.parse().unwrap(), SinkOptions::default()).await.unwrap();
        sink.ensure_ledger().await.unwrap();
        for policy in ["Update", "Ignore"] {
            let recipe = fixture::companies(&json!({"onConflict": policy, "key": ["reg_num"]}));
            let unit = |job: &str, reg_num: &str, name: &str| {
                company_as(&recipe, &format!("{policy} {job}"), reg_num, name, 1)
            };
            let first = unit("1", policy, &format!("{policy} old"));
            assert_eq!(sink.write(&recipe, &[first]).await.unwrap(), [applied(2)]);
            let again = unit("2", policy, &format!("{policy} new"));
            let expected = if policy == "Update" { 2 } else { 1 };
            assert_eq!(sink.write(&recipe, &[again]).await.unwrap(), [applied(expected)], "{language}");
            // The name is taken, by a row with another key.
            let name = format!("{policy} {}", if policy == "Update" { "new" } else { "old" });
            let other = sink.write(&recipe, &[unit("3", "other", &name)]).await.unwrap();
            let (words, may_pass) = rejected(&other[0]);
            assert!(words.starts_with("company: ") && words.ends_with("(error 1062)") && !may_pass, "{words}");
        }
        let names = server.sql(&url, "SELECT name FROM company ORDER BY id");
        assert_eq!(names.lines().collect::<Vec<_>>(), ["Update new", "Ignore old"]);
        // A delivery that comes again, too.
        let recipe = fixture::companies(&json!({}));
        let units = [fixture::company(&recipe, "x", 0), fixture::company(&recipe, "y", 0)];
        sink.write(&recipe, &units[..1]).await.unwrap();
        assert_eq!(sink.write(&recipe, &units).await.unwrap(), [UnitOutcome::AlreadyApplied, applied(1)]);
    }
}

fn tree(row: jobqueue_ingest::Row) -> jobqueue_ingest::RowTree {
    jobqueue_ingest::RowTree { rows: vec![row] }
}

/// The database's URL for another role.
fn url_of(db: &Database, role: &str) -> String {
    let (_, rest) = db.url.split_once('@').unwrap_or_else(|| db.url.split_once("://").unwrap());
    format!("postgres://{role}:s3cret@{rest}")
}
