//! What the polls of Redis found out about a queue. Written by the autoscaler.

use jobqueue_crds::Reason;
use jobqueue_scaling::Backlog;
use jobqueue_scaling_input::ScalingInput;
use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::state::{
    endpoint_key::EndpointKey,
    failure_rate::FailureRate,
    health::{Reachability, Stall, Warning},
    idle_pods::IdlePods,
};

/// The part of a queue's state that follows Redis.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The server that was polled last; `None` before the first poll.
    pub(crate) endpoint: Option<EndpointKey>,
    /// The input, by the polls so far.
    pub(crate) input: ScalingInput,
    /// The numbers of the last poll that was answered; `None` before that.
    pub(crate) snapshot: Option<QueueSnapshot>,
    /// Whether Redis answers.
    pub(crate) queue: Reachability,
    /// Polls in a row that failed.
    pub(crate) failed_polls: u32,
    /// Whether the workers reach their database, as they report. Ask [`Observed::database`].
    pub(crate) database_as_reported: Reachability,
    /// A recipe that does not fit the database, as the workers report; `None` if none of them says so.
    pub(crate) recipe_stall: Option<Box<Stall>>,
    /// Workers that the last answer told of, remembered or not.
    pub(crate) reported_workers: u32,
    /// The pods whose workers have no job.
    pub(crate) idle_pods: IdlePods,
    /// Whether jobs fail at an unusual rate.
    pub(crate) failure_rate: FailureRate,
    /// The policy by which Redis evicts keys; `None` if it evicts none, or it is not known.
    pub(crate) eviction_policy: Option<Box<str>>,
    /// When Redis was last asked for its eviction policy; `None` before that.
    pub(crate) eviction_asked_at: Option<Instant>,
}

impl Observed {
    /// Whether the workers reach their database, as they report; `NotApplicable` if the queue has none.
    pub(crate) fn database(&self, has_database: bool) -> &Reachability {
        if has_database { &self.database_as_reported } else { &Reachability::NotApplicable }
    }

    /// True if no job waits or runs and no worker is busy: no worker needs protection.
    pub(crate) fn nothing_runs(&self) -> bool {
        self.failed_polls == 0
            && self.snapshot.as_ref().is_some_and(|snapshot| snapshot.backlog.jobs() == 0)
            && self.idle_pods.all_idle()
    }

    /// What the queue's status should warn of.
    pub(crate) fn warnings(&self) -> Vec<Warning> {
        let eviction = self.eviction_policy.as_ref().map(|policy| Warning {
            reason: Reason::EvictionPossible,
            message: format!(
                "Redis throws keys away when its memory is full (maxmemory-policy {policy}), jobs among them: set noeviction"
            ),
        });
        let failures = self.failure_rate.message();
        let failures = failures.map(|message| Warning { reason: Reason::JobsFailing, message });
        eviction.into_iter().chain(failures).collect()
    }
}

/// The numbers of one poll.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueueSnapshot {
    /// Jobs that wait and run.
    pub(crate) backlog: Backlog,
    /// Jobs in the failed registry.
    pub(crate) failed: u64,
    /// Jobs that come due later.
    pub(crate) scheduled: u64,
    /// Jobs that come, per second; `None` until two polls tell.
    pub(crate) arrivals_per_second: Option<f64>,
    /// Jobs that end, per second; `None` until two polls tell.
    pub(crate) completions_per_second: Option<f64>,
    /// When it was taken, by the wall clock.
    pub(crate) at: Timestamp,
}
