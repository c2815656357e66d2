//! Rates, measured from the counters that workers leave in Redis.
//!
//! A worker's rate is completions per second of a busy worker, over the last half minute of busy time or the last thirty
//! completions, whichever is more. Where a backlog was waiting all along, that is what a worker *can* do; other times only
//! say what it was given, and count as long as nothing better is known. Jobs that have run for longer than a job takes on
//! average count as if they ended now (censored observations): what has not ended tells how long jobs are as well.

mod averages;
mod last;

use serde::{Deserialize, Serialize};

use crate::{Ages, LifeTable, Rates, WorkerRate};
use averages::{Ratio, Variation};
use last::{Last, find};

/// How far back a worker's rate polls, in seconds.
const WINDOW_SECONDS: f64 = 30.0;
/// How far back the rates of arrivals and completions poll, in seconds, at least: where jobs are long, as long as a job.
const FLOW_SECONDS: f64 = 30.0;
/// Completions that are remembered however long ago they were.
const KEPT_COMPLETIONS: f64 = 30.0;
/// Between two samples further apart than this, in seconds, too much may have happened.
const LONGEST_GAP_SECONDS: f64 = 15.0;
/// A worker that ends a job within this time, in seconds, is measured by the clock while a backlog waits: what passes
/// between two short jobs counts as well. For longer ones its own account is exact enough.
const SHORT_SECONDS: f64 = 2.0;
/// Below so many completions, those without a backlog count too.
const CERTAIN_COMPLETIONS: f64 = 10.0;

/// One poll of the counters.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    /// When, in seconds since any fixed moment.
    pub now: f64,
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs that run.
    pub running: u64,
    /// Every worker's counters, with its name. Those that are in the order of their names need not be sorted.
    pub workers: Vec<(&'a str, WorkerCounters)>,
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
    /// For how long, in seconds, it has been at the job in hand; none if it does not say.
    #[serde(default)]
    pub age: Option<f64>,
    /// Since when it is at its job, or ended one last, in the time of the samples. The meter finds that out by itself.
    #[serde(default)]
    pub since: f64,
}

/// Measures rates from one [`Sample`] after another.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    last: Option<Last>,
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

impl Meter {
    /// Takes a sample; answers the rates.
    pub fn sample(&mut self, mut sample: Sample<'_>) -> Rates {
        (self.ended, self.occupied) = (0, None);
        let last = self.last.take();
        let same = last.as_ref().is_some_and(|last| last.has_workers_of(&sample));
        if !same {
            sample.workers.sort_by_key(|(name, _)| *name);
        }
        let recent = last.as_ref().filter(|last| (0.0..=LONGEST_GAP_SECONDS).contains(&(sample.now - last.now)));
        let lives = self.follow(recent, same, &sample);
        self.learn(recent, same, &mut sample);
        self.last = Some(Last::of(&sample, last.filter(|_| same)));
        let Sample { now, waiting, workers, .. } = sample;
        let rates = self.rates(now, &workers);
        // Ages matter for what waits, and tell nothing of jobs that vary as much as exponential ones, nor of several in hand.
        let tell = waiting > 0 && rates.slots <= 1 && rates.job_variation.is_some_and(|jobs| jobs.squared < 1.0);
        let ages = if tell { Ages::of(busy(&workers).map(|worker| now - worker.since)) } else { Ages::default() };
        Rates { ages, lives, ..rates }
    }

    /// The queue could not be read: what passes until the next sample teaches nothing.
    pub fn miss(&mut self) -> Rates {
        self.last = None;
        (self.ended, self.occupied) = (0, None);
        self.rates(0.0, &[])
    }

    /// Learns from what happened since the last sample, if there is one, of the `same` workers or of others, and notes since when
    /// each worker is at what it does.
    fn learn(&mut self, last: Option<&Last>, same: bool, sample: &mut Sample<'_>) {
        let now = sample.now;
        let passed = last.map_or(0.0, |last| now - last.now);
        let backlogged = sample.waiting > 0 && last.is_some_and(|last| last.waiting > 0);
        let nothing_known = last.is_none() && self.best().events <= 0.0;
        let (mut completed, mut seconds, mut own, mut tells, mut slots) = (0, 0.0, 0.0, false, 0);
        let mut before = last.map(|last| last.workers.iter().peekable());
        for (name, worker) in &mut sample.workers {
            slots = slots.max(worker.slots.max(1));
            // What a worker did before it was first seen may be long ago. It is better than nothing.
            if nothing_known {
                self.unsaturated = self.unsaturated.with(earlier(*worker));
            }
            let before = before.as_mut().and_then(|before| find(before, name, same));
            let done = before.map_or(0, |before| ended(*before, *worker));
            let goes_on = before.filter(|before| done == 0 && worker.busy && before.busy);
            // Clocks differ: a job that is new to us began no earlier than the last poll of its worker.
            let longest = before.map_or(f64::INFINITY, |_| passed);
            let began = now - worker.age.map_or(0.0, |age| age.clamp(0.0, longest));
            worker.since = goes_on.map_or(began, |before| before.since);
            let Some(before) = before.filter(|_| passed > 0.0) else { continue };
            let alone = worked(*before, *worker);
            if done > 0 {
                completed += done;
                seconds += took(*before, *worker, alone, passed, backlogged);
            }
            self.variation.add(done, alone);
            own += alone;
            tells |= worker.worked_seconds > 0.0;
        }
        if slots > 0 {
            self.slots = slots;
        }
        let Some(last) = last.filter(|_| passed > 0.0) else { return };
        self.ended = completed;
        self.occupied = tells.then_some(own / passed);
        let completed = completed as f64;
        if seconds > 0.0 {
            let ratio = if backlogged { &mut self.saturated } else { &mut self.unsaturated };
            ratio.add(completed, seconds, passed, (WINDOW_SECONDS, KEPT_COMPLETIONS));
        }
        let job = self.best().per_second().map_or(0.0, |rate| f64::from(self.slots.max(1)) / rate);
        let fade = (-passed / job.max(FLOW_SECONDS)).exp();
        let growth =
            sample.waiting.saturating_add(sample.running) as f64 - last.waiting.saturating_add(last.running) as f64;
        self.arrivals.add_faded(((growth + completed).max(0.0), passed), fade, 0.0);
        self.completions.add_faded((completed, passed), fade, 0.0);
    }

    /// What single jobs did since the last sample, if any waited all along. Nothing is known of several that a worker has in hand
    /// at once, nor before a first worker has said how long its jobs took.
    fn follow(&self, last: Option<&Last>, same: bool, sample: &Sample<'_>) -> LifeTable {
        let mut lives = LifeTable::default();
        let waited = sample.waiting > 0 && self.slots <= 1 && self.variation.jobs > 0.0;
        let Some(last) = last.filter(|last| waited && last.waiting > 0) else { return lives };
        let mut before = last.workers.iter().peekable();
        for (name, worker) in &sample.workers {
            let Some(before) = find(&mut before, name, same) else { continue };
            let (done, age) = (ended(*before, *worker), last.now - before.since);
            if done > 0 && worker.worked_seconds > 0.0 {
                // Of several since the last poll only the mean is known.
                let each = worked(*before, *worker) / done as f64;
                lives.run(1, if before.busy { age } else { 0.0 }, each);
                lives.run(done - 1, 0.0, each);
                lives.end(done, each);
            } else if done == 0 && before.busy && worker.busy {
                lives.run(1, age, age + sample.now - last.now);
            }
        }
        lives
    }

    /// What completed jobs tell.
    fn best(&self) -> Ratio {
        let enough = self.saturated.events >= CERTAIN_COMPLETIONS || self.saturated.events >= self.unsaturated.events;
        if enough { self.saturated } else { self.saturated.with(self.unsaturated) }
    }

    /// What running jobs tell besides: those that have run for longer than a job takes.
    fn censored(&self, ended: Ratio, now: f64, workers: &[(&str, WorkerCounters)]) -> Ratio {
        let mean = if ended.events > 0.0 { f64::from(self.slots.max(1)) * ended.seconds / ended.events } else { 0.0 };
        if ended.events < 1.0 {
            // As long as none has ended, a job takes as long as the oldest has run.
            let oldest = busy(workers).max_by(|a, b| b.since.total_cmp(&a.since));
            return oldest.map_or_else(Ratio::default, |worker| running(worker, now - worker.since));
        }
        let long = busy(workers).map(|worker| (worker, now - worker.since)).filter(|(_, age)| *age > mean);
        long.fold(Ratio::default(), |sum, (worker, age)| sum.with(running(worker, age)))
    }

    /// What is known at `now`, of these workers.
    fn rates(&self, now: f64, workers: &[(&str, WorkerCounters)]) -> Rates {
        let ended = self.best();
        let known = ended.with(self.censored(ended, now, workers));
        let rate = known.per_second().filter(|_| known.events >= 1.0);
        Rates {
            per_worker: rate.map(|rate| WorkerRate { jobs_per_second: rate, completions: ended.events }),
            arrivals_per_second: self.arrivals.per_second(),
            completions_per_second: self.completions.per_second(),
            ended: self.ended,
            occupied: self.occupied,
            slots: self.slots,
            job_variation: self.variation.known(),
            ages: Ages::default(),
            lives: LifeTable::default(),
        }
    }
}

/// Those that have jobs in hand.
fn busy<'a>(workers: &'a [(&str, WorkerCounters)]) -> impl Iterator<Item = &'a WorkerCounters> {
    workers.iter().map(|(_, worker)| worker).filter(|worker| worker.busy)
}

/// A worker's jobs as if they ended now, after `age` seconds.
fn running(counters: &WorkerCounters, age: f64) -> Ratio {
    let jobs = counters.in_hand.clamp(1, counters.slots.max(1).into());
    if age > 0.0 { Ratio { events: jobs as f64, seconds: age } } else { Ratio::default() }
}

/// Jobs that a worker ended between two polls. A counter that fell belongs to a new process of the same name.
fn ended(before: WorkerCounters, now: WorkerCounters) -> u64 {
    now.completed.checked_sub(before.completed).unwrap_or(now.completed)
}

/// What a worker did before it was first seen, by its own account: no more of it than a meter remembers.
fn earlier(worker: WorkerCounters) -> Ratio {
    let (jobs, seconds) = (worker.completed as f64, worker.worked_seconds);
    if jobs < 1.0 || seconds <= 0.0 {
        return Ratio::default();
    }
    let part = (WINDOW_SECONDS / seconds).clamp(1.0 / jobs, 1.0);
    Ratio { events: jobs * part, seconds: seconds * part }
}

/// How long the jobs took that a worker ended in the last `passed` seconds; `own`: what it says itself.
fn took(before: WorkerCounters, worker: WorkerCounters, own: f64, passed: f64, backlogged: bool) -> f64 {
    // Whoever ended a job and was seen idle was busy at some time between the polls.
    let clock = if before.busy { worker.since - before.since } else { passed / 2.0 };
    if worker.worked_seconds <= 0.0 || (backlogged && clock <= SHORT_SECONDS) { clock } else { own }
}

/// How long a worker worked between two polls, by its own account, which is finer than the polls: a thousand jobs of a
/// millisecond each are a second's work however they fall between them.
fn worked(before: WorkerCounters, now: WorkerCounters) -> f64 {
    let since = now.worked_seconds - before.worked_seconds;
    if since < 0.0 { now.worked_seconds } else { since }
}

#[cfg(test)]
mod tests;
