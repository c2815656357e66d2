//! The worker: claims jobs, applies them to the database, acknowledges.
//!
//! [`Worker::run`] keeps a few slots busy (`slot`): each takes its turn to claim (`intake`), extracts rows (`extract`),
//! writes them in one transaction (`writing`) and only then tells the queue (`settle`). Beside them run the heartbeat, the upkeep
//! of the queues, and the probe of the database (`gate`). What is decided, is decided in files without I/O: `triage`,
//! `verdict`, `backoff`.

pub mod backoff;
pub mod config;
pub mod drain;
pub mod extract;
pub mod gate;
pub mod hand;
pub mod health;
mod heartbeat;
pub mod http;
pub mod instruments;
mod intake;
pub mod metrics;
mod settle;
mod slot;
pub mod startup;
pub mod triage;
pub mod trouble;
mod upkeep;
pub mod verdict;
pub mod worker;
mod writing;

pub use drain::Stop;
pub use worker::{Settings, Worker};
