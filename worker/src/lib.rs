//! The worker: claims jobs, applies them to the database, acknowledges.
//!
//! [`Worker::run`] keeps a few slots busy (`slot`). In each a batch goes through the `pipeline`: claimed, extracted, written in
//! one transaction, and only then settled in the queue. Beside the slots run the tasks in `background`; what all of them
//! share is in `deps`, and what is known of the worker in `state`.

mod background;
mod backoff;
pub mod config;
mod deps;
pub mod http;
mod pipeline;
mod slot;
pub mod startup;
mod state;
mod strict;
mod traces;
mod worker;

pub use background::status_reporter;
pub use deps::Settings;
pub use pipeline::extract::{Extractor, by_recipe};
pub use pipeline::outcome::{Failure, FailureKind};
pub use state::health::Health;
pub use state::instruments::Instruments;
pub use state::shutdown::Shutdown;
pub use traces::Identity;
pub use worker::{Worker, WorkerError};
