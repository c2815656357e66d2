//! Redis queues seen from both ends: the RQ wire protocol, plain lists and streams.
//!
//! A worker holds a [`Backend`]: claim, heartbeat, settle, maintain. A person or a scaler reads [`stats`]. Everything
//! that touches Redis in this project is in this crate; nothing here knows a database or Kubernetes.

pub mod acl;
pub mod admin;
mod backend;
pub mod bookkeeping;
mod config;
mod connect;
mod connection;
mod delivery;
mod dial;
mod doorbell;
mod list;
mod order;
pub mod payload;
pub mod producer;
mod redis_error;
mod rights;
pub mod rq;
mod script;
mod server_check;
mod stats;
mod stop;
mod stream;
mod trouble;
mod url;

pub use backend::{Backend, Claim, Command, Maintenance, QueueError, Settled};
pub use config::{Order, PayloadLimits, Protocol, QueueConfig, RetryPolicy};
pub use connect::connect;
pub use connection::{Connection, Timeouts, TlsOptions};
pub use delivery::{Call, Completion, Delivery, Lease, Outcome, Payload, PayloadError, Retry, Serializer};
pub use doorbell::Doorbell;
pub use list::ListBackend;
pub use rq::RqQueue;
pub use script::{Invocation, Script};
pub use server_check::eviction_policy;
pub use stats::{QueueStats, StatsQuery, WorkerStats, stats};
pub use stop::{Asked, Standing, Stopper};
pub use stream::StreamBackend;
pub use trouble::{Trouble, TroubleBoard, TroubleKind};
pub use url::ConnectionUrl;
