//! Running the checker over one world.

use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model};

/// A way into a state in which a property does not hold.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// The property.
    pub property: &'static str,
    /// The steps, in order.
    pub steps: Vec<String>,
    /// What follows when that state is left alone, and what is wrong in the end; where the property is about that.
    pub after: Vec<String>,
}

/// A model that can say more about a state in which a property does not hold.
pub trait Explain: Model {
    /// What follows from it, and what is wrong in the end.
    fn explain(&self, state: &Self::State, property: &str) -> Vec<String>;
}

/// What a run of the checker found.
#[derive(Debug, Clone)]
pub struct Report {
    /// States that differ.
    pub states: usize,
    /// The longest way from the first state, in steps.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The first violation, if there is one.
    pub counterexample: Option<Counterexample>,
}

/// Visits every state, until a property does not hold. Of the ways there, a shortest one is given.
pub fn check<M>(model: &M) -> Report
where
    M: Explain + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Display + Debug + Clone + PartialEq,
{
    let began = Instant::now();
    let (states, depth, mut counterexample) = visit(model, None);
    // The checker ends at the next pause, and gives the last one that it came across.
    while let Some(found) = &counterexample {
        let (_, _, shorter) = visit(model, Some(found.steps.len()));
        if shorter.is_none() {
            break;
        }
        counterexample = shorter;
    }
    Report { states, depth, took: began.elapsed(), counterexample }
}

/// One visit, of the states that are fewer than `within` steps away.
fn visit<M>(model: &M, within: Option<usize>) -> (usize, usize, Option<Counterexample>)
where
    M: Explain + Clone + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Display + Debug + Clone + PartialEq,
{
    // One thread: its depths are exact.
    let mut checker = model.clone().checker().threads(1).finish_when(HasDiscoveries::AnyFailures);
    if let Some(steps) = within {
        checker = checker.target_max_depth(steps + 1);
    }
    let checker = checker.spawn_bfs().join();
    let found = checker.discoveries().into_iter().map(|(property, path)| Counterexample {
        property,
        after: model.explain(path.last_state(), property),
        steps: path.into_actions().iter().map(ToString::to_string).collect(),
    });
    let shortest = found.min_by_key(|found| (found.steps.len(), found.property));
    (checker.unique_state_count(), checker.max_depth().saturating_sub(1), shortest)
}
