//! The scripts. Each is a list of writes, in the order in which Redis does them; a fault ends it before one of them, and
//! Redis does not take back what was done. Guards change the writes or their order.

use super::Config;
use super::state::{
    Aside, Claim, Effect, Failed, InHand, Job, Lease, Record, Redis, Replaced, Run, Stage, Status, System, Until,
};
use crate::guards::{Guards, Switch};

/// How a run ended, as its worker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Done.
    Finished,
    /// To be tried again later.
    Retry,
    /// Failed for good.
    Fail,
    /// Given back.
    Release,
}

/// One write of a script.
#[derive(Debug, Clone, Copy)]
pub(super) enum Write {
    TakeId,
    TakeAside(Run),
    Record(Job, Record),
    Lease(Lease),
    GiveUpLease(Lease),
    Front(Job),
    Back(Job),
    Schedule(Job),
    Fail(Failed),
    NotFailed(Job),
    SetAside(Aside),
    BringBack(Aside),
    Keep(Aside),
}

pub(super) fn write(redis: &mut Redis, write: Write) {
    match write {
        Write::TakeId => {
            redis.queue.remove(0);
        }
        Write::TakeAside(run) => redis.aside.retain(|aside| aside.run != run),
        Write::Record(job, record) => redis.records[usize::from(job)] = Some(record),
        Write::Lease(lease) => {
            redis.leases.push(lease);
            redis.leases.sort_by_key(|lease| lease.execution);
        }
        Write::GiveUpLease(lease) => redis.leases.retain(|other| other.execution != lease.execution),
        Write::Front(job) => redis.queue.insert(0, job),
        Write::Back(job) => redis.queue.push(job),
        Write::Schedule(job) => {
            redis.scheduled.insert(job);
        }
        Write::Fail(failed) => {
            redis.failed.retain(|other| other.job != failed.job);
            redis.failed.push(failed);
            redis.failed.sort_by_key(|failed| failed.job);
        }
        Write::NotFailed(job) => redis.failed.retain(|other| other.job != job),
        Write::SetAside(aside) => {
            if redis.aside.iter().all(|other| other.run != aside.run) {
                let behind = redis.aside.iter().rposition(|other| other.job == aside.job);
                redis.aside.insert(behind.map_or(redis.aside.len(), |last| last + 1), aside);
            }
        }
        Write::BringBack(aside) => {
            redis.aside.retain(|other| other.run != aside.run);
            // The id is due from now on, with its older run first.
            let (behind, mut others): (Vec<_>, Vec<_>) =
                redis.aside.iter().copied().partition(|other| other.job == aside.job);
            others.push(aside);
            others.extend(behind);
            redis.aside = others;
        }
        Write::Keep(aside) => redis.kept.push(aside),
    }
}

/// Runs a script; true where it came to its end.
pub(super) fn run(redis: &mut Redis, config: &Config, script: &[Write], fault: Option<usize>) -> bool {
    let end = fault.unwrap_or(script.len()).min(script.len());
    for step in &script[..end] {
        write(redis, *step);
    }
    let whole = end == script.len();
    if !whole && config.guards.has(Switch::PutBack) && !config.no_put_back {
        // Settling and reclaiming begin with the lease.
        if let Some(Write::GiveUpLease(lease)) = script[..end].first() {
            write(redis, Write::Lease(*lease));
        }
    }
    whole
}

/// The run of a record at its claim.
pub(super) fn run_of(redis: &Redis, guards: Guards, job: Job, record: &Record) -> Run {
    let created = record.version.created;
    let asked_again =
        guards.has(Switch::ExactTimes) && record.of.is_some_and(|enqueued| enqueued != record.version.enqueued);
    match record.run {
        Some(run) if guards.has(Switch::RunStays) && run.created() == created && !asked_again => return run,
        None if guards.has(Switch::TakenOver)
            && (record.execution.is_some() || (guards.has(Switch::OldAttempts) && record.attempts > 0)) =>
        {
            return Run::Old { job, created, generation: record.generation };
        }
        _ => {}
    }
    let life = if guards.has(Switch::Life) { redis.life.unwrap_or_default() } else { 0 };
    Run::New { life, job, created, enqueued: record.version.enqueued, repetition: 0 }
}

/// The runs before `name`, as the record tells.
fn replaced(guards: Guards, record: &Record, name: Run) -> Replaced {
    if !guards.has(Switch::Fence) {
        return Replaced::default();
    }
    record.replaced.and(record.run.filter(|run| *run != name))
}

pub(super) fn copy(lease: &Lease) -> Aside {
    Aside {
        job: lease.job,
        run: lease.run,
        version: lease.version,
        effect: lease.effect,
        replaced: lease.replaced,
        attempts: lease.attempts,
    }
}

/// Looks at one id, set aside or waiting: claims it, sets it aside or drops it. False where there is nothing to look at.
pub(super) fn claim(world: &mut System, config: &Config, worker: usize, fault: Option<usize>) -> bool {
    let guards = config.guards;
    let server = config.server_of(worker);
    if world.servers[server].life.is_none() {
        world.lives += 1;
        world.servers[server].life = Some(world.lives);
    }
    let execution = world.executions;
    let redis = &mut world.servers[server];

    if let Some(aside) = redis.aside.iter().find(|aside| redis.in_hand(aside.job).is_none()).copied() {
        claim_aside(world, config, worker, aside, fault);
        return true;
    }
    let Some(&job) = redis.queue.first() else { return false };
    let waiting = redis.record(job).copied().filter(|record| matches!(record.status, Status::Queued | Status::Started));
    let Some(record) = waiting else {
        run(redis, config, &[Write::TakeId], fault);
        return true;
    };
    let name = run_of(redis, guards, job, &record);
    let in_hand = redis.in_hand(job).copied();
    // Either its script failed after the record was written, or it is forgotten as soon as it lapsed.
    let left_over = in_hand.filter(|lease| {
        let named = record.execution == Some(lease.execution);
        let ended = guards.has(Switch::LeaseLast) && record.version == lease.version && !named;
        ended || (!guards.has(Switch::LapsedInHand) && lease.until == Until::Lapsed)
    });
    if let Some(lease) = in_hand.filter(|_| left_over.is_none()) {
        if record.version == lease.version || !guards.has(Switch::Aside) {
            run(redis, config, &[Write::TakeId], fault);
        } else {
            set_aside(redis, config, (job, name), &record, fault);
        }
        return true;
    }
    let old = matches!(name, Run::Old { .. });
    let same = old || record.run == Some(name);
    let lease = Lease {
        execution,
        job,
        run: name,
        version: record.version,
        effect: record.effect,
        replaced: replaced(guards, &record, name),
        attempts: if same { record.attempts } else { 0 } + 1,
        until: Until::Live,
    };
    give_out(world, config, worker, (lease, Some(record), left_over), Write::TakeId, fault);
    true
}

/// Claims what was set aside before.
fn claim_aside(world: &mut System, config: &Config, worker: usize, aside: Aside, fault: Option<usize>) {
    let guards = config.guards;
    let execution = world.executions;
    let redis = &mut world.servers[config.server_of(worker)];
    let own = redis
        .record(aside.job)
        .copied()
        .filter(|record| record.version == aside.version || run_of(redis, guards, aside.job, record) == aside.run);
    if own.is_some_and(|record| record.status == Status::Canceled) {
        run(redis, config, &[Write::TakeAside(aside.run)], fault);
        return;
    }
    let lease = Lease {
        execution,
        job: aside.job,
        run: aside.run,
        version: own.map_or(aside.version, |record| record.version),
        effect: aside.effect,
        replaced: aside.replaced,
        attempts: aside.attempts + 1,
        until: Until::Live,
    };
    give_out(world, config, worker, (lease, own, None), Write::TakeAside(aside.run), fault);
}

/// Sets a waiting id aside, whose older version is in hand.
fn set_aside(redis: &mut Redis, config: &Config, (job, name): (Job, Run), record: &Record, fault: Option<usize>) {
    let guards = config.guards;
    let attempts = if record.run == Some(name) { record.attempts } else { 0 };
    let aside = Aside {
        job,
        run: name,
        version: record.version,
        effect: record.effect,
        replaced: replaced(guards, record, name),
        attempts,
    };
    let mut script = vec![Write::SetAside(aside), Write::TakeId];
    if !guards.has(Switch::TakeLast) {
        script.reverse();
    }
    if guards.has(Switch::Fence) {
        // What comes after this one must know of it.
        let (run, of, replaced) = (Some(name), Some(record.version.enqueued), aside.replaced);
        script.insert(1, Write::Record(job, Record { run, of, replaced, ..*record }));
    }
    run(redis, config, &script, fault);
}

fn give_out(
    world: &mut System,
    config: &Config,
    worker: usize,
    (lease, record, left_over): (Lease, Option<Record>, Option<Lease>),
    take: Write,
    fault: Option<usize>,
) {
    let guards = config.guards;
    let mut script = Vec::new();
    if guards.has(Switch::ClearFailed) && record.is_some() {
        script.push(Write::NotFailed(lease.job));
    }
    if let Some(record) = record {
        let (run, execution) = (Some(lease.run), Some(lease.execution));
        let (replaced, attempts) = (lease.replaced, lease.attempts);
        let of = Some(record.version.enqueued);
        let begun = Record { status: Status::Started, run, of, replaced, execution, attempts, ..record };
        script.push(Write::Record(lease.job, begun));
    }
    script.push(Write::Lease(lease));
    script.extend(left_over.map(Write::GiveUpLease));
    if guards.has(Switch::TakeLast) {
        script.push(take);
    } else {
        script.insert(0, take);
    }
    world.executions += 1;
    let redis = &mut world.servers[config.server_of(worker)];
    if run(redis, config, &script, fault) {
        world.workers[worker] = Some(InHand { lease, stage: Stage::Claimed, said: None });
    }
}

/// Rows and ledger entry in one transaction.
pub(super) fn commit(world: &mut System, config: &Config, worker: usize) {
    let Some(hand) = world.workers[worker] else { return };
    if world.sql.ledger.insert(hand.lease.run) {
        world.sql.applied.push(hand.lease.effect);
    }
    let mut replaced = hand.lease.replaced.runs().peekable();
    if replaced.peek().is_some() {
        world.sql.ledger.extend(replaced);
        // What had failed before is over now that something newer is written.
        let server = config.server_of(worker);
        for (effect, asked) in &mut world.asked {
            let older = (asked.server, asked.job) == (server, hand.lease.job) && *effect < hand.lease.effect;
            if older && asked.claim == Claim::Owed && asked.failed_once {
                asked.claim = Claim::Overwritten;
            }
        }
    }
    world.workers[worker] = match hand.stage {
        Stage::Told => None,
        _ => Some(InHand { stage: Stage::Committed, ..hand }),
    };
}

/// Where the data of an effect are, so that somebody will find it.
pub(super) fn is_held(redis: &Redis, guards: Guards, job: Job, effect: Effect) -> bool {
    let record = redis.record(job).filter(|record| record.effect == effect);
    let by_record = record.is_some_and(|record| match record.status {
        Status::Queued | Status::Started => redis.queue.contains(&job),
        Status::Scheduled => redis.scheduled.contains(&job),
        _ => false,
    });
    let copied = guards.has(Switch::PayloadCopy);
    by_record
        || redis.aside.iter().any(|aside| aside.effect == effect)
        || redis.leases.iter().any(|lease| lease.effect == effect && (copied || record.is_some()))
}

/// Whether the effect is where people look for what failed.
pub(super) fn is_failed(redis: &Redis, effect: Effect) -> bool {
    redis.failed.iter().any(|failed| failed.effect == effect) || redis.kept.iter().any(|kept| kept.effect == effect)
}
