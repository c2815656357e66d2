//! Averages of what workers did, the past fading: events per second, and how unlike each other jobs are.

use serde::{Deserialize, Serialize};

use crate::JobVariation;

/// The variation of jobs is that of about so many.
const VARIATION_SAMPLES: f64 = 200.0;
/// With fewer samples, nobody can say how much jobs vary.
const SOME_SAMPLES: f64 = 5.0;

/// Events per second, the past fading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Ratio {
    pub(super) events: f64,
    pub(super) seconds: f64,
}

impl Ratio {
    /// Adds `events` in `seconds`, of which `passed` seconds by the clock, to those of the last `window` seconds; keeps at
    /// least `kept` events.
    pub(super) fn add(&mut self, events: f64, seconds: f64, passed: f64, (window, kept): (f64, f64)) {
        self.add_faded((events, seconds), (-passed / window).exp(), kept);
    }

    /// The same, after a time in which the past faded to the part `fade`.
    pub(super) fn add_faded(&mut self, (events, seconds): (f64, f64), fade: f64, kept: f64) {
        let fade = if self.events > 0.0 { fade.max((kept / self.events).min(1.0)) } else { fade };
        self.events = self.events * fade + events;
        self.seconds = self.seconds * fade + seconds;
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self { events: self.events + other.events, seconds: self.seconds + other.seconds }
    }

    pub(super) fn per_second(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.events / self.seconds)
    }
}

/// How unlike each other jobs are: the mean and the squared deviations of their times, of the last two hundred or so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Variation {
    pub(super) jobs: f64,
    samples: f64,
    mean: f64,
    squares: f64,
}

impl Variation {
    /// A worker took `seconds` for `jobs` jobs. A mean of so many deviates by the square root of their number less.
    pub(super) fn add(&mut self, jobs: u64, seconds: f64) {
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

    pub(super) fn known(&self) -> Option<JobVariation> {
        let squared = self.squares / self.samples / (self.mean * self.mean);
        (self.samples >= SOME_SAMPLES).then_some(JobVariation { squared, samples: self.samples })
    }
}
