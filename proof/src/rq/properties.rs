//! What must hold in every state.

use std::collections::BTreeSet;

use stateright::Property;

use super::scripts::{self, Outcome, is_failed, is_held};
use super::settle;
use super::{Claim, Config, Effect, Rq, Status, Step, System, Until};
use crate::guards::Switch;

/// More rounds than any of our worlds needs until nothing is left to do.
const ROUNDS: usize = 40;

/// Two commits of one effect.
pub const AT_MOST_ONCE: &str = "committed at most once";

/// Rows of an older version over those of a newer one.
pub const NEWER_LAST: &str = "newer is written last";

type Check = fn(&Config, &System) -> bool;

/// Every property: its name, and what must hold.
pub const PROPERTIES: [(&str, Check); 8] = [
    (AT_MOST_ONCE, |_, world| at_most_once(world)),
    ("finished is committed", |_, world| finished_is_committed(world)),
    ("nothing is lost", nothing_is_lost),
    (NEWER_LAST, |_, world| newer_last(world)),
    ("failed for a cause", |_, world| failed_for_cause(world)),
    ("what is done did not fail", |_, world| done_did_not_fail(world)),
    ("failed can be requeued", failed_is_whole),
    ("left alone, all is done", comes_to_rest),
];

/// The first property that does not hold.
pub fn broken(config: &Config, world: &System) -> Option<&'static str> {
    PROPERTIES
        .iter()
        .find(|(name, check)| config.selection.includes(name) && !check(config, world))
        .map(|(name, _)| *name)
}

pub(super) fn for_checker() -> Vec<Property<Rq>> {
    // The checker wants one function for each property, and no captures.
    macro_rules! always {
        ($($n:literal)*) => { vec![$(Property::always(PROPERTIES[$n].0, |model: &Rq, world| {
            !model.0.selection.includes(PROPERTIES[$n].0) || PROPERTIES[$n].1(&model.0, world)
        }),)*] };
    }
    always![0 1 2 3 4 5 6 7]
}

fn at_most_once(world: &System) -> bool {
    let mut seen = BTreeSet::new();
    world.sql.applied.iter().all(|effect| seen.insert(*effect))
}

fn finished_is_committed(world: &System) -> bool {
    let mut records = world.servers.iter().flat_map(|redis| redis.records.iter().flatten());
    records.all(|record| {
        let claim = world.asked.get(&record.effect).map(|asked| asked.claim);
        record.status != Status::Finished || claim != Some(Claim::Owed) || world.sql.applied.contains(&record.effect)
    })
}

fn owed(world: &System) -> impl Iterator<Item = (usize, u8, Effect)> + '_ {
    let owed = world.asked.iter().filter(|(_, asked)| asked.claim == Claim::Owed);
    let owed = owed.map(|(effect, asked)| (asked.server, asked.job, *effect));
    owed.filter(|(_, _, effect)| !world.sql.applied.contains(effect))
}

fn nothing_is_lost(config: &Config, world: &System) -> bool {
    owed(world).all(|(server, job, effect)| {
        let redis = &world.servers[server];
        is_failed(redis, effect) || is_held(redis, config.guards, job, effect)
    })
}

/// What was deleted in the middle of its run, or forgotten by Redis, has no place in the order.
fn newer_last(world: &System) -> bool {
    let placed = |effect: &Effect| {
        world.asked.get(effect).filter(|asked| matches!(asked.claim, Claim::Owed | Claim::Overwritten))
    };
    let applied = &world.sql.applied;
    applied.iter().enumerate().all(|(at, earlier)| {
        applied[at + 1..].iter().all(|later| match (placed(earlier), placed(later)) {
            (Some(a), Some(b)) => (a.server, a.job) != (b.server, b.job) || earlier <= later,
            _ => true,
        })
    })
}

fn failed_for_cause(world: &System) -> bool {
    world.servers.iter().all(|redis| redis.failed.iter().all(|failed| failed.for_cause))
}

fn done_did_not_fail(world: &System) -> bool {
    world.servers.iter().all(|redis| {
        let mut done = redis.records.iter().flatten().filter(|record| record.status == Status::Finished);
        done.all(|record| !is_failed(redis, record.effect))
    })
}

/// What the failed registry names must still be there to be tried again.
fn failed_is_whole(config: &Config, world: &System) -> bool {
    world.servers.iter().all(|redis| {
        redis.failed.iter().all(|failed| {
            let claim = world.asked.get(&failed.effect).map(|asked| asked.claim);
            claim != Some(Claim::Owed)
                || world.sql.applied.contains(&failed.effect)
                || is_held(redis, config.guards, failed.job, failed.effect)
                || redis.kept.iter().any(|kept| kept.effect == failed.effect)
                || redis.record(failed.job).is_none_or(|record| record.effect == failed.effect)
        })
    })
}

/// All workers die; then nothing happens any more but maintenance and one honest worker at a time. It comes to an end, and
/// then everything is committed or failed.
fn comes_to_rest(config: &Config, world: &System) -> bool {
    unrest(config, world, |_| {}).is_none()
}

/// What is wrong when nothing but that happens any more; each of those steps is told to `note`.
pub(super) fn unrest(config: &Config, world: &System, mut note: impl FnMut(Step)) -> Option<String> {
    let mut world = world.clone();
    world.workers.iter_mut().for_each(|hand| *hand = None);
    for _ in 0..ROUNDS {
        if !one_round(config, &mut world, &mut note) {
            let lost = owed(&world).find(|(server, _, effect)| !is_failed(&world.servers[*server], *effect));
            return if let Some((server, job, effect)) = lost {
                let number = effect.asked + 1;
                Some(format!(
                    "in the end, enqueue {number} (job {job} on server {server}) is neither committed nor failed"
                ))
            } else if !at_most_once(&world) {
                Some("in the end, something is committed twice".to_owned())
            } else if !finished_is_committed(&world) {
                Some("in the end, a job is finished that was not committed".to_owned())
            } else {
                None
            };
        }
    }
    Some("it does not end".to_owned())
}

/// One round of maintenance and work; false where there was nothing to do.
fn one_round(config: &Config, world: &mut System, note: &mut impl FnMut(Step)) -> bool {
    let mut busy = false;
    for server in 0..config.servers {
        let pulled_in = config.guards.has(Switch::PullIn);
        for lease in world.servers[server].leases.clone() {
            if lease.until != Until::Far || pulled_in {
                note(Step::Reclaim(server, lease.execution, None));
                settle::reclaim(world, config, server, &lease, None);
                busy = true;
            }
        }
        for job in world.servers[server].scheduled.clone() {
            note(Step::ComeDue(server, job));
            settle::come_due(world, config.guards, server, job);
            busy = true;
        }
        let worker = server;
        if scripts::claim(world, config, worker, None) {
            busy = true;
            note(Step::Claim(worker, None));
            if world.workers[worker].is_some() {
                note(Step::Commit(worker));
                note(Step::Settle(worker, Outcome::Finished, None));
            }
            scripts::commit(world, config, worker);
            settle::settle(world, config, worker, Outcome::Finished, None, false);
        }
    }
    busy
}
