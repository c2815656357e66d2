//! Rates, measured from the counters that workers leave in Redis.
//!
//! A worker's rate is completions per second of a busy worker, over the last half minute of busy time or the last thirty
//! completions, whichever is more. Where a backlog was waiting all along, that is what a worker *can* do; other times only
//! say what it was given, and count as long as nothing better is known. Jobs that have run for longer than a job takes on
//! average count as if they ended now (censored observations): what has not ended tells how long jobs are as well.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::iter::Peekable;

use serde::{Deserialize, Serialize};

use crate::{Ages, JobVariation, Rates, WorkerRate};

/// How far back a worker's rate looks, in seconds.
const WINDOW_SECONDS: f64 = 30.0;
/// How far back the rates of arrivals and completions look, in seconds, at least: where jobs are long, as long as a job.
const FLOW_SECONDS: f64 = 30.0;
/// Completions that are remembered however long ago they were.
const KEPT_COMPLETIONS: f64 = 30.0;
/// The variation of jobs is that of about so many.
const VARIATION_SAMPLES: f64 = 200.0;
/// Between two samples further apart than this, in seconds, too much may have happened.
const LONGEST_GAP_SECONDS: f64 = 15.0;
/// A worker that ends a job within this time, in seconds, is measured by the clock while a backlog waits: what passes
/// between two short jobs counts as well. For longer ones its own account is exact enough.
const SHORT_SECONDS: f64 = 2.0;
/// With fewer samples, nobody can say how much jobs vary.
const SOME_SAMPLES: f64 = 5.0;
/// Below so many completions, those without a backlog count too.
const CERTAIN_COMPLETIONS: f64 = 10.0;

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
    /// Jobs that it does at once; 0 if it does not say, which counts as one.
    #[serde(default)]
    pub slots: u32,
    /// Jobs in hand; 0 if it does not say.
    #[serde(default)]
    pub in_hand: u64,
    /// Since when it is busy, or ended a job last, in the time of the samples. The meter finds that out by itself.
    #[serde(default)]
    pub since: f64,
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
    /// How unlike each other jobs are.
    #[serde(default)]
    variation: Variation,
    /// Jobs that ended between the last two samples.
    ended: u64,
    /// How many workers were at work on average between the last two samples, by their own accounts.
    #[serde(default)]
    occupied: Option<f64>,
    /// Jobs that a worker does at once; 0 as long as none was seen.
    #[serde(default)]
    slots: u32,
}

/// Events per second, the past fading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Ratio {
    events: f64,
    seconds: f64,
}

impl Ratio {
    /// Adds `events` in `seconds`, of which `passed` seconds by the clock, to those of the last `window` seconds; keeps at
    /// least `kept` events.
    fn add(&mut self, events: f64, seconds: f64, passed: f64, (window, kept): (f64, f64)) {
        let fade = (-passed / window).exp();
        let fade = if self.events > 0.0 { fade.max((kept / self.events).min(1.0)) } else { fade };
        self.events = self.events * fade + events;
        self.seconds = self.seconds * fade + seconds;
    }

    fn with(self, other: Self) -> Self {
        Self { events: self.events + other.events, seconds: self.seconds + other.seconds }
    }

    fn per_second(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.events / self.seconds)
    }
}

impl Meter {
    /// Takes a sample; answers the rates.
    pub fn sample(&mut self, mut sample: Sample) -> Rates {
        (self.ended, self.occupied) = (0, None);
        let last = self.last.take();
        let last = last.filter(|last| (0.0..=LONGEST_GAP_SECONDS).contains(&(sample.now - last.now)));
        let busy = self.learn(last.as_ref(), &mut sample);
        let (now, waiting) = (sample.now, sample.waiting);
        self.last = Some(sample);
        let rates = self.rates(now, &busy);
        // Ages matter for what waits, and tell nothing of jobs that vary as much as exponential ones, nor of several in hand.
        let tell = waiting > 0 && rates.slots <= 1 && rates.job_variation.is_some_and(|jobs| jobs.squared < 1.0);
        let ages = if tell { Ages::of(busy.iter().map(|busy| now - busy.since)) } else { Ages::default() };
        Rates { ages, ..rates }
    }

    /// The queue could not be read: what passes until the next sample teaches nothing.
    pub fn miss(&mut self) -> Rates {
        self.last = None;
        (self.ended, self.occupied) = (0, None);
        self.rates(0.0, &[])
    }

    /// Learns from what happened since the last sample, if there is one, and notes since when each worker is at what it does;
    /// answers the busy ones.
    fn learn(&mut self, last: Option<&Sample>, sample: &mut Sample) -> Vec<WorkerCounters> {
        let now = sample.now;
        let passed = last.map_or(0.0, |last| now - last.now);
        let backlogged = sample.waiting > 0 && last.is_some_and(|last| last.waiting > 0);
        let (mut completed, mut seconds, mut own, mut tells, mut slots) = (0, 0.0, 0.0, false, 0);
        let mut before = last.map(|last| last.workers.iter().peekable());
        let mut busy = Vec::with_capacity(sample.workers.len());
        for (name, worker) in &mut sample.workers {
            slots = slots.max(worker.slots.max(1));
            // What a worker did before it was first seen may be long ago.
            let before = before.as_mut().and_then(|before| find(before, name));
            let done = before.map_or(0, |before| ended(*before, *worker));
            let goes_on = before.filter(|before| done == 0 && worker.busy && before.busy);
            worker.since = goes_on.map_or(now, |before| before.since);
            if worker.busy {
                busy.push(*worker);
            }
            let Some(before) = before.filter(|_| passed > 0.0) else { continue };
            let alone = worked(*before, *worker);
            if done > 0 {
                completed += done;
                seconds += took(*before, *worker, alone, (now, passed), backlogged);
            }
            self.variation.add(done, alone);
            own += alone;
            tells |= worker.worked_seconds > 0.0;
        }
        if slots > 0 {
            self.slots = slots;
        }
        let Some(last) = last.filter(|_| passed > 0.0) else { return busy };
        self.ended = completed;
        self.occupied = tells.then_some(own / passed);
        let completed = completed as f64;
        if seconds > 0.0 {
            let ratio = if backlogged { &mut self.saturated } else { &mut self.unsaturated };
            ratio.add(completed, seconds, passed, (WINDOW_SECONDS, KEPT_COMPLETIONS));
        }
        let job = self.best().per_second().map_or(0.0, |rate| f64::from(self.slots.max(1)) / rate);
        let window = (job.max(FLOW_SECONDS), 0.0);
        let growth = (sample.waiting + sample.running) as f64 - (last.waiting + last.running) as f64;
        self.arrivals.add((growth + completed).max(0.0), passed, passed, window);
        self.completions.add(completed, passed, passed, window);
        busy
    }

    /// What completed jobs tell.
    fn best(&self) -> Ratio {
        let enough = self.saturated.events >= CERTAIN_COMPLETIONS || self.saturated.events >= self.unsaturated.events;
        if enough { self.saturated } else { self.saturated.with(self.unsaturated) }
    }

    /// What running jobs tell besides: those that have run for longer than a job takes.
    fn censored(&self, ended: Ratio, now: f64, busy: &[WorkerCounters]) -> Ratio {
        let mean = if ended.events > 0.0 { f64::from(self.slots.max(1)) * ended.seconds / ended.events } else { 0.0 };
        if ended.events < 1.0 {
            // As long as none has ended, a job takes as long as the oldest has run.
            let oldest = busy.iter().max_by(|a, b| b.since.total_cmp(&a.since));
            return oldest.map_or_else(Ratio::default, |worker| running(*worker, now - worker.since));
        }
        let long = busy.iter().map(|worker| (*worker, now - worker.since)).filter(|(_, age)| *age > mean);
        long.fold(Ratio::default(), |sum, (counters, age)| sum.with(running(counters, age)))
    }

    /// What is known at `now`, when these workers are busy.
    fn rates(&self, now: f64, busy: &[WorkerCounters]) -> Rates {
        let ended = self.best();
        let known = ended.with(self.censored(ended, now, busy));
        let rate = known.per_second().filter(|_| known.events >= 1.0);
        Rates {
            per_worker: rate.map(|rate| WorkerRate { jobs_per_second: rate, completions: known.events }),
            arrivals_per_second: self.arrivals.per_second(),
            completions_per_second: self.completions.per_second(),
            ended: self.ended,
            occupied: self.occupied,
            slots: self.slots,
            job_variation: self.variation.known(),
            ages: Ages::default(),
        }
    }
}

/// The worker of this name, where all names are asked for in their order.
fn find<'a>(workers: &mut Peekable<Iter<'a, String, WorkerCounters>>, name: &str) -> Option<&'a WorkerCounters> {
    while let Some((key, worker)) = workers.peek() {
        match key.as_str().cmp(name) {
            Ordering::Less => _ = workers.next(),
            Ordering::Equal => return Some(worker),
            Ordering::Greater => return None,
        }
    }
    None
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
        (self.samples >= SOME_SAMPLES).then_some(JobVariation { squared, samples: self.samples })
    }
}

/// A worker's jobs as if they ended now, after `age` seconds.
fn running(counters: WorkerCounters, age: f64) -> Ratio {
    let jobs = counters.in_hand.clamp(1, counters.slots.max(1).into());
    if age > 0.0 { Ratio { events: jobs as f64, seconds: age } } else { Ratio::default() }
}

/// Jobs that a worker ended between two looks. A counter that fell belongs to a new process of the same name.
fn ended(before: WorkerCounters, now: WorkerCounters) -> u64 {
    now.completed.checked_sub(before.completed).unwrap_or(now.completed)
}

/// How long the jobs took that a worker ended in the `passed` seconds before `now`; `own`: what it says itself.
fn took(before: WorkerCounters, worker: WorkerCounters, own: f64, (now, passed): (f64, f64), backlogged: bool) -> f64 {
    // Whoever ended a job and was seen idle was busy at some time between the looks.
    let clock = if before.busy { now - before.since } else { passed / 2.0 };
    if worker.worked_seconds <= 0.0 || (backlogged && clock <= SHORT_SECONDS) { clock } else { own }
}

/// How long a worker worked between two looks, by its own account, which is finer than the looks: a thousand jobs of a
/// millisecond each are a second's work however they fall between them.
fn worked(before: WorkerCounters, now: WorkerCounters) -> f64 {
    let since = now.worked_seconds - before.worked_seconds;
    if since < 0.0 { now.worked_seconds } else { since }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(now: f64, waiting: u64, running: u64, completed: &[u64]) -> Sample {
        let worker = |(index, completed): (usize, &u64)| {
            (format!("w{index}"), WorkerCounters { completed: *completed, busy: true, ..WorkerCounters::default() })
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
        assert_eq!(meter.sample(sample(0.0, 1000, 2, &[0, 0])).per_worker, None);
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
        let _ = meter.sample(sample(2.0, 500, 1, &[6]));
        close(rate(meter.sample(sample(3.0, 400, 1, &[106]))), 100.0);
        let _ = meter.sample(sample(4.0, 0, 1, &[107]));
        close(rate(meter.sample(sample(5.0, 0, 1, &[108]))), 100.0);
    }

    #[test]
    fn a_trickle_of_short_jobs_keeps_a_worker_busy_for_as_long_as_it_says() {
        let mut meter = Meter::default();
        let mut rates = Rates::default();
        for look in 0..100_u32 {
            let (completed, worked_seconds) = (u64::from(look), f64::from(look) / 1000.0);
            let worker = WorkerCounters { completed, worked_seconds, ..WorkerCounters::default() };
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
                let worker = WorkerCounters { completed, busy: true, worked_seconds, ..WorkerCounters::default() };
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
        assert!((last.jobs_per_second - 0.05).abs() < 0.005, "{last:?}");
    }

    #[test]
    fn restarts_gaps_and_backward_clocks_are_harmless() {
        let mut meter = Meter::default();
        let _ = meter.sample(sample(0.0, 100, 1, &[50]));
        close(meter.sample(sample(1.0, 95, 1, &[5])).completions_per_second, 5.0);
        let known = |rates: Rates| (rates.per_worker, rates.arrivals_per_second, rates.completions_per_second);
        let before = known(meter.sample(sample(2.0, 90, 1, &[10])));
        assert_eq!(known(meter.sample(sample(-500.0, 90, 1, &[10_000]))), before);
        assert_eq!(known(meter.sample(sample(90_000.0, 90, 1, &[20_000]))), before);
        assert_eq!(known(meter.miss()), before);
        assert_eq!(known(meter.sample(sample(90_001.0, 90, 1, &[30_000]))), before);
    }
}
