//! The offered load: how many workers what arrives keeps busy, by Little's law.
//!
//! It is measured over two minutes, which leaves little to chance, as long as what came lately is what such a load may bring by
//! chance. What differs by more is a load that has changed, and counts as it is now.

use serde::{Deserialize, Serialize};

use crate::rhythm::Circumstances;

/// The load is averaged over so long, in seconds, or as long as a job takes.
const LONG_SECONDS: f64 = 120.0;
/// What came lately came within so many starts, or within the time of a job.
const LATELY_STARTS: f64 = 2.0;
/// By chance a load differs from what came lately by no more standard deviations: 19 times of 20.
const DEVIATIONS: f64 = 2.0;

/// What arrives, in workers that it keeps busy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Offered {
    /// The last poll, and all jobs that had come by then.
    last: Option<(f64, u64)>,
    /// The average over a long time, within what the other one allows.
    load: f64,
    /// The average of what came lately.
    lately: f64,
}

impl Offered {
    /// Takes in a poll: all jobs that came so far.
    pub(crate) fn observe(&mut self, clock: f64, came: u64, now: Circumstances) {
        let Some((since, before)) = self.last.replace((clock, came)) else { return };
        let passed = clock - since;
        if passed <= 0.0 {
            return;
        }
        let busy = came.saturating_sub(before) as f64 / (now.rate * passed);
        let short = now.job_seconds().max(LATELY_STARTS * now.start);
        let faded = |before: f64, seconds: f64| before + (1.0 - (-passed / seconds).exp()) * (busy - before);
        self.load = faded(self.load, short.max(LONG_SECONDS));
        self.lately = faded(self.lately, short);
        // Random arrivals, averaged so that the past fades within T, vary by λ / 2T; where none came, one might have.
        let one = 1.0 / (now.rate * short);
        let deviation = (self.lately.max(one) * one / 2.0).sqrt();
        let chance = DEVIATIONS * deviation;
        self.load = self.load.clamp(self.lately - chance, self.lately + chance);
    }

    /// Workers that are busy on average, with all that comes; none before any has come.
    pub(crate) fn load(&self) -> Option<f64> {
        Some(self.load).filter(|load| *load > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Circumstances = Circumstances { start: 5.0, wait: 3.0, rate: 0.2, slots: 1 };

    /// Jobs that come evenly, so many per second until each of these times; answers the loads at these times.
    fn loads(rates: &[(f64, f64)]) -> Vec<f64> {
        let (mut offered, mut came, mut clock) = (Offered::default(), 0.0, 0.0);
        let load_after = |(until, rate): &(f64, f64)| {
            while clock < *until {
                clock += 0.25;
                came += 0.25 * rate;
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few jobs")]
                offered.observe(clock, came as u64, NOW);
            }
            offered.load().unwrap_or(0.0)
        };
        rates.iter().map(load_after).collect()
    }

    #[test]
    fn a_load_that_stays_is_measured_over_minutes() {
        // Twice as many for five seconds are no other load: the last ten say 20 by then, the last 120 little more than 10.
        let loads = loads(&[(600.0, 2.0), (605.0, 4.0)]);
        assert!((loads[0] - 10.0).abs() < 0.5 && loads[1] < 11.0, "{loads:?}");
    }

    #[test]
    fn a_load_that_changes_counts_as_it_is_now() {
        // Fifteen busy ones within fifteen seconds; two minutes would have said two. And back again.
        let loads = loads(&[(600.0, 0.1), (615.0, 3.0), (900.0, 3.0), (930.0, 0.1)]);
        assert!(loads[1] > 8.0 && (loads[2] - 15.0).abs() < 0.5 && loads[3] < 3.0, "{loads:?}");
    }

    #[test]
    fn where_nothing_came_there_is_no_load() {
        let mut offered = Offered::default();
        assert_eq!(offered.load(), None);
        for poll in 0..4000_u32 {
            offered.observe(f64::from(poll) / 4.0, 7, NOW);
        }
        assert_eq!(offered.load(), None);
    }
}
