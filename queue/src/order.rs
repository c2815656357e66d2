//! In which order a worker's queues are asked: strict, in turn, or at random (RQ's `--dequeue-strategy`). A protocol claims
//! from its queues in the order it was made with, so there is one view of it per order, and a claim goes to one of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::{Backend, Claim, Command, Completion, Lease, Maintenance, Order, QueueError, Settled};

/// Random orders of so many queues that not all of them can be had.
const RANDOM_ORDERS: usize = 64;

/// The orders that claims may come in, the given one first.
pub(crate) fn orders(order: Order, names: &[String], random: impl FnMut() -> usize) -> Vec<Vec<String>> {
    match order {
        Order::Strict => vec![names.to_vec()],
        Order::RoundRobin => (0..names.len()).map(|first| rotated(names, first)).collect(),
        Order::Random => at_random(names, random),
    }
}

fn rotated(names: &[String], first: usize) -> Vec<String> {
    [&names[first..], &names[..first]].concat()
}

/// Every queue is first in as many of them, so that none is preferred.
fn at_random(names: &[String], mut random: impl FnMut() -> usize) -> Vec<Vec<String>> {
    let each = RANDOM_ORDERS.div_ceil(names.len().max(1));
    let mut orders = Vec::new();
    for first in 0..names.len() {
        for _ in 0..each {
            let mut order = rotated(names, first);
            for last in (2..order.len()).rev() {
                order.swap(last, 1 + random() % last);
            }
            orders.push(order);
        }
    }
    orders
}

/// A worker's queues, claimed from in changing order.
pub(crate) struct Ordered {
    order: Order,
    names: Vec<String>,
    /// One for each of [`orders`]; the first does everything but claims.
    views: Vec<Arc<dyn Backend>>,
    /// The view whose turn it is. It stays until it has claimed something, so that what it began before an error it ends.
    turn: Mutex<usize>,
}

impl Ordered {
    pub(crate) fn new(order: Order, names: Vec<String>, views: Vec<Arc<dyn Backend>>) -> Self {
        Self { order, names, views, turn: Mutex::new(0) }
    }

    fn main(&self) -> &dyn Backend {
        self.views[0].as_ref()
    }

    fn turn(&self) -> MutexGuard<'_, usize> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a claim: in turn goes on behind the queue that gave the last job, as RQ does.
    fn advance(&self, claim: &Claim) {
        let Some(last) = claim.deliveries.last() else { return };
        let next = match self.order {
            Order::Strict => 0,
            Order::RoundRobin => self.names.iter().position(|name| *name == last.queue).map_or(0, |at| at + 1),
            Order::Random => rand::random::<u16>().into(),
        };
        *self.turn() = next % self.views.len();
    }
}

#[async_trait]
impl Backend for Ordered {
    async fn register(&self) -> Result<(), QueueError> {
        self.main().register().await
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.main().deregister().await
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        let turn = *self.turn();
        let claim = self.views[turn].claim(max).await?;
        self.advance(&claim);
        Ok(claim)
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.main().wait(timeout).await
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        self.main().heartbeat(leases).await
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        self.main().settle(completions).await
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        self.main().maintain().await
    }

    async fn next_command(&self) -> Command {
        self.main().next_command().await
    }

    fn skipped_callbacks(&self) -> u64 {
        self.main().skipped_callbacks()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(number: usize) -> Vec<String> {
        (0..number).map(|name| name.to_string()).collect()
    }

    #[test]
    fn in_turn_each_queue_is_first_once() {
        let all = orders(Order::RoundRobin, &names(3), || 0);
        assert_eq!(all, [["0", "1", "2"], ["1", "2", "0"], ["2", "0", "1"]]);
        assert_eq!(orders(Order::Strict, &names(3), || 0), [["0", "1", "2"]]);
    }

    #[test]
    fn at_random_no_queue_is_preferred_and_none_left_out() {
        for number in [1, 2, 5, 32, 100] {
            let mut seed = 1_usize;
            let all = orders(Order::Random, &names(number), || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                seed >> 33
            });
            let first = |name: &String| all.iter().filter(|order| order[0] == *name).count();
            assert!(names(number).iter().all(|name| first(name) == all.len() / number));
            let complete = |order: &Vec<String>| order.iter().collect::<BTreeSet<_>>().len() == number;
            assert!(all.iter().all(complete), "{number}");
            if number == 5 {
                assert!(all.iter().collect::<BTreeSet<_>>().len() > 20, "{all:?}");
            }
        }
    }
}
