//! Small worlds, each for one kind of trouble.

use super::{AT_MOST_ONCE, Budget, Config, NEWER_LAST};
use crate::guards::Guards;
use crate::guards::Switch::{
    Aside, ClearFailed, DueStamp, ExactTimes, FailedCopy, FailedKept, FarScores, Fence, GoneToo, LapsedInHand,
    LeaseChecked, LeaseLast, LedgerKept, Life, LifeDurable, NextRun, OldAttempts, OwnRecord, PayloadCopy, PullIn,
    PutBack, RecordLast, RetryAside, RunRemoved, RunStays, SameTransaction, TakeLast, TakenOver,
};
use crate::scenarios::{Case, Limit, Scenario};
use crate::selection::Selection;

/// Every scenario of RQ's protocol.
#[expect(clippy::too_many_lines, reason = "a list")]
pub(crate) fn scenarios() -> Vec<Scenario> {
    let none = Budget::default();
    vec![
        Scenario {
            name: "an id comes back",
            what: "new versions under one id; crashes, zombies, retries",
            small: Case::Rq(Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 2, verdict: 1, ..none })),
            deep: Case::Rq(Config {
                workers: 3,
                ..Config::small(Budget { enqueue_new: 2, crash: 1, lapse: 2, verdict: 1, ..none })
            }),
            needs: &[RunStays, Aside, OwnRecord, PayloadCopy, RetryAside, LapsedInHand],
        },
        Scenario {
            name: "given up, and overwritten",
            what: "one attempt only; the worker lives on; new versions",
            small: Case::Rq(Config {
                max_attempts: 1,
                ..Config::small(Budget { enqueue_new: 2, lapse: 1, verdict: 1, requeue: 1, ..none })
            }),
            deep: Case::Rq(Config {
                max_attempts: 1,
                workers: 3,
                ..Config::small(Budget { enqueue_new: 2, lapse: 2, crash: 1, verdict: 1, requeue: 1, ..none })
            }),
            needs: &[FailedCopy, ClearFailed, Fence],
        },
        Scenario {
            name: "the same again",
            what: "repetitions; the same version again; records that expire; cancels",
            small: Case::Rq(Config {
                repeats: 1,
                ..Config::small(Budget { enqueue_same: 1, cancel: 1, expire: 1, lapse: 1, ..none })
            }),
            deep: Case::Rq(Config {
                repeats: 2,
                ..Config::small(Budget { enqueue_same: 1, cancel: 1, expire: 1, crash: 1, lapse: 2, ..none })
            }),
            needs: &[RunRemoved, ExactTimes, GoneToo],
        },
        Scenario {
            name: "settled twice",
            what: "answers of settling that are lost; zombies; requeue",
            small: Case::Rq(Config::small(Budget {
                lapse: 1,
                verdict: 1,
                answer_lost: 1,
                requeue: 1,
                enqueue_same: 1,
                ..none
            })),
            deep: Case::Rq(Config::small(Budget {
                lapse: 2,
                verdict: 2,
                answer_lost: 1,
                requeue: 1,
                enqueue_same: 1,
                ..none
            })),
            needs: &[LeaseChecked, SameTransaction],
        },
        Scenario {
            name: "two servers",
            what: "two servers with equal ids and times, one database",
            small: Case::Rq(Config {
                servers: 2,
                ..Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 1, ..none })
            }),
            deep: Case::Rq(Config {
                servers: 2,
                workers: 4,
                ..Config::small(Budget { enqueue_new: 1, crash: 1, lapse: 2, ..none })
            }),
            needs: &[Life],
        },
        Scenario {
            name: "failover",
            what: "Redis is set back to any earlier state; retries, new versions",
            small: Case::Rq(Config {
                selection: Selection::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_new: 1, verdict: 1, ..none })
            }),
            deep: Case::Rq(Config {
                selection: Selection::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_new: 1, enqueue_same: 1, crash: 1, lapse: 1, ..none })
            }),
            needs: &[],
        },
        Scenario {
            name: "failover of a new Redis",
            what: "the same, and no worker was there before",
            small: Case::Rq(Config {
                has_life: false,
                ..Config::small(Budget { backup: 1, lapse: 1, crash: 1, ..none })
            }),
            deep: Case::Rq(Config {
                has_life: false,
                jobs: 2,
                ..Config::small(Budget { backup: 1, lapse: 1, crash: 1, ..none })
            }),
            needs: &[LifeDurable],
        },
        Scenario {
            name: "failover and times",
            what: "Redis is set back; repetitions, jobs for later",
            small: Case::Rq(Config {
                repeats: 1,
                selection: Selection::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_later: 1, ..none })
            }),
            deep: Case::Rq(Config {
                repeats: 2,
                selection: Selection::But(NEWER_LAST),
                ..Config::small(Budget { backup: 1, enqueue_later: 1, crash: 1, lapse: 1, ..none })
            }),
            needs: &[DueStamp, NextRun],
        },
        Scenario {
            name: "scripts that fail",
            what: "a right goes missing before any write of any script",
            small: Case::Rq(Config {
                guards: Guards::all().without(LeaseLast),
                ..Config::small(Budget { fault: 1, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            }),
            deep: Case::Rq(Config {
                guards: Guards::all().without(LeaseLast),
                ..Config::small(Budget { fault: 2, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            }),
            needs: &[TakeLast, PutBack, RecordLast],
        },
        Scenario {
            name: "nothing can be put back",
            what: "the same, and the lease cannot be put back either",
            small: Case::Rq(Config {
                no_put_back: true,
                ..Config::small(Budget { fault: 1, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            }),
            deep: Case::Rq(Config {
                no_put_back: true,
                ..Config::small(Budget { fault: 2, enqueue_new: 1, lapse: 1, verdict: 1, ..none })
            }),
            needs: &[LeaseLast],
        },
        Scenario {
            name: "a Python reader",
            what: "RQ's own clean-up runs beside us",
            small: Case::Rq(Config::small(Budget { reader: 1, enqueue_new: 1, crash: 1, lapse: 1, ..none })),
            deep: Case::Rq(Config {
                workers: 3,
                ..Config::small(Budget { reader: 2, enqueue_new: 2, crash: 1, lapse: 2, ..none })
            }),
            needs: &[FarScores],
        },
        Scenario {
            name: "a clock set back",
            what: "all leases end much later than they should",
            small: Case::Rq(Config::small(Budget { clock_back: 1, crash: 1, lapse: 1, enqueue_new: 1, ..none })),
            deep: Case::Rq(Config { jobs: 2, ..Config::small(Budget { clock_back: 1, crash: 1, lapse: 1, ..none }) }),
            needs: &[PullIn],
        },
        Scenario {
            name: "a job of an older version",
            what: "an older worker had the job in hand, and may live on",
            small: Case::Rq(Config {
                old_worker: true,
                ..Config::small(Budget { crash: 1, lapse: 2, old_reclaim: 1, ..none })
            }),
            deep: Case::Rq(Config {
                old_worker: true,
                workers: 3,
                ..Config::small(Budget { crash: 1, lapse: 2, old_reclaim: 1, backup: 1, ..none })
            }),
            needs: &[TakenOver, OldAttempts],
        },
        Scenario {
            name: "the ledger forgets",
            what: "entries are pruned; failed jobs are requeued",
            small: Case::Rq(Config {
                max_attempts: 2,
                ..Config::small(Budget { prune: 1, verdict: 1, requeue: 1, lapse: 1, crash: 1, ..none })
            }),
            deep: Case::Rq(Config {
                max_attempts: 2,
                workers: 3,
                ..Config::small(Budget { prune: 2, verdict: 1, requeue: 1, lapse: 2, crash: 1, enqueue_new: 1, ..none })
            }),
            needs: &[LedgerKept, FailedKept],
        },
    ]
}

/// What is not promised for RQ's jobs.
pub(crate) fn limits() -> Vec<Limit> {
    let none = Budget::default();
    vec![
        Limit {
            what: "order, after a failover",
            why: "A run that was in hand when Redis forgot its claim may be written after a newer version of its id. \
                  Nothing in Redis knows of it any more.",
            property: NEWER_LAST,
            case: Case::Rq(Config::small(Budget { backup: 1, enqueue_new: 1, ..none })),
        },
        Limit {
            what: "once, while older workers claim beside newer ones",
            why: "An older worker knows the old key only. No older worker may claim once a newer one did.",
            property: AT_MOST_ONCE,
            case: Case::Rq(Config::small(Budget { crash: 1, lapse: 1, old_claim: 1, ..none })),
        },
    ]
}
