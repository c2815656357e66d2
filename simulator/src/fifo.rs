//! The queue: jobs in the order of their arrival, kept as counts.

use std::collections::VecDeque;

/// Jobs that arrived at one moment and take equally long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Lot {
    /// When, in seconds since the start.
    pub(crate) arrived: f64,
    /// How many.
    pub(crate) jobs: u64,
    /// How long a slot takes for one of them, in seconds, where the database is not slow.
    pub(crate) each: f64,
}

impl Lot {
    /// How long a slot takes for all of them.
    pub(crate) fn seconds(&self) -> f64 {
        self.jobs as f64 * self.each
    }
}

/// First in, first out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fifo {
    lots: VecDeque<Lot>,
    waiting: u64,
}

impl Fifo {
    /// Jobs that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// When the job at the head arrived.
    pub(crate) fn oldest(&self) -> Option<f64> {
        self.lots.front().map(|lot| lot.arrived)
    }

    /// What waits.
    pub(crate) fn lots(&self) -> impl Iterator<Item = Lot> {
        self.lots.iter().copied()
    }

    /// Jobs arrive.
    pub(crate) fn push(&mut self, lot: Lot) {
        if lot.jobs > 0 {
            self.waiting += lot.jobs;
            self.lots.push_back(lot);
        }
    }

    /// Takes up to `most` jobs from the head, and puts them into `hand`.
    pub(crate) fn take(&mut self, most: u64, hand: &mut Vec<Lot>) -> u64 {
        let mut left = most;
        while left > 0 {
            let Some(head) = self.lots.front_mut() else { break };
            let jobs = head.jobs.min(left);
            hand.push(Lot { jobs, ..*head });
            left -= jobs;
            head.jobs -= jobs;
            if head.jobs == 0 {
                self.lots.pop_front();
            }
        }
        self.waiting -= most - left;
        most - left
    }

    /// Gives jobs back to the head.
    pub(crate) fn give_back(&mut self, hand: &[Lot]) {
        for lot in hand.iter().rev() {
            self.waiting += lot.jobs;
            self.lots.push_front(*lot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_goes_first() {
        let mut fifo = Fifo::default();
        for (arrived, jobs) in [(0.0, 3), (1.0, 0), (2.0, 5)] {
            fifo.push(Lot { arrived, jobs, each: 1.0 });
        }
        let mut hand = Vec::new();
        assert_eq!(fifo.take(4, &mut hand), 4);
        assert_eq!(hand, [Lot { arrived: 0.0, jobs: 3, each: 1.0 }, Lot { arrived: 2.0, jobs: 1, each: 1.0 }]);
        assert_eq!((fifo.waiting(), fifo.oldest()), (4, Some(2.0)));
        fifo.give_back(&hand);
        assert_eq!((fifo.waiting(), fifo.oldest()), (8, Some(0.0)));
        assert_eq!(fifo.take(100, &mut Vec::new()), 8);
        assert_eq!((fifo.waiting(), fifo.oldest(), fifo.take(1, &mut Vec::new())), (0, None, 0));
    }
}
