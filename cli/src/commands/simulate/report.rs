//! The report, as a table or a document.

use chrono::{DateTime, FixedOffset};
use jobqueue_simulator::{Finding, Outcome, Report, Row, ScalingChange};
use serde::Serialize;

use super::explained::ExplainedDecision;
use crate::common::output::{Format, Output, columns};

/// A run with every change, and the decision that was to be explained.
#[derive(Debug, Serialize)]
struct DetailedRow<'a> {
    #[serde(flatten)]
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    scalings: Option<&'a [ScalingChange]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explained: Option<ExplainedDecision>,
}

impl<'a> DetailedRow<'a> {
    fn new(row: &'a Row, changes: bool) -> Self {
        let outcome = row.outcome();
        Self {
            row,
            scalings: outcome.filter(|_| changes).map(|outcome| &outcome.scalings[..]),
            explained: outcome.and_then(explained),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailedReport<'a> {
    seed: u64,
    start: DateTime<FixedOffset>,
    runs: Vec<DetailedRow<'a>>,
}

/// Prints the report, with what was explained; with `changes`, also when each number changed, and why.
pub(super) fn show(report: &Report, output: Output, changes: bool) -> anyhow::Result<()> {
    if output.is_machine() {
        let runs = report.rows.iter().map(|row| DetailedRow::new(row, changes)).collect();
        return output.document(&DetailedReport { seed: report.seed, start: report.start, runs });
    }
    let mut text = table(&report.rows, output.format == Format::Wide);
    if changes {
        text.push_str(&changes_of(&report.rows));
    }
    for row in &report.rows {
        if let Some(explained) = row.outcome().and_then(explained) {
            text.extend(["\n", row.load.as_str(), ", ", row.policy.as_str(), ", "]);
            text.push_str(&explained.text(report.start));
        }
    }
    Ok(output.data(&text)?)
}

fn explained(outcome: &Outcome) -> Option<ExplainedDecision> {
    outcome.explained.as_ref().map(ExplainedDecision::new)
}

fn table(rows: &[Row], wide: bool) -> String {
    let bound = |row: &Row| rows.iter().filter(|other| other.load == row.load).find_map(Row::bound);
    let mut header =
        vec!["LOAD", "POLICY", "P50", "P95", "P99", "MAX", "WORKER-SECONDS", "MOST", "CHANGES", "INTERRUPTED"];
    header.extend(["BACKLOG", "LEFT"]);
    if rows.iter().any(|row| row.bound().is_some()) {
        header.push("BY BOUND");
    }
    if wide {
        header.extend(["ARRIVED", "DONE", "MEAN"]);
    }
    let right: Vec<usize> = (2..header.len()).collect();
    columns(&header, &right, rows.iter().map(|row| cells(row, bound(row), wide)).collect())
}

fn changes_of(rows: &[Row]) -> String {
    let mut text = String::new();
    for (row, outcome) in rows.iter().filter_map(|row| Some((row, row.outcome()?))) {
        let change = |ScalingChange { at, from, to, why }: &ScalingChange| {
            vec![format!("{at:.2}"), format!("{from} -> {to}"), why.clone()]
        };
        let rows = outcome.scalings.iter().map(change).collect();
        text.extend(["\n", row.load.as_str(), ", ", row.policy.as_str(), "\n"]);
        text.push_str(&columns(&["SECONDS", "WORKERS", "WHY"], &[0], rows));
    }
    text
}

/// A line of the table; `bound` is the load's, where there is a column for it.
fn cells(row: &Row, bound: Option<f64>, wide: bool) -> Vec<String> {
    let mut cells = vec![row.load.clone(), row.policy.clone()];
    let none = || "-".to_owned();
    match &row.finding {
        Finding::Run(outcome) => {
            let waits = [outcome.p50_wait_seconds, outcome.p95_wait_seconds, outcome.p99_wait_seconds];
            cells.extend(waits.into_iter().chain([outcome.max_wait_seconds]).map(length));
            cells.push(format!("{:.0}", outcome.worker_seconds));
            let counts = [u64::from(outcome.most_workers), outcome.changes as u64, outcome.interrupted];
            cells.extend(counts.map(|count| count.to_string()));
            cells.extend([length(outcome.longest_backlog_seconds), outcome.left.to_string()]);
            cells.extend(bound.map(|bound| by(outcome.worker_seconds, bound)));
            if wide {
                let mean = length(outcome.mean_wait_seconds);
                cells.extend([outcome.arrived.to_string(), outcome.done.to_string(), mean]);
            }
        }
        Finding::Bound(found) => {
            let longest = if found.target_kept { length(found.target_wait_seconds) } else { "fixed".into() };
            cells.extend([none(), none(), none(), format!("<={longest}")]);
            cells.push(format!(">={:.0}", found.worker_seconds));
            cells.extend((0..5).map(|_| none()));
            cells.extend(bound.map(|bound| by(found.worker_seconds, bound)));
            if wide {
                cells.extend([found.arrived.to_string(), none(), none()]);
            }
        }
    }
    cells
}

/// A cost by the bound, which is nothing where nothing needs to be done.
fn by(cost: f64, bound: f64) -> String {
    if bound > 0.0 { format!("{:.2}", cost / bound) } else { "-".into() }
}

/// Seconds, to a tenth where that says something.
pub(super) fn length(seconds: f64) -> String {
    if seconds < 99.95 { format!("{seconds:.1}s") } else { format!("{seconds:.0}s") }
}
