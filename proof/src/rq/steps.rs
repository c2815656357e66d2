//! What can happen, one step at a time.

use super::others;
use super::scripts::{self, Outcome, is_failed};
use super::settle;
use super::{
    Asked, Backup, Claim, Config, Effect, Execution, InHand, Job, Lease, Record, Replaced, Run, Stage, Stamp, Status,
    System, Until, Version, known,
};
use crate::guards::Switch;

/// The longest script has fewer writes than this.
const WRITES: usize = 4;

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// A producer writes a new version under an id.
    EnqueueNew(usize, Job),
    /// A producer enqueues the same version again: its data and `created_at`, a new `enqueued_at`.
    EnqueueSame(usize, Job),
    /// A producer schedules a new version for later.
    EnqueueLater(usize, Job),
    /// A producer cancels.
    Cancel(usize, Job),
    /// A record expires; the id stays where it is.
    Expire(usize, Job),
    /// A person puts a failed id back on its queue.
    Requeue(usize, Job),
    /// A worker looks at the next id. With a number, its script fails before that write.
    Claim(usize, Option<usize>),
    /// A worker of an older version claims.
    OldClaim(usize),
    /// A worker commits.
    Commit(usize),
    /// A worker settles.
    Settle(usize, Outcome, Option<usize>),
    /// A worker settles, and the answer is lost: it will do so again.
    SettleUnheard(usize, Outcome),
    /// A worker renews its lease.
    Heartbeat(usize),
    /// A worker dies; another takes its place.
    Crash(usize),
    /// A lease ends, whether its worker is alive or not.
    Lapse(usize, Execution),
    /// Maintenance brings back what a lapsed lease held.
    Reclaim(usize, Execution, Option<usize>),
    /// The same by a worker of an older version.
    OldReclaim(usize, Execution),
    /// RQ's own clean-up.
    Reader(usize, Execution),
    /// A scheduled job comes due.
    ComeDue(usize, Job),
    /// The clock is set back: all leases end much later.
    ClockBack(usize),
    /// Maintenance pulls in a lease that ends too late.
    PullIn(usize, Execution),
    /// The replica follows this far, or a backup is made.
    Backup,
    /// Failover to that replica, or the backup is restored.
    Restore,
    /// The ledger forgets a run.
    Prune(Run),
}

/// Everything that can happen now.
pub(super) fn possible(world: &System, config: &Config, steps: &mut Vec<Step>) {
    for server in 0..config.servers {
        by_producers(world, config, server, steps);
        by_maintenance(world, config, server, steps);
    }
    for worker in 0..config.workers {
        by_worker(world, config, worker, steps);
    }
    let durable = !config.guards.has(Switch::LifeDurable) || world.servers[0].life.is_some();
    if world.left.backup > 0 {
        match world.backup {
            None if durable => steps.push(Step::Backup),
            None => {}
            Some(_) => steps.push(Step::Restore),
        }
    }
    if world.left.prune > 0 {
        let old = world.sql.ledger.iter().filter(|run| !may_come_back(world, config, **run));
        steps.extend(old.map(|run| Step::Prune(*run)));
    }
}

fn by_producers(world: &System, config: &Config, server: usize, steps: &mut Vec<Step>) {
    let (redis, left) = (&world.servers[server], &world.left);
    for job in 0..config.jobs {
        let record = redis.record(job);
        if left.enqueue_new > 0 {
            steps.push(Step::EnqueueNew(server, job));
        }
        if left.enqueue_later > 0 {
            steps.push(Step::EnqueueLater(server, job));
        }
        if left.enqueue_same > 0 && record.is_none_or(may_be_asked_again) {
            steps.push(Step::EnqueueSame(server, job));
        }
        if left.cancel > 0 && record.is_some_and(|record| record.status != Status::Canceled) {
            steps.push(Step::Cancel(server, job));
        }
        // A claim makes a record persist: only one that nobody has can expire.
        if left.expire > 0 && record.is_some_and(|record| record.status != Status::Started) {
            steps.push(Step::Expire(server, job));
        }
        if left.requeue > 0 && record.is_some() && redis.failed.iter().any(|failed| failed.job == job) {
            steps.push(Step::Requeue(server, job));
        }
    }
}

/// Whether to enqueue the same version again is to ask again. Where it failed or waits for a retry, that is a requeue.
fn may_be_asked_again(record: &Record) -> bool {
    match record.status {
        Status::Finished => true,
        // The key of older versions does not tell the two apart.
        Status::Queued | Status::Started if record.run.is_none() => record.execution.is_none() && record.attempts == 0,
        Status::Queued | Status::Started => record.of.is_some(),
        Status::Scheduled | Status::Failed | Status::Canceled => false,
    }
}

fn by_maintenance(world: &System, config: &Config, server: usize, steps: &mut Vec<Step>) {
    let (redis, left) = (&world.servers[server], &world.left);
    steps.extend(redis.scheduled.iter().map(|job| Step::ComeDue(server, *job)));
    for lease in &redis.leases {
        let execution = lease.execution;
        match lease.until {
            Until::Live if left.lapse > 0 => steps.push(Step::Lapse(server, execution)),
            Until::Far if config.guards.has(Switch::PullIn) => steps.push(Step::PullIn(server, execution)),
            Until::Live | Until::Far => {}
            Until::Lapsed => {
                steps.push(Step::Reclaim(server, execution, None));
                if left.fault > 0 {
                    steps.extend((0..WRITES).map(|at| Step::Reclaim(server, execution, Some(at))));
                }
                if left.old_reclaim > 0 {
                    steps.push(Step::OldReclaim(server, execution));
                }
                if left.reader > 0 && !config.guards.has(Switch::FarScores) {
                    steps.push(Step::Reader(server, execution));
                }
            }
        }
    }
    if left.clock_back > 0 && !redis.leases.is_empty() {
        steps.push(Step::ClockBack(server));
    }
}

fn by_worker(world: &System, config: &Config, worker: usize, steps: &mut Vec<Step>) {
    let left = &world.left;
    let Some(hand) = &world.workers[worker] else {
        steps.push(Step::Claim(worker, None));
        if left.fault > 0 {
            steps.extend((0..=WRITES).map(|at| Step::Claim(worker, Some(at))));
        }
        if left.old_claim > 0 {
            steps.push(Step::OldClaim(worker));
        }
        return;
    };
    if left.crash > 0 {
        steps.push(Step::Crash(worker));
    }
    let redis = &world.servers[config.server_of(worker)];
    if redis.lease(hand.lease.execution).is_some_and(|lease| lease.until != Until::Live) {
        steps.push(Step::Heartbeat(worker));
    }
    if hand.stage != Stage::Committed {
        steps.push(Step::Commit(worker));
    }
    let mut outcomes = Vec::new();
    if hand.stage == Stage::Committed || (hand.stage == Stage::Claimed && !config.guards.has(Switch::SameTransaction)) {
        outcomes.push(Outcome::Finished);
    }
    // After the commit too: its answer may have been lost.
    if left.verdict > 0 && hand.stage != Stage::Told {
        outcomes.extend([Outcome::Retry, Outcome::Fail, Outcome::Release]);
    }
    if let Some(said) = hand.said {
        outcomes = vec![said];
    }
    for outcome in outcomes {
        steps.push(Step::Settle(worker, outcome, None));
        if left.fault > 0 {
            steps.extend((0..WRITES).map(|at| Step::Settle(worker, outcome, Some(at))));
        }
        if left.answer_lost > 0 {
            steps.push(Step::SettleUnheard(worker, outcome));
        }
    }
}

/// Whether a run can still be delivered: then G15 keeps its entry.
fn may_come_back(world: &System, config: &Config, run: Run) -> bool {
    if !config.guards.has(Switch::LedgerKept) {
        return false;
    }
    let failed_too = config.guards.has(Switch::FailedKept);
    let on_server = world.servers.iter().any(|redis| {
        redis.leases.iter().any(|lease| lease.run == run)
            || redis.aside.iter().any(|aside| aside.run == run)
            || redis.records.iter().flatten().any(|record| {
                record.run == Some(run)
                    && match record.status {
                        Status::Queued | Status::Scheduled | Status::Started => true,
                        Status::Failed => failed_too,
                        Status::Finished | Status::Canceled => false,
                    }
            })
    });
    on_server || world.backup.is_some() || world.workers.iter().flatten().any(|hand| hand.lease.run == run)
}

/// The world after a step; none where it cannot be.
pub(super) fn take(before: &System, config: &Config, step: Step) -> Option<System> {
    let mut next = before.clone();
    let world = &mut next;
    match step {
        Step::Claim(worker, fault) => {
            spend_fault(world, fault);
            if !scripts::claim(world, config, worker, fault) {
                return None;
            }
        }
        Step::OldClaim(worker) => {
            world.left.old_claim -= 1;
            if !others::old_claim(world, config, worker) {
                return None;
            }
        }
        Step::Commit(worker) => scripts::commit(world, config, worker),
        Step::Settle(worker, outcome, fault) => {
            spend_fault(world, fault);
            spend_verdict(world, worker, outcome);
            settle::settle(world, config, worker, outcome, fault, false);
        }
        Step::SettleUnheard(worker, outcome) => {
            world.left.answer_lost -= 1;
            spend_verdict(world, worker, outcome);
            settle::settle(world, config, worker, outcome, None, true);
        }
        Step::Crash(worker) => {
            world.left.crash -= 1;
            world.workers[worker] = None;
        }
        _ => of_leases_and_data(world, config, step)?,
    }
    for (effect, asked) in &mut world.asked {
        asked.failed_once |= is_failed(&world.servers[asked.server], *effect);
    }
    Some(next)
}

fn of_leases_and_data(world: &mut System, config: &Config, step: Step) -> Option<()> {
    match step {
        Step::Heartbeat(worker) => {
            let execution = world.workers[worker]?.lease.execution;
            until(world, config.server_of(worker), execution, Until::Live);
        }
        Step::Lapse(server, execution) => {
            world.left.lapse -= 1;
            until(world, server, execution, Until::Lapsed);
        }
        Step::PullIn(server, execution) => until(world, server, execution, Until::Live),
        Step::ClockBack(server) => {
            world.left.clock_back -= 1;
            world.servers[server].leases.iter_mut().for_each(|lease| lease.until = Until::Far);
        }
        Step::Reclaim(server, execution, fault) => {
            spend_fault(world, fault);
            let lease = *world.servers[server].lease(execution)?;
            settle::reclaim(world, config, server, &lease, fault);
        }
        Step::OldReclaim(server, execution) => {
            world.left.old_reclaim -= 1;
            let lease = *world.servers[server].lease(execution)?;
            others::old_reclaim(world, server, &lease);
        }
        Step::Reader(server, execution) => {
            world.left.reader -= 1;
            let lease = *world.servers[server].lease(execution)?;
            others::reader(&mut world.servers[server], &lease);
        }
        Step::ComeDue(server, job) => settle::come_due(world, config.guards, server, job),
        Step::Backup => {
            world.backup = Some(Backup { redis: world.servers[0].clone(), asked: known(&world.asked) });
        }
        Step::Restore => {
            world.left.backup -= 1;
            let backup = world.backup.take()?;
            world.servers[0] = backup.redis;
            for (effect, asked) in &mut world.asked {
                if asked.server == 0 && !backup.asked.contains(effect) {
                    asked.claim = Claim::Forgotten;
                }
            }
        }
        Step::Prune(run) => {
            world.left.prune -= 1;
            world.sql.ledger.remove(&run);
        }
        _ => of_producers(world, config, step)?,
    }
    Some(())
}

fn of_producers(world: &mut System, config: &Config, step: Step) -> Option<()> {
    match step {
        Step::EnqueueNew(server, job) => {
            world.left.enqueue_new -= 1;
            enqueue(world, config, server, job, None, false);
        }
        Step::EnqueueLater(server, job) => {
            world.left.enqueue_later -= 1;
            enqueue(world, config, server, job, None, true);
        }
        Step::EnqueueSame(server, job) => {
            world.left.enqueue_same -= 1;
            let created = *world.created.get(&(server, job))?;
            enqueue(world, config, server, job, Some(created), false);
        }
        Step::Cancel(server, job) => {
            world.left.cancel -= 1;
            let record = world.servers[server].records[usize::from(job)].as_mut()?;
            record.status = Status::Canceled;
            let effect = record.effect;
            world.servers[server].queue.retain(|other| *other != job);
            give_up(world, effect, Claim::Deleted);
        }
        Step::Expire(server, job) => {
            world.left.expire -= 1;
            let record = world.servers[server].records[usize::from(job)].take()?;
            give_up(world, record.effect, Claim::Deleted);
        }
        Step::Requeue(server, job) => {
            world.left.requeue -= 1;
            let now = world.tick(server);
            let redis = &mut world.servers[server];
            redis.failed.retain(|failed| failed.job != job);
            let record = redis.records[usize::from(job)].as_mut()?;
            record.status = Status::Queued;
            record.version.enqueued = now;
            redis.queue.push(job);
        }
        _ => return None,
    }
    Some(())
}

fn spend_fault(world: &mut System, fault: Option<usize>) {
    if fault.is_some() {
        world.left.fault -= 1;
    }
}

fn spend_verdict(world: &mut System, worker: usize, outcome: Outcome) {
    let again = world.workers[worker].is_some_and(|hand| hand.said.is_some());
    if outcome != Outcome::Finished && !again {
        world.left.verdict -= 1;
    }
}

fn until(world: &mut System, server: usize, execution: Execution, until: Until) {
    if let Some(lease) = world.servers[server].leases.iter_mut().find(|lease| lease.execution == execution) {
        lease.until = until;
    }
}

fn give_up(world: &mut System, effect: Effect, claim: Claim) {
    if let Some(asked) = world.asked.get_mut(&effect).filter(|asked| asked.claim == Claim::Owed) {
        asked.claim = claim;
    }
}

/// A producer writes a record, as RQ does: over the fields that it knows, and over no others.
pub(super) fn enqueue(
    world: &mut System,
    config: &Config,
    server: usize,
    job: Job,
    created: Option<Stamp>,
    later: bool,
) {
    let now = world.tick(server);
    let created = created.unwrap_or(now);
    let asked = world.asked.keys().last().map_or(0, |last| last.asked + 1);
    let effect = Effect { asked, repetition: 0 };
    let before = world.servers[server].record(job).copied();
    if let Some(before) = before.filter(|before| before.status != Status::Finished) {
        let redis = &world.servers[server];
        let taken = redis.leases.iter().any(|lease| lease.effect == before.effect)
            || redis.aside.iter().any(|aside| aside.effect == before.effect);
        if !taken {
            give_up(world, before.effect, Claim::Overwritten);
        }
    }
    let record = Record {
        version: Version { created, enqueued: if later { 0 } else { now } },
        effect,
        status: if later { Status::Scheduled } else { Status::Queued },
        repeats: config.repeats,
        due: now,
        run: before.and_then(|before| before.run),
        of: before.and_then(|before| before.of),
        replaced: before.map_or(Replaced::default(), |before| before.replaced),
        execution: before.and_then(|before| before.execution),
        attempts: before.map_or(0, |before| before.attempts),
        generation: before.map_or(0, |before| before.generation),
    };
    world.asked.insert(effect, Asked { server, job, claim: Claim::Owed, failed_once: false });
    world.created.insert((server, job), created);
    let redis = &mut world.servers[server];
    redis.records[usize::from(job)] = Some(record);
    if later {
        redis.scheduled.insert(job);
    } else {
        redis.queue.push(job);
    }
}

/// The first job is in the hands of a worker of an older version, which wrote no run.
pub(super) fn hand_to_old_worker(world: &mut System) {
    let execution = world.executions;
    world.executions += 1;
    let redis = &mut world.servers[0];
    let Some(record) = redis.records[0].as_mut() else { return };
    (record.status, record.execution, record.attempts) = (Status::Started, Some(execution), 1);
    let run = Run::Old { job: 0, created: record.version.created, generation: record.generation };
    let (version, effect) = (record.version, record.effect);
    let lease = Lease {
        execution,
        job: 0,
        run,
        version,
        effect,
        replaced: Replaced::default(),
        attempts: 1,
        until: Until::Live,
    };
    redis.queue.remove(0);
    redis.leases.push(lease);
    world.workers[0] = Some(InHand { lease, stage: Stage::Claimed, said: None });
}
