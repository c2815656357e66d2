//! Plain lists and streams: one key of the user's, and sidecar keys of ours that hold leases, retries and failed jobs.

mod commands;
pub(crate) mod failed_jobs;
mod keys;
pub(crate) mod lease_store;
pub(crate) mod list;
pub(crate) mod lua;
pub(crate) mod stream;

pub(crate) use keys::QueueKeys;
pub(crate) use lease_store::STOPPED;
