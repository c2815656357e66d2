//! A fresh database with the tables of the suite, and the recipes and units that fill them.

use jobqueue_ingest::{
    DatabaseKind, DatabaseUrl, IngestSpec, LedgerKey, Recipe, Row, RowTree, Sink, SinkOptions, SqlValue, Unit,
    UnitOutcome, connect, run_script,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// One database, its sink, and a second way to look into it.
pub(crate) struct Database {
    pub(crate) kind: DatabaseKind,
    pub(crate) url: String,
    pub(crate) sink: Box<dyn Sink>,
    _directory: Option<tempfile::TempDir>,
}

const COMPANY: &str = "
CREATE TABLE company (
    id {id}, reg_num VARCHAR(20) NOT NULL UNIQUE, name VARCHAR(40) NOT NULL, founded DATE, capital DECIMAL(12,2),
    staff BIGINT, listed BOOLEAN, ratio {double}, note TEXT, details {json}, seen {datetime}, logo {bytes}
);
CREATE TABLE partner (
    id {id}, company_id {ref} NOT NULL, name VARCHAR(10) NOT NULL, joined DATE,
    FOREIGN KEY (company_id) REFERENCES company (id)
);
CREATE TABLE tag (label VARCHAR(20) NOT NULL PRIMARY KEY, weight INTEGER NOT NULL DEFAULT 0);
";

pub(crate) fn schema(kind: DatabaseKind) -> String {
    let words = match kind {
        DatabaseKind::Postgres => [
            ("{id}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
            ("{ref}", "bigint"),
            ("{double}", "double precision"),
            ("{json}", "jsonb"),
            ("{datetime}", "timestamp(6)"),
            ("{bytes}", "bytea"),
        ],
        DatabaseKind::Mysql => [
            ("{id}", "BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY"),
            ("{ref}", "BIGINT"),
            ("{double}", "DOUBLE"),
            ("{json}", "JSON"),
            ("{datetime}", "DATETIME(6)"),
            ("{bytes}", "VARBINARY(100)"),
        ],
        DatabaseKind::Sqlite => [
            ("{id}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            ("{ref}", "INTEGER"),
            ("{double}", "DOUBLE"),
            ("{json}", "JSON"),
            ("{datetime}", "DATETIME"),
            ("{bytes}", "BLOB"),
        ],
    };
    words.iter().fold(COMPANY.to_owned(), |script, (word, with)| script.replace(word, with))
}

impl Database {
    pub(crate) async fn postgres() -> Self {
        Self::fresh(DatabaseKind::Postgres, jobqueue_testkit::postgres().database(), None).await
    }

    pub(crate) async fn mariadb() -> Self {
        // A server that would cut texts and take any word for an enum: it is the sink that has to insist.
        jobqueue_testkit::mariadb().sql("", "SET GLOBAL sql_mode = ''");
        Self::fresh(DatabaseKind::Mysql, jobqueue_testkit::mariadb().database(), None).await
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}/test.sqlite", directory.path().display());
        Self::fresh(DatabaseKind::Sqlite, url, Some(directory)).await
    }

    async fn fresh(kind: DatabaseKind, url: String, directory: Option<tempfile::TempDir>) -> Self {
        let parsed: DatabaseUrl = url.parse().unwrap();
        run_script(&parsed, &schema(kind)).await.unwrap();
        let sink = connect(&parsed, SinkOptions::default()).await.unwrap();
        sink.ensure_ledger().await.unwrap();
        Self { kind, url, sink, _directory: directory }
    }

    /// The database's name on its server.
    pub(crate) fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Another sink on the same database, as another worker has it.
    pub(crate) async fn second_sink(&self, options: SinkOptions) -> Box<dyn Sink> {
        connect(&self.url.parse().unwrap(), options).await.unwrap()
    }

    /// Rows as text, columns separated by `|`, NULL as `-`.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let tidy = |output: String, separator: char| {
            let line = |line: &str| {
                line.split(separator)
                    .map(|field| if field == "NULL" || field.is_empty() { "-" } else { field })
                    .collect::<Vec<_>>()
                    .join("|")
            };
            output.lines().map(line).collect()
        };
        match self.kind {
            DatabaseKind::Postgres => tidy(jobqueue_testkit::postgres().sql(&self.url, query), '|'),
            DatabaseKind::Mysql => tidy(jobqueue_testkit::mariadb().sql(&self.url, query), '\t'),
            DatabaseKind::Sqlite => self.sqlite_rows(query).await,
        }
    }

    async fn sqlite_rows(&self, query: &str) -> Vec<String> {
        let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
        let rows = sqlx::query(AssertSqlSafe(query)).fetch_all(&mut connection).await.unwrap();
        let text = |row: &sqlx::sqlite::SqliteRow, index: usize| {
            let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index).unwrap();
            bytes.map_or_else(|| "-".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        rows.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect::<Vec<_>>().join("|")).collect()
    }

    pub(crate) async fn run(&self, script: &str) {
        run_script(&self.url.parse().unwrap(), script).await.unwrap();
    }

    /// Companies, partners, ledger entries.
    pub(crate) async fn counts(&self) -> [u64; 3] {
        [
            self.sink.count("company").await.unwrap(),
            self.sink.count("partner").await.unwrap(),
            self.sink.count("jobqueue_ledger").await.unwrap(),
        ]
    }
}

/// Compiles one recipe from its tables.
pub(crate) fn recipe(tables: &Value) -> Recipe {
    let specs: Vec<IngestSpec> = serde_json::from_value(json!([{ "tables": tables }])).unwrap();
    Recipe::compile(&specs).unwrap()
}

/// Companies with partners; `policy` is merged into the company's table.
pub(crate) fn companies(policy: &Value) -> Recipe {
    let mut table = json!({
        "table": "company",
        "columns": {"name": "record.name", "reg_num": "record.reg_num", "founded": "record.founded"},
        "children": [{"table": "partner", "forEach": "record.partners",
            "columns": {"company_id": "parent.id", "name": "item.name"}}],
    });
    table.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
    recipe(&json!([table]))
}

pub(crate) fn key(job: &str) -> LedgerKey {
    LedgerKey {
        queue: "companies".into(),
        job_id: job.into(),
        created_at: "2026-01-01T00:00:00Z".into(),
        generation: 0,
        run: None,
    }
}

pub(crate) fn text(text: impl Into<String>) -> SqlValue {
    SqlValue::Text(text.into())
}

/// A row of the recipe's table `table`, values by column name.
pub(crate) fn row(recipe: &Recipe, table: usize, values: &[(&str, SqlValue)], children: Vec<Row>) -> Row {
    let value = |column: &String| {
        values.iter().find(|(name, _)| name == column).map_or(SqlValue::Null, |(_, value)| value.clone())
    };
    Row { table, values: recipe.tables[table].columns.iter().map(value).collect(), children }
}

/// A company named `name` with so many partners, as job `name`; its registration number is the name.
pub(crate) fn company(recipe: &Recipe, name: &str, partners: usize) -> Unit {
    company_as(recipe, name, name, name, partners)
}

pub(crate) fn company_as(recipe: &Recipe, job: &str, reg_num: &str, name: &str, partners: usize) -> Unit {
    let children = (0..partners)
        .map(|n| row(recipe, 1, &[("company_id", SqlValue::ParentId), ("name", text(format!("p{n}")))], Vec::new()))
        .collect();
    let parent = row(recipe, 0, &[("name", text(name)), ("reg_num", text(reg_num))], children);
    Unit { key: key(job), rows: RowTree { rows: vec![parent] } }
}

pub(crate) fn applied(rows: u64) -> UnitOutcome {
    UnitOutcome::Applied { rows }
}

/// The words and the `may_pass` of a rejection.
pub(crate) fn rejected(outcome: &UnitOutcome) -> (String, bool) {
    match outcome {
        UnitOutcome::Rejected(rejection) => (rejection.message.clone(), rejection.may_pass),
        other => panic!("not rejected: {other:?}"),
    }
}
