//! What there is: Redis, the database, the workers, and what was asked for.

use std::collections::{BTreeMap, BTreeSet};

use super::Outcome;

/// Number of an id that producers use.
pub type Job = u8;
/// A time, as a number that only grows.
pub type Stamp = u32;
/// Names an execution: one claim of one job.
pub type Execution = u32;

/// Something that was asked for: the n-th enqueue, or its k-th repetition. This is what must happen once. No script knows
/// it: it stands for the data that a producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Effect {
    /// The n-th enqueue.
    pub asked: u32,
    /// The k-th repetition of it.
    pub repetition: u8,
}

/// What is remembered of an effect, for the properties alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asked {
    /// On which server.
    pub server: usize,
    /// Under which id.
    pub job: Job,
    /// Whether somebody still has a right to it.
    pub claim: Claim,
    /// Whether it was ever counted as failed.
    pub failed_once: bool,
}

/// Whether somebody still has a right to an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claim {
    /// It must happen.
    Owed,
    /// Its producer wrote something newer over it before it was taken.
    Overwritten,
    /// Its producer canceled or deleted it, or let it expire.
    Deleted,
    /// Redis forgot it in a failover.
    Forgotten,
}

/// A record's version: what its producer wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// `created_at`.
    pub created: Stamp,
    /// `enqueued_at`; zero while the job waits for its time.
    pub enqueued: Stamp,
}

/// The identity of a run, and so its key in the ledger. A hash is modelled as what it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Run {
    /// Life, id and both times.
    New {
        /// The life of the data.
        life: u8,
        /// The id.
        job: Job,
        /// `created_at` at the first claim.
        created: Stamp,
        /// `enqueued_at` at the first claim.
        enqueued: Stamp,
        /// Which repetition (mend M7); otherwise zero.
        repetition: u8,
    },
    /// The key of older versions: id, `created_at`, generation.
    Old {
        /// The id.
        job: Job,
        /// `created_at`.
        created: Stamp,
        /// How often a run of this record was finished.
        generation: u8,
    },
}

impl Run {
    /// `created_at` of the record that it was made of.
    pub fn created(self) -> Stamp {
        match self {
            Self::New { created, .. } | Self::Old { created, .. } => created,
        }
    }
}

/// Runs whose place in the order a newer one took (mend M8). Our worlds have no more than fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Replaced([Option<Run>; 4]);

impl Replaced {
    /// These, and one more; the same one is kept once.
    #[must_use]
    pub fn and(mut self, run: Option<Run>) -> Self {
        if run.is_some() && !self.0.contains(&run) {
            self.0.rotate_right(1);
            self.0[0] = run;
        }
        self
    }

    /// Each of them.
    pub fn runs(self) -> impl Iterator<Item = Run> {
        self.0.into_iter().flatten()
    }
}

/// RQ's status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Its id is in the queue.
    Queued,
    /// A worker has it.
    Started,
    /// It waits for a time.
    Scheduled,
    /// It was done.
    Finished,
    /// It failed for good.
    Failed,
    /// Its producer took it back.
    Canceled,
}

/// A job's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Record {
    /// What the producer wrote, as times.
    pub version: Version,
    /// What the producer wrote, as data.
    pub effect: Effect,
    /// RQ's status.
    pub status: Status,
    /// `jobqueue_run`.
    pub run: Option<Run>,
    /// `jobqueue_of`: the `enqueued_at` that belongs to the run. None where others may have written a new one for the same
    /// run: it waits for a retry, or failed.
    pub of: Option<Stamp>,
    /// The runs before that one (mend M8).
    pub replaced: Replaced,
    /// `jobqueue_execution`.
    pub execution: Option<Execution>,
    /// `jobqueue_attempts`.
    pub attempts: u8,
    /// `jobqueue_generation`.
    pub generation: u8,
    /// `repeats_left`.
    pub repeats: u8,
    /// When it comes due, while it is scheduled.
    pub due: Stamp,
}

/// How far the end of a lease is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Until {
    /// Ahead.
    Live,
    /// Over.
    Lapsed,
    /// Much later than its length from now: the clock was set back.
    Far,
}

/// A lease together with the execution's own hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Whose.
    pub execution: Execution,
    /// The id.
    pub job: Job,
    /// The run that it serves.
    pub run: Run,
    /// The version that was claimed.
    pub version: Version,
    /// The data; the scripts have them with G8 only.
    pub effect: Effect,
    /// The runs that it replaces (mend M8).
    pub replaced: Replaced,
    /// Attempts of the run, this one included.
    pub attempts: u8,
    /// Its end.
    pub until: Until,
}

/// A copy of a record that waits until no run of its id is in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Aside {
    /// The id.
    pub job: Job,
    /// The run that it will be.
    pub run: Run,
    /// The version that was copied.
    pub version: Version,
    /// Its data.
    pub effect: Effect,
    /// The runs that it replaces (mend M8).
    pub replaced: Replaced,
    /// Attempts so far.
    pub attempts: u8,
}

/// A place in the failed registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Failed {
    /// The id: all that the registry holds.
    pub job: Job,
    /// The effect that failed, for the properties.
    pub effect: Effect,
    /// Whether a worker or the number of attempts said so.
    pub for_cause: bool,
}

/// One Redis.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Redis {
    /// The life of its data, once a worker wrote it.
    pub life: Option<u8>,
    /// Ids that wait.
    pub queue: Vec<Job>,
    /// Records, by id.
    pub records: Vec<Option<Record>>,
    /// Leases, by execution.
    pub leases: Vec<Lease>,
    /// Ids that wait for a time.
    pub scheduled: BTreeSet<Job>,
    /// The failed registry.
    pub failed: Vec<Failed>,
    /// Copies set aside, oldest first.
    pub aside: Vec<Aside>,
    /// Overwritten runs that failed (mend M3).
    pub kept: Vec<Aside>,
}

impl Redis {
    /// The run of this id that is in hand: a lease is one until it is reclaimed.
    pub fn in_hand(&self, job: Job) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.job == job)
    }

    /// The lease of this execution.
    pub fn lease(&self, execution: Execution) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.execution == execution)
    }

    /// The record of this id.
    pub fn record(&self, job: Job) -> Option<&Record> {
        self.records.get(usize::from(job)).and_then(Option::as_ref)
    }
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Sql {
    /// Keys of the runs that were applied.
    pub ledger: BTreeSet<Run>,
    /// The rows: effects in the order of their commits.
    pub applied: Vec<Effect>,
}

/// How far a worker is with what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Nothing is written yet.
    Claimed,
    /// Committed, and not settled.
    Committed,
    /// Settled before the commit (G14 off).
    Told,
}

/// What a worker has in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InHand {
    /// As it was given out by the claim.
    pub lease: Lease,
    /// How far it is.
    pub stage: Stage,
    /// What it said and got no answer to: it will say the same again.
    pub said: Option<Outcome>,
}

/// How often each kind of step may still happen: this keeps the number of states finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "each is named after its step")]
pub struct Budget {
    pub enqueue_new: u8,
    pub enqueue_same: u8,
    pub enqueue_later: u8,
    pub cancel: u8,
    pub expire: u8,
    pub requeue: u8,
    pub crash: u8,
    pub lapse: u8,
    pub fault: u8,
    pub verdict: u8,
    pub answer_lost: u8,
    pub backup: u8,
    pub prune: u8,
    pub clock_back: u8,
    pub reader: u8,
    pub old_reclaim: u8,
    pub old_claim: u8,
}

/// A replica that lags, or a backup: Redis as it was, and what had been asked for by then.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backup {
    /// The data.
    pub redis: Redis,
    /// What was asked for by then.
    pub asked: BTreeSet<Effect>,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct System {
    /// One or two.
    pub servers: Vec<Redis>,
    /// Each server's clock, which a failover does not set back.
    pub clocks: Vec<Stamp>,
    /// The one database.
    pub sql: Sql,
    /// What each worker has in hand.
    pub workers: Vec<Option<InHand>>,
    /// What was asked for.
    pub asked: BTreeMap<Effect, Asked>,
    /// The last `created_at` of each id, which a producer remembers.
    pub created: BTreeMap<(usize, Job), Stamp>,
    /// Names given to executions so far.
    pub executions: Execution,
    /// Lives given out so far.
    pub lives: u8,
    /// A copy of the first server, once it was made.
    pub backup: Option<Backup>,
    /// What may still happen.
    pub left: Budget,
}

impl System {
    /// The next time on a server's clock.
    pub fn tick(&mut self, server: usize) -> Stamp {
        self.clocks[server] += 1;
        self.clocks[server]
    }
}
