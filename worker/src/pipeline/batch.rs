//! The jobs that are worked on together, from the claim to the settlement.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobqueue_ingest::Unit;
use jobqueue_queue::Delivery;
use tokio::sync::OwnedSemaphorePermit;

use super::outcome::JobOutcome;
use crate::state::in_flight::LeaseGroup;
use crate::traces::JobSpan;

/// What one claim took from the queue, at least one job.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) deliveries: Vec<Delivery>,
    /// The right to work on suspects; `None` while another batch has it.
    pub(crate) permit: Option<SuspectPermit>,
}

/// The right to work on suspects: one batch at a time has it, until it is dropped.
pub(crate) type SuspectPermit = OwnedSemaphorePermit;

/// Jobs of one claim that are extracted, written and settled together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) items: Vec<BatchItem>,
    /// When the work on it began.
    pub(crate) started_at: DateTime<Utc>,
    /// Keeps the leases of its jobs alive until the batch is settled.
    pub(crate) leases: LeaseGroup,
    /// Held until the batch is settled if its jobs are suspects; `None` if they are not.
    pub(crate) permit: Option<SuspectPermit>,
}

/// One job of a batch.
#[derive(Debug, Clone)]
pub(crate) struct BatchItem {
    pub(crate) delivery: Delivery,
    /// Its rows and ledger key, from the extraction to the commit. `None`: there is nothing to write for this job, or no
    /// longer.
    pub(crate) unit: Option<Unit>,
    /// How it ended. [`JobOutcome::Released`] until a stage says otherwise: a job that no stage came to goes back to the
    /// queue.
    pub(crate) outcome: JobOutcome,
    /// `None` while it is not traced.
    pub(crate) span: Option<Arc<JobSpan>>,
}
