//! What is known of the queues, in memory. It is lost with the process, and nothing depends on it: what counts is in the
//! cluster and in Redis.
//!
//! A queue's state has parts, and each part one writer: the reconciler writes [`spec`] and [`applied`], the autoscaler
//! [`observed`] and [`scaling`], the status writer [`status_cursor`]. Everybody reads all of them through the [`registry`],
//! which has what is known of objects that are not served, too, such as their [`reported_conditions`]; to write takes the
//! owner's handle ([`owners`]).

pub(crate) mod applied;
pub(crate) mod budgets;
pub(crate) mod deployment_cache;
pub(crate) mod endpoint_key;
pub(crate) mod failure_rate;
pub(crate) mod fair_share;
pub(crate) mod health;
pub(crate) mod idle_pods;
pub(crate) mod key;
pub(crate) mod missing_pods;
pub(crate) mod observed;
pub(crate) mod owned_objects;
pub(crate) mod owners;
pub(crate) mod queue_state;
pub(crate) mod registry;
pub(crate) mod reported_conditions;
mod retries;
pub(crate) mod scaling;
pub(crate) mod spec;
pub(crate) mod status_cursor;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod workers;
