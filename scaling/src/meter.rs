//! Rates, measured from the counters that workers leave in Redis.
//!
//! A worker's rate is completions per second of a busy worker, over the last half minute of busy time or the last
//! thirty completions, whichever is more. Where a backlog was waiting all along, that is what a worker *can* do; other
//! times only say what it was given, and count as long as nothing better is known.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{JobVariation, Rates, WorkerRate};

/// How far back rates look, in seconds.
const WINDOW_SECONDS: f64 = 30.0;
/// Completions that are remembered however long ago they were.
const KEPT_COMPLETIONS: f64 = 30.0;
/// The variation of jobs is that of about so many.
const VARIATION_SAMPLES: f64 = 200.0;
/// Between two samples further apart than this, in seconds, too much may have happened.
const LONGEST_GAP_SECONDS: f64 = 15.0;

/// One look at the counters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When, in seconds since any fixed moment.
    pub now: f64,
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that run.
    pub running: u64,
    /// Every worker's counters, by its name.
    pub workers: BTreeMap<String, WorkerCounters>,
}

/// What one worker has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerCounters {
    /// Jobs ended, however they ended.
    pub completed: u64,
    /// Whether it has jobs in hand now.
    pub busy: bool,
    /// Seconds spent on jobs that ended; where it does several at once, divided by how many. 0 if it does not say.
    pub worked_seconds: f64,
}

/// Measures rates from one [`Sample`] after another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    last: Option<Sample>,
    /// With a backlog waiting all along.
    saturated: Ratio,
    /// At other times.
    unsaturated: Ratio,
    arrivals: Ratio,
    completions: Ratio,
    #[serde(default)]
    variation: Variation,
    /// Jobs that ended between the last two samples.
    ended: u64,
}

/// Events per second, the past fading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Ratio {
    events: f64,
    seconds: f64,
}

impl Ratio {
    /// Adds `events` in `seconds`, of which `passed` seconds by the clock; keeps at least `kept` events.
    fn add(&mut self, events: f64, seconds: f64, passed: f64, kept: f64) {
        let fade = (-passed / WINDOW_SECONDS).exp();
        let fade = if self.events > 0.0 { fade.max((kept / self.events).min(1.0)) } else { fade };
        self.events = self.events * fade + events;
        self.seconds = self.seconds * fade + seconds;
    }

    fn per_second(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.events / self.seconds)
    }
}

impl Meter {
    /// Takes a sample; answers the rates.
    pub fn sample(&mut self, sample: Sample) -> Rates {
        self.ended = 0;
        if let Some(last) = self.last.take() {
            let passed = sample.now - last.now;
            if passed > 0.0 && passed <= LONGEST_GAP_SECONDS {
                self.learn(&last, &sample, passed);
            }
        }
        self.last = Some(sample);
        self.rates()
    }

    /// The queue could not be read: what passes until the next sample teaches nothing.
    pub fn miss(&mut self) -> Rates {
        self.last = None;
        self.ended = 0;
        self.rates()
    }

    fn learn(&mut self, last: &Sample, sample: &Sample, passed: f64) {
        let backlogged = last.waiting > 0 && sample.waiting > 0;
        let mut completed = 0;
        let mut busy_seconds = 0.0;
        for (name, worker) in &sample.workers {
            // What a worker did before it was first seen may be long ago.
            let Some(before) = last.workers.get(name) else { continue };
            // A counter that fell belongs to a new process of the same name.
            let done = worker.completed.checked_sub(before.completed).unwrap_or(worker.completed);
            completed += done;
            self.variation.add(done, worker.worked_seconds - before.worked_seconds);
            busy_seconds += if backlogged {
                passed * share(*before, *worker, done)
            } else {
                worked(*before, *worker, passed, done)
            };
        }
        self.ended = completed;
        let completed = completed as f64;
        if busy_seconds > 0.0 {
            let ratio = if backlogged { &mut self.saturated } else { &mut self.unsaturated };
            ratio.add(completed, busy_seconds, passed, KEPT_COMPLETIONS);
        }
        let growth = (sample.waiting + sample.running) as f64 - (last.waiting + last.running) as f64;
        self.arrivals.add((growth + completed).max(0.0), passed, passed, 0.0);
        self.completions.add(completed, passed, passed, 0.0);
    }

    fn rates(&self) -> Rates {
        let best = if self.saturated.events >= 1.0 { self.saturated } else { self.unsaturated };
        let rate = best.per_second().filter(|_| best.events >= 1.0);
        Rates {
            per_worker: rate.map(|rate| WorkerRate { jobs_per_second: rate, completions: best.events }),
            arrivals_per_second: self.arrivals.per_second(),
            completions_per_second: self.completions.per_second(),
            ended: self.ended,
            job_variation: self.variation.known(),
        }
    }
}

/// How unlike each other jobs are: the mean and the squared deviations of their times, of the last two hundred or so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Variation {
    jobs: f64,
    samples: f64,
    mean: f64,
    squares: f64,
}

impl Variation {
    /// A worker took `seconds` for `jobs` jobs. A mean of so many deviates by the square root of their number less.
    fn add(&mut self, jobs: u64, seconds: f64) {
        if jobs == 0 || seconds <= 0.0 {
            return;
        }
        let (jobs, seconds) = (jobs as f64, seconds / jobs as f64);
        let keep = 1.0 - 1.0 / VARIATION_SAMPLES;
        self.jobs = self.jobs * keep + jobs;
        self.samples = self.samples * keep + 1.0;
        let off = seconds - self.mean;
        self.mean += off * jobs / self.jobs;
        self.squares = self.squares * keep + jobs * off * (seconds - self.mean);
    }

    fn known(&self) -> Option<JobVariation> {
        let squared = self.squares / self.samples / (self.mean * self.mean);
        (self.samples >= 2.0).then_some(JobVariation { squared, samples: self.samples })
    }
}

/// Which part of the time between two looks a worker was busy, as far as the looks tell.
fn share(before: WorkerCounters, now: WorkerCounters, done: u64) -> f64 {
    let share = f64::from(u8::from(before.busy) + u8::from(now.busy)) / 2.0;
    // Whoever completed something was busy at some time between the looks.
    if done > 0 { share.max(0.5) } else { share }
}

/// How long a worker was busy in `passed` seconds. Its own account is finer than the looks: a thousand jobs of a
/// millisecond each are a second's work however they fall between them.
fn worked(before: WorkerCounters, now: WorkerCounters, passed: f64, done: u64) -> f64 {
    if now.worked_seconds <= 0.0 {
        return passed * share(before, now, done);
    }
    let since = now.worked_seconds - before.worked_seconds;
    if since < 0.0 { now.worked_seconds } else { since }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(now: f64, waiting: u64, running: u64, completed: &[u64]) -> Sample {
        let worker = |(index, completed): (usize, &u64)| {
            (format!("w{index}"), WorkerCounters { completed: *completed, busy: true, worked_seconds: 0.0 })
        };
        Sample { now, waiting, running, workers: completed.iter().enumerate().map(worker).collect() }
    }

    fn close(value: Option<f64>, expected: f64) {
        let value = value.expect("measured");
        assert!((value - expected).abs() < expected * 0.01, "{value} is not {expected}");
    }

    #[test]
    fn measures_what_one_busy_worker_does() {
        let mut meter = Meter::default();
        assert_eq!(meter.sample(sample(0.0, 1000, 2, &[0, 0])), Rates::default());
        let rates = meter.sample(sample(1.0, 880, 2, &[70, 50]));
        close(rates.per_worker.map(|rate| rate.jobs_per_second), 60.0);
        close(rates.per_worker.map(|rate| rate.completions), 120.0);
        close(rates.completions_per_second, 120.0);
        assert_eq!(rates.arrivals_per_second, Some(0.0));
    }

    #[test]
    fn sees_arrivals_behind_completions() {
        let mut meter = Meter::default();
        let _ = meter.sample(sample(0.0, 100, 1, &[0]));
        close(meter.sample(sample(2.0, 140, 1, &[20])).arrivals_per_second, 30.0);
    }

    #[test]
    fn jobs_that_no_look_saw_are_counted() {
        let mut meter = Meter::default();
        let _ = meter.sample(sample(0.0, 0, 0, &[7, 9]));
        assert_eq!(meter.sample(sample(0.25, 0, 0, &[107, 109])).ended, 200);
        assert_eq!(meter.sample(sample(0.5, 0, 0, &[107, 109])).ended, 0);
        assert_eq!(meter.sample(sample(0.75, 0, 0, &[108, 109])).ended, 1);
        assert_eq!(meter.miss().ended, 0);
    }

    #[test]
    fn unsaturated_times_count_only_until_something_better_is_known() {
        let mut meter = Meter::default();
        let _ = meter.sample(sample(0.0, 0, 1, &[0]));
        let rate = |rates: Rates| rates.per_worker.map(|rate| rate.jobs_per_second);
        close(rate(meter.sample(sample(1.0, 0, 1, &[5]))), 5.0);
        let _ = meter.sample(sample(2.0, 500, 1, &[5]));
        close(rate(meter.sample(sample(3.0, 400, 1, &[105]))), 100.0);
        let _ = meter.sample(sample(4.0, 0, 1, &[106]));
        close(rate(meter.sample(sample(5.0, 0, 1, &[107]))), 100.0);
    }

    #[test]
    fn a_trickle_of_short_jobs_keeps_a_worker_busy_for_as_long_as_it_says() {
        let mut meter = Meter::default();
        let mut rates = Rates::default();
        for look in 0..100_u32 {
            let worker =
                WorkerCounters { completed: u64::from(look), busy: false, worked_seconds: f64::from(look) / 1000.0 };
            let workers = BTreeMap::from([("w".to_owned(), worker)]);
            rates = meter.sample(Sample { now: f64::from(look) / 4.0, waiting: 0, running: 0, workers });
        }
        close(rates.per_worker.map(|rate| rate.jobs_per_second), 1000.0);
        close(rates.arrivals_per_second, 4.0);
    }

    #[test]
    fn sees_how_unlike_each_other_jobs_are() {
        // Every fourth job takes three seconds, the others a third of one: the mean is 1, the variance 4/3.
        let seconds = |job: u64| if job.is_multiple_of(4) { 3.0 } else { 1.0 / 3.0 };
        for at_once in [1, 4] {
            let (mut meter, mut rates) = (Meter::default(), Rates::default());
            let (mut completed, mut worked_seconds) = (0, 0.0);
            for look in 0..400_u32 {
                // Portions of four are all alike: that says nothing else than that jobs differ less than they do.
                for _ in 0..at_once {
                    worked_seconds += seconds(completed);
                    completed += 1;
                }
                let worker = WorkerCounters { completed, busy: true, worked_seconds };
                let workers = BTreeMap::from([("w".to_owned(), worker)]);
                rates = meter.sample(Sample { now: f64::from(look) * 4.0, waiting: 9, running: 1, workers });
            }
            let JobVariation { squared, samples } = rates.job_variation.expect("measured");
            let expected = if at_once == 1 { 4.0 / 3.0 } else { 0.0 };
            assert!((squared - expected).abs() < 0.05 && samples > 100.0, "{at_once}: {squared} {samples}");
        }
        let mut silent = Meter::default();
        let _ = silent.sample(sample(0.0, 9, 1, &[0]));
        assert_eq!(silent.sample(sample(1.0, 9, 1, &[5])).job_variation, None);
    }

    #[test]
    fn follows_a_change_of_rate_and_keeps_slow_completions() {
        let mut meter = Meter::default();
        let mut done = 0;
        let mut last = None;
        for second in 0..400_u32 {
            done += if second < 200 { 100 } else { 10 };
            last = meter.sample(sample(f64::from(second), 10_000, 1, &[done])).per_worker;
        }
        let rate = last.expect("measured").jobs_per_second;
        assert!((rate - 10.0).abs() < 1.0, "{rate}");
        // One job in 20 s: the window holds one or two, but thirty are kept.
        let mut slow = Meter::default();
        for second in 0..2000_u32 {
            last = slow.sample(sample(f64::from(second), 100, 1, &[u64::from(second / 20)])).per_worker;
        }
        let last = last.expect("measured");
        assert!(last.completions > 25.0, "{last:?}");
        assert!((last.jobs_per_second - 0.05).abs() < 0.003, "{last:?}");
    }

    #[test]
    fn restarts_gaps_and_backward_clocks_are_harmless() {
        let mut meter = Meter::default();
        let _ = meter.sample(sample(0.0, 100, 1, &[50]));
        close(meter.sample(sample(1.0, 95, 1, &[5])).completions_per_second, 5.0);
        let before = Rates { ended: 0, ..meter.sample(sample(2.0, 90, 1, &[10])) };
        assert_eq!(meter.sample(sample(-500.0, 90, 1, &[10_000])), before);
        assert_eq!(meter.sample(sample(90_000.0, 90, 1, &[20_000])), before);
        assert_eq!(meter.miss(), before);
        assert_eq!(meter.sample(sample(90_001.0, 90, 1, &[30_000])), before);
    }
}
