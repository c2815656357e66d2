//! From one poll of the queue after another to what the decision, the supervisor and the person need.

use std::collections::BTreeMap;

use jobqueue_queue::QueueStats;
use jobqueue_scaling::{Backlog, Rates};
use jobqueue_scaling_input::{Reading, ScalingInput};

use super::supervisor::{Activity, WorkerId};

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    input: ScalingInput,
    /// The latest counters of every worker ever seen.
    counters: BTreeMap<String, Counters>,
    /// What they counted in this run, all together.
    done: Counters,
    looked: bool,
    /// Looks in a row without anything to do.
    empty_looks: u32,
    /// When work was first and last seen, in seconds.
    worked: Option<(f64, f64)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    succeeded: u64,
    failed: u64,
}

/// One poll, digested.
#[derive(Debug)]
pub(crate) struct Polled {
    /// For the decision.
    pub(crate) backlog: Backlog,
    /// For the decision.
    pub(crate) rates: Rates,
    /// For the decision.
    pub(crate) troubled: u32,
    /// One of our workers says that the queues are suspended, and none is at work.
    pub(crate) suspended: bool,
    /// Our workers that have a record.
    pub(crate) activities: BTreeMap<WorkerId, Activity>,
}

impl Follower {
    /// Takes in what was polled at `now`. `ours` knows our workers by their names.
    pub(crate) fn follow(&mut self, stats: &QueueStats, now: f64, ours: impl Fn(&str) -> Option<WorkerId>) -> Polled {
        let mut activities = BTreeMap::new();
        let (mut suspended, mut busy) = (false, false);
        for worker in &stats.workers {
            let counters = Counters { succeeded: worker.succeeded, failed: worker.failed };
            let id = ours(&worker.name);
            if let Some(id) = id {
                suspended |= worker.state == "suspended";
                busy |= worker.is_busy();
                activities.insert(id, if worker.is_busy() { Activity::Busy } else { Activity::Idle });
            }
            // What others did before we looked is not of this run.
            let new = if id.is_some() || self.looked { Counters::default() } else { counters };
            let before = self.counters.insert(worker.name.clone(), counters).unwrap_or(new);
            self.done.succeeded += increase(before.succeeded, counters.succeeded);
            self.done.failed += increase(before.failed, counters.failed);
        }
        self.looked = true;
        let Reading { backlog, rates, troubled, .. } = self.input.read(now, stats);
        if backlog.jobs() > 0 {
            self.worked = Some((self.worked.map_or(now, |(first, _)| first), now));
        }
        let nothing = backlog.jobs() == 0 && stats.scheduled == 0;
        self.empty_looks = if nothing { self.empty_looks + 1 } else { 0 };
        Polled { backlog, rates, troubled, suspended: suspended && !busy, activities }
    }

    /// The queue could not be read.
    pub(crate) fn miss(&mut self) -> Rates {
        self.empty_looks = 0;
        self.input.miss()
    }

    /// Whether nothing waited, ran or was scheduled twice in a row: between a claim and its record a single poll may
    /// see nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.empty_looks >= 2
    }

    /// Jobs that succeeded and attempts that failed, as the workers' records tell; what a worker did after the last poll
    /// before its end is not among them.
    pub(crate) fn done(&self) -> (u64, u64) {
        (self.done.succeeded, self.done.failed)
    }

    /// How long there was work, in seconds.
    pub(crate) fn worked_seconds(&self) -> f64 {
        self.worked.map_or(0.0, |(first, last)| last - first)
    }
}

/// A counter that fell belongs to a record that expired and was made anew.
fn increase(before: u64, now: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jobqueue_queue::WorkerStats;

    use super::*;

    fn stats(waiting: u64, running: u64, workers: &[(&str, u64, u64)]) -> QueueStats {
        let worker = |(name, running, succeeded): &(&str, u64, u64)| WorkerStats {
            name: (*name).into(),
            hostname: "h".into(),
            state: "idle".into(),
            concurrency: 1,
            running: *running,
            succeeded: *succeeded,
            failed: 0,
            busy_seconds: 0.0,
            silent_for: Duration::ZERO,
            job_age: None,
        };
        QueueStats {
            observed_at: chrono::DateTime::UNIX_EPOCH,
            waiting,
            running,
            scheduled: 0,
            due: 0,
            failed: 0,
            oldest_wait: None,
            workers: workers.iter().map(worker).collect(),
            faults: Vec::new(),
        }
    }

    fn ours(name: &str) -> Option<WorkerId> {
        name.strip_prefix("ours-").and_then(|number| number.parse().ok()).map(WorkerId)
    }

    #[test]
    fn counts_what_was_done_in_this_run() {
        let mut follower = Follower::default();
        let _ = follower.follow(&stats(9, 0, &[("theirs", 0, 1000)]), 0.0, ours);
        let seen = follower.follow(&stats(5, 1, &[("theirs", 0, 1002), ("ours-1", 1, 2)]), 1.0, ours);
        assert_eq!(seen.activities, BTreeMap::from([(WorkerId(1), Activity::Busy)]));
        // A worker that is gone has done what it did, and so has one whose record began anew.
        let _ = follower.follow(&stats(0, 0, &[("theirs", 0, 1003)]), 2.0, ours);
        assert_eq!(follower.done(), (5, 0));
        let _ = follower.follow(&stats(0, 0, &[("theirs", 0, 4)]), 3.0, ours);
        assert_eq!(follower.done(), (9, 0));
        assert!((follower.worked_seconds() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn empty_means_twice_in_a_row_and_readable() {
        let mut follower = Follower::default();
        let mut empty = Vec::new();
        for waiting in [0, 1, 0, 0] {
            let _ = follower.follow(&stats(waiting, 0, &[]), 0.0, ours);
            empty.push(follower.is_empty());
        }
        assert_eq!(empty, [false, false, false, true]);
        let _ = follower.miss();
        assert!(!follower.is_empty());
        let mut later = stats(0, 0, &[]);
        later.scheduled = 1;
        for now in [1.0, 2.0, 3.0] {
            let seen = follower.follow(&later, now, ours);
            assert_eq!((seen.backlog.jobs(), follower.is_empty()), (0, false));
        }
    }
}
