//! Small worlds of lists and streams.

use super::properties::{AT_REST, ONCE};
use super::{Budget, Config};
use crate::guards::Switch::{Content, Life, LifeDurable, PutBack, TakeLast};
use crate::scenarios::{Case, Limit, Scenario};

/// Every scenario of lists and streams.
pub(crate) fn scenarios() -> Vec<Scenario> {
    lists().into_iter().chain(streams()).collect()
}

fn lists() -> Vec<Scenario> {
    let none = Budget::default();
    vec![
        Scenario {
            name: "a list",
            what: "crashes, zombies, retries, scripts that fail; the list is deleted",
            small: Case::Flow(Config {
                contents: &[1],
                ..Config::list(Budget { push: 1, delete: 1, crash: 1, lapse: 1, verdict: 1, fault: 1, ..none })
            }),
            deep: Case::Flow(Config {
                contents: &[1],
                ..Config::list(Budget {
                    push: 1,
                    delete: 1,
                    crash: 1,
                    lapse: 2,
                    verdict: 1,
                    requeue: 1,
                    fault: 1,
                    ..none
                })
            }),
            needs: &[Life, TakeLast, PutBack],
        },
        Scenario {
            name: "a list that loses its last second",
            what: "failover at any time; every element says something of its own",
            small: Case::Flow(Config {
                contents: &[1],
                later: &[],
                ..Config::list(Budget { backup: 1, push: 2, lapse: 1, ..none })
            }),
            deep: Case::Flow(Config {
                later: &[],
                ..Config::list(Budget { backup: 1, push: 2, lapse: 1, crash: 1, ..none })
            }),
            needs: &[Content],
        },
    ]
}

fn streams() -> Vec<Scenario> {
    let none = Budget::default();
    vec![
        Scenario {
            name: "a stream of two groups",
            what: "each group is to see all; crashes, zombies, a group that is made anew",
            small: Case::Flow(Config {
                contents: &[1],
                ..Config::stream(Budget { push: 1, delete: 1, lapse: 1, ..none })
            }),
            deep: Case::Flow(Config {
                contents: &[1],
                ..Config::stream(Budget { push: 1, delete: 1, lapse: 1, fault: 1, crash: 1, ..none })
            }),
            needs: &[Life],
        },
        Scenario {
            name: "a stream after a failover",
            what: "failover at any time, a new Redis included",
            small: Case::Flow(Config {
                groups: 1,
                has_life: false,
                ..Config::stream(Budget { backup: 1, push: 1, lapse: 1, ..none })
            }),
            deep: Case::Flow(Config {
                contents: &[1],
                has_life: false,
                ..Config::stream(Budget { backup: 1, push: 1, lapse: 1, ..none })
            }),
            needs: &[LifeDurable],
        },
    ]
}

/// What is not promised for lists.
pub(crate) fn limits() -> Vec<Limit> {
    let none = Budget::default();
    vec![
        Limit {
            what: "nothing lost, where a list's elements are equal and Redis forgets",
            why: "An element that is pushed after a failover, and says what a forgotten one said that had been taken as \
                  the same number, is taken for a redelivery. Give elements something of their own, an id or a time.",
            property: AT_REST,
            case: Case::Flow(Config {
                contents: &[],
                later: &[1],
                ..Config::list(Budget { backup: 1, push: 2, ..none })
            }),
        },
        Limit {
            what: "once, where a list that Redis forgets is pushed to at its head",
            why: "After the failover the elements behind have other numbers. Append, as a queue is meant to be filled.",
            property: ONCE,
            case: Case::Flow(Config {
                contents: &[1],
                later: &[2],
                ..Config::list(Budget { backup: 1, push_front: 1, ..none })
            }),
        },
        Limit {
            what: "once, where others take from a list that Redis forgets",
            why: "What they took is not counted, and after the failover the elements behind have other numbers.",
            property: ONCE,
            case: Case::Flow(Config {
                contents: &[1, 2],
                ..Config::list(Budget { backup: 1, foreign_take: 1, ..none })
            }),
        },
    ]
}
