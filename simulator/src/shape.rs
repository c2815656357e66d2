//! Built-in loads. Each is measured by what `maxReplicas` workers can do, so that it fits any manifest.

use super::load::{Burst, Load};
use super::work::{Slump, Work};

/// A load with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Out of nothing, as many jobs as all workers do in a minute.
    Burst,
    /// A day: between 5 and 70 % of what all workers can do.
    Daily,
    /// Rises to 80 % in ten minutes and stops, four times.
    Sawtooth,
    /// A steady 40 %; for five minutes the database does 2 %.
    StuckDatabase,
    /// Three bursts, ten minutes apart, and pods that take a minute to start.
    SlowPods,
}

/// A load with its circumstances.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// What it is called.
    pub(crate) name: String,
    /// What arrives.
    pub(crate) load: Load,
    /// How long it is observed, in seconds.
    pub(crate) seconds: f64,
    /// When the database does less.
    pub(crate) slumps: Vec<Slump>,
    /// How long pods take to start, where that is what it is about, in seconds.
    pub(crate) start_seconds: Option<f64>,
    /// How long a job takes on average, where the load says how long each one takes, in seconds.
    pub(crate) job_seconds: Option<f64>,
}

const DAY: f64 = 86_400.0;

impl Shape {
    /// All five.
    pub const ALL: [Self; 5] = [Self::Burst, Self::Daily, Self::Sawtooth, Self::StuckDatabase, Self::SlowPods];

    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Daily => "daily",
            Self::Sawtooth => "sawtooth",
            Self::StuckDatabase => "stuck-database",
            Self::SlowPods => "slow-pods",
        }
    }

    /// The load for `workers` workers at most; again and again for `seconds`, if that is longer.
    pub(crate) fn case(self, work: Work, workers: u32, seconds: Option<f64>) -> Case {
        let all = work.rate() * f64::from(workers);
        let burst = |at: f64, worth: f64| {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            let jobs = (all * worth).round().max(1.0) as u64;
            Burst { at, jobs }
        };
        let (load, period) = match self {
            Self::Burst => (Load { bursts: vec![burst(30.0, 60.0)], ..Load::default() }, 1200.0),
            Self::Daily => (day(0.05 * all, 0.7 * all), DAY),
            Self::Sawtooth => {
                let tooth = |load: Load, _: u8| load.then(600.0, 0.0, 0.8 * all).then(300.0, 0.0, 0.0);
                ((0..4).fold(Load::default(), tooth), 3600.0)
            }
            Self::StuckDatabase => (Load::default().then(2400.0, 0.4 * all, 0.4 * all), 2400.0),
            Self::SlowPods => {
                let bursts = [30.0, 630.0, 1230.0].map(|at| burst(at, 30.0)).to_vec();
                (Load { bursts, ..Load::default() }, 2400.0)
            }
        };
        let slump = Slump { from: 600.0, to: 900.0, ceiling: 0.02 * all };
        let slumps = if self == Self::StuckDatabase { vec![slump] } else { Vec::new() };
        let seconds = seconds.unwrap_or(period);
        let name = self.name().to_owned();
        let start_seconds = (self == Self::SlowPods).then_some(60.0);
        Case { name, load: load.repeated(period, seconds), seconds, slumps, start_seconds, job_seconds: None }
    }
}

/// A wave with its trough at midnight, in straight lines of a quarter of an hour.
fn day(least: f64, most: f64) -> Load {
    let rate = |quarter: u32| {
        let turn = std::f64::consts::TAU * f64::from(quarter) / 96.0;
        least + (most - least) * (1.0 - turn.cos()) / 2.0
    };
    (0..96).fold(Load::default(), |load, quarter| load.then(900.0, rate(quarter), rate(quarter + 1)))
}

#[cfg(test)]
mod tests {
    use super::super::work::Spread;
    use super::*;

    #[test]
    fn shapes_fit_the_workers() {
        let work = Work::new(2, Spread { mean: 1.0, variation: 0.0 });
        let case = Shape::Burst.case(work, 10, None);
        assert_eq!(case.load.bursts, [Burst { at: 30.0, jobs: 1200 }]);
        let case = Shape::Daily.case(work, 10, Some(2.5 * DAY));
        let most = case.load.stretches.iter().map(|stretch| stretch.first).fold(0.0, f64::max);
        assert!((most - 14.0).abs() < 0.01 && case.load.end() >= 2.5 * DAY);
        for shape in Shape::ALL {
            let case = shape.case(work, 3, None);
            assert!(case.load.end() > 0.0 && case.load.end() <= case.seconds, "{case:?}");
        }
    }
}
