//! One moment of a run: what was seen, what was decided, and the rates that were measured.

use jobqueue_scaling::{Decision, Rates};

use super::fleet::Pod;
use super::policies::Snapshot;

/// A decision with its grounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// When it was decided, in seconds since the start.
    pub at: f64,
    /// Jobs that waited.
    pub waiting: u64,
    /// Jobs in hand.
    pub running: u64,
    /// How long the oldest job had waited, in seconds; `None`: no job waited.
    pub oldest_wait_seconds: Option<f64>,
    /// Workers asked for before.
    pub desired_before: u32,
    /// Pods that had not become ready.
    pub starting: usize,
    /// Pods that served the queue.
    pub ready: usize,
    /// Pods with jobs in hand, draining ones among them.
    pub busy: usize,
    /// Pods that were to go.
    pub draining: usize,
    /// What had been measured.
    pub rates: Rates,
    /// What was decided.
    pub decision: Decision,
}

impl Explained {
    /// What was decided, with these rates, by what was seen.
    pub(crate) fn new(seen: &Snapshot<'_>, decision: &Decision, rates: &Rates) -> Self {
        let pods = seen.pods.iter();
        let count = |is: fn(&Pod) -> bool| pods.clone().filter(|pod| is(pod)).count();
        Self {
            at: seen.now,
            waiting: seen.waiting,
            running: seen.running,
            oldest_wait_seconds: seen.oldest_wait,
            desired_before: seen.desired,
            starting: count(|pod| !pod.has_started()),
            ready: count(Pod::is_ready),
            busy: count(Pod::is_busy),
            draining: count(|pod| pod.has_started() && !pod.is_ready()),
            rates: *rates,
            decision: decision.clone(),
        }
    }
}
