//! What can happen to a list or a stream, one step at a time, and the scripts that do it.

use std::fmt;

use super::{Claim, Config, Effect, InHand, Item, Job, Location, Queue, Run, System};
use crate::guards::Switch;
use crate::rq::{Outcome, Until};

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A producer appends this content.
    Push(u8),
    /// A producer puts this content at the head.
    PushFront(u8),
    /// Somebody who is not one of ours takes the head of the list.
    ForeignTake,
    /// The list is deleted with all that is beside it, or this group.
    Delete(usize),
    /// A person puts a failed job back.
    Requeue(usize, Run),
    /// A worker claims. With a number, its script fails before that write.
    Claim(usize, Option<usize>),
    /// A worker commits.
    Commit(usize),
    /// A worker settles.
    Settle(usize, Outcome),
    /// A worker dies; another takes its place.
    Crash(usize),
    /// A lease ends, whether its worker is alive or not.
    Lapse(usize, Run),
    /// Maintenance brings back what a lapsed lease held.
    Reclaim(usize, Run),
    /// Maintenance takes over an entry that was delivered, and that no job is about.
    Adopt(usize, u8),
    /// A scheduled job comes due.
    ComeDue(usize, Run),
    /// The replica follows this far, or a backup is made.
    Backup,
    /// Failover to that replica, or the backup is restored.
    Restore,
}

/// Everything that can happen now.
pub(super) fn possible(world: &System, config: &Config, steps: &mut Vec<Step>) {
    let left = &world.left;
    if left.push > 0 && config.later.is_empty() {
        // Each says something of its own.
        steps.push(Step::Push(100 + world.pushes));
    }
    if left.push > 0 {
        steps.extend(config.later.iter().map(|content| Step::Push(*content)));
    }
    if left.push_front > 0 {
        steps.extend(config.later.iter().map(|content| Step::PushFront(*content)));
    }
    if left.foreign_take > 0 && !world.redis.items.is_empty() {
        steps.push(Step::ForeignTake);
    }
    for (number, queue) in world.redis.queues.iter().enumerate() {
        if left.delete > 0 && queue.life.is_some() {
            steps.push(Step::Delete(number));
        }
        for (run, job) in &queue.jobs {
            match job.place {
                Location::Leased(_, Until::Lapsed) => steps.push(Step::Reclaim(number, *run)),
                Location::Leased(..) if left.lapse > 0 => steps.push(Step::Lapse(number, *run)),
                Location::Scheduled => steps.push(Step::ComeDue(number, *run)),
                Location::Failed if left.requeue > 0 => steps.push(Step::Requeue(number, *run)),
                _ => {}
            }
        }
        steps.extend(strays(queue).map(|entry| Step::Adopt(number, entry)));
    }
    for (worker, hand) in world.workers.iter().enumerate() {
        match hand {
            None => {
                steps.push(Step::Claim(worker, None));
                if left.fault > 0 {
                    steps.extend((0..4).map(|at| Step::Claim(worker, Some(at))));
                }
            }
            Some(hand) => {
                if left.crash > 0 {
                    steps.push(Step::Crash(worker));
                }
                if hand.committed {
                    steps.push(Step::Settle(worker, Outcome::Finished));
                } else {
                    steps.push(Step::Commit(worker));
                }
                if left.verdict > 0 {
                    let others = [Outcome::Retry, Outcome::Fail, Outcome::Release];
                    steps.extend(others.map(|outcome| Step::Settle(worker, outcome)));
                }
            }
        }
    }
    let durable =
        !config.guards.has(Switch::LifeDurable) || world.redis.queues.iter().all(|queue| queue.life.is_some());
    match world.backup {
        None if left.backup > 0 && durable => steps.push(Step::Backup),
        Some(_) => steps.push(Step::Restore),
        None => {}
    }
}

/// Entries that were delivered and that no job is about.
fn strays(queue: &Queue) -> impl Iterator<Item = u8> + '_ {
    queue.pending.iter().copied().filter(|entry| queue.jobs.values().all(|job| job.item.push != *entry))
}

/// The world after a step; none where it cannot be.
pub(super) fn take(before: &System, config: &Config, step: Step) -> Option<System> {
    let mut next = before.clone();
    let world = &mut next;
    match step {
        Step::Push(content) => {
            world.left.push -= 1;
            push(world, content, false);
        }
        Step::PushFront(content) => {
            world.left.push_front -= 1;
            push(world, content, true);
        }
        Step::ForeignTake => {
            world.left.foreign_take -= 1;
            let item = world.redis.items.remove(0);
            give_up(world, |effect| effect.push == item.push);
        }
        Step::Delete(number) => {
            world.left.delete -= 1;
            delete(world, config, number);
        }
        Step::Claim(worker, fault) => {
            world.left.fault -= u8::from(fault.is_some());
            if !claim(world, config, worker, fault) {
                return None;
            }
        }
        Step::Commit(worker) => commit(world, worker),
        Step::Settle(worker, outcome) => {
            world.left.verdict -= u8::from(outcome != Outcome::Finished);
            settle(world, config, worker, outcome);
        }
        Step::Crash(worker) => {
            world.left.crash -= 1;
            world.workers[worker] = None;
        }
        Step::Lapse(number, run) => {
            world.left.lapse -= 1;
            let job = world.redis.queues[number].jobs.get_mut(&run)?;
            if let Location::Leased(execution, _) = job.place {
                job.place = Location::Leased(execution, Until::Lapsed);
            }
        }
        Step::Requeue(number, run) => {
            world.left.requeue -= 1;
            let job = world.redis.queues[number].jobs.get_mut(&run)?;
            (job.place, job.attempts) = (Location::Ready, 0);
        }
        _ => of_maintenance_and_data(world, config, step)?,
    }
    Some(next)
}

fn of_maintenance_and_data(world: &mut System, config: &Config, step: Step) -> Option<()> {
    match step {
        Step::ComeDue(number, run) => world.redis.queues[number].jobs.get_mut(&run)?.place = Location::Ready,
        Step::Reclaim(number, run) => reclaim(world, config, number, run),
        Step::Adopt(number, entry) => adopt(world, config, number, entry),
        Step::Backup => {
            world.left.backup -= 1;
            world.backup = Some((world.redis.clone(), world.asked.keys().copied().collect()));
        }
        Step::Restore => {
            let (redis, known) = world.backup.take()?;
            world.redis = redis;
            for (effect, claim) in &mut world.asked {
                if !known.contains(effect) {
                    *claim = Claim::Forgotten;
                }
            }
        }
        _ => return None,
    }
    Some(())
}

/// A producer pushes; every group is to see it.
pub(super) fn push(world: &mut System, content: u8, front: bool) {
    world.pushes += 1;
    let item = Item { push: world.pushes, content };
    let at = if front { 0 } else { world.redis.items.len() };
    world.redis.items.insert(at, item);
    for (group, queue) in (0..).zip(&world.redis.queues) {
        world.asked.insert(Effect { push: item.push, group, made: queue.made }, Claim::Owed);
    }
}

fn give_up(world: &mut System, which: impl Fn(&Effect) -> bool) {
    for (effect, claim) in &mut world.asked {
        if which(effect) && *claim == Claim::Owed {
            *claim = Claim::Gone;
        }
    }
}

fn delete(world: &mut System, config: &Config, number: usize) {
    let made = world.redis.queues[number].made + 1;
    give_up(world, |effect| usize::from(effect.group) == number);
    world.redis.queues[number] = Queue { made, ..Queue::default() };
    if config.stream {
        // Whoever makes the group again asks for everything that is in the stream.
        for item in &world.redis.items {
            let group = u8::try_from(number).unwrap_or_default();
            world.asked.insert(Effect { push: item.push, group, made }, Claim::Owed);
        }
    } else {
        world.redis.items.clear();
    }
}

fn effect(config: &Config, world: &System, number: usize, item: Item) -> Effect {
    let made = if config.stream { world.redis.queues[number].made } else { made_at_push(world, item) };
    Effect { push: item.push, group: u8::try_from(number).unwrap_or_default(), made }
}

fn made_at_push(world: &System, item: Item) -> u8 {
    world.asked.keys().find(|effect| effect.push == item.push).map_or(0, |effect| effect.made)
}

fn name(config: &Config, queue: &Queue, item: Item, number: u8) -> Run {
    let life = if config.guards.has(Switch::Life) { queue.life.unwrap_or_default() } else { 0 };
    let with_content = !config.stream && config.guards.has(Switch::Content);
    Run { life, number, content: if with_content { item.content } else { 0 } }
}

/// Takes a job: one that came back, or the next of the backlog. False where there is none.
pub(super) fn claim(world: &mut System, config: &Config, worker: usize, fault: Option<usize>) -> bool {
    let number = config.queue_of(worker);
    if world.redis.queues[number].life.is_none() {
        world.lives += 1;
        world.redis.queues[number].life = Some(world.lives);
    }
    world.executions += 1;
    let execution = world.executions;
    let leased = Location::Leased(execution, Until::Live);
    let ready = world.redis.queues[number].jobs.iter().find(|(_, job)| job.place == Location::Ready);
    if let Some((run, item)) = ready.map(|(run, job)| (*run, job.item)) {
        if fault.is_some() {
            // It changes one place: it fails as a whole.
            return true;
        }
        let effect = effect(config, world, number, item);
        if let Some(job) = world.redis.queues[number].jobs.get_mut(&run) {
            (job.place, job.attempts) = (leased, job.attempts + 1);
        }
        world.workers[worker] = Some(InHand { run, execution, effect, committed: false });
        return true;
    }
    let last = world.redis.queues[number].last;
    let next = world.redis.items.iter().find(|item| !config.stream || item.push > last).copied();
    let Some(item) = next else { return false };
    let effect = effect(config, world, number, item);
    let run = name(config, &world.redis.queues[number], item, if config.stream { item.push } else { last + 1 });
    let job = Job { item, attempts: 1, place: leased };
    let whole = if config.stream {
        claim_entry(&mut world.redis.queues[number], run, job, fault)
    } else {
        claim_element(world, config, run, job, fault)
    };
    if whole {
        world.workers[worker] = Some(InHand { run, execution, effect, committed: false });
    }
    true
}

/// A stream is read and taken by one command. What is delivered and gets no job is adopted later.
fn claim_entry(queue: &mut Queue, run: Run, job: Job, fault: Option<usize>) -> bool {
    if fault == Some(0) {
        return false;
    }
    queue.last = job.item.push;
    queue.pending.insert(job.item.push);
    if fault.is_some() {
        return false;
    }
    queue.jobs.insert(run, job);
    true
}

/// A list is looked at; then the number, the job and its lease are written, and the element is taken last.
fn claim_element(world: &mut System, config: &Config, run: Run, job: Job, fault: Option<usize>) -> bool {
    let take_last = config.guards.has(Switch::TakeLast);
    let redis = &mut world.redis;
    let before = redis.queues[0].clone();
    let done = fault.unwrap_or(3);
    if (take_last && done > 2) || (!take_last && done > 0) {
        redis.items.remove(0);
    }
    let behind = usize::from(!take_last);
    if done > behind {
        redis.queues[0].last = run.number;
    }
    if done > behind + 1 || done > 2 {
        redis.queues[0].jobs.insert(run, job);
    }
    let whole = done > 2;
    if !whole && config.guards.has(Switch::PutBack) {
        redis.queues[0] = before;
    }
    whole
}

/// Rows and ledger entry in one transaction.
pub(super) fn commit(world: &mut System, worker: usize) {
    if let Some(hand) = &mut world.workers[worker] {
        if world.ledger.insert(hand.run) {
            world.applied.push(hand.effect);
        }
        hand.committed = true;
    }
}

/// Records an outcome, where the claim is still this worker's.
pub(super) fn settle(world: &mut System, config: &Config, worker: usize, outcome: Outcome) {
    let Some(hand) = world.workers[worker].take() else { return };
    let only = config.groups == 1;
    let queue = &mut world.redis.queues[config.queue_of(worker)];
    let Some(job) = queue.jobs.get_mut(&hand.run) else { return };
    if !matches!(job.place, Location::Leased(execution, _) if execution == hand.execution) {
        return;
    }
    let entry = job.item.push;
    match outcome {
        Outcome::Finished => {
            queue.jobs.remove(&hand.run);
            queue.pending.remove(&entry);
            if config.stream && only {
                world.redis.items.retain(|item| item.push != entry);
            }
        }
        Outcome::Retry => job.place = Location::Scheduled,
        Outcome::Fail => {
            job.place = Location::Failed;
            queue.pending.remove(&entry);
        }
        Outcome::Release => (job.place, job.attempts) = (Location::Ready, job.attempts.saturating_sub(1)),
    }
}

/// A job whose worker vanished runs again, unless that happened too often.
pub(super) fn reclaim(world: &mut System, config: &Config, number: usize, run: Run) {
    let queue = &mut world.redis.queues[number];
    if let Some(job) = queue.jobs.get_mut(&run) {
        let over = job.attempts >= config.max_attempts;
        job.place = if over { Location::Failed } else { Location::Ready };
        if over {
            queue.pending.remove(&job.item.push);
        }
    }
}

/// An entry that was delivered and that no job is about becomes one.
pub(super) fn adopt(world: &mut System, config: &Config, number: usize, entry: u8) {
    let item = world.redis.items.iter().find(|item| item.push == entry).copied();
    let queue = &mut world.redis.queues[number];
    match item {
        Some(item) => {
            let run = name(config, queue, item, entry);
            queue.jobs.insert(run, Job { item, attempts: 1, place: Location::Ready });
        }
        None => {
            queue.pending.remove(&entry);
        }
    }
}

/// Maintenance until there is nothing to maintain.
pub(super) fn maintain(world: &mut System, config: &Config, note: &mut impl FnMut(Step)) -> bool {
    let mut busy = false;
    for number in 0..config.groups {
        let jobs: Vec<(Run, Location)> =
            world.redis.queues[number].jobs.iter().map(|(run, job)| (*run, job.place)).collect();
        for (run, place) in jobs {
            match place {
                Location::Leased(..) => {
                    note(Step::Reclaim(number, run));
                    reclaim(world, config, number, run);
                }
                Location::Scheduled => {
                    note(Step::ComeDue(number, run));
                    if let Some(job) = world.redis.queues[number].jobs.get_mut(&run) {
                        job.place = Location::Ready;
                    }
                }
                _ => continue,
            }
            busy = true;
        }
        let found: Vec<u8> = strays(&world.redis.queues[number]).collect();
        for entry in found {
            note(Step::Adopt(number, entry));
            adopt(world, config, number, entry);
            busy = true;
        }
    }
    busy
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(content) => write!(f, "a producer appends {content}"),
            Self::PushFront(content) => write!(f, "a producer puts {content} at the head"),
            Self::ForeignTake => f.write_str("somebody else takes the head of the list"),
            Self::Delete(number) => write!(f, "list or group {number} is deleted"),
            Self::Requeue(number, run) => write!(f, "a person requeues {run:?} of group {number}"),
            Self::Claim(worker, None) => write!(f, "worker {worker} claims"),
            Self::Claim(worker, Some(at)) => write!(f, "worker {worker} claims; the script fails after {at} writes"),
            Self::Commit(worker) => write!(f, "worker {worker} commits"),
            Self::Settle(worker, outcome) => write!(f, "worker {worker} settles: {outcome}"),
            Self::Crash(worker) => write!(f, "worker {worker} dies"),
            Self::Lapse(number, run) => write!(f, "the lease of {run:?} of group {number} ends"),
            Self::Reclaim(number, run) => write!(f, "maintenance reclaims {run:?} of group {number}"),
            Self::Adopt(number, entry) => write!(f, "maintenance adopts entry {entry} of group {number}"),
            Self::ComeDue(number, run) => write!(f, "{run:?} of group {number} comes due"),
            Self::Backup => f.write_str("the replica follows this far, and no further"),
            Self::Restore => f.write_str("failover to that replica"),
        }
    }
}
