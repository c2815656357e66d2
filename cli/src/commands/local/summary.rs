//! What came of a run: jobs, failures by reason, rows by table.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use indicatif::HumanCount;
use jobqueue_ingest::{Recipe, Sink, sink::LEDGER_TABLE};
use jobqueue_queue::admin::FailedJobs;
use jobqueue_queue::{Connection, PayloadLimits, QueueError, QueueStats, StatsQuery, stats};
use serde::Serialize;
use tokio::time::timeout;

use super::servers::Database;
use super::view::rounded;
use crate::common::exit::queue_failure;
use jobqueue_queue::admin::error_groups::{Kind, Kinds};

/// Counting rows may take so long; a large table is then left out.
const COUNTING: Duration = Duration::from_secs(5);
/// Failed jobs read at a time: their payloads come along.
const PAGE: usize = 500;

/// The state of things before the first worker.
#[derive(Debug)]
pub(crate) struct Before {
    /// By Redis's clock.
    at: DateTime<Utc>,
    rows: BTreeMap<String, u64>,
}

/// What came of a run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Summary {
    /// Jobs whose effect is in the database because of this run.
    pub(crate) done: u64,
    /// Jobs that went to the failed registry in this run.
    pub(crate) failed: u64,
    /// How long there was work, in seconds.
    pub(crate) seconds: f64,
    /// Jobs done and failed, per second of that time.
    pub(crate) jobs_per_second: f64,
    /// The most workers at once.
    pub(crate) most_workers: u32,
    /// Workers that ended unasked.
    pub(crate) crashes: u32,
    /// The failures, the most frequent first.
    pub(crate) failures: Vec<Kind>,
    /// The tables of the recipe.
    pub(crate) tables: Vec<Table>,
}

/// A table of the recipe.
#[derive(Debug, Serialize)]
pub(crate) struct Table {
    /// Its name.
    pub(crate) name: String,
    /// Rows now.
    pub(crate) rows: u64,
    /// Rows that came in this run.
    pub(crate) added: u64,
}

impl Before {
    /// Looks at Redis and counts rows.
    pub(crate) async fn take(
        connection: &Connection,
        query: &StatsQuery,
        database: &Database,
        recipe: &Recipe,
    ) -> anyhow::Result<Self> {
        let stats = poll(connection, query).await.map_err(queue_failure)?;
        Ok(Self { at: stats.observed_at, rows: rows(database, recipe).await })
    }
}

/// Reads the queue once.
pub(crate) async fn poll(connection: &Connection, query: &StatsQuery) -> Result<QueueStats, QueueError> {
    let mut answers = stats(connection, std::slice::from_ref(query)).await?;
    answers.pop().expect("one answer for one query")
}

/// What only Redis and the database know of the run.
pub(crate) async fn collect(
    before: &Before,
    connection: &Connection,
    query: &StatsQuery,
    database: &Database,
    recipe: &Recipe,
) -> Summary {
    let mut summary = Summary::default();
    let after = rows(database, recipe).await;
    let added = |table: &str| {
        let now = after.get(table)?;
        Some(now.saturating_sub(before.rows.get(table).copied().unwrap_or(0)))
    };
    summary.done = added(LEDGER_TABLE).unwrap_or(0);
    for (table, rows) in &after {
        if let (Some(added), true) = (added(table), table != LEDGER_TABLE) {
            summary.tables.push(Table { name: table.clone(), rows: *rows, added });
        }
    }
    // The order of the recipe: parents first.
    let place = |table: &Table| recipe.tables.iter().position(|plan| plan.table == table.name);
    summary.tables.sort_by_key(place);
    summary.failures = failures(before.at, connection, query).await.unwrap_or_default().most_frequent_first();
    summary.failed = summary.failures.iter().map(|kind| kind.count).sum();
    summary
}

/// Rows of the recipe's tables and of the ledger, as far as they can be counted soon.
async fn rows(database: &Database, recipe: &Recipe) -> BTreeMap<String, u64> {
    let mut rows = BTreeMap::new();
    let Ok(sink) = database.open().await else { return rows };
    let tables = recipe.tables.iter().map(|plan| plan.table.as_str());
    for table in tables.chain([LEDGER_TABLE]) {
        if let Some(count) = count(sink.as_ref(), table).await {
            rows.insert(table.to_owned(), count);
        }
    }
    rows
}

/// None where it takes too long, or the table is not there (the ledger, before the first run).
async fn count(sink: &dyn Sink, table: &str) -> Option<u64> {
    timeout(COUNTING, sink.count(table)).await.ok()?.ok()
}

/// Jobs that failed since, by kind.
async fn failures(since: DateTime<Utc>, connection: &Connection, query: &StatsQuery) -> Result<Kinds, QueueError> {
    let mut kinds = Kinds::default();
    for queue in &query.names {
        let (prefix, group) = (&query.key_prefix, &query.consumer_group);
        let registry = FailedJobs::of(connection.clone(), query.protocol, prefix, group, queue)?;
        for page in registry.ids().await?.chunks(PAGE) {
            for job in registry.fetch(page, &PayloadLimits::default()).await? {
                if job.failed_at.is_none_or(|at| at >= since) {
                    kinds.add(if job.error.is_empty() { "(no reason is kept)" } else { &job.error });
                }
            }
        }
    }
    Ok(kinds)
}

impl Summary {
    /// For a person.
    pub(crate) fn text(&self) -> String {
        let seconds = format!("{:.1} s, {} jobs/s", self.seconds, rounded(self.jobs_per_second));
        let mut lines = vec![
            format!(
                "{:>10}  jobs done in {seconds}, at most {} {}",
                count_text(self.done),
                self.most_workers,
                workers(self.most_workers.into())
            ),
            format!("{:>10}  jobs failed", count_text(self.failed)),
        ];
        for kind in &self.failures {
            lines.push(format!("{:>10}    {}", count_text(kind.count), kind.text()));
        }
        for Table { name, rows, added } in &self.tables {
            lines.push(format!("{:>10}  rows in {name} ({} new)", count_text(*rows), count_text(*added)));
        }
        if self.crashes > 0 {
            lines.push(format!("{:>10}  {} ended unasked", self.crashes, workers(self.crashes.into())));
        }
        lines.join("\n") + "\n"
    }
}

fn workers(count: u64) -> &'static str {
    if count == 1 { "worker" } else { "workers" }
}

fn count_text(count: u64) -> String {
    HumanCount(count).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_reads_like_a_bill() {
        let mut kinds = Kinds::default();
        for number in 0..200 {
            kinds.add(&format!("not a date: '2010-13-{number}'"));
        }
        let summary = Summary {
            done: 19_800,
            failed: 200,
            seconds: 9.96,
            jobs_per_second: 2008.0,
            most_workers: 4,
            crashes: 1,
            failures: kinds.most_frequent_first(),
            tables: vec![Table { name: "stockholder".into(), rows: 80_000, added: 79_000 }],
        };
        assert_eq!(
            summary.text(),
            "    19,800  jobs done in 10.0 s, 2,008 jobs/s, at most 4 workers\n       200  jobs failed\n       200    \
             such as: not a date: '2010-13-0'\n    80,000  rows in stockholder (79,000 new)\n         1  worker ended unasked\n"
        );
    }
}
