//! For how long jobs run, as a life table: of every age, how many seconds were spent at it, and how many jobs ended at it.

use serde::{Deserialize, Serialize};

/// Groups of ages. The first one is of those below [`FIRST_SECONDS`], each further one [`STEP`] times as wide as the one before.
/// Older jobs are not followed any more.
pub(crate) const AGES: usize = 16;
const FIRST_SECONDS: f64 = 0.1;
const STEP: f64 = 1.7;
/// The logarithm of [`STEP`].
pub(crate) const STEP_LN: f64 = 0.530_628_251_062_170_4;

/// What single jobs did between two polls, or in any other time: occurrences and exposures by age. A job that is still running counts
/// with the time for which it has run, so that no job is left out for being long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct LifeTable {
    /// Seconds that jobs spent at this age, all together.
    pub(crate) seconds: [f32; AGES],
    /// Jobs that ended at it.
    pub(crate) ended: [u16; AGES],
}

/// Where a group of ages begins and ends, in seconds.
pub(crate) fn bounds(group: usize) -> (f64, f64) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "there are few groups")]
    let end = |group: usize| FIRST_SECONDS * STEP.powi(group as i32);
    (if group == 0 { 0.0 } else { end(group - 1) }, end(group))
}

/// The group of an age; none where it is too old.
fn group(age: f64) -> Option<usize> {
    if age < FIRST_SECONDS {
        return Some(0);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
    let group = ((age / FIRST_SECONDS).ln() / STEP_LN) as usize + 1;
    (group < AGES).then_some(group)
}

impl LifeTable {
    /// So many jobs each ran on from one age to another, in seconds.
    pub fn run(&mut self, jobs: u64, from: f64, to: f64) {
        let Some(first) = group(from).filter(|_| to > from) else { return };
        for group in first..AGES {
            let (begin, end) = bounds(group);
            #[expect(clippy::cast_possible_truncation, reason = "seconds between two polls")]
            let seconds = ((to.min(end) - from.max(begin)).max(0.0) * jobs as f64) as f32;
            self.seconds[group] += seconds;
            if end >= to {
                return;
            }
        }
    }

    /// So many jobs ended at this age.
    pub fn end(&mut self, jobs: u64, age: f64) {
        if let Some(group) = group(age) {
            let jobs = u16::try_from(jobs).unwrap_or(u16::MAX);
            self.ended[group] = self.ended[group].saturating_add(jobs);
        }
    }

    /// All seconds that it knows of.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds.iter().copied().map(f64::from).sum()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.seconds.iter().all(|seconds| *seconds <= 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_ends_are_where_the_ages_are() {
        let mut lives = LifeTable::default();
        assert!(lives.is_empty());
        lives.run(2, 0.05, 0.12);
        lives.run(1, 5.0, 5.0);
        lives.end(3, 0.12);
        lives.end(1, 1e6);
        let close = |seconds: f32, expected: f64| (f64::from(seconds) - expected).abs() < 1e-6;
        assert!(close(lives.seconds[0], 0.1) && close(lives.seconds[1], 0.04) && lives.ended[1] == 3, "{lives:?}");
        assert!((lives.seconds() - 0.14).abs() < 1e-6 && lives.ended.iter().sum::<u16>() == 3, "{lives:?}");
        // Whole lives are as long as they are, up to the oldest age.
        let mut lives = LifeTable::default();
        lives.run(1, 0.0, 1e6);
        assert!((lives.seconds() - bounds(AGES - 1).1).abs() < 1e-3, "{lives:?}");
        assert!((STEP_LN - STEP.ln()).abs() < 1e-12);
        for group_of in 0..AGES {
            let (from, to) = bounds(group_of);
            assert_eq!((group(from * 1.001), group(to * 0.999)), (Some(group_of), Some(group_of)));
        }
    }
}
