//! All small worlds: those in which everything must hold, and those that show what the design does not promise.

use crate::check::{Report, check};
use crate::flow::{self, Flow};
use crate::guards::Switch;
use crate::rq::{self, Rq};
use crate::selection::Selection;

/// One world for the checker.
#[derive(Debug, Clone)]
pub enum Case {
    /// RQ's jobs.
    Rq(rq::Config),
    /// A list or a stream.
    Flow(flow::Config),
}

impl Case {
    /// Visits every state of it.
    pub fn check(&self) -> Report {
        match self {
            Self::Rq(config) => check(&Rq(config.clone())),
            Self::Flow(config) => check(&Flow(config.clone())),
        }
    }

    /// The same with one switch off.
    #[must_use]
    pub fn without(&self, switch: Switch) -> Self {
        let mut case = self.clone();
        let guards = match &mut case {
            Self::Rq(config) => &mut config.guards,
            Self::Flow(config) => &mut config.guards,
        };
        *guards = guards.without(switch);
        case
    }

    /// The same, looking at one property only.
    #[must_use]
    fn only(mut self, property: &'static str) -> Self {
        match &mut self {
            Self::Rq(config) => config.selection = Selection::Only(property),
            Self::Flow(config) => config.selection = Selection::Only(property),
        }
        self
    }
}

/// A small world, and the switches that it exercises: with one of those off, it must find a counterexample.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What may happen in it.
    pub what: &'static str,
    /// The world, small enough for every check.
    pub small: Case,
    /// The same with more of everything.
    pub deep: Case,
    /// The switches that it needs.
    pub needs: &'static [Switch],
}

/// Something that the design does not promise, and the world that shows it with everything switched on.
#[derive(Debug, Clone)]
pub struct Limit {
    /// What is not promised.
    pub what: &'static str,
    /// Why, and what helps.
    pub why: &'static str,
    /// The property that does not hold.
    pub property: &'static str,
    /// The world.
    pub case: Case,
}

/// Every scenario.
pub fn scenarios() -> Vec<Scenario> {
    let mut all = rq::scenarios();
    all.extend(flow::scenarios());
    all
}

/// Every limit that is known.
pub fn limits() -> Vec<Limit> {
    let mut all = rq::limits();
    all.extend(flow::limits());
    for limit in &mut all {
        limit.case = limit.case.clone().only(limit.property);
    }
    all
}
