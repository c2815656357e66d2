//! How a run ends, in Redis: settling, and bringing back what a lapsed lease held.

use super::Config;
use super::scripts::{Outcome, Write, copy, run, run_of, write};
use super::state::{
    Aside, Asked, Claim, Failed, InHand, Job, Lease, Record, Redis, Replaced, Run, Stage, Stamp, Status, System,
};
use crate::guards::{Guards, Switch};

/// Records the outcome of what a worker has in hand. `again` where the answer is lost on its way to the worker.
pub(super) fn settle(
    world: &mut System,
    config: &Config,
    worker: usize,
    outcome: Outcome,
    fault: Option<usize>,
    again: bool,
) {
    let guards = config.guards;
    let server = config.server_of(worker);
    let Some(hand) = world.workers[worker] else { return };
    let now = world.tick(server);
    let redis = &mut world.servers[server];
    let after = match hand.stage {
        Stage::Claimed if outcome == Outcome::Finished => Some(InHand { stage: Stage::Told, said: None, ..hand }),
        _ if again => Some(InHand { said: Some(outcome), ..hand }),
        _ => None,
    };
    let held = redis.lease(hand.lease.execution).is_some();
    if held || !guards.has(Switch::LeaseChecked) {
        let record = redis.record(hand.lease.job).copied();
        let own = record.filter(|record| {
            !guards.has(Switch::OwnRecord)
                || (record.version == hand.lease.version && record.execution == Some(hand.lease.execution))
        });
        let (moves, written) = match own {
            Some(record) => ending(guards, &hand.lease, record, outcome, now),
            // Its record was queued again already, by a script that failed after that.
            None if record.is_some_and(|record| run_of(redis, guards, hand.lease.job, &record) == hand.lease.run) => {
                (vec![], None)
            }
            None => (overwritten(guards, &hand.lease, record.is_some(), outcome), None),
        };
        let script = script(guards, &hand.lease, moves, written);
        let whole = run(redis, config, &script, fault);
        ask_for_repetition(world, server, hand.lease.job);
        let told = guards.has(Switch::PutBack) || guards.has(Switch::LeaseLast);
        if !whole && told {
            // The worker sees the error, and will say it again.
            world.workers[worker] = Some(InHand { said: Some(outcome), ..hand });
            return;
        }
    }
    world.workers[worker] = after;
}

/// The lease, record and registries, in the order that the switches say.
fn script(guards: Guards, lease: &Lease, moves: Vec<Write>, record: Option<Record>) -> Vec<Write> {
    let mut script = vec![];
    let record = record.map(|record| Write::Record(lease.job, record));
    if guards.has(Switch::RecordLast) {
        script.extend(moves);
        script.extend(record);
    } else {
        script.extend(record);
        script.extend(moves);
    }
    let at = if guards.has(Switch::LeaseLast) { script.len() } else { 0 };
    script.insert(at, Write::GiveUpLease(*lease));
    script
}

fn ending(guards: Guards, lease: &Lease, record: Record, outcome: Outcome, now: Stamp) -> (Vec<Write>, Option<Record>) {
    let job = lease.job;
    let mut after = Record { execution: None, ..record };
    let moves = match outcome {
        Outcome::Finished => {
            after.status = Status::Finished;
            after.attempts = 0;
            after.generation += 1;
            after.replaced = Replaced::default();
            if guards.has(Switch::RunRemoved) {
                after.run = None;
            }
            let mut moves = vec![];
            if guards.has(Switch::ClearFailed) {
                moves.push(Write::NotFailed(job));
            }
            if record.repeats > 0 {
                after.repeats -= 1;
                after.status = Status::Queued;
                after.version.enqueued = now;
                after.of = Some(now);
                after.effect.repetition += 1;
                if guards.has(Switch::NextRun) && guards.has(Switch::RunRemoved) {
                    after.run = Some(next(lease.run));
                }
                moves.push(Write::Back(job));
            }
            moves
        }
        Outcome::Retry => {
            after.status = Status::Scheduled;
            after.of = None;
            vec![Write::Schedule(job)]
        }
        Outcome::Fail => {
            after.status = Status::Failed;
            after.of = None;
            after.attempts = 0;
            vec![Write::Fail(Failed { job, effect: record.effect, for_cause: true })]
        }
        Outcome::Release => {
            after.status = Status::Queued;
            after.attempts = record.attempts.saturating_sub(1);
            vec![Write::Front(job)]
        }
    };
    (moves, Some(after))
}

fn next(run: Run) -> Run {
    match run {
        Run::New { life, job, created, enqueued, repetition } => {
            Run::New { life, job, created, enqueued, repetition: repetition + 1 }
        }
        Run::Old { job, created, generation } => Run::Old { job, created, generation: generation + 1 },
    }
}

/// What becomes of a run whose record is another's by now, or gone.
fn overwritten(guards: Guards, lease: &Lease, there: bool, outcome: Outcome) -> Vec<Write> {
    match outcome {
        Outcome::Retry | Outcome::Release
            if guards.has(Switch::RetryAside) && (there || guards.has(Switch::GoneToo)) =>
        {
            // An attempt that was given back does not count.
            let attempts = lease.attempts.saturating_sub(u8::from(outcome == Outcome::Release));
            vec![Write::BringBack(Aside { attempts, ..copy(lease) })]
        }
        Outcome::Fail if guards.has(Switch::FailedCopy) => vec![Write::Keep(copy(lease))],
        Outcome::Fail => vec![Write::Fail(Failed { job: lease.job, effect: lease.effect, for_cause: true })],
        _ => vec![],
    }
}

fn ask_for_repetition(world: &mut System, server: usize, job: Job) {
    let Some(record) = world.servers[server].record(job) else { return };
    if record.effect.repetition > 0 {
        let asked = Asked { server, job, claim: Claim::Owed, failed_once: false };
        world.asked.entry(record.effect).or_insert(asked);
    }
}

/// Brings a lapsed lease's job back, or gives it up after too many attempts.
pub(super) fn reclaim(world: &mut System, config: &Config, server: usize, lease: &Lease, fault: Option<usize>) {
    let guards = config.guards;
    let now = world.tick(server);
    let redis = &mut world.servers[server];
    let record = redis.record(lease.job).copied();
    let own = record
        .filter(|record| record.version == lease.version && record.execution == Some(lease.execution))
        .filter(|record| record.status == Status::Started);
    let over = lease.attempts >= config.max_attempts;
    let (moves, written) = match (own, record) {
        (Some(record), _) => {
            let run = Some(run_of(redis, guards, lease.job, &record));
            let mut after = Record { run, execution: None, ..record };
            if over {
                after.status = Status::Failed;
                after.of = None;
                after.attempts = 0;
                let failed = Failed { job: lease.job, effect: record.effect, for_cause: true };
                (vec![Write::Fail(failed)], Some(after))
            } else {
                after.status = Status::Queued;
                after.version.enqueued = now;
                after.of = Some(now);
                (vec![Write::Front(lease.job)], Some(after))
            }
        }
        // A script that failed half-way left it queued, and nowhere.
        (None, Some(record))
            if record.status == Status::Queued
                && !redis.queue.contains(&lease.job)
                && run_of(redis, guards, lease.job, &record) == lease.run =>
        {
            (vec![Write::Front(lease.job)], None)
        }
        (None, record) if is_without_record(redis, guards, lease, record) => {
            let moves = if over {
                overwritten(guards, lease, true, Outcome::Fail)
            } else if guards.has(Switch::PayloadCopy) {
                vec![Write::BringBack(copy(lease))]
            } else {
                vec![]
            };
            (moves, None)
        }
        _ => (vec![], None),
    };
    run(redis, config, &script(guards, lease, moves, written), fault);
}

/// Whether the record of a run is another's by now, or gone.
fn is_without_record(redis: &Redis, guards: Guards, lease: &Lease, record: Option<Record>) -> bool {
    record.map_or(guards.has(Switch::GoneToo), |record| {
        record.version != lease.version && run_of(redis, guards, lease.job, &record) != lease.run
    })
}

/// A scheduled job whose time has come.
pub(super) fn come_due(world: &mut System, guards: Guards, server: usize, job: Job) {
    let now = world.tick(server);
    let redis = &mut world.servers[server];
    redis.scheduled.remove(&job);
    let Some(record) = redis.record(job).copied().filter(|record| record.status == Status::Scheduled) else { return };
    let mut after = Record { status: Status::Queued, ..record };
    let first = record.version.enqueued == 0;
    after.version.enqueued = if first && guards.has(Switch::DueStamp) { record.due } else { now };
    write(redis, Write::Back(job));
    write(redis, Write::Record(job, after));
}
