//! One queue that is served: what it is, what was seen of it, what was decided.

use std::sync::Arc;

use jobqueue_crds::{JobQueue, JobQueueStatus, LastScale, Reason};
use jobqueue_demand::Demand;
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::{Backlog, Calendar, Decision, Memory, Policy, Rates};
use tokio::time::Instant;

use crate::{
    apply::Record,
    digest::{Digest, fingerprint},
    endpoint::EndpointKey,
    failing::Failing,
    glimpse::Missing,
    idle::Idle,
    status::{Blocked, Reach},
};

/// What the sweep works with and leaves behind, for one queue.
pub struct Tracked {
    /// Another object of the same name begins anew.
    pub uid: Uid,
    /// Held while the Deployment is written, so that an apply never puts back a number that a scaling just replaced.
    pub write: Arc<tokio::sync::Mutex<()>>,
    /// Since when it is served.
    pub since: Instant,
    /// Where to look.
    pub endpoint: EndpointKey,
    /// What to look at there.
    pub target: Arc<StatsQuery>,
    /// The rules.
    pub policy: Policy,
    /// Its schedules.
    pub calendar: Calendar,
    /// The budget of connections that it shares with other queues of its namespace.
    pub budget: Option<Box<str>>,
    /// The Deployment to scale, once it exists.
    pub deployment: Option<Box<str>>,
    /// Workers asked for now.
    pub current: u32,
    /// Workers that are ready.
    pub ready: u32,
    /// What the looks so far tell of the demand.
    pub demand: Demand,
    /// What the decision remembers.
    pub memory: Memory,
    /// What was seen last.
    pub seen: Option<Seen>,
    /// The last decision.
    pub decision: Option<Decision>,
    /// The last change of the number of workers.
    pub last_scale: Option<Box<LastScale>>,
    /// Whether Redis answers.
    pub reach: Reach,
    /// Looks in a row that failed.
    pub failures: u32,
    /// Whether the workers reach their database, as they say.
    pub database: Reach,
    /// What only a person can repair, as the workers say: a recipe that does not fit the database.
    pub misfit: Option<Box<Blocked>>,
    /// The pods whose workers have nothing in hand.
    pub idle: Idle,
    /// `scaleDown.protectBusy`.
    pub protect_busy: bool,
    /// Whether jobs fail at an unusual rate.
    pub failing: Failing,
    /// By which policy Redis throws keys away, if it does.
    pub evicts: Option<Box<str>>,
    /// When Redis was asked for that.
    pub asked: Option<Instant>,
    /// Digest of what the last look left to tell.
    pub warned: Option<u64>,
    /// A change that is being written; no other is begun meanwhile.
    pub scaling: bool,
    /// Changes in a row that could not be written, and when the next may be tried.
    pub refused: Option<(u32, Instant)>,
    /// What was applied last.
    pub applied: Option<Record>,
    /// Of which object's generation, with which digest of its Secrets.
    pub applied_for: Option<(i64, Digest)>,
    /// When the number of workers was last written, the API server answering.
    pub scaled: Option<Instant>,
    /// Workers are missing.
    pub missing: Option<Box<Missing>>,
    /// Why the number of workers is held where it is, against the decision.
    pub held: Option<Reason>,
    /// When the status was last written, and the numbers in it.
    pub told: Option<(Instant, Told)>,
}

impl Tracked {
    /// What a queue's status should warn of, as the sweep knows.
    pub fn warnings(&self) -> Vec<Blocked> {
        let evicts = self.evicts.as_ref().map(|policy| Blocked {
            reason: Reason::EvictionPossible,
            message: format!(
                "Redis throws keys away when its memory is full (maxmemory-policy {policy}), jobs among them: set noeviction"
            ),
        });
        let failing = self.failing.message();
        let failing = failing.map(|message| Blocked { reason: Reason::JobsFailing, message });
        evicts.into_iter().chain(failing).collect()
    }
}

/// Digest of what a status says of the backlog, as far as a change of it is news after a while: jobs that wait, run, failed or
/// are scheduled, and the decision's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told(u64);

impl Told {
    /// As the status would say now.
    pub fn of(tracked: &Tracked) -> Self {
        let counts = tracked.seen.as_ref().map(|seen| {
            let Seen { backlog, failed, scheduled, .. } = seen;
            [backlog.waiting, backlog.running, *failed, *scheduled]
        });
        let reason = tracked.decision.as_ref().map(|decision| decision.reason.name());
        Self(fingerprint((counts.unwrap_or_default(), reason)))
    }
}

/// Tells one object from another of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uid(u64);

impl Uid {
    /// The uid of this object.
    pub fn of(queue: &JobQueue) -> Self {
        Self(fingerprint(queue.metadata.uid.as_deref().unwrap_or_default()))
    }
}

/// A status that we wrote.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object that it is of.
    pub uid: Uid,
    /// What it says; none once the watch has it too.
    pub status: Option<Box<JobQueueStatus>>,
    /// When.
    pub at: Instant,
}

/// The numbers of one look.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The work.
    pub backlog: Backlog,
    /// Jobs in the failed registry.
    pub failed: u64,
    /// Jobs that come due later.
    pub scheduled: u64,
    /// Rates.
    pub rates: Rates,
    /// When, by the wall clock.
    pub at: k8s_openapi::jiff::Timestamp,
}

/// What the controller knows of a queue that it serves.
#[derive(Debug)]
pub struct Served {
    /// Whose this is.
    pub uid: Uid,
    /// Where to look.
    pub endpoint: EndpointKey,
    /// What to look at.
    pub target: StatsQuery,
    /// The rules.
    pub policy: Policy,
    /// Its schedules.
    pub calendar: Calendar,
    /// The budget of connections that it shares.
    pub budget: Option<Box<str>>,
    /// `scaleDown.protectBusy`.
    pub protect_busy: bool,
    /// Workers asked for, as the cluster has it: where a fresh operator begins.
    pub found: u32,
    /// The Deployment, where there is one.
    pub deployment: Option<Box<str>>,
    /// The last change of the number of workers, as the status has it.
    pub last_scale: Option<LastScale>,
    /// Whether the queue has a database.
    pub has_database: bool,
}

/// A queue to serve, for tests.
#[cfg(test)]
pub(crate) fn served(url: &str) -> Served {
    let resolved = crate::secrets::Resolved {
        redis_url: url.into(),
        redis_ca: None,
        redis_client: None,
        database_url: None,
        hash: crate::digest::Digest::default(),
        version: crate::digest::Digest::default(),
    };
    Served {
        uid: Uid(0),
        endpoint: EndpointKey::new(&resolved, None).expect("a URL"),
        target: StatsQuery {
            protocol: jobqueue_queue::Protocol::Rq,
            names: vec!["q".into()],
            key_prefix: "rq".into(),
            consumer_group: String::new(),
        },
        policy: Policy::default(),
        calendar: Calendar::default(),
        budget: None,
        protect_busy: false,
        found: 0,
        deployment: None,
        last_scale: None,
        has_database: false,
    }
}

/// A look that saw so many jobs waiting, for tests.
#[cfg(test)]
pub(crate) fn seen(waiting: u64) -> Seen {
    let backlog = Backlog { waiting, running: 0, oldest_wait_seconds: None };
    let at = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
    Seen { backlog, failed: 0, scheduled: 0, rates: Rates::default(), at }
}
