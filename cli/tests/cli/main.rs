//! The built command as a person or a script meets it, one file a subject.

#![expect(clippy::unwrap_used, reason = "helpers of tests may")]

mod enqueue;
mod failed;
mod interface;
mod local;
mod local_runs;
mod simulate;
mod stop;
mod support;
mod tls;
mod trial;
mod worker_config;
