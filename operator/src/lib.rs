//! The operator: watches JobQueues, keeps their workers as specified, and scales them by what it sees in Redis.
//!
//! Two loops share the state of the queues (`state`), each part of which one of them writes. The reconciler (`reconciler`)
//! brings the cluster to what an object says when it, or something it owns, changes: fetch, validate, build, apply, status.
//! The autoscaler (`autoscaler`) polls all queues of each Redis several times a second, asks the pure `jobqueue_scaling` for
//! a number, and writes it at once. Both run while this operator leads (`leadership`).

mod autoscaler;
mod backoff;
mod digest;
mod healthcheck;
mod http;
mod kube_client;
mod leadership;
mod lease_guard;
mod liveness;
mod metrics;
mod metrics_access;
mod names;
mod reconciler;
mod scope;
mod state;
mod status;
mod traces;

pub use autoscaler::Change;
pub use healthcheck::{Unwell, check};
pub use http::{Health, serve};
pub use kube_client::{GuardedService, WriteError, WriteGuard, client};
pub use leadership::{
    elector::{Elector, LEASE_DURATION},
    term::{Settings, Term},
};
pub use lease_guard::LeaseGuard;
pub use liveness::Liveness;
pub use metrics::Metrics;
pub use metrics_access::MetricsAccess;
pub use reconciler::worker_defaults::{DNS_PORT, UnusableTemplate, WorkerDefaults};
pub use reconciler::{compact_object::GuardedJobQueue, error::Error, secrets::SecretError};
pub use scope::Scope;
pub use state::{key::Key, owned_objects::OwnedKind};
pub use traces::Traces;
