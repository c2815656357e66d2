//! Scaling policies: the operator's, and those it is compared with.

mod fixed;
mod keda;
mod operator;
mod per_worker;

pub(crate) use fixed::Fixed;
pub(crate) use keda::Keda;
pub(crate) use operator::OperatorPolicy;
pub(crate) use per_worker::PerWorker;

use jobqueue_scaling::{Decision, Rates};

use super::fleet::{Pod, ScaleDownOrder};

/// What a policy sees at one poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    /// When, in seconds since the start.
    pub(crate) now: f64,
    /// The length of the list.
    pub(crate) waiting: u64,
    /// Jobs in hand.
    pub(crate) running: u64,
    /// How long the oldest waiting job has waited, in seconds.
    pub(crate) oldest_wait: Option<f64>,
    /// Pods asked for so far.
    pub(crate) desired: u32,
    /// All pods.
    pub(crate) pods: &'a [Pod],
}

/// Decides the number of workers.
pub(crate) trait ScalingPolicy {
    /// How many workers to have, from now on.
    fn decide(&mut self, seen: Snapshot<'_>) -> u32;

    /// The reason of the last decision.
    fn why(&self) -> String;

    /// The last decision, and the rates by which it was made, if it is one that can be explained.
    fn decision(&self) -> Option<(&Decision, &Rates)> {
        None
    }

    /// Which pods go first at a scale-down.
    fn scale_down_order(&self) -> ScaleDownOrder {
        ScaleDownOrder::Any
    }

    /// After so many seconds in which nothing happens at all the number changes no more, until something happens or
    /// [`ScalingPolicy::changes_at`] has come.
    fn settles_within(&self) -> f64;

    /// When the rule itself will be another, in seconds since the start.
    fn changes_at(&self) -> f64 {
        f64::INFINITY
    }
}
