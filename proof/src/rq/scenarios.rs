//! Small worlds, each for one kind of trouble.

use super::{Budget, Config, Look, NEWER_LAST};
use crate::guards::Guards;
use crate::guards::Switch::{self, *};

/// A small world, and the switches that it exercises: with one of those off, it must find a counterexample.
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What may happen in it.
    pub what: &'static str,
    /// The world.
    pub config: Config,
    /// The same with more of everything.
    pub deep: Config,
    /// The switches that it needs.
    pub needs: &'static [Switch],
}

/// Every scenario of RQ's protocol.
pub fn scenarios() -> Vec<Scenario> {
    let none = Budget::default();
    vec![
        Scenario {
            name: "an id comes back",
            what: "new versions under one id; crashes, zombies, retries",
            config: Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 2, verdict: 1, ..none }),
            deep: Config {
                workers: 3,
                ..Config::small(Budget { enqueue_new: 2, crash: 1, lapse: 2, verdict: 1, ..none })
            },
            needs: &[RunStays, Aside, OwnRecord, PayloadCopy, RetryAside],
        },
        Scenario {
            name: "given up, and overwritten",
            what: "one attempt only; the worker lives on; new versions",
            config: Config {
                max_attempts: 1,
                ..Config::small(Budget { enqueue_new: 2, lapse: 1, verdict: 1, requeue: 1, ..none })
            },
            deep: Config {
                max_attempts: 1,
                workers: 3,
                ..Config::small(Budget { enqueue_new: 2, lapse: 2, crash: 1, verdict: 1, requeue: 1, ..none })
            },
            needs: &[FailedCopy, ClearFailed, Fence],
        },
        Scenario {
            name: "the same again",
            what: "repetitions; the same version again; records that expire; cancels",
            config: Config {
                repeats: 1,
                ..Config::small(Budget { enqueue_same: 1, cancel: 1, expire: 1, lapse: 1, ..none })
            },
            deep: Config {
                repeats: 2,
                ..Config::small(Budget { enqueue_same: 1, cancel: 1, expire: 1, crash: 1, lapse: 2, ..none })
            },
            needs: &[RunRemoved],
        },
        Scenario {
            name: "settled twice",
            what: "answers of settling that are lost; zombies; requeue",
            config: Config::small(Budget { lapse: 2, verdict: 1, answer_lost: 1, requeue: 1, enqueue_same: 1, ..none }),
            deep: Config {
                workers: 3,
                ..Config::small(Budget { lapse: 2, verdict: 2, answer_lost: 1, requeue: 1, enqueue_same: 1, ..none })
            },
            needs: &[LeaseChecked, SameTransaction],
        },
        Scenario {
            name: "two servers",
            what: "two servers with equal ids and times, one database",
            config: Config { servers: 2, ..Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 1, ..none }) },
            deep: Config {
                servers: 2,
                workers: 4,
                ..Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 2, ..none })
            },
            needs: &[Life],
        },
        Scenario {
            name: "failover",
            what: "Redis is set back to any earlier state; retries, new versions",
            config: Config {
                look: Look::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            },
            deep: Config {
                look: Look::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_new: 2, enqueue_same: 1, crash: 1, lapse: 1, ..none })
            },
            needs: &[],
        },
        Scenario {
            name: "failover of a new Redis",
            what: "the same, and no worker was there before",
            config: Config { has_life: false, ..Config::small(Budget { backup: 1, lapse: 1, crash: 1, ..none }) },
            deep: Config {
                has_life: false,
                jobs: 2,
                ..Config::small(Budget { backup: 1, lapse: 1, crash: 1, ..none })
            },
            needs: &[LifeDurable],
        },
        Scenario {
            name: "failover and times",
            what: "Redis is set back; repetitions, jobs for later",
            config: Config {
                repeats: 1,
                look: Look::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_later: 1, lapse: 1, ..none })
            },
            deep: Config {
                repeats: 2,
                look: Look::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_later: 1, crash: 1, lapse: 1, ..none })
            },
            needs: &[DueStamp, NextRun],
        },
        Scenario {
            name: "scripts that fail",
            what: "a right goes missing before any write of any script",
            config: Config {
                guards: Guards::all().without(LeaseLast),
                ..Config::small(Budget { fault: 1, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            },
            deep: Config {
                guards: Guards::all().without(LeaseLast),
                ..Config::small(Budget { fault: 2, enqueue_new: 1, crash: 1, lapse: 2, verdict: 1, ..none })
            },
            needs: &[TakeLast, PutBack, RecordLast],
        },
        Scenario {
            name: "nothing can be put back",
            what: "the same, and the lease cannot be put back either",
            config: Config {
                no_put_back: true,
                ..Config::small(Budget { fault: 1, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            },
            deep: Config {
                no_put_back: true,
                ..Config::small(Budget { fault: 2, enqueue_new: 1, crash: 1, lapse: 2, verdict: 1, ..none })
            },
            needs: &[LeaseLast],
        },
        Scenario {
            name: "a Python reader",
            what: "RQ's own clean-up runs beside us",
            config: Config::small(Budget { reader: 1, enqueue_new: 1, crash: 1, lapse: 1, ..none }),
            deep: Config { workers: 3, ..Config::small(Budget { reader: 2, enqueue_new: 2, crash: 1, lapse: 2, ..none }) },
            needs: &[FarScores],
        },
        Scenario {
            name: "a clock set back",
            what: "all leases end much later than they should",
            config: Config::small(Budget { clock_back: 1, crash: 1, lapse: 1, enqueue_new: 1, ..none }),
            deep: Config { jobs: 2, ..Config::small(Budget { clock_back: 1, crash: 1, lapse: 1, ..none }) },
            needs: &[PullIn],
        },
        Scenario {
            name: "a job of an older version",
            what: "an older worker had the job in hand, and may live on",
            config: Config {
                old_worker: true,
                ..Config::small(Budget { crash: 1, lapse: 2, old_reclaim: 1, enqueue_same: 1, ..none })
            },
            deep: Config {
                old_worker: true,
                workers: 3,
                ..Config::small(Budget { crash: 1, lapse: 2, old_reclaim: 1, enqueue_same: 1, backup: 1, ..none })
            },
            needs: &[TakenOver, OldAttempts],
        },
        Scenario {
            name: "the ledger forgets",
            what: "entries are pruned; failed jobs are requeued",
            config: Config {
                max_attempts: 2,
                ..Config::small(Budget { prune: 1, verdict: 1, requeue: 1, lapse: 1, crash: 1, ..none })
            },
            deep: Config {
                max_attempts: 2,
                workers: 3,
                ..Config::small(Budget { prune: 2, verdict: 1, requeue: 1, lapse: 2, crash: 1, enqueue_new: 1, ..none })
            },
            needs: &[LedgerKept, FailedKept],
        },
    ]
}
