//! What came of the runs, as a table or a document.

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::bound::{Bound, Target};
use super::explained::Explained;
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
    /// One for each load and policy.
    #[serde(rename = "runs")]
    pub(super) rows: Vec<Row>,
}

/// A run, or the bound of all of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    /// The shape's or the file's name.
    pub(super) load: String,
    /// The policy's name.
    pub(super) policy: String,
    /// How long it was, in seconds.
    pub(super) seconds: f64,
    /// Waiting jobs per worker, for those who know nothing else.
    pub(super) list_length: f64,
    #[serde(flatten)]
    pub(super) told: Told,
}

/// What there is to be told.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Told {
    /// What came of a run.
    Ran(Box<Outcome>),
    /// That no run is cheaper.
    Bound(Clairvoyant),
}

/// A lower bound, as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Clairvoyant {
    /// Whether this is a bound, and no run.
    is_bound: bool,
    /// How long a job may wait at most, in seconds.
    target_wait_seconds: f64,
    /// Within what time it must be done besides, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    target_done_seconds: Option<f64>,
    /// Whether `maxReplicas` workers can keep to that; if not, jobs wait as long as with so many that are always there.
    target_kept: bool,
    /// No run in which no job waits longer spends less.
    worker_seconds: f64,
    /// What part of it was found with whole workers; in the rest they may be divided.
    whole_workers_part: f64,
    /// Jobs that arrived.
    arrived: u64,
}

impl Clairvoyant {
    /// Tells a bound.
    pub(super) fn new(bound: Bound, target: Target) -> Self {
        let Bound { worker_seconds, whole, kept, arrived } = bound;
        let Target { begun, done } = target;
        Self {
            is_bound: true,
            target_wait_seconds: begun,
            target_done_seconds: done,
            target_kept: kept,
            worker_seconds,
            whole_workers_part: whole,
            arrived,
        }
    }
}

impl Row {
    /// The run, if it is one.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match &self.told {
            Told::Ran(outcome) => Some(outcome),
            Told::Bound(_) => None,
        }
    }

    /// The bound, if it is one, in worker-seconds.
    pub(super) fn bound(&self) -> Option<f64> {
        match &self.told {
            Told::Ran(_) => None,
            Told::Bound(bound) => Some(bound.worker_seconds),
        }
    }
}

/// A run with every change, and the decision that was to be explained.
#[derive(Debug, Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    row: &'a Row,
    #[serde(skip_serializing_if = "Option::is_none")]
    scalings: Option<&'a [Scaling]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explained: Option<&'a Explained>,
}

impl<'a> Detailed<'a> {
    fn new(row: &'a Row, changes: bool) -> Self {
        let outcome = row.outcome();
        Self {
            row,
            scalings: outcome.filter(|_| changes).map(|outcome| &outcome.scalings[..]),
            explained: outcome.and_then(|outcome| outcome.explained.as_ref()),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DetailedReport<'a> {
    seed: u64,
    start: DateTime<FixedOffset>,
    runs: Vec<Detailed<'a>>,
}

impl Report {
    /// Prints it, with what was explained; with `changes`, also when each number changed, and why.
    pub(super) fn show(&self, output: Output, changes: bool) -> anyhow::Result<()> {
        if output.is_machine() {
            let runs = self.rows.iter().map(|row| Detailed::new(row, changes)).collect();
            let Self { seed, start, .. } = *self;
            return output.document(&DetailedReport { seed, start, runs });
        }
        let mut text = self.table(output.format == Format::Wide);
        if changes {
            text.push_str(&self.changes());
        }
        for row in &self.rows {
            if let Some(explained) = row.outcome().and_then(|outcome| outcome.explained.as_ref()) {
                text.extend(["\n", row.load.as_str(), ", ", row.policy.as_str(), ", "]);
                text.push_str(&explained.text(self.start));
            }
        }
        Ok(output.data(&text)?)
    }

    fn table(&self, wide: bool) -> String {
        let bound = |row: &Row| self.rows.iter().filter(|other| other.load == row.load).find_map(Row::bound);
        let mut header =
            vec!["LOAD", "POLICY", "P50", "P95", "P99", "MAX", "WORKER-SECONDS", "MOST", "CHANGES", "INTERRUPTED"];
        header.extend(["BACKLOG", "LEFT"]);
        if self.rows.iter().any(|row| row.bound().is_some()) {
            header.push("BY BOUND");
        }
        if wide {
            header.extend(["ARRIVED", "DONE", "MEAN"]);
        }
        let right: Vec<usize> = (2..header.len()).collect();
        columns(&header, &right, self.rows.iter().map(|row| cells(row, bound(row), wide)).collect())
    }

    fn changes(&self) -> String {
        let mut text = String::new();
        for (row, outcome) in self.rows.iter().filter_map(|row| Some((row, row.outcome()?))) {
            let change = |Scaling { at, from, to, why }: &Scaling| {
                vec![format!("{at:.2}"), format!("{from} -> {to}"), why.clone()]
            };
            let rows = outcome.scalings.iter().map(change).collect();
            text.extend(["\n", row.load.as_str(), ", ", row.policy.as_str(), "\n"]);
            text.push_str(&columns(&["SECONDS", "WORKERS", "WHY"], &[0], rows));
        }
        text
    }
}

/// A line of the table; `bound` is the load's, where there is a column for it.
fn cells(row: &Row, bound: Option<f64>, wide: bool) -> Vec<String> {
    let mut cells = vec![row.load.clone(), row.policy.clone()];
    let none = || "-".to_owned();
    match &row.told {
        Told::Ran(outcome) => {
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
        Told::Bound(found) => {
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
