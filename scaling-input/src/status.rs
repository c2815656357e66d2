//! A decision as `status.decision` says it.

use jobqueue_crds::{CandidateStatus, DecisionStatus, LimitStatus, Reason};
use jobqueue_scaling::{Candidate, Decision, Limit, Limited};

/// The decision, with `message` for its sentence.
pub fn decision_status(decision: &Decision, message: String) -> DecisionStatus {
    let candidate = |Candidate { workers, reason }: &Candidate| CandidateStatus {
        reason: reason.name().into(),
        workers: count(*workers),
        message: reason.to_string(),
    };
    let limit = |Limited { limit, without }: &Limited| LimitStatus {
        reason: limit_reason(limit).to_string(),
        message: limit.to_string(),
        without: count(*without),
    };
    DecisionStatus {
        reason: decision.reason.name().into(),
        message,
        wanted: count(decision.wanted),
        candidates: decision.candidates.iter().map(candidate).collect(),
        limits: decision.limits.iter().map(limit).collect(),
    }
}

/// The condition's reason for a limit of the decision.
pub fn limit_reason(limit: &Limit) -> Reason {
    match limit {
        Limit::MaxReplicas { .. } => Reason::MaxReplicas,
        Limit::Schedule { .. } => Reason::Schedule,
        Limit::Saturated { .. } | Limit::DatabaseErrors { .. } => Reason::DatabaseSaturated,
        Limit::Probing { .. } => Reason::Probing,
        Limit::ConnectionBudget { .. } => Reason::ConnectionBudget,
        Limit::Step { .. } => Reason::StepLimited,
        Limit::ProtectBusy { .. } => Reason::ProtectBusy,
        Limit::Stabilizing { .. } => Reason::Stabilizing,
    }
}

fn count(workers: u32) -> i32 {
    i32::try_from(workers).unwrap_or(i32::MAX)
}
