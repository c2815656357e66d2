//! What a job takes: how long a worker is busy with it, how many it does at once, and what the database allows.

use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, StandardNormal};

use super::fifo::Lot;

/// Jobs shorter than this, in seconds, are taken several at a time.
const GRAIN_SECONDS: f64 = 0.25;

/// A length of time that varies: log-normal, never negative, with a long tail.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The mean, in seconds.
    pub(crate) mean: f64,
    /// Standard deviation by mean.
    pub(crate) variation: f64,
}

impl Spread {
    /// One length of time, in seconds.
    pub(crate) fn sample(&self, chance: &mut ChaCha8Rng) -> f64 {
        let variance = (1.0 + self.variation * self.variation).ln();
        match LogNormal::new(self.mean.max(f64::MIN_POSITIVE).ln() - variance / 2.0, variance.sqrt()) {
            Ok(lengths) if self.variation > 0.0 => lengths.sample(chance),
            _ => self.mean,
        }
    }

    /// `times` such lengths together; of many, the central limit.
    fn sum(&self, times: u64, chance: &mut ChaCha8Rng) -> f64 {
        if times == 1 {
            return self.sample(chance);
        }
        let (times, deviate): (f64, f64) = (times as f64, StandardNormal.sample(chance));
        self.mean * (times + self.variation * times.sqrt() * deviate).max(times / 10.0)
    }
}

/// What the jobs are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Work {
    /// Jobs that a worker has in hand at once, each for itself.
    pub(crate) slots: u32,
    /// How long a slot takes for one.
    pub(crate) job: Spread,
    /// The most that a slot takes at a time.
    pub(crate) grain: u64,
    /// How many slots of the worker count as one of these.
    shared: f64,
}

impl Work {
    /// Workers with `concurrency` jobs at once, each of which takes `job`. Short ones are not followed one by one: all
    /// slots of a worker count as a fast one, which takes a quarter of a second's worth at a time.
    pub(crate) fn new(concurrency: u32, job: Spread) -> Self {
        if job.mean >= GRAIN_SECONDS {
            return Self { slots: concurrency, job, grain: 1, shared: 1.0 };
        }
        let shared = f64::from(concurrency);
        let job = Spread { mean: job.mean / shared, ..job };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least one, saturates")]
        let grain = (GRAIN_SECONDS / job.mean).max(1.0) as u64;
        Self { slots: 1, job, grain, shared }
    }

    /// Jobs per second of a worker whose slots are all busy.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(self.slots) / self.job.mean
    }

    /// `jobs` jobs that arrive at one moment, each of a random length. Of those that are taken several at a
    /// time, all are as long as their mean.
    pub(crate) fn draw(&self, arrived: f64, jobs: u64, chance: &mut ChaCha8Rng, lots: &mut Vec<Lot>) {
        if jobs == 0 {
            return;
        }
        if self.job.variation <= 0.0 {
            lots.push(Lot { arrived, jobs, each: self.job.mean });
        } else if self.grain > 1 {
            lots.push(Lot { arrived, jobs, each: self.job.sum(jobs, chance) / jobs as f64 });
        } else {
            lots.extend((0..jobs).map(|_| Lot { arrived, jobs: 1, each: self.job.sample(chance) }));
        }
    }

    /// A job that takes a worker so many seconds in one of its slots.
    pub(crate) fn given(&self, arrived: f64, seconds: f64) -> Lot {
        Lot { arrived, jobs: 1, each: seconds / self.shared }
    }
}

/// A time in which the database does less.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Slump {
    /// Its beginning, in seconds since the start.
    pub(crate) from: f64,
    /// Its end.
    pub(crate) to: f64,
    /// Jobs per second, all workers together.
    pub(crate) ceiling: f64,
}

/// What all workers share: so many jobs per second and no more, however many workers there are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Database {
    /// Jobs per second at ordinary times; none: no limit.
    pub(crate) ceiling: Option<f64>,
    /// When it is less.
    pub(crate) slumps: Vec<Slump>,
}

impl Database {
    /// By how much everybody is slowed down at `now`, if the workers were to do `wanted` jobs per second: 1 for not at
    /// all, 0 for a standstill.
    pub(crate) fn speed(&self, now: f64, wanted: f64) -> f64 {
        let slumps = self.slumps.iter().filter(|slump| (slump.from..slump.to).contains(&now));
        let ceilings = slumps.map(|slump| slump.ceiling).chain(self.ceiling);
        let ceiling = ceilings.fold(f64::INFINITY, f64::min);
        if wanted > ceiling { ceiling / wanted } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn lengths_have_the_mean_and_variation_that_were_asked_for() {
        let mut chance = ChaCha8Rng::seed_from_u64(1);
        let spread = Spread { mean: 8.0, variation: 0.5 };
        let lengths: Vec<f64> = (0..40_000).map(|_| spread.sample(&mut chance)).collect();
        let mean = lengths.iter().sum::<f64>() / lengths.len() as f64;
        let variance = lengths.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / lengths.len() as f64;
        assert!((mean - 8.0).abs() < 0.1 && (variance.sqrt() / mean - 0.5).abs() < 0.02, "{mean} {variance}");
        let many: f64 = (0..1000).map(|_| spread.sum(100, &mut chance)).sum::<f64>() / 1000.0;
        assert!((many - 800.0).abs() < 10.0, "{many}");
        assert!((Spread { mean: 3.0, variation: 0.0 }.sample(&mut chance) - 3.0).abs() < 1e-9);
    }

    #[test]
    fn short_jobs_keep_their_rate() {
        let long = Work::new(4, Spread { mean: 2.0, variation: 0.3 });
        assert_eq!((long.slots, long.grain), (4, 1));
        assert!((long.rate() - 2.0).abs() < 1e-9);
        let short = Work::new(4, Spread { mean: 0.002, variation: 0.3 });
        assert_eq!((short.slots, short.grain), (1, 500));
        assert!((short.rate() - 2000.0).abs() < 1e-6);
    }

    #[test]
    fn the_database_slows_down_whoever_asks_for_too_much() {
        let slump = Slump { from: 10.0, to: 20.0, ceiling: 5.0 };
        let database = Database { ceiling: Some(100.0), slumps: vec![slump] };
        let speeds =
            [(0.0, 50.0), (0.0, 200.0), (10.0, 50.0), (20.0, 50.0)].map(|(now, wanted)| database.speed(now, wanted));
        let close = speeds.iter().zip([1.0, 0.5, 0.1, 1.0]).all(|(speed, expected)| (speed - expected).abs() < 1e-9);
        assert!(close, "{speeds:?}");
        assert!((Database::default().speed(0.0, 1e9) - 1.0).abs() < 1e-9);
    }
}
