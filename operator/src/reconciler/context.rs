//! What every reconcile uses.

use std::{path::PathBuf, sync::Arc};

use kube::Client;

use crate::{
    autoscaler::write_priority::WritePriority,
    liveness::Liveness,
    metrics::Metrics,
    reconciler::{rollouts::Rollouts, secrets::RecentSecrets, worker_defaults::WorkerDefaults},
    scope::Scope,
    state::owners::ReconcilerState,
    status::{competing_scalers::CompetingScalers, writer::StatusWriter},
    traces::Traces,
};

/// What every reconcile uses.
pub(crate) struct Context {
    /// The API server; writes need the lease.
    pub(crate) client: Client,
    /// The queues, for the reconciler.
    pub(crate) state: ReconcilerState,
    /// Writes statuses and their events.
    pub(crate) status: StatusWriter,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// The numbers of workers that are being written.
    pub(crate) write_priority: Arc<WritePriority>,
    /// What is the same for the workers of all queues.
    pub(crate) workers: WorkerDefaults,
    /// This process runs in the cluster, and can resolve the names of its Services.
    pub(crate) in_cluster: bool,
    /// Where passwords in files are, by namespace; `None` without any.
    pub(crate) password_directory: Option<PathBuf>,
    /// The namespaces that are served.
    pub(crate) scope: Scope,
    /// Other autoscalers.
    pub(crate) competing_scalers: CompetingScalers,
    /// Secrets that were read lately.
    pub(crate) secrets: RecentSecrets,
    /// Whether the loop goes on.
    pub(crate) liveness: Liveness,
    /// Ownership workers are replaced because the operator changed.
    pub(crate) rollouts: Rollouts,
    /// Where spans are made.
    pub(crate) traces: Traces,
}
