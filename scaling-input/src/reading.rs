//! From what Redis says of a queue to what the decision observes.

use jobqueue_queue::{FaultKind, QueueStats, WorkerStats};
use jobqueue_scaling::{Backlog, Meter, Rates, Sample, WorkerCounters};

/// Follows one queue, poll by poll.
#[derive(Debug, Default)]
pub struct ScalingInput {
    meter: Meter,
}

/// One poll, digested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The work.
    pub backlog: Backlog,
    /// Rates, as measured so far.
    pub rates: Rates,
    /// Workers with jobs in hand, as their records say.
    pub busy: u32,
    /// Workers that say that their database takes nothing from them.
    pub troubled: u32,
}

impl ScalingInput {
    /// Reads the stats that were polled at `now`, in seconds of a clock that does not jump.
    pub fn read(&mut self, now: f64, stats: &QueueStats) -> Reading {
        let backlog = Backlog {
            // Only a worker moves a scheduled job that has come due.
            waiting: stats.waiting.saturating_add(stats.due),
            running: stats.running,
            oldest_wait_seconds: stats.oldest_wait.map(|wait| wait.as_secs_f64()),
        };
        let workers = stats.workers.iter().map(|worker| (worker.name.as_str(), counters(worker))).collect();
        let sample = Sample { now, waiting: backlog.waiting, running: backlog.running, workers };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let busy = count(stats.workers.iter().filter(|worker| worker.is_busy()).count());
        let refused = [FaultKind::Unavailable, FaultKind::Denied, FaultKind::QueueDenied, FaultKind::QueueWrongData];
        let troubled = count(stats.faults.iter().filter(|fault| refused.contains(&fault.kind)).count());
        Reading { backlog, rates: self.meter.sample(sample), busy, troubled }
    }

    /// The queue could not be read.
    pub fn miss(&mut self) -> Rates {
        self.meter.miss()
    }
}

fn counters(worker: &WorkerStats) -> WorkerCounters {
    WorkerCounters {
        completed: worker.ended(),
        busy: worker.is_busy(),
        worked_seconds: worker.busy_seconds / f64::from(worker.concurrency.max(1)),
        slots: worker.concurrency,
        in_hand: worker.running,
        age: worker.job_age.map(|age| age.as_secs_f64()),
        ..WorkerCounters::default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jobqueue_scaling::{Memory, Observation, Policy, Targets, Workers};

    use super::*;

    fn stats(waiting: u64, due: u64, running: u64, succeeded: u64) -> QueueStats {
        let worker = WorkerStats {
            name: "w".into(),
            hostname: "h".into(),
            state: "idle".into(),
            concurrency: 4,
            running,
            succeeded,
            failed: 0,
            busy_seconds: succeeded as f64,
            silent_for: Duration::ZERO,
            job_age: None,
        };
        QueueStats {
            observed_at: chrono::DateTime::UNIX_EPOCH,
            waiting,
            running,
            scheduled: 9,
            due,
            failed: 5,
            oldest_wait: Some(Duration::from_millis(1500)),
            workers: vec![worker],
            faults: Vec::new(),
        }
    }

    #[test]
    fn jobs_that_are_due_wait_and_running_ones_are_work() {
        let poll = ScalingInput::default().read(0.0, &stats(3, 2, 2, 0));
        let backlog = Backlog { waiting: 5, running: 2, oldest_wait_seconds: Some(1.5) };
        assert_eq!((poll.backlog, poll.busy, poll.rates.per_worker), (backlog, 1, None));
        assert_eq!(poll.rates.slots, 4);
    }

    /// Ten jobs wait, each to be done within 20 minutes, and the only worker is at one; none has ended yet.
    fn wanted(job_age: Option<Duration>) -> u32 {
        let mut stats = stats(10, 0, 1, 0);
        (stats.workers[0].concurrency, stats.workers[0].job_age) = (1, job_age);
        let Reading { backlog, rates, busy, troubled } = ScalingInput::default().read(0.0, &stats);
        let targets = Targets { drain_seconds: Some(1200.0), ..Targets::default() };
        let workers = Workers { desired: 1, ready: 1, busy };
        let observation = Observation { now: 0.0, backlog: Some(backlog), workers, rates, troubled };
        Memory::default().decide(&Policy { targets, max_replicas: 20, ..Policy::default() }, &observation).replicas
    }

    #[test]
    fn the_first_poll_after_a_restart_knows_how_long_a_job_has_run() {
        assert_eq!(wanted(None), 1);
        // Each does about two in the time.
        let workers = wanted(Some(Duration::from_secs(600)));
        assert!((5..=8).contains(&workers), "{workers}");
    }

    #[test]
    fn counters_become_rates_until_a_poll_is_missed() {
        let mut input = ScalingInput::default();
        let _ = input.read(0.0, &stats(0, 0, 0, 100));
        let rates = input.read(0.25, &stats(0, 0, 0, 150)).rates;
        assert_eq!((rates.ended, rates.completions_per_second), (50, Some(200.0)));
        // Fifty slot seconds of four slots.
        assert_eq!(rates.per_worker.map(|rate| rate.jobs_per_second), Some(4.0));
        assert_eq!(input.miss().ended, 0);
        assert_eq!(input.read(0.75, &stats(0, 0, 0, 10_000)).rates.ended, 0);
    }
}
