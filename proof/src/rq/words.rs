//! Steps in words, for counterexamples.

use std::fmt;

use super::{Outcome, Step};

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Finished => "finished",
            Self::Retry => "to be retried",
            Self::Fail => "failed for good",
            Self::Release => "given back",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EnqueueNew(server, job) => {
                write!(f, "a producer writes a new version of job {job} on server {server}")
            }
            Self::EnqueueSame(server, job) => {
                write!(f, "a producer enqueues the same version of job {job} again on server {server}")
            }
            Self::EnqueueLater(server, job) => {
                write!(f, "a producer schedules a new version of job {job} on server {server}")
            }
            Self::Cancel(server, job) => write!(f, "a producer cancels job {job} on server {server}"),
            Self::Expire(server, job) => write!(f, "the record of job {job} expires on server {server}"),
            Self::Requeue(server, job) => write!(f, "a person requeues the failed job {job} on server {server}"),
            Self::Claim(worker, fault) => {
                write!(f, "worker {worker} looks at the next id")?;
                failing(f, *fault)
            }
            Self::OldClaim(worker) => write!(f, "worker {worker}, of an older version, claims the next id"),
            Self::Commit(worker) => write!(f, "worker {worker} commits"),
            Self::Settle(worker, outcome, fault) => {
                write!(f, "worker {worker} settles: {outcome}")?;
                failing(f, *fault)
            }
            Self::SettleUnheard(worker, outcome) => {
                write!(f, "worker {worker} settles: {outcome}; the answer is lost")
            }
            Self::Heartbeat(worker) => write!(f, "worker {worker} renews its lease"),
            Self::Crash(worker) => write!(f, "worker {worker} dies"),
            Self::Lapse(server, execution) => write!(f, "the lease of execution {execution} on server {server} ends"),
            Self::Reclaim(server, execution, fault) => {
                write!(f, "maintenance reclaims execution {execution} on server {server}")?;
                failing(f, *fault)
            }
            Self::OldReclaim(server, execution) => {
                write!(f, "a worker of an older version reclaims execution {execution} on server {server}")
            }
            Self::Reader(server, execution) => {
                write!(f, "RQ's clean-up fails execution {execution} on server {server}")
            }
            Self::ComeDue(server, job) => write!(f, "job {job} comes due on server {server}"),
            Self::ClockBack(server) => write!(f, "the clock of server {server} is set back"),
            Self::PullIn(server, execution) => {
                write!(f, "maintenance pulls in the lease of execution {execution} on server {server}")
            }
            Self::Backup => f.write_str("the replica of server 0 follows this far, and no further"),
            Self::Restore => f.write_str("failover of server 0 to that replica"),
            Self::Prune(run) => write!(f, "the ledger forgets {run:?}"),
        }
    }
}

fn failing(f: &mut fmt::Formatter<'_>, fault: Option<usize>) -> fmt::Result {
    match fault {
        None => Ok(()),
        Some(at) => write!(f, "; the script fails after {at} writes"),
    }
}
