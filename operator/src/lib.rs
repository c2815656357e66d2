//! The foreman: watches JobQueues, keeps their workers as planned, and scales them by what it sees in Redis.
//!
//! Two loops share one registry of queues. The controller (`controller`) reconciles an object when it, or something it
//! owns, changes: fetch, validate, plan, apply, status. The sweep (`sweep`) looks at all queues of each Redis several
//! times a second, asks the pure `jobqueue_scaling` for a number, and patches it at once.

pub mod api;
pub mod apply;
pub mod backoff;
pub mod check;
pub mod controller;
pub mod digest;
pub mod endpoint;
pub mod error;
pub mod events;
pub mod failing;
pub mod fetch;
pub mod glimpse;
pub mod goers;
pub mod http;
pub mod idle;
pub mod kept;
pub mod leader;
pub mod metrics;
pub mod observe;
pub mod plan;
pub mod registry;
pub mod report;
pub mod rivals;
pub mod rush;
pub mod secrets;
pub mod status;
pub mod sweep;
pub mod tenure;
pub mod tracked;
pub mod turns;
pub mod validate;
