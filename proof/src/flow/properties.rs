//! What must hold in every state of a list or a stream.

use std::collections::BTreeSet;

use stateright::Property;

use super::{Claim, Config, Effect, Flow, Location, Step, System, steps};
use crate::rq::Outcome;

/// More rounds than any of our worlds needs until nothing is left to do.
const ROUNDS: usize = 40;

type Check = fn(&Config, &System) -> bool;

/// Two commits of one effect.
pub(super) const ONCE: &str = "committed at most once";
/// The last one: what becomes of a state that is left alone.
pub(super) const AT_REST: &str = "left alone, all is done";

/// Every property: its name, and what must hold. That nothing is lost is in the last one: from every state maintenance and
/// one worker find everything.
pub const PROPERTIES: [(&str, Check); 2] =
    [(ONCE, |_, world| at_most_once(world)), (AT_REST, |config, world| unrest(config, world, |_| {}).is_none())];

pub(super) fn for_checker() -> Vec<Property<Flow>> {
    macro_rules! always {
        ($($n:literal)*) => { vec![$(Property::always(PROPERTIES[$n].0, |model: &Flow, world| {
            !model.0.selection.includes(PROPERTIES[$n].0) || PROPERTIES[$n].1(&model.0, world)
        }),)*] };
    }
    always![0 1]
}

fn at_most_once(world: &System) -> bool {
    let mut seen = BTreeSet::new();
    world.applied.iter().all(|effect| seen.insert(*effect))
}

fn is_failed(config: &Config, world: &System, effect: Effect) -> bool {
    let queue = &world.redis.queues[usize::from(effect.group)];
    (!config.stream || queue.made == effect.made)
        && queue.jobs.values().any(|job| job.place == Location::Failed && job.item.push == effect.push)
}

/// What is wrong (each step on the way is told to `note`) once all workers died, and maintenance and one worker for each group went on until nothing was left to do.
pub(super) fn unrest(config: &Config, world: &System, mut note: impl FnMut(Step)) -> Option<String> {
    let mut world = world.clone();
    world.workers.iter_mut().for_each(|hand| *hand = None);
    for _ in 0..ROUNDS {
        let mut busy = steps::maintain(&mut world, config, &mut note);
        for worker in 0..config.groups {
            if steps::claim(&mut world, config, worker, None) {
                busy = true;
                note(Step::Claim(worker, None));
                note(Step::Commit(worker));
                note(Step::Settle(worker, Outcome::Finished));
                steps::commit(&mut world, worker);
                steps::settle(&mut world, config, worker, Outcome::Finished);
            }
        }
        if busy {
            continue;
        }
        if !at_most_once(&world) {
            return Some("in the end, something is committed twice".to_owned());
        }
        let owed = world.asked.iter().filter(|(_, claim)| **claim == Claim::Owed).map(|(effect, _)| *effect);
        let mut lost = owed.filter(|effect| !world.applied.contains(effect) && !is_failed(config, &world, *effect));
        return lost.next().map(|effect| {
            format!("in the end, push {} is neither committed nor failed in group {}", effect.push, effect.group)
        });
    }
    Some("it does not end".to_owned())
}
