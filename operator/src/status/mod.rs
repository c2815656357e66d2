//! The status of a JobQueue and its events: what they report, and when they are written.

pub(crate) mod competing_scalers;
mod compose;
pub(crate) mod conditions;
pub(crate) mod events;
pub(crate) mod pod_problems;
pub(crate) mod slow_pods;
mod text;
pub(crate) mod writer;
