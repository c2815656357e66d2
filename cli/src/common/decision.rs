//! A scaling decision as tables.

use jobqueue_crds::{CandidateStatus, DecisionStatus, LimitStatus};

use crate::common::output::columns;

/// What each rule asked for, and the limits, each with an empty line before it; empty where there are none.
pub(crate) fn decision_tables(decision: &DecisionStatus) -> String {
    let mut text = String::new();
    let DecisionStatus { candidates, limits, .. } = decision;
    if !candidates.is_empty() {
        let row = |CandidateStatus { reason, workers, message }: &CandidateStatus| {
            vec![reason.clone(), workers.to_string(), message.clone()]
        };
        let header = ["ASKED BY", "WORKERS", "BECAUSE"];
        text.push('\n');
        text.push_str(&columns(&header, &[1], candidates.iter().map(row).collect()));
    }
    if !limits.is_empty() {
        let row = |LimitStatus { reason, message, without }: &LimitStatus| {
            vec![reason.clone(), without.to_string(), message.clone()]
        };
        let header = ["LIMIT", "WITHOUT IT", "BECAUSE"];
        text.push('\n');
        text.push_str(&columns(&header, &[1], limits.iter().map(row).collect()));
    }
    text
}
