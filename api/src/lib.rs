//! What a manifest, a worker's config file and a recipe have in common: each field and each default once.
//!
//! `crds` puts these types into the JobQueue and adds what only a cluster knows; [`WorkerConfig`] is what a worker is told.
//! The doc comments are also the descriptions of the API reference. Unknown fields are passed over: an operator may be older
//! than the objects that it reads. Those who read files of a person refuse them.

mod database;
mod ingest;
mod queue;
#[cfg(feature = "schema")]
mod schema;
mod worker;
mod worker_config;

pub use database::DatabaseSettings;
pub use ingest::{ChildSpec, IngestSpec, OnConflict, TableSpec};
pub use queue::{Order, PayloadLimits, Protocol, QueueSettings, RetrySpec};
#[cfg(feature = "schema")]
pub use schema::rule;
pub use worker::WorkerSettings;
pub use worker_config::{CONFIG_VERSION, WorkerConfig};
