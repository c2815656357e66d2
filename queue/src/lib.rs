//! Redis queues seen from both ends: the RQ wire protocol, plain lists and streams.
//!
//! A worker holds a [`Backend`]: claim, heartbeat, settle, maintain. A person or a scaler reads [`stats`]. Everything
//! that touches Redis in this project is in this crate; nothing here knows a database or Kubernetes.

pub mod acl;
pub mod admin;
mod backend;
mod config;
mod connect;
mod delivery;
mod order;
pub mod payload;
pub mod producer;
mod redis;
mod rights;
pub mod rq;
mod simple;
mod stats;
mod stop;
mod trace_context;
mod wakeup;
mod worker_reports;

pub use crate::redis::connection::{Connection, Timeouts, TlsOptions};
pub use crate::redis::guard::{AddressPolicy, Guard, Network, ReplyLimits};
pub use crate::redis::script::{Invocation, Script};
pub use crate::redis::server_check::eviction_policy;
pub use crate::redis::url::ConnectionUrl;
pub use backend::{Backend, Claim, Command, Maintenance, QueueError, Settled};
pub use config::{QueueConfig, RetryPolicy};
pub use connect::connect;
pub use delivery::{Call, Completion, Delivery, Lease, Outcome, Payload, PayloadError, Retry, Serializer};
pub use jobqueue_api::{Order, PayloadLimits, Protocol};
pub use rq::RqQueue;
pub use simple::list::ListBackend;
pub use simple::stream::StreamBackend;
pub use stats::{QueueStats, StatsQuery, WorkerStats, stats};
pub use stop::{Asked, Standing, Stopper};
pub use trace_context::TraceContext;
pub use wakeup::Wakeup;
pub use worker_reports::{FaultKind, FaultReporter, WorkerFault};
