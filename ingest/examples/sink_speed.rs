//! Companies per second of each sink, beside the same rows written by the database's own fastest way.
//!
//! `cargo run --release -p jobqueue-ingest --example sink_speed [COMPANIES [DATABASE]]`. One process, batches of 200,
//! durable commits, real servers. The ceilings write no ledger: `per batch` commits as often as the sink does, `at once`
//! is one transaction over everything.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on has nothing to say")]

use std::{fmt::Write as _, sync::Arc, time::Instant};

use chrono::{DateTime, Utc};
use futures::future::join_all;
use jobqueue_ingest::{
    DatabaseKind, DatabaseUrl, IngestSpec, JobInput, LedgerKey, Recipe, Sink, SinkOptions, SqlValue, Unit, UnitOutcome,
    connect, run_script,
};
use jobqueue_json::{Map, Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, PgConnection, SqliteConnection};

const BATCH: usize = 200;
const PARTNERS: usize = 4;

fn record(n: usize) -> Value {
    let partner = |p: usize| {
        json!({"StockName": format!("李博{p}"), "StockType": "自然人", "IdentifyType": null, "IdentifyNo": "不公示",
            "ShouldCapi": "60.000000万元", "ShoudDate": "2009年07月24日", "InvestType": "货币",
            "RealCapi": "60.000000万元", "CapiDate": null, "StockPercent": "60%"})
    };
    json!({"Status": 1, "Company": {
        "Name": format!("广州李博餐饮设备有限公司{n}"), "No": format!("{:015}", 440_100_000_000_000_usize + n),
        "Unique": format!("{n:030x}"), "RegistCapi": "100.000000万元人民币", "OperName": "李博",
        "StartDate": "2010-10-22T00:00:00+08:00", "EconKind": "有限责任公司(自然人投资或控股)", "Status": "已开业",
        "Scope": "餐饮设备；软件开发；建筑材料；服装贸易；物流服务；人才服务", "Address": format!("广州市白云区{n}号"),
        "TermStart": "2010-10-22T00:00:00+08:00", "TeamEnd": null, "BelongOrg": "广州市工商行政管理局", "CheckDate": null,
        "Area": {"Province": "广东省", "City": "广州市", "County": "白云区"},
        "Partners": (0..PARTNERS).map(partner).collect::<Vec<_>>()}})
}

fn units(recipe: &Recipe, count: usize) -> Vec<Unit> {
    let now: DateTime<Utc> = "2026-01-02T03:04:05Z".parse().unwrap();
    let none = Map::new();
    let unit = |n: usize| {
        let args = [record(n)];
        let job = JobInput {
            id: "job",
            queue: "companies",
            function: Some("ParseCompany.parse_company"),
            args: &args,
            kwargs: &none,
            fields: &none,
            attempt: 1,
            enqueued_at: None,
        };
        let key = LedgerKey {
            queue: "companies".into(),
            job_id: format!("00000000-0000-4000-8000-{n:012x}"),
            created_at: "2026-01-02T03:04:05.000000Z".into(),
            generation: 0,
            run: None,
        };
        Unit { key, rows: recipe.rows(&job, now).unwrap() }
    };
    (0..count).map(unit).collect()
}

/// Writes everything with so many tasks, and returns companies per second.
async fn ours(sink: &Arc<dyn Sink>, recipe: &Arc<Recipe>, units: &Arc<Vec<Unit>>, tasks: usize) -> f64 {
    let started = Instant::now();
    let workers = (0..tasks).map(|task| {
        let (sink, recipe, units) = (sink.clone(), recipe.clone(), units.clone());
        tokio::spawn(async move {
            for batch in units.chunks(BATCH).skip(task).step_by(tasks) {
                let outcomes = sink.write(&recipe, batch).await.unwrap();
                assert!(outcomes.iter().all(|outcome| matches!(outcome, UnitOutcome::Applied { .. })), "{outcomes:?}");
            }
        })
    });
    for worker in join_all(workers).await {
        worker.unwrap();
    }
    per_second(units.len(), started)
}

fn per_second(count: usize, started: Instant) -> f64 {
    count as f64 / started.elapsed().as_secs_f64()
}

/// The value as a field of COPY (quoting) or as a literal.
fn field(value: &SqlValue, parent: usize, copy: bool) -> String {
    let text = match value {
        SqlValue::Null => return if copy { "\\N".into() } else { "NULL".into() },
        SqlValue::ParentId => parent.to_string(),
        SqlValue::Int(number) => number.to_string(),
        SqlValue::Text(text) => text.clone(),
        SqlValue::Date(date) => date.to_string(),
        SqlValue::Timestamp(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        other => panic!("{other:?}"),
    };
    if copy { text } else { format!("'{}'", text.replace('\'', "''")) }
}

/// The rows of table `table`, ids of the parents counted from `first`.
fn fields(units: &[Unit], table: usize, first: usize, copy: bool) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (n, unit) in units.iter().enumerate() {
        for parent in &unit.rows.rows {
            let own = std::iter::once(parent);
            for row in if table == 0 { own.collect::<Vec<_>>() } else { parent.children.iter().collect() } {
                let mut line: Vec<String> = row.values.iter().map(|value| field(value, first + n, copy)).collect();
                if table == 0 {
                    line.push((first + n).to_string());
                }
                rows.push(line);
            }
        }
    }
    rows
}

fn columns(recipe: &Recipe, table: usize) -> String {
    let mut columns = recipe.tables[table].columns.clone();
    if table == 0 {
        columns.push("id".into());
    }
    columns.join(", ")
}

/// Everything ready to be sent, prepared before the clock starts: for each batch, what each table gets.
fn scripts(kind: DatabaseKind, recipe: &Recipe, units: &[Unit], batch: usize) -> Vec<[String; 2]> {
    let copy = kind == DatabaseKind::Postgres;
    let script = |rows: Vec<Vec<String>>, table: usize| {
        if copy {
            return rows.iter().fold(String::new(), |all, row| all + &row.join("\t") + "\n");
        }
        let head = format!("INSERT INTO {} ({}) VALUES ", recipe.tables[table].table, columns(recipe, table));
        let mut all = String::new();
        for chunk in rows.chunks(1_000) {
            let values: Vec<String> = chunk.iter().map(|row| format!("({})", row.join(","))).collect();
            writeln!(all, "{head}{};", values.join(",")).unwrap();
        }
        all
    };
    let mut first = 1;
    let mut scripts = Vec::new();
    for batch in units.chunks(batch) {
        scripts.push([0, 1].map(|table| script(fields(batch, table, first, copy), table)));
        first += batch.len();
    }
    scripts
}

async fn ceiling(url: &str, kind: DatabaseKind, recipe: &Recipe, units: &[Unit], batch: usize) -> f64 {
    let scripts = scripts(kind, recipe, units, batch);
    let started = match kind {
        DatabaseKind::Postgres => {
            let mut connection = PgConnection::connect(url).await.unwrap();
            let started = Instant::now();
            for script in &scripts {
                connection.execute("BEGIN").await.unwrap();
                for (table, data) in script.iter().enumerate() {
                    let into = format!("COPY {} ({}) FROM STDIN", recipe.tables[table].table, columns(recipe, table));
                    let mut copy = connection.copy_in_raw(&into).await.unwrap();
                    copy.send(data.as_bytes()).await.unwrap();
                    copy.finish().await.unwrap();
                }
                connection.execute("COMMIT").await.unwrap();
            }
            started
        }
        DatabaseKind::Mysql => {
            let mut connection = MySqlConnection::connect(url).await.unwrap();
            let started = Instant::now();
            for script in &scripts {
                connection.execute("BEGIN").await.unwrap();
                for statement in script.iter().flat_map(|table| table.lines()) {
                    connection.execute(sqlx::raw_sql(AssertSqlSafe(statement))).await.unwrap();
                }
                connection.execute("COMMIT").await.unwrap();
            }
            started
        }
        DatabaseKind::Sqlite => {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            connection.execute("PRAGMA synchronous = FULL").await.unwrap();
            let started = Instant::now();
            for script in &scripts {
                connection.execute("BEGIN IMMEDIATE").await.unwrap();
                for table in script {
                    connection.execute(sqlx::raw_sql(AssertSqlSafe(table.as_str()))).await.unwrap();
                }
                connection.execute("COMMIT").await.unwrap();
            }
            started
        }
    };
    per_second(units.len(), started)
}

async fn fresh(kind: DatabaseKind, directory: &std::path::Path) -> String {
    let (url, schema) = match kind {
        DatabaseKind::Postgres => {
            (jobqueue_testkit::postgres().database(), include_str!("../../examples/companies/schema/postgres.sql"))
        }
        DatabaseKind::Mysql => {
            (jobqueue_testkit::mariadb().database(), include_str!("../../examples/companies/schema/mysql.sql"))
        }
        DatabaseKind::Sqlite => {
            let url = format!("sqlite:{}/{}.sqlite", directory.display(), jobqueue_testkit::unique("speed"));
            (url, include_str!("../../examples/companies/schema/sqlite.sql"))
        }
    };
    run_script(&url.parse().unwrap(), schema).await.unwrap();
    url
}

async fn sink(url: &str) -> Arc<dyn Sink> {
    let sink: Arc<dyn Sink> =
        Arc::from(connect(&url.parse::<DatabaseUrl>().unwrap(), SinkOptions::default()).await.unwrap());
    sink.ensure_ledger().await.unwrap();
    sink
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let count: usize = arguments.next().map_or(20_000, |count| count.parse().unwrap());
    let only: Option<DatabaseKind> = arguments.next().map(|name| name.parse().unwrap());
    let specs: Vec<IngestSpec> = serde_yaml::from_str(include_str!("../tests/data/companies.yaml")).unwrap();
    let recipe = Arc::new(Recipe::compile(&specs).unwrap());
    let units = Arc::new(units(&recipe, count));
    let directory = tempfile::tempdir().unwrap();
    println!("{count} companies with {PARTNERS} partners each, batches of {BATCH}; companies/s");
    println!("{:10} {:>10} {:>10} {:>12} {:>12} {:>8}", "", "1 task", "4 tasks", "per batch", "at once", "share");
    for kind in [DatabaseKind::Postgres, DatabaseKind::Mysql, DatabaseKind::Sqlite] {
        if only.is_some_and(|only| only != kind) {
            continue;
        }
        // The first batches of a server are slow; what they measure is not the sink.
        let warm = fresh(kind, directory.path()).await;
        ours(&sink(&warm).await, &recipe, &Arc::new(units[..units.len().min(2_000)].to_vec()), 1).await;
        let one = ours(&sink(&fresh(kind, directory.path()).await).await, &recipe, &units, 1).await;
        let four = ours(&sink(&fresh(kind, directory.path()).await).await, &recipe, &units, 4).await;
        let per_batch = ceiling(&fresh(kind, directory.path()).await, kind, &recipe, &units, BATCH).await;
        let at_once = ceiling(&fresh(kind, directory.path()).await, kind, &recipe, &units, count).await;
        println!(
            "{kind:10} {one:10.0} {four:10.0} {per_batch:12.0} {at_once:12.0} {:7.0}%",
            100.0 * one.max(four) / at_once
        );
    }
}
