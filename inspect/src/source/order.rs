//! The order of the list of queues, and the sums below it.

use std::cmp::Ordering;

use super::{Numbers, Row};

/// What queues are sorted by. Equal ones follow by name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SortBy {
    /// Those with trouble first, then those with the longest backlog.
    #[default]
    Trouble,
    /// Namespace and name.
    Name,
    /// The most jobs that wait or run.
    Backlog,
    /// The longest wait.
    OldestWait,
    /// The most jobs that arrive in a second.
    Arrivals,
    /// The most jobs that end in a second.
    Completions,
    /// The most workers.
    Workers,
    /// The most failed jobs.
    Failed,
}

/// The order of the list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Order {
    /// By what.
    pub by: SortBy,
    /// The other way round.
    pub reversed: bool,
}

impl Order {
    pub(super) fn compare(self, one: &Row, other: &Row) -> Ordering {
        let backlog = |row: &Row| row.numbers.waiting.saturating_add(row.numbers.running);
        let rate = |rate: Option<f64>| rate.unwrap_or(-1.0);
        let (a, b) = (&one.numbers, &other.numbers);
        let ordering = match self.by {
            SortBy::Trouble => one.standing.cmp(&other.standing).then_with(|| backlog(other).cmp(&backlog(one))),
            SortBy::Name => Ordering::Equal,
            SortBy::Backlog => backlog(other).cmp(&backlog(one)),
            SortBy::OldestWait => b.oldest_wait.cmp(&a.oldest_wait),
            SortBy::Arrivals => rate(b.arrivals).total_cmp(&rate(a.arrivals)),
            SortBy::Completions => rate(b.completions).total_cmp(&rate(a.completions)),
            SortBy::Workers => b.workers.cmp(&a.workers),
            SortBy::Failed => b.failed.cmp(&a.failed),
        };
        let ordering = ordering.then_with(|| one.key.cmp(&other.key));
        if self.reversed { ordering.reverse() } else { ordering }
    }
}

impl Numbers {
    /// Adds those of another queue. A sum of rates is one of those that are known.
    pub(super) fn add(&mut self, other: &Self) {
        let sum = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one + other),
            (one, other) => one.or(other),
        };
        self.waiting = self.waiting.saturating_add(other.waiting);
        self.running = self.running.saturating_add(other.running);
        self.scheduled = self.scheduled.saturating_add(other.scheduled);
        self.failed = self.failed.saturating_add(other.failed);
        self.workers = self.workers.saturating_add(other.workers);
        self.oldest_wait = self.oldest_wait.max(other.oldest_wait);
        self.arrivals = sum(self.arrivals, other.arrivals);
        self.completions = sum(self.completions, other.completions);
        self.desired = match (self.desired, other.desired) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        self.database_trouble |= other.database_trouble;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::{names, row};
    use crate::source::{Standing, Visible, select};

    #[test]
    fn any_number_can_be_what_queues_are_sorted_by() {
        let with = |name: &str, numbers: Numbers| Row { numbers, ..row(name, Standing::Fine, 0) };
        let rows = [
            with(
                "a",
                Numbers { waiting: 1, running: 8, oldest_wait: Some(9), arrivals: Some(0.5), ..Numbers::default() },
            ),
            with("b", Numbers { waiting: 3, failed: 7, workers: 4, completions: Some(2.0), ..Numbers::default() }),
            with("c", Numbers { oldest_wait: Some(0), arrivals: Some(0.7), failed: 7, ..Numbers::default() }),
        ];
        let sorted = |by, reversed| {
            let all = select(rows.iter(), "", Order { by, reversed }, (0, 10), &Visible::All);
            names(&all).concat()
        };
        let by = [
            (SortBy::Name, "abc"),
            (SortBy::Backlog, "abc"),
            (SortBy::OldestWait, "acb"),
            (SortBy::Arrivals, "cab"),
            (SortBy::Completions, "bac"),
            (SortBy::Workers, "bac"),
            (SortBy::Failed, "bca"),
        ];
        for (by, wanted) in by {
            assert_eq!(sorted(by, false), wanted, "{by:?}");
            assert_eq!(sorted(by, true), wanted.chars().rev().collect::<String>(), "{by:?} reversed");
        }
        let totals = select(rows.iter(), "no such", Order::default(), (0, 10), &Visible::All).totals;
        assert_eq!((totals.waiting, totals.running, totals.failed, totals.oldest_wait), (4, 8, 14, Some(9)));
        assert_eq!((totals.completions, totals.desired), (Some(2.0), None));
        assert!((totals.arrivals.expect("known") - 1.2).abs() < 1e-9);
    }
}
