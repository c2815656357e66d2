//! What came of the runs, as a table or a document.

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::world::{Outcome, Scaling};
use crate::output::{Format, Output, columns};

/// All runs, in the order of the flags.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// Where chance began.
    pub(super) seed: u64,
    /// The moment at which every run starts.
    pub(super) start: DateTime<FixedOffset>,
    /// Waiting jobs per worker, for those who know nothing else.
    pub(super) list_length: f64,
    /// One for each load and policy.
    #[serde(rename = "runs")]
    pub(super) rows: Vec<Row>,
}

/// A run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    /// The shape's or the file's name.
    pub(super) load: String,
    /// The policy's name.
    pub(super) policy: String,
    /// How long it was, in seconds.
    pub(super) seconds: f64,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// A run with every change.
#[derive(Debug, Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    row: &'a Row,
    scalings: &'a [Scaling],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailedReport<'a> {
    seed: u64,
    start: DateTime<FixedOffset>,
    list_length: f64,
    runs: Vec<Detailed<'a>>,
}

impl Report {
    /// Prints it; with `changes`, also when each number changed, and why.
    pub(super) fn show(&self, output: Output, changes: bool) -> anyhow::Result<()> {
        if output.is_machine() {
            if !changes {
                return output.document(self);
            }
            let detailed = |row| Detailed { row, scalings: &row.outcome.scalings };
            let runs = self.rows.iter().map(detailed).collect();
            let Self { seed, start, list_length, .. } = *self;
            return output.document(&DetailedReport { seed, start, list_length, runs });
        }
        let mut text = self.table(output.format == Format::Wide);
        if changes {
            text.push_str(&self.changes());
        }
        Ok(output.data(&text)?)
    }

    fn table(&self, wide: bool) -> String {
        let mut header =
            vec!["LOAD", "POLICY", "P50", "P95", "MAX", "WORKER-SECONDS", "MOST", "CHANGES", "INTERRUPTED"];
        header.extend(["BACKLOG", "LEFT"]);
        if wide {
            header.extend(["ARRIVED", "DONE", "MEAN"]);
        }
        let right: Vec<usize> = (2..header.len()).collect();
        columns(&header, &right, self.rows.iter().map(|row| cells(row, wide)).collect())
    }

    fn changes(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let change = |Scaling { at, from, to, why }: &Scaling| {
                vec![format!("{at:.2}"), format!("{from} -> {to}"), why.clone()]
            };
            let rows = row.outcome.scalings.iter().map(change).collect();
            text.extend(["\n", row.load.as_str(), ", ", row.policy.as_str(), "\n"]);
            text.push_str(&columns(&["SECONDS", "WORKERS", "WHY"], &[0], rows));
        }
        text
    }
}

fn cells(row: &Row, wide: bool) -> Vec<String> {
    let Row { load, policy, outcome, .. } = row;
    let mut cells = vec![load.clone(), policy.clone()];
    let waits = [outcome.p50_wait_seconds, outcome.p95_wait_seconds, outcome.max_wait_seconds];
    cells.extend(waits.map(length));
    cells.push(format!("{:.0}", outcome.worker_seconds));
    cells.extend([u64::from(outcome.most_workers), outcome.changes as u64, outcome.interrupted].map(|n| n.to_string()));
    cells.extend([length(outcome.longest_backlog_seconds), outcome.left.to_string()]);
    if wide {
        cells.extend([outcome.arrived.to_string(), outcome.done.to_string(), length(outcome.mean_wait_seconds)]);
    }
    cells
}

/// Seconds, to a tenth where that says something.
fn length(seconds: f64) -> String {
    if seconds < 99.95 { format!("{seconds:.1}s") } else { format!("{seconds:.0}s") }
}
