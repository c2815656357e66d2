//! From the answer of one poll to what is known of a queue, its database and its workers.

use chrono::{DateTime, Utc};
use jobqueue_crds::Reason;
use jobqueue_queue::{FaultKind, QueueError, QueueStats, WorkerFault};
use jobqueue_scaling::{Backlog, Rates};
use jobqueue_scaling_input::Reading;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::state::{
    applied::Applied,
    health::{Reachability, Stall},
    idle_pods::IdlePods,
    observed::{Observed, QueueSnapshot},
    spec::Spec,
};

/// Failed polls in a row before a queue counts as unreachable: one lost packet is no outage.
const FAILURES: u32 = 3;

/// One moment, by each of the clocks that a decision goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// Seconds of a monotonic clock after any fixed moment.
    pub(super) seconds: f64,
    /// The monotonic clock of the process.
    pub(super) monotonic: Instant,
    /// The wall clock.
    pub(super) wall: DateTime<Utc>,
}

impl Moment {
    /// This moment, which is `seconds` after the fixed one.
    pub(super) fn now(seconds: f64) -> Self {
        Self { seconds, monotonic: Instant::now(), wall: Utc::now() }
    }

    fn timestamp(self) -> Timestamp {
        let nanoseconds = i32::try_from(self.wall.timestamp_subsec_nanos()).unwrap_or(0);
        Timestamp::new(self.wall.timestamp(), nanoseconds).unwrap_or_default()
    }
}

/// What the decision is to go by.
pub(super) struct Load {
    /// Jobs that wait and run; `None` if Redis did not answer.
    pub(super) backlog: Option<Backlog>,
    /// Arrivals and completions.
    pub(super) rates: Rates,
    /// Workers that have jobs.
    pub(super) busy: u32,
    /// Workers that report a problem.
    pub(super) troubled: u32,
}

/// Takes the answer of one poll in, of a queue for which this was `applied`.
pub(super) fn observe(
    observed: &mut Observed,
    spec: &Spec,
    applied: &Applied,
    answer: Result<&QueueStats, &QueueError>,
    now: Moment,
) -> Load {
    if observed.endpoint.as_ref() != Some(&spec.endpoint) {
        // Another server, or another password: failures of the old one say nothing.
        observed.failed_polls = 0;
        observed.endpoint = Some(spec.endpoint.clone());
    }
    match answer {
        Ok(stats) => {
            observed.failed_polls = 0;
            observed.queue = queue_reachability(&stats.faults);
            if spec.has_database {
                judge_database(observed, applied.ready, &stats.faults);
            }
            observed.failure_rate.observe(now.seconds, &stats.workers);
            observed.idle_pods.observe(&stats.workers, applied.deployment.as_deref().unwrap_or_default());
            let Reading { backlog, rates, busy, troubled } = observed.input.read(now.seconds, stats);
            let QueueStats { failed, scheduled, .. } = *stats;
            observed.snapshot = Some(QueueSnapshot {
                backlog,
                failed,
                scheduled,
                arrivals_per_second: rates.arrivals_per_second,
                completions_per_second: rates.completions_per_second,
                at: now.timestamp(),
            });
            Load { backlog: Some(backlog), rates, busy, troubled }
        }
        Err(error) => {
            record_failure(observed, error);
            Load { backlog: None, rates: observed.input.miss(), busy: 0, troubled: 0 }
        }
    }
}

/// Redis answered the operator, which only reads. A worker does more with the queue: its account may lack a right.
fn queue_reachability(faults: &[WorkerFault]) -> Reachability {
    let refused = faults.iter().rev().find_map(|WorkerFault { kind, message }| {
        let reason = match kind {
            FaultKind::QueueDenied => Reason::Denied,
            FaultKind::QueueWrongData => Reason::WrongData,
            FaultKind::Unavailable | FaultKind::Denied | FaultKind::SchemaMismatch => return None,
        };
        Some(Reachability::Failed { reason, message: format!("for a worker: {message}").into() })
    });
    refused.unwrap_or(Reachability::Reachable)
}

/// The workers know their database; the operator never talks to it. What none of them can tell stays as it was.
fn judge_database(observed: &mut Observed, ready: u32, faults: &[WorkerFault]) {
    let first = |kinds: &[FaultKind]| faults.iter().find(|fault| kinds.contains(&fault.kind));
    let mismatch = first(&[FaultKind::SchemaMismatch]);
    observed.recipe_stall = mismatch.map(|WorkerFault { message, .. }| {
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        Box::new(Stall { reason: Reason::InvalidRecipe, message })
    });
    if let Some(WorkerFault { kind, message }) = first(&[FaultKind::Denied, FaultKind::Unavailable]) {
        let reason = if *kind == FaultKind::Denied { Reason::Denied } else { Reason::Unreachable };
        observed.database_as_reported = Reachability::Failed { reason, message: message.as_str().into() };
    } else if mismatch.is_some() || ready > 0 {
        observed.database_as_reported = Reachability::Reachable;
    }
}

/// Redis did not answer.
fn record_failure(observed: &mut Observed, error: &QueueError) {
    observed.failed_polls = observed.failed_polls.saturating_add(1);
    observed.idle_pods = IdlePods::default();
    if observed.failed_polls >= FAILURES {
        let reason = match error {
            QueueError::Unavailable { .. } => Reason::Unreachable,
            QueueError::Denied { .. } => Reason::Denied,
            QueueError::Data(_) => Reason::WrongData,
            QueueError::Config(_) => Reason::InvalidUrl,
        };
        observed.queue = Reachability::Failed { reason, message: error.to_string().into() };
    }
}
