//! What others do to the same data: workers of an older version, and RQ's own clean-up.

use super::Config;
use super::scripts::{Write, write};
use super::state::{Failed, InHand, Lease, Record, Redis, Replaced, Run, Stage, Status, System, Until};

/// Reclaiming as workers of an older version do it: they know nothing of runs.
pub(super) fn old_reclaim(world: &mut System, server: usize, lease: &Lease) {
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
pub(super) fn old_claim(world: &mut System, config: &Config, worker: usize) -> bool {
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
    world.workers[worker] = Some(InHand { lease, stage: Stage::Claimed, said: None });
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
