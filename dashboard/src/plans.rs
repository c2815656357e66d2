//! Changes of failed jobs: planned with the number of jobs they touch, confirmed by a person, carried out in the background.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jobqueue_queue::QueueError;
use jobqueue_queue::admin::{FailedJobs, Requeued};
use tokio::sync::watch;

use crate::source::{Backlog, QueueKey};
use crate::survey::JobId;

/// Plans that are remembered, the newest.
const MOST_PLANS: usize = 8;
/// Jobs in a step.
const STEP: usize = 500;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Back on their queues.
    Requeue,
    /// Removed for good.
    Purge,
}

impl Action {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            "requeue" => Some(Self::Requeue),
            "purge" => Some(Self::Purge),
            _ => None,
        }
    }
}

/// The jobs that are meant.
#[derive(Debug)]
pub(crate) enum Jobs {
    /// These.
    These(Vec<JobId>),
    /// So many of each registry, from its start: all there were when the plan was made.
    All(Vec<u64>),
}

impl Jobs {
    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::These(ids) => ids.len() as u64,
            Self::All(counts) => counts.iter().sum(),
        }
    }
}

/// What a person is asked to confirm.
pub(crate) struct Plan {
    pub(crate) id: String,
    pub(crate) key: QueueKey,
    pub(crate) action: Action,
    pub(crate) jobs: Jobs,
    /// Which jobs, in words.
    pub(crate) which: String,
    progress: Mutex<Progress>,
}

/// What came of it so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) started: bool,
    pub(crate) finished: bool,
    /// Jobs that were requeued or removed.
    pub(crate) done: u64,
    /// Jobs without a record; they were forgotten.
    pub(crate) gone: u64,
    /// Jobs that were not in the registry any more.
    pub(crate) elsewhere: u64,
    pub(crate) problem: Option<String>,
}

impl Plan {
    fn state(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn progress(&self) -> Progress {
        self.state().clone()
    }

    /// Jobs that were not in the registry any more: those that were met, and at the end all that were left.
    pub(crate) fn elsewhere(&self) -> u64 {
        let progress = self.progress();
        if progress.finished && progress.problem.is_none() {
            self.jobs.count().saturating_sub(progress.done + progress.gone)
        } else {
            progress.elsewhere
        }
    }

    /// Carries it out, once.
    pub(crate) async fn carry_out(&self, backlog: Backlog, changed: &watch::Sender<u64>) {
        if std::mem::replace(&mut self.state().started, true) {
            return;
        }
        let result = self.all_steps(&backlog, changed).await;
        let mut progress = self.state();
        progress.problem = result.err().map(|error| error.to_string());
        progress.finished = true;
        drop(progress);
        changed.send_modify(|number| *number += 1);
    }

    async fn all_steps(&self, backlog: &Backlog, changed: &watch::Sender<u64>) -> Result<(), QueueError> {
        let registries: Vec<FailedJobs> = backlog.registries()?.into_iter().map(|(_, jobs)| jobs).collect();
        for (index, jobs) in registries.iter().enumerate() {
            match &self.jobs {
                Jobs::These(ids) => {
                    let own: Vec<String> =
                        ids.iter().filter(|(registry, _)| *registry == index).map(|(_, id)| id.clone()).collect();
                    for ids in own.chunks(STEP) {
                        self.step(jobs, ids).await?;
                        changed.send_modify(|number| *number += 1);
                    }
                }
                Jobs::All(counts) => {
                    let mut left = counts.get(index).copied().unwrap_or(0);
                    while left > 0 {
                        let ids = jobs.oldest(0, STEP.min(usize::try_from(left).unwrap_or(STEP))).await?;
                        // A registry that keeps what was taken from it would never end.
                        if ids.is_empty() || self.step(jobs, &ids).await? == 0 {
                            break;
                        }
                        left = left.saturating_sub(ids.len() as u64);
                        changed.send_modify(|number| *number += 1);
                    }
                }
            }
        }
        Ok(())
    }

    /// Answers how many left the registry.
    async fn step(&self, jobs: &FailedJobs, ids: &[String]) -> Result<u64, QueueError> {
        match self.action {
            Action::Requeue => {
                let outcomes = jobs.requeue(ids, false).await?;
                let count = |wanted: Requeued| outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64;
                let (done, gone) = (count(Requeued::Queued), count(Requeued::Gone));
                let mut progress = self.state();
                progress.done += done;
                progress.gone += gone;
                progress.elsewhere += count(Requeued::NotFailed);
                Ok(done + gone)
            }
            Action::Purge => {
                let removed = jobs.purge(ids).await?;
                let mut progress = self.state();
                progress.done += removed;
                progress.elsewhere += (ids.len() as u64).saturating_sub(removed);
                Ok(removed)
            }
        }
    }
}

/// The plans of this run.
#[derive(Default)]
pub(crate) struct Plans(Mutex<VecDeque<Arc<Plan>>>);

impl Plans {
    fn plans(&self) -> MutexGuard<'_, VecDeque<Arc<Plan>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a new one.
    pub(crate) fn add(&self, key: QueueKey, action: Action, jobs: Jobs, which: String) -> Arc<Plan> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let plan = Arc::new(Plan { id, key, action, jobs, which, progress: Mutex::default() });
        let mut plans = self.plans();
        plans.push_back(Arc::clone(&plan));
        if plans.len() > MOST_PLANS {
            plans.pop_front();
        }
        plan
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Plan>> {
        self.plans().iter().find(|plan| plan.id == id).cloned()
    }
}
