//! The protocol for lists and streams, as a state machine. Their elements have no records that somebody overwrites: what is
//! at stake is the name of a run.

mod properties;
mod scenarios;
mod steps;

pub use properties::PROPERTIES;
pub(crate) use scenarios::{limits, scenarios};
pub use steps::Step;

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use crate::check::Explain;
use crate::guards::Guards;
use crate::rq::Until;
use crate::selection::Selection;

/// What is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Item {
    /// The n-th push ever; of a stream's entry this is its id too. No script of a list knows it.
    pub push: u8,
    /// What it says.
    pub content: u8,
}

/// One thing that must happen once: an item, for one group, in one life of that group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Effect {
    /// The item.
    pub push: u8,
    /// The group that reads it; zero for a list.
    pub group: u8,
    /// How often the group was made anew before.
    pub made: u8,
}

/// Whether somebody still has a right to an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It must happen.
    Owed,
    /// It was deleted, or somebody else took it.
    Gone,
    /// Redis forgot it in a failover.
    Forgotten,
}

/// The identity of a run. A hash is modelled as what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// The life of the list or group.
    pub life: u8,
    /// The n-th that was taken, or the entry's id.
    pub number: u8,
    /// The element's content; zero for a stream.
    pub content: u8,
}

/// Where a job is that was taken from its list or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// It waits, before the backlog.
    Ready,
    /// An execution has it.
    Leased(u8, Until),
    /// It waits for a time.
    Scheduled,
    /// It failed for good.
    Failed,
}

/// A job that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Job {
    /// What it is about.
    pub item: Item,
    /// Attempts so far.
    pub attempts: u8,
    /// Where it is.
    pub place: Location,
}

/// What is kept beside a list, or for one group of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Queue {
    /// Its life, once a worker wrote it.
    pub life: Option<u8>,
    /// How often the group was made anew.
    pub made: u8,
    /// A list: elements taken so far. A stream: the last entry that was delivered.
    pub last: u8,
    /// A stream: entries delivered and not acknowledged.
    pub pending: BTreeSet<u8>,
    /// Jobs that were taken.
    pub jobs: BTreeMap<Run, Job>,
}

/// Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Redis {
    /// The list, or the stream.
    pub items: Vec<Item>,
    /// One for a list; one for each group of a stream.
    pub queues: Vec<Queue>,
}

/// What a worker has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InHand {
    /// The run.
    pub run: Run,
    /// Its claim.
    pub execution: u8,
    /// What it does.
    pub effect: Effect,
    /// Whether it is committed.
    pub committed: bool,
}

/// How often each kind of step may still happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "each is named after its step")]
pub struct Budget {
    pub push: u8,
    pub push_front: u8,
    pub foreign_take: u8,
    pub delete: u8,
    pub requeue: u8,
    pub crash: u8,
    pub lapse: u8,
    pub verdict: u8,
    pub fault: u8,
    pub backup: u8,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct System {
    /// Redis.
    pub redis: Redis,
    /// Redis as it was, and the effects that had been asked for by then.
    pub backup: Option<(Redis, BTreeSet<Effect>)>,
    /// Keys of the runs that were applied.
    pub ledger: BTreeSet<Run>,
    /// The effects in the order of their commits.
    pub applied: Vec<Effect>,
    /// What each worker has in hand.
    pub workers: Vec<Option<InHand>>,
    /// What was asked for.
    pub asked: BTreeMap<Effect, Claim>,
    /// Pushes so far.
    pub pushes: u8,
    /// Names given to executions so far.
    pub executions: u8,
    /// Lives given out so far.
    pub lives: u8,
    /// What may still happen.
    pub left: Budget,
}

/// One small world, and what may happen in it.
#[derive(Debug, Clone)]
pub struct Config {
    /// What is switched on.
    pub guards: Guards,
    /// Whether it is a stream; else a list.
    pub stream: bool,
    /// Groups of the stream; one for a list.
    pub groups: usize,
    /// Workers; they serve the groups in turn.
    pub workers: usize,
    /// What is there at first: the contents.
    pub contents: &'static [u8],
    /// Contents that producers push later; where there are none, each says something of its own.
    pub later: &'static [u8],
    /// Attempts before a job whose workers die is given up.
    pub max_attempts: u8,
    /// Whether lives are in Redis from the start.
    pub has_life: bool,
    /// Which properties are looked at.
    pub selection: Selection,
    /// What may happen, and how often.
    pub budget: Budget,
}

impl Config {
    /// A list of two elements, two workers.
    pub fn list(budget: Budget) -> Self {
        Self {
            guards: Guards::all(),
            stream: false,
            groups: 1,
            workers: 2,
            contents: &[1, 2],
            later: &[1, 2],
            max_attempts: 3,
            has_life: true,
            selection: Selection::All,
            budget,
        }
    }

    /// A stream of two entries that two groups read, two workers.
    pub fn stream(budget: Budget) -> Self {
        Self { stream: true, groups: 2, later: &[1], ..Self::list(budget) }
    }

    /// The group that a worker serves.
    pub fn queue_of(&self, worker: usize) -> usize {
        worker % self.groups
    }

    /// The world as it is at first.
    pub fn first(&self) -> System {
        let mut world = System {
            redis: Redis { items: vec![], queues: vec![Queue::default(); self.groups] },
            backup: None,
            ledger: BTreeSet::new(),
            applied: vec![],
            workers: vec![None; self.workers],
            asked: BTreeMap::new(),
            pushes: 0,
            executions: 0,
            lives: 0,
            left: self.budget,
        };
        if self.has_life {
            for queue in &mut world.redis.queues {
                world.lives += 1;
                queue.life = Some(world.lives);
            }
        }
        for content in self.contents {
            steps::push(&mut world, *content, false);
        }
        world
    }
}

/// The model for the checker.
#[derive(Debug, Clone)]
pub struct Flow(pub Config);

impl Model for Flow {
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

impl Explain for Flow {
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
