//! How long a worker takes from being asked for to being ready or at work: measured, and what it means for those that start now.

use serde::{Deserialize, Serialize};

use crate::Workers;

/// Before the first measurement a start takes so long, in seconds.
const UNKNOWN_SECONDS: f64 = 5.0;
/// No start takes less than this, in seconds: polls tell no better, and what follows from it must not become nothing.
const SHORTEST_SECONDS: f64 = 1.0;
/// A worker that took longer than this, in seconds, waited for something else than its start: a node, an image, a person.
const LONGEST_SECONDS: f64 = 600.0;
/// The median of so many measurements counts: one that took a new node is no rule.
const KEPT: usize = 9;

/// So many groups of workers that start are told apart.
const MOST_GROUPS: usize = 4;

/// The workers that start, and how long others took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Starts {
    /// What was seen at the last poll, and when.
    last: Option<(f64, Workers)>,
    /// Since workers were asked for the first time: many queues have none for long.
    #[serde(default)]
    seen: Option<Box<StartTimes>>,
}

/// What was seen of starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct StartTimes {
    /// Workers that are not ready yet: when they were asked for, how many; the oldest first.
    pending: Vec<Pending>,
    /// What recent starts took, in seconds.
    took: Vec<f32>,
    /// Their median; none before the first.
    median: Option<f32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Pending {
    since: f64,
    workers: u32,
    /// They were asked for, so that the time until they are ready is that of a start. Workers that were ready once and are
    /// not now have other troubles.
    asked: bool,
}

impl Starts {
    /// Takes in a poll.
    pub(crate) fn observe(&mut self, clock: f64, workers: Workers) {
        let last = self.last.replace((clock, workers));
        if self.seen.is_none()
            && workers.desired <= workers.ready
            && last.is_none_or(|(_, last)| workers.desired <= last.desired)
        {
            return;
        }
        let seen = self.seen.get_or_insert_default();
        let Some((before, last)) = last else {
            seen.add(clock, workers.desired.saturating_sub(workers.ready), false);
            return;
        };
        let fewer = last.desired.saturating_sub(workers.desired);
        seen.remove_newest(fewer);
        seen.add(before, workers.desired.saturating_sub(last.desired), true);
        let ready = workers.ready.saturating_sub(last.ready);
        seen.remove_oldest(ready, clock);
        // What the counts say is so, whatever came between.
        let missing = workers.desired.saturating_sub(workers.ready);
        let known = seen.pending.iter().map(|pending| pending.workers).sum::<u32>();
        seen.add(clock, missing.saturating_sub(known), false);
        seen.remove_newest(known.saturating_sub(missing));
        if seen.pending.is_empty() && seen.pending.capacity() > 0 {
            seen.pending = Vec::new();
        }
    }

    /// What a start takes, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        let median = self.seen.as_ref().and_then(|seen| seen.median);
        median.map_or(UNKNOWN_SECONDS, |seconds| f64::from(seconds).max(SHORTEST_SECONDS))
    }

    /// The workers that start: how many, and in how many seconds each group should be ready.
    pub(crate) fn pending(&self, clock: f64, takes: f64) -> impl Iterator<Item = (u32, f64)> {
        let pending = self.seen.iter().flat_map(|seen| &seen.pending);
        pending.map(move |pending| (pending.workers, (pending.since + takes - clock).max(0.0)))
    }
}

impl StartTimes {
    fn add(&mut self, since: f64, workers: u32, asked: bool) {
        if workers == 0 {
            return;
        }
        // A crowd that grows at every poll needs no finer account.
        let full = self.pending.len() >= MOST_GROUPS;
        match self.pending.last_mut() {
            Some(last) if last.asked == asked && (full || last.since >= since) => {
                last.workers = last.workers.saturating_add(workers);
            }
            _ => self.pending.push(Pending { since, workers, asked }),
        }
    }

    /// Kubernetes takes those first that have been there for the shortest time.
    fn remove_newest(&mut self, mut workers: u32) {
        while let Some(last) = self.pending.last_mut().filter(|_| workers > 0) {
            let gone = last.workers.min(workers);
            last.workers -= gone;
            workers -= gone;
            if last.workers == 0 {
                self.pending.pop();
            }
        }
    }

    fn remove_oldest(&mut self, mut workers: u32, clock: f64) {
        while let Some(first) = self.pending.first_mut().filter(|_| workers > 0) {
            let ready = first.workers.min(workers);
            first.workers -= ready;
            workers -= ready;
            let took = clock - first.since;
            if first.asked && took > 0.0 && took <= LONGEST_SECONDS {
                if self.took.len() >= KEPT {
                    self.took.remove(0);
                }
                #[expect(clippy::cast_possible_truncation, reason = "seconds of a start")]
                self.took.push(took as f32);
                let mut sorted = self.took.clone();
                sorted.sort_by(f32::total_cmp);
                self.median = Some(sorted[(sorted.len() - 1) / 2]);
            }
            if first.workers == 0 {
                self.pending.remove(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(desired: u32, ready: u32) -> Workers {
        Workers { desired, ready, busy: 0 }
    }

    fn pending(starts: &Starts, clock: f64) -> Vec<(u32, f64)> {
        starts.pending(clock, starts.seconds()).collect()
    }

    #[test]
    fn a_start_is_measured_from_when_it_was_asked_for() {
        let mut starts = Starts::default();
        starts.observe(0.0, workers(0, 0));
        assert!((starts.seconds() - UNKNOWN_SECONDS).abs() < 1e-9);
        // Decided at 0 s, seen at 0.25 s.
        starts.observe(0.25, workers(3, 0));
        assert_eq!(pending(&starts, 1.0), [(3, 4.0)]);
        starts.observe(8.0, workers(3, 2));
        assert!((starts.seconds() - 8.0).abs() < 1e-6);
        assert_eq!(pending(&starts, 8.0), [(1, 0.0)]);
        starts.observe(9.0, workers(5, 2));
        assert_eq!(pending(&starts, 9.0), [(1, 0.0), (2, 7.0)]);
        starts.observe(10.0, workers(4, 2));
        assert_eq!(pending(&starts, 10.0), [(1, 0.0), (1, 6.0)]);
    }

    #[test]
    fn a_worker_that_lost_its_database_measures_no_start() {
        let mut starts = Starts::default();
        starts.observe(0.0, workers(2, 2));
        starts.observe(1.0, workers(2, 1));
        assert_eq!(pending(&starts, 1.0).len(), 1);
        starts.observe(500.0, workers(2, 2));
        assert!((starts.seconds() - UNKNOWN_SECONDS).abs() < 1e-9);
        assert_eq!(pending(&starts, 500.0), []);
    }

    #[test]
    fn one_slow_start_is_no_rule() {
        let mut starts = Starts::default();
        let (mut clock, mut desired) = (0.0, 0);
        starts.observe(clock, workers(0, 0));
        for took in [3.0, 3.0, 240.0, 4.0, 3.5] {
            desired += 1;
            starts.observe(clock + 0.25, workers(desired, desired - 1));
            clock += took;
            starts.observe(clock, workers(desired, desired));
        }
        assert!((starts.seconds() - 3.5).abs() < 1e-6, "{}", starts.seconds());
    }
}
