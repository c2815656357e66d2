//! The manifest's schedules, by seconds since the start of a run.

use chrono::{DateTime, TimeDelta, Utc};
use jobqueue_scaling::{Bounds, Schedule, bounds};

/// What the schedules say, and until when.
#[derive(Debug)]
pub(super) struct Agenda {
    schedules: Vec<Schedule>,
    /// The moment at which the run starts.
    start: DateTime<Utc>,
    /// When they say something else, in seconds since then.
    pub(super) until: f64,
}

impl Agenda {
    /// Nothing has been asked yet.
    pub(super) fn new(schedules: Vec<Schedule>, start: DateTime<Utc>) -> Self {
        let until = if schedules.is_empty() { f64::INFINITY } else { 0.0 };
        Self { schedules, start, until }
    }

    /// What they say at `now`, if that may be something else than before.
    pub(super) fn news(&mut self, now: f64) -> Option<Bounds> {
        if now < self.until {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let passed = TimeDelta::try_milliseconds((now * 1000.0).round() as i64);
        let moment = passed.and_then(|passed| self.start.checked_add_signed(passed));
        // Where the calendar ends, so do schedules.
        let (bounds, change) = moment.map(|moment| bounds(&self.schedules, moment)).unwrap_or_default();
        let seconds = |change: DateTime<Utc>| (change - self.start).as_seconds_f64();
        self.until = change.map_or(f64::INFINITY, seconds);
        Some(bounds)
    }
}
