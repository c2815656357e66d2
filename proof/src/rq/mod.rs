//! The protocol for RQ's jobs, as a state machine.

mod others;
mod properties;
mod scenarios;
mod scripts;
mod settle;
mod state;
mod steps;
pub mod trace;
mod words;

pub use properties::{AT_MOST_ONCE, NEWER_LAST, PROPERTIES, broken};
pub(crate) use scenarios::{limits, scenarios};
pub use scripts::Outcome;
pub use state::*;
pub use steps::Step;

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use crate::check::Explain;
use crate::guards::Guards;
use crate::selection::Selection;

/// One small world, and what may happen in it.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is switched on.
    pub guards: Guards,
    /// Number of ids.
    pub jobs: Job,
    /// Servers that share the one database: one or two.
    pub servers: usize,
    /// Workers; they serve the servers in turn.
    pub workers: usize,
    /// Attempts before a job whose workers die is given up.
    pub max_attempts: u8,
    /// How often each job is repeated.
    pub repeats: u8,
    /// Whether the first worker is of an older version, and has the first job in hand.
    pub old_worker: bool,
    /// Whether a life is in Redis from the start.
    pub has_life: bool,
    /// Whether what a failing script needs to put the lease back fails too.
    pub no_put_back: bool,
    /// The properties that are looked at: one, or all but one, or all.
    pub selection: Selection,
    /// What may happen, and how often.
    pub budget: Budget,
}

impl Config {
    /// One server, one id, two workers; nothing may happen but work.
    pub fn small(budget: Budget) -> Self {
        Self {
            guards: Guards::all(),
            jobs: 1,
            servers: 1,
            workers: 2,
            max_attempts: 3,
            repeats: 0,
            old_worker: false,
            has_life: true,
            no_put_back: false,
            selection: Selection::All,
            budget,
        }
    }

    /// The server that a worker serves.
    pub fn server_of(&self, worker: usize) -> usize {
        worker % self.servers
    }

    /// The world as it is at first: each id was enqueued once on each server.
    pub fn first(&self) -> System {
        let redis = Redis { records: vec![None; usize::from(self.jobs)], ..Redis::default() };
        let mut world = System {
            servers: vec![redis; self.servers],
            clocks: vec![0; self.servers],
            sql: Sql::default(),
            workers: vec![None; self.workers],
            asked: BTreeMap::new(),
            created: BTreeMap::new(),
            executions: 1,
            lives: 0,
            backup: None,
            left: self.budget,
        };
        for server in 0..self.servers {
            if self.has_life {
                world.lives += 1;
                world.servers[server].life = Some(world.lives);
            }
            for job in 0..self.jobs {
                steps::enqueue(&mut world, self, server, job, None, false);
            }
        }
        if self.old_worker {
            steps::hand_to_old_worker(&mut world);
        }
        world
    }
}

/// The model for the checker.
#[derive(Debug, Clone)]
pub struct Rq(pub Config);

impl Model for Rq {
    type State = System;
    type Action = Step;

    fn init_states(&self) -> Vec<System> {
        vec![self.0.first()]
    }

    fn actions(&self, world: &System, steps: &mut Vec<Step>) {
        steps::possible(world, &self.0, steps);
    }

    fn next_state(&self, world: &System, step: Step) -> Option<System> {
        let next = steps::take(world, &self.0, step)?;
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::for_checker()
    }
}

impl Explain for Rq {
    fn explain(&self, world: &System, property: &str) -> Vec<String> {
        let mut after = Vec::new();
        if PROPERTIES.last().is_some_and(|(name, _)| *name == property) {
            after.push("all workers die, and nobody asks for anything more".to_owned());
            let end = properties::unrest(&self.0, world, |step| after.push(step.to_string()));
            after.extend(end);
        }
        after
    }
}

/// The effects that a set of data knows of; for the copy that a failover brings back.
fn known(asked: &BTreeMap<Effect, Asked>) -> BTreeSet<Effect> {
    asked.keys().copied().collect()
}
