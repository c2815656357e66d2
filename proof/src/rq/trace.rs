//! Replay: is what a real run did something that the model allows?
//!
//! A trace has one event a line, in JSON. Not all that happens is written down: leases lapse, scheduled jobs come due, ids
//! are dropped or set aside. So the model is kept in every state that fits what was written so far, and a trace is allowed
//! as long as there is one.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::scripts::{self, Outcome};
use super::steps::{self, Step};
use super::{Budget, Config, Execution, Job, Lease, Redis, Run, Stamp, Status, System, Until};
use crate::guards::Guards;

/// More states than this at once: the trace leaves too much open.
const MOST_STATES: usize = 20_000;

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A producer enqueued a job; `version` is its `created_at`.
    Enqueue {
        /// The id.
        job: String,
        /// Its `created_at`: the same one again is the same version again.
        version: String,
    },
    /// A producer canceled a job.
    Cancel {
        /// The id.
        job: String,
    },
    /// A record was deleted, or expired.
    Delete {
        /// The id.
        job: String,
    },
    /// A person requeued a failed job.
    Requeue {
        /// The id.
        job: String,
    },
    /// A worker claimed a job.
    Claim {
        /// The worker.
        worker: String,
        /// The id.
        job: String,
        /// The run, as the ledger will have it.
        run: String,
        /// The name of this claim.
        execution: String,
    },
    /// A worker's transaction was committed.
    Commit {
        /// The worker.
        worker: String,
        /// The run.
        run: String,
        /// Whether rows were written: not if the ledger had the run already.
        applied: bool,
    },
    /// Redis took an outcome, or said that the lease was lost.
    Settle {
        /// The worker.
        worker: String,
        /// The claim.
        execution: String,
        /// What Redis answered.
        outcome: Settled,
    },
    /// A worker died.
    Crash {
        /// The worker.
        worker: String,
    },
    /// Maintenance brought back what a lapsed lease held.
    Reclaim {
        /// The claim.
        execution: String,
    },
    /// The replica followed this far, or a backup was made.
    Backup,
    /// Failover to that replica, or the backup was restored.
    Failover,
}

/// What Redis answered to an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settled {
    /// Done.
    Finished,
    /// To be tried again.
    Retried,
    /// Failed for good.
    Failed,
    /// Given back.
    Released,
    /// The lease was not this worker's any more.
    Lost,
}

/// Why a trace is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for Refused {}

/// Reads a trace and replays it.
pub fn replay_text(text: &str, guards: Guards, max_attempts: u8) -> Result<usize, Refused> {
    let mut replay = Replay::new(guards, max_attempts);
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let event: Event = serde_json::from_str(text).map_err(|error| Refused { line, why: error.to_string() })?;
        replay.next(&event).map_err(|why| Refused { line, why })?;
    }
    Ok(replay.states.len())
}

/// A claim that is not settled yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Held {
    worker: String,
    slot: usize,
}

/// A state that fits, and what the names of the trace are in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Fit {
    world: System,
    jobs: BTreeMap<String, Job>,
    versions: BTreeMap<(Job, String), Stamp>,
    runs: BTreeMap<String, Run>,
    executions: BTreeMap<String, Execution>,
    held: BTreeMap<Execution, Held>,
}

/// A trace that is being replayed.
#[derive(Debug, Clone)]
pub struct Replay {
    config: Config,
    states: HashSet<Fit>,
}

impl Replay {
    /// Nothing happened yet.
    pub fn new(guards: Guards, max_attempts: u8) -> Self {
        let config = Config { guards, max_attempts, jobs: 0, workers: 0, ..Config::small(plenty()) };
        let fit = Fit {
            world: config.first(),
            jobs: BTreeMap::new(),
            versions: BTreeMap::new(),
            runs: BTreeMap::new(),
            executions: BTreeMap::new(),
            held: BTreeMap::new(),
        };
        Self { config, states: HashSet::from([fit]) }
    }

    /// Goes on by one event; an error says why the model does not allow it.
    pub fn next(&mut self, event: &Event) -> Result<(), String> {
        let before = self.settle_down()?;
        let mut after: HashSet<Fit> = before.iter().filter_map(|fit| self.take(fit, event)).collect();
        if after.is_empty() {
            let event = serde_json::to_string(event).unwrap_or_default();
            return Err(format!("the model does not allow this here: {event}"));
        }
        std::mem::swap(&mut self.states, &mut after);
        Ok(())
    }

    /// All that may have happened meanwhile without a line in the trace.
    fn settle_down(&self) -> Result<HashSet<Fit>, String> {
        let mut known = self.states.clone();
        let mut open: Vec<Fit> = known.iter().cloned().collect();
        while let Some(fit) = open.pop() {
            for world in self.unseen(&fit.world) {
                let next = Fit { world, ..fit.clone() };
                if known.insert(next.clone()) {
                    open.push(next);
                }
            }
            if known.len() > MOST_STATES {
                return Err(format!("the trace leaves more than {MOST_STATES} states open"));
            }
        }
        Ok(known)
    }

    fn unseen(&self, world: &System) -> Vec<System> {
        let redis = &world.servers[0];
        let lapse = |lease: &Lease| (lease.until == Until::Live).then_some(Step::Lapse(0, lease.execution));
        let mut silent: Vec<Step> = redis.leases.iter().filter_map(lapse).collect();
        silent.extend(redis.scheduled.iter().map(|job| Step::ComeDue(0, *job)));
        let mut worlds: Vec<System> = silent.into_iter().filter_map(|step| self.step(world, step)).collect();
        // A look at an id that ends in nobody's hands.
        let (mut looked, slot) = with_free_slot(world);
        if scripts::claim(&mut looked, &self.config, slot, None) && looked.workers[slot].is_none() {
            worlds.push(looked);
        }
        worlds
    }

    fn step(&self, world: &System, step: Step) -> Option<System> {
        let mut next = steps::take(world, &self.config, step)?;
        next.left = plenty();
        Some(next)
    }

    fn take(&self, fit: &Fit, event: &Event) -> Option<Fit> {
        let mut next = fit.clone();
        match event {
            Event::Enqueue { job, version } => self.enqueue(&mut next, job, version)?,
            Event::Cancel { job } => next.world = self.step(&fit.world, Step::Cancel(0, *fit.jobs.get(job)?))?,
            Event::Delete { job } => next.world = self.step(&fit.world, Step::Expire(0, *fit.jobs.get(job)?))?,
            Event::Requeue { job } => {
                let job = *fit.jobs.get(job)?;
                fit.world.servers[0].failed.iter().find(|failed| failed.job == job)?;
                next.world = self.step(&fit.world, Step::Requeue(0, job))?;
            }
            Event::Claim { worker, job, run, execution } => self.claim(&mut next, [worker, job, run, execution])?,
            Event::Commit { worker, run, applied } => {
                let run = *fit.runs.get(run)?;
                let mine = fit.held.values().filter(|held| held.worker == *worker);
                let mut slots = mine.map(|held| held.slot);
                let slot = slots.find(|slot| fit.world.workers[*slot].is_some_and(|hand| hand.lease.run == run))?;
                if fit.world.sql.ledger.contains(&run) == *applied {
                    return None;
                }
                next.world = self.step(&fit.world, Step::Commit(slot))?;
            }
            Event::Settle { worker, execution, outcome } => self.settle(&mut next, worker, execution, *outcome)?,
            Event::Crash { worker } => {
                for held in fit.held.values().filter(|held| held.worker == *worker) {
                    next.world.workers[held.slot] = None;
                }
                next.held.retain(|_, held| held.worker != *worker);
            }
            Event::Reclaim { execution } => {
                let execution = *fit.executions.get(execution)?;
                fit.world.servers[0].lease(execution).filter(|lease| lease.until == Until::Lapsed)?;
                next.world = self.step(&fit.world, Step::Reclaim(0, execution, None))?;
            }
            Event::Backup => next.world = self.step(&fit.world, Step::Backup)?,
            Event::Failover => next.world = self.step(&fit.world, Step::Restore)?,
        }
        Some(next)
    }

    fn enqueue(&self, fit: &mut Fit, job: &str, version: &str) -> Option<()> {
        let known = u8::try_from(fit.jobs.len()).ok()?;
        let number = *fit.jobs.entry(job.to_owned()).or_insert(known);
        let redis: &mut Redis = &mut fit.world.servers[0];
        redis.records.resize(redis.records.len().max(usize::from(number) + 1), None);
        let created = fit.versions.get(&(number, version.to_owned())).copied();
        steps::enqueue(&mut fit.world, &self.config, 0, number, created, false);
        let created = *fit.world.created.get(&(0, number))?;
        fit.versions.insert((number, version.to_owned()), created);
        Some(())
    }

    fn claim(&self, fit: &mut Fit, [worker, job, run, execution]: [&String; 4]) -> Option<()> {
        let job = *fit.jobs.get(job)?;
        let (mut world, slot) = with_free_slot(&fit.world);
        scripts::claim(&mut world, &self.config, slot, None).then_some(())?;
        let lease = world.workers[slot].map(|hand| hand.lease).filter(|lease| lease.job == job)?;
        // One name for one run, and one run for one name.
        match fit.runs.get(run) {
            Some(known) if *known != lease.run => return None,
            None if fit.runs.values().any(|known| *known == lease.run) => return None,
            _ => {}
        }
        fit.runs.insert(run.clone(), lease.run);
        fit.executions.insert(execution.clone(), lease.execution);
        fit.held.insert(lease.execution, Held { worker: worker.clone(), slot });
        fit.world = world;
        Some(())
    }

    fn settle(&self, fit: &mut Fit, worker: &str, execution: &str, settled: Settled) -> Option<()> {
        let execution = *fit.executions.get(execution)?;
        let held = fit.held.remove(&execution).filter(|held| held.worker == worker)?;
        let ours = fit.world.servers[0].lease(execution).is_some();
        let outcome = match settled {
            Settled::Finished => Outcome::Finished,
            Settled::Retried => Outcome::Retry,
            Settled::Failed => Outcome::Fail,
            Settled::Released => Outcome::Release,
            Settled::Lost => {
                (!ours).then_some(())?;
                fit.world.workers[held.slot] = None;
                return Some(());
            }
        };
        ours.then_some(())?;
        let mut possible = Vec::new();
        steps::possible(&fit.world, &Config { workers: fit.world.workers.len(), ..self.config.clone() }, &mut possible);
        let step = Step::Settle(held.slot, outcome, None);
        possible.contains(&step).then_some(())?;
        fit.world = self.step(&fit.world, step)?;
        Some(())
    }
}

/// A worker of the trace may have many jobs in hand: each takes a worker of the model.
fn with_free_slot(world: &System) -> (System, usize) {
    let mut world = world.clone();
    let slot = world.workers.iter().position(Option::is_none).unwrap_or(world.workers.len());
    if slot == world.workers.len() {
        world.workers.push(None);
    }
    (world, slot)
}

/// As often as anybody likes.
fn plenty() -> Budget {
    Budget {
        enqueue_new: 1,
        enqueue_same: 1,
        cancel: 1,
        expire: 1,
        requeue: 1,
        crash: 1,
        lapse: 1,
        verdict: 1,
        backup: 1,
        prune: 1,
        ..Budget::default()
    }
}

impl Replay {
    /// States of the model that fit what was replayed.
    pub fn states(&self) -> usize {
        self.states.len()
    }

    /// Whether in some state that fits nothing is left to do: nothing waits, is scheduled, set aside or in hand.
    pub fn may_be_done(&self) -> bool {
        self.settle_down().is_ok_and(|states| {
            states.iter().any(|fit| {
                let redis = &fit.world.servers[0];
                let open = |status| matches!(status, Status::Queued | Status::Started | Status::Scheduled);
                redis.aside.is_empty()
                    && redis.leases.is_empty()
                    && !redis.records.iter().flatten().any(|record| open(record.status))
            })
        })
    }
}
