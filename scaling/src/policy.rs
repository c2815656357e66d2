//! What the decision is to achieve, and within which bounds.

use serde::{Deserialize, Serialize};

use crate::Bounds;

/// The rules of one queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Who decides.
    pub mode: Mode,
    /// The fewest workers.
    pub min_replicas: u32,
    /// The most workers.
    pub max_replicas: u32,
    /// What schedules say now, in addition: a higher floor, a lower ceiling.
    #[serde(default)]
    pub bounds: Bounds,
    /// What the number of workers must achieve.
    pub targets: Targets,
    /// How long the queue must be empty and the workers idle before the last one goes, in seconds. None: as long as starting
    /// one takes.
    pub idle_seconds: Option<f64>,
    /// Limits on growing.
    pub scale_up: Ramp,
    /// Limits on shrinking.
    pub scale_down: Ramp,
    /// What happens while the queue cannot be read.
    pub on_queue_failure: OnQueueFailure,
    /// The database's connections, if they are limited.
    pub connections: Option<ConnectionBudget>,
}

impl Default for Policy {
    /// The defaults of a JobQueue.
    fn default() -> Self {
        Self {
            mode: Mode::Auto,
            min_replicas: 0,
            max_replicas: 10,
            bounds: Bounds::default(),
            targets: Targets::default(),
            idle_seconds: None,
            scale_up: Ramp::default(),
            scale_down: Ramp::default(),
            on_queue_failure: OnQueueFailure::Hold,
            connections: None,
        }
    }
}

impl Policy {
    /// The fewest workers now.
    pub(crate) fn floor(&self) -> u32 {
        self.bounds.floor.map_or(0, |bound| bound.replicas).max(self.min_replicas)
    }
}

/// Who decides the number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The backlog.
    Auto,
    /// A person asked for so many.
    Manual {
        /// How many.
        replicas: u32,
    },
    /// Nobody: the number stays.
    Paused,
}

/// What the number of workers must achieve; the largest answer wins. Without any, no job waits for longer than two starts of
/// a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// Jobs waiting and running, per worker.
    pub jobs_per_worker: Option<f64>,
    /// Every job has ended so many seconds after it came.
    pub drain_seconds: Option<f64>,
    /// Every job has begun so many seconds after it came.
    pub max_wait_seconds: Option<f64>,
}

impl Targets {
    /// Whether none is given.
    pub(crate) fn are_default(&self) -> bool {
        self.jobs_per_worker.is_none() && self.drain_seconds.is_none() && self.max_wait_seconds.is_none()
    }
}

/// Limits on one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// The most workers in one step. Steps up are at least a second apart, steps down ten.
    pub max_step: Option<u32>,
    /// How long a need must last before it is followed, in seconds. None: for more workers no time, for fewer as long as
    /// keeping one costs no more than starting it anew.
    pub stabilization_seconds: Option<f64>,
}

/// What happens while the queue cannot be read. The number of workers never falls for that reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnQueueFailure {
    /// It stays.
    Hold,
    /// It is raised to so many.
    Static {
        /// How many.
        replicas: u32,
    },
}

/// The database's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionBudget {
    /// Connections that this queue's workers may hold together.
    pub connections: u32,
    /// Connections that one worker holds.
    pub per_worker: u32,
}

impl ConnectionBudget {
    /// The workers that it allows.
    pub(crate) fn workers(self) -> u32 {
        self.connections / self.per_worker.max(1)
    }
}
