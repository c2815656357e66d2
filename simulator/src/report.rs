//! The numbers of all runs.

use chrono::{DateTime, FixedOffset};
use serde::Serialize;

use super::bound::{Bound, Target};
use super::simulation::Outcome;

/// All runs, in the order in which they were asked for.
#[derive(Debug)]
pub struct Report {
    /// The seed of all random numbers.
    pub seed: u64,
    /// The moment at which every run starts.
    pub start: DateTime<FixedOffset>,
    /// One for each scenario and policy.
    pub rows: Vec<Row>,
}

/// A run, or the bound of all of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The shape's or the trace's name.
    pub load: String,
    /// The policy's name.
    pub policy: String,
    /// How long the run lasts, in seconds.
    pub seconds: f64,
    /// Waiting jobs per worker, for policies that see the length of the list only.
    pub list_length: f64,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What a row says.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Finding {
    /// What came of a run.
    Run(Box<Outcome>),
    /// That no run is cheaper.
    Bound(BoundSummary),
}

/// A lower bound of what a run can spend.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoundSummary {
    /// Always true: programs tell a bound from a run by it.
    pub is_bound: bool,
    /// How long a job may wait at most, in seconds.
    pub target_wait_seconds: f64,
    /// Within what time it must be done besides, in seconds; `None`: within any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_done_seconds: Option<f64>,
    /// Whether `maxReplicas` workers can keep to that; if not, jobs wait as long as with so many that are always there.
    pub target_kept: bool,
    /// No run in which no job waits longer spends less.
    pub worker_seconds: f64,
    /// What part of it was found with whole workers; in the rest they may be divided.
    pub whole_workers_part: f64,
    /// Jobs that arrived.
    pub arrived: u64,
}

impl BoundSummary {
    pub(crate) fn new(bound: Bound, target: Target) -> Self {
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
    /// What came of the run; `None` if the row is a bound.
    pub fn outcome(&self) -> Option<&Outcome> {
        match &self.finding {
            Finding::Run(outcome) => Some(outcome),
            Finding::Bound(_) => None,
        }
    }

    /// The same, taken out.
    pub fn into_outcome(self) -> Option<Outcome> {
        match self.finding {
            Finding::Run(outcome) => Some(*outcome),
            Finding::Bound(_) => None,
        }
    }

    /// The bound in worker-seconds; `None` if the row is a run.
    pub fn bound(&self) -> Option<f64> {
        match &self.finding {
            Finding::Run(_) => None,
            Finding::Bound(bound) => Some(bound.worker_seconds),
        }
    }
}
