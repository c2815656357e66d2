//! How a queue is to be polled and scaled. Written by the reconciler, from a spec that was validated.

use std::{cell::RefCell, sync::Arc};

use chrono::{DateTime, Utc};
use jobqueue_crds::LastScale;
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::{Bounds, Calendar, Policy};

use crate::state::{budgets::Budget, endpoint_key::EndpointKey};

/// The part of a queue's state that follows its spec.
#[derive(Debug)]
pub(crate) struct Spec {
    /// The version of the object that says so, for events; `None` if it is not a number.
    pub(crate) version: Option<u64>,
    /// The Redis server to ask.
    pub(crate) endpoint: EndpointKey,
    /// What to ask it.
    pub(crate) query: Arc<StatsQuery>,
    /// The rules of the decision.
    pub(crate) policy: Arc<Policy>,
    /// The schedules of its bounds; `None` without any. In a cell, since reading one fills its cache; ask [`Spec::bounds`].
    pub(crate) calendar: Option<Box<RefCell<Calendar>>>,
    /// The budget of database connections that it shares with other queues of its namespace; `None` if it has its own.
    pub(crate) budget: Option<Arc<Budget>>,
    /// `scaleDown.protectBusy`.
    pub(crate) protect_busy: bool,
    /// Whether the queue has a database.
    pub(crate) has_database: bool,
}

impl Spec {
    /// The bounds that the schedules set at `now`.
    pub(crate) fn bounds(&self, now: DateTime<Utc>) -> Bounds {
        self.calendar.as_ref().map_or_else(Bounds::default, |calendar| calendar.borrow_mut().at(now))
    }
}

/// Where a queue begins that was not served before by this process.
#[derive(Debug, Default)]
pub(crate) struct Initial {
    /// Workers asked for, as the cluster has it.
    pub(crate) replicas: u32,
    /// The name of the workers' Deployment; `None` if there is none yet.
    pub(crate) deployment: Option<Box<str>>,
    /// The last change of the number of workers, as the status has it; `None` if there was none.
    pub(crate) last_scale: Option<LastScale>,
}
