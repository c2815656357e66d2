//! The scripts. Each is a list of writes, in the order in which Redis does them; a fault ends it before one of them, and
//! Redis does not take back what was done. Guards change the writes or their order.

use super::Config;
use super::state::{
    Aside, Asked, Claim, Effect, Failed, Hand, Job, Lease, Record, Redis, Replaced, Run, Stage, Stamp, Status, Until,
    World,
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
enum Write {
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

fn write(redis: &mut Redis, write: Write) {
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
                redis.aside.push(aside);
            }
        }
        Write::BringBack(aside) => {
            redis.aside.retain(|other| other.run != aside.run);
            redis.aside.insert(0, aside);
        }
        Write::Keep(aside) => redis.kept.push(aside),
    }
}

/// Runs a script; true where it came to its end.
fn run(redis: &mut Redis, config: &Config, script: &[Write], fault: Option<usize>) -> bool {
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
fn run_of(redis: &Redis, guards: Guards, job: Job, record: &Record) -> Run {
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

fn copy(lease: &Lease) -> Aside {
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
pub(super) fn claim(world: &mut World, config: &Config, worker: usize, fault: Option<usize>) -> bool {
    let guards = config.guards;
    let server = config.server_of(worker);
    if world.servers[server].life.is_none() {
        world.lives += 1;
        world.servers[server].life = Some(world.lives);
    }
    let execution = world.executions;
    let redis = &mut world.servers[server];

    if let Some(aside) = redis.aside.iter().find(|aside| redis.in_hand(aside.job).is_none()).copied() {
        let own = redis
            .record(aside.job)
            .copied()
            .filter(|record| record.version == aside.version || run_of(redis, guards, aside.job, record) == aside.run);
        if own.is_some_and(|record| record.status == Status::Canceled) {
            run(redis, config, &[Write::TakeAside(aside.run)], fault);
            return true;
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
            return true;
        }
        let attempts = if record.run == Some(name) { record.attempts } else { 0 };
        let aside = Aside {
            job,
            run: name,
            version: record.version,
            effect: record.effect,
            replaced: replaced(guards, &record, name),
            attempts,
        };
        let mut script = vec![Write::SetAside(aside), Write::TakeId];
        if !guards.has(Switch::TakeLast) {
            script.reverse();
        }
        if guards.has(Switch::Fence) {
            // What comes after this one must know of it.
            let (run, of, replaced) = (Some(name), Some(record.version.enqueued), aside.replaced);
            script.insert(1, Write::Record(job, Record { run, of, replaced, ..record }));
        }
        run(redis, config, &script, fault);
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

fn give_out(
    world: &mut World,
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
        world.workers[worker] = Some(Hand { lease, stage: Stage::Claimed, said: None });
    }
}

/// Records the outcome of what a worker has in hand. `again` where the answer is lost on its way to the worker.
pub(super) fn settle(
    world: &mut World,
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
        Stage::Claimed if outcome == Outcome::Finished => Some(Hand { stage: Stage::Told, said: None, ..hand }),
        _ if again => Some(Hand { said: Some(outcome), ..hand }),
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
            world.workers[worker] = Some(Hand { said: Some(outcome), ..hand });
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
            vec![Write::BringBack(copy(lease))]
        }
        Outcome::Fail if guards.has(Switch::FailedCopy) => vec![Write::Keep(copy(lease))],
        Outcome::Fail => vec![Write::Fail(Failed { job: lease.job, effect: lease.effect, for_cause: true })],
        _ => vec![],
    }
}

fn ask_for_repetition(world: &mut World, server: usize, job: Job) {
    let Some(record) = world.servers[server].record(job) else { return };
    if record.effect.repetition > 0 {
        let asked = Asked { server, job, claim: Claim::Owed, failed_once: false };
        world.asked.entry(record.effect).or_insert(asked);
    }
}

/// Brings a lapsed lease's job back, or gives it up after too many attempts.
pub(super) fn reclaim(world: &mut World, config: &Config, server: usize, lease: &Lease, fault: Option<usize>) {
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

/// Reclaiming as workers of an older version do it: they know nothing of runs.
pub(super) fn old_reclaim(world: &mut World, server: usize, lease: &Lease) {
    let now = world.tick(server);
    let redis = &mut world.servers[server];
    write(redis, Write::GiveUpLease(*lease));
    if let Some(record) = redis.record(lease.job).copied().filter(|record| record.status == Status::Started) {
        // It counts a crash, by which newer workers see that the new time is no producer's.
        let mut after = Record { status: Status::Queued, execution: None, of: None, ..record };
        after.version.enqueued = now;
        write(redis, Write::Record(lease.job, after));
        write(redis, Write::Front(lease.job));
    }
}

/// A claim as workers of an older version do it: they know nothing of runs.
pub(super) fn old_claim(world: &mut World, config: &Config, worker: usize) -> bool {
    let redis = &world.servers[config.server_of(worker)];
    let Some(&job) = redis.queue.first() else { return false };
    let Some(record) = redis.record(job).copied() else { return false };
    if record.status != Status::Queued || redis.in_hand(job).is_some() {
        return false;
    }
    let run = Run::Old { job, created: record.version.created, generation: record.generation };
    let lease = Lease {
        execution: world.executions,
        job,
        run,
        version: record.version,
        effect: record.effect,
        replaced: Replaced::default(),
        attempts: record.attempts + 1,
        until: Until::Live,
    };
    let begun =
        Record { status: Status::Started, execution: Some(lease.execution), attempts: lease.attempts, ..record };
    world.executions += 1;
    let redis = &mut world.servers[config.server_of(worker)];
    for step in [Write::TakeId, Write::Record(job, begun), Write::Lease(lease)] {
        write(redis, step);
    }
    world.workers[worker] = Some(Hand { lease, stage: Stage::Claimed, said: None });
    true
}

/// RQ's own clean-up: a lease below now makes its id fail, whatever record there is by now.
pub(super) fn reader(redis: &mut Redis, lease: &Lease) {
    write(redis, Write::GiveUpLease(*lease));
    if let Some(record) = redis.record(lease.job).copied() {
        write(redis, Write::Record(lease.job, Record { status: Status::Failed, ..record }));
        write(redis, Write::Fail(Failed { job: lease.job, effect: record.effect, for_cause: false }));
    }
}

/// A scheduled job whose time has come.
pub(super) fn come_due(world: &mut World, guards: Guards, server: usize, job: Job) {
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

/// Rows and ledger entry in one transaction.
pub(super) fn commit(world: &mut World, config: &Config, worker: usize) {
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
        _ => Some(Hand { stage: Stage::Committed, ..hand }),
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
