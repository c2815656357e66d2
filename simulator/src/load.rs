//! What arrives when: rates that change along straight lines, and jobs that come all at once.

use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Poisson};

/// Arrivals per second over a stretch of time, changing evenly from one rate to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Stretch {
    /// Its beginning, in seconds since the start.
    pub(crate) from: f64,
    /// Its end, which does not belong to it.
    pub(crate) to: f64,
    /// Jobs per second at its beginning.
    pub(crate) first: f64,
    /// Jobs per second at its end.
    pub(crate) last: f64,
}

/// Jobs that arrive at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Burst {
    /// When, in seconds since the start.
    pub(crate) at: f64,
    /// How many.
    pub(crate) jobs: u64,
}

/// One job whose length is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Given {
    /// When it arrives, in seconds since the start.
    pub(crate) at: f64,
    /// How long a slot takes for it.
    pub(crate) seconds: f64,
}

/// All that arrives; the lists are in the order of time, and stretches do not overlap.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Load {
    /// Arrivals at random, so many per second on average.
    pub(crate) stretches: Vec<Stretch>,
    /// Arrivals at given moments, exactly so many.
    pub(crate) bursts: Vec<Burst>,
    /// Jobs one by one.
    pub(crate) given: Vec<Given>,
}

impl Load {
    /// Adds a stretch after the others, `seconds` long.
    pub(crate) fn then(mut self, seconds: f64, first: f64, last: f64) -> Self {
        let from = self.stretches.last().map_or(0.0, |stretch| stretch.to);
        self.stretches.push(Stretch { from, to: from + seconds, first, last });
        self
    }

    /// Again and again, every `period` seconds, until `seconds` are over.
    pub(crate) fn repeated(self, period: f64, seconds: f64) -> Self {
        let mut load = Self::default();
        let mut offset = 0.0;
        while offset < seconds {
            let stretches = self.stretches.iter();
            load.stretches.extend(stretches.map(|one| Stretch {
                from: one.from + offset,
                to: one.to + offset,
                ..*one
            }));
            load.bursts.extend(self.bursts.iter().map(|one| Burst { at: one.at + offset, ..*one }));
            load.given.extend(self.given.iter().map(|one| Given { at: one.at + offset, ..*one }));
            offset += period;
        }
        load
    }

    /// Where the last stretch or burst ends.
    pub(crate) fn end(&self) -> f64 {
        let stretch = self.stretches.last().map_or(0.0, |stretch| stretch.to);
        let burst = self.bursts.last().map_or(stretch, |burst| burst.at.max(stretch));
        self.given.last().map_or(burst, |job| job.at.max(burst))
    }
}

impl Load {
    /// How long a job takes on average, if that is known of each.
    pub(crate) fn job_seconds(&self) -> Option<f64> {
        let sum: f64 = self.given.iter().map(|job| job.seconds).sum();
        (!self.given.is_empty()).then(|| sum / self.given.len() as f64)
    }
}

impl Stretch {
    fn rate(&self, at: f64) -> f64 {
        self.first + (self.last - self.first) * (at - self.from) / (self.to - self.from)
    }

    /// Jobs to be expected between two moments.
    fn expected(&self, from: f64, to: f64) -> f64 {
        let (from, to) = (from.max(self.from), to.min(self.to));
        if to > from { (to - from) * (self.rate(from) + self.rate(to)) / 2.0 } else { 0.0 }
    }

    fn is_quiet(&self) -> bool {
        self.first <= 0.0 && self.last <= 0.0
    }
}

/// A walk through a load, one step after another. The same seed gives the same arrivals, whatever is done with them.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    load: &'a Load,
    chance: ChaCha8Rng,
    stretch: usize,
    burst: usize,
    given: usize,
}

impl<'a> Arrivals<'a> {
    /// From the start.
    pub(crate) fn new(load: &'a Load, chance: ChaCha8Rng) -> Self {
        Self { load, chance, stretch: 0, burst: 0, given: 0 }
    }

    /// How many arrive from `from` on and before `to`. Each step begins where the one before ended, or later where
    /// [`Arrivals::next`] says that nothing comes in between.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> u64 {
        let mut expected = 0.0;
        while let Some(stretch) = self.load.stretches.get(self.stretch) {
            expected += stretch.expected(from, to);
            if stretch.to > to {
                break;
            }
            self.stretch += 1;
        }
        let mut jobs = 0;
        while let Some(burst) = self.load.bursts.get(self.burst).filter(|burst| burst.at < to) {
            jobs += burst.jobs;
            self.burst += 1;
        }
        jobs + self.at_random(expected)
    }

    /// The jobs whose length is known and that arrive before `to`, after those that this has given before.
    pub(crate) fn given(&mut self, to: f64) -> &'a [Given] {
        let rest = &self.load.given[self.given..];
        let coming = &rest[..rest.partition_point(|job| job.at < to)];
        self.given += coming.len();
        coming
    }

    fn at_random(&mut self, expected: f64) -> u64 {
        let Ok(poisson) = Poisson::new(expected) else { return 0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let jobs = poisson.sample(&mut self.chance) as u64;
        jobs
    }

    /// When, at `now` or later, the next job may come; none: no more ever.
    pub(crate) fn next(&self, now: f64) -> Option<f64> {
        let stretches = self.load.stretches[self.stretch.min(self.load.stretches.len())..].iter();
        let stretch = stretches.filter(|stretch| !stretch.is_quiet()).map(|stretch| stretch.from.max(now)).next();
        let burst = self.load.bursts.get(self.burst).map(|burst| burst.at.max(now));
        let given = self.load.given.get(self.given).map(|job| job.at.max(now));
        [stretch, burst, given].into_iter().flatten().reduce(f64::min)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn arrivals(load: &Load) -> Arrivals<'_> {
        Arrivals::new(load, ChaCha8Rng::seed_from_u64(7))
    }

    #[test]
    fn as_many_arrive_as_the_rates_say() {
        let load = Load::default().then(1000.0, 0.0, 20.0).then(500.0, 0.0, 0.0).then(1000.0, 4.0, 4.0);
        let mut arrivals = arrivals(&load);
        let counts: Vec<u64> =
            (0..100).map(|step| arrivals.between(f64::from(step) * 25.0, f64::from(step + 1) * 25.0)).collect();
        let sum = |range: std::ops::Range<usize>| counts[range].iter().sum::<u64>();
        assert!((9600..10_400).contains(&sum(0..40)), "{}", sum(0..40));
        assert!((2200..2800).contains(&sum(0..20)), "{}", sum(0..20));
        assert_eq!(sum(40..60), 0);
        assert!((3750..4250).contains(&sum(60..100)), "{}", sum(60..100));
    }

    #[test]
    fn bursts_are_exact_and_the_next_arrival_is_known() {
        let bursts = vec![Burst { at: 10.0, jobs: 500 }, Burst { at: 10.1, jobs: 7 }, Burst { at: 90.0, jobs: 1 }];
        let load = Load { bursts, ..Load::default().then(5.0, 0.0, 0.0).then(5.0, 0.0, 1.0) };
        let mut arrivals = arrivals(&load);
        assert_eq!(arrivals.next(0.0), Some(5.0));
        assert_eq!(arrivals.between(0.0, 5.0), 0);
        let _ = arrivals.between(5.0, 10.0);
        assert_eq!(arrivals.next(10.0), Some(10.0));
        assert_eq!(arrivals.between(10.0, 10.25), 507);
        assert_eq!(arrivals.next(10.25), Some(90.0));
        assert_eq!(arrivals.between(90.0, 90.25), 1);
        assert_eq!(arrivals.next(90.25), None);
        assert!((load.end() - 90.0).abs() < 1e-9);
    }
}
