//! One moment of `ours`: what was seen, what was decided, what each rule asked for, and which limits there were.

use chrono::{DateTime, FixedOffset, TimeDelta};
use jobqueue_crds::DecisionStatus;
use jobqueue_scaling_input::decision_status;
use jobqueue_simulator::Explained;
use serde::Serialize;

use super::report::length;
use crate::common::decision::decision_tables;

/// A decision with its grounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedDecision {
    /// When it was decided, in seconds since the start.
    at: f64,
    /// Jobs that waited.
    waiting: u64,
    /// Jobs in hand.
    running: u64,
    /// How long the oldest job had waited, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_wait_seconds: Option<f64>,
    /// Workers asked for before.
    desired_before: u32,
    /// Workers asked for since.
    desired: u32,
    /// Pods that had not become ready.
    starting: usize,
    /// Pods that served the queue.
    ready: usize,
    /// Pods with jobs in hand, draining ones among them.
    busy: usize,
    /// Pods that were to go.
    draining: usize,
    /// What had been measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrivals_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completions_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs_per_second_of_a_worker: Option<f64>,
    decision: DecisionStatus,
}

impl ExplainedDecision {
    /// The decision in the words of a manifest's status.
    pub(super) fn new(explained: &Explained) -> Self {
        let Explained { at, waiting, running, oldest_wait_seconds, desired_before, .. } = *explained;
        let Explained { starting, ready, busy, draining, rates, ref decision, .. } = *explained;
        Self {
            at,
            waiting,
            running,
            oldest_wait_seconds,
            desired_before,
            desired: decision.replicas,
            starting,
            ready,
            busy,
            draining,
            arrivals_per_second: rates.arrivals_per_second,
            completions_per_second: rates.completions_per_second,
            jobs_per_second_of_a_worker: rates.per_worker.map(|rate| rate.jobs_per_second),
            decision: decision_status(decision, decision.to_string()),
        }
    }

    /// As a person reads it; the run began at `start`.
    pub(super) fn text(&self, start: DateTime<FixedOffset>) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let passed = TimeDelta::try_milliseconds((self.at * 1000.0) as i64).unwrap_or_default();
        let moment = start.checked_add_signed(passed).map(|moment| format!(" ({})", moment.to_rfc3339()));
        let oldest = self.oldest_wait_seconds.map(|wait| format!("; the oldest waits {}", length(wait)));
        let number = |rate: f64| format!("{}", (rate * 100.0).round() / 100.0);
        let known = |rate: Option<f64>| rate.map_or_else(|| "not known".into(), number);
        let Self { waiting, running, desired_before, desired, starting, ready, busy, draining, .. } = self;
        let mut text = format!(
            "{:.2} s after the start{}\n\n{}\n\n\
             Workers      {desired_before} -> {desired} asked for; {starting} starting, {ready} ready, {busy} busy, {draining} draining; \
             the work takes {}\n\
             Backlog      {waiting} waiting, {running} running{}\n\
             Rates        {} arrive and {} end per second; a busy worker does {}\n",
            self.at,
            moment.unwrap_or_default(),
            self.decision.message,
            self.decision.wanted,
            oldest.unwrap_or_default(),
            known(self.arrivals_per_second),
            known(self.completions_per_second),
            known(self.jobs_per_second_of_a_worker),
        );
        text.push_str(&decision_tables(&self.decision));
        text
    }
}
