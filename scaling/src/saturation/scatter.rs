//! How much the number of completed jobs scatters: its variance by its mean (the index of dispersion), from batches.
//!
//! Jobs that last longer than a second, or that come in kinds, make seconds depend on each other, so that the variance of single
//! seconds says too little about that of a minute (batch means: G. S. Fishman, 1978). Counts are therefore compared in pairs of
//! neighbouring batches of 1, 2, 4 ... seconds (the Haar wavelet variance); of the batches that are longer than some jobs, the
//! length that scatters most counts.

use serde::{Deserialize, Serialize};

use crate::JobVariation;

/// Batches of up to 2 to this power, less one, seconds.
const LENGTHS: usize = 8;
/// What is believed before anything is known: jobs that scatter a little more than random arrivals, and so many samples' worth.
const PRIOR: f64 = 1.5;
const PRIOR_SAMPLES: f64 = 12.0;
/// What the times of jobs say is worth so many pairs of batches.
const PRIOR_PAIRS: f64 = 8.0;
/// Times have a long tail: so many say as much as a pair of batches.
const SAMPLES_IN_PAIR: f64 = 3.0;
/// A square that is so many times the mean is a change, no scatter; it counts as so much.
const UNUSUAL: f64 = 12.0;
/// So many standard errors of a normal distribution leave no doubt: one in two thousand.
pub(super) const CONFIDENCE: f64 = 3.3;
/// The past counts as so many pairs at most.
const REMEMBERED_PAIRS: f64 = 64.0;
/// Batches shorter than so many jobs say nothing about longer ones.
const JOBS_IN_BATCH: f64 = 3.0;

/// Batches of every length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Scatter {
    lengths: [Length; LENGTHS],
}

/// Batches of one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct Length {
    /// The count of the batch before, which waits for its neighbour.
    before: Option<f64>,
    /// Of each pair, the squared difference by the sum, added up. Its mean is the index of dispersion.
    sum: f64,
    pairs: f64,
}

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dispersion {
    /// Variance by mean.
    pub(super) index: f64,
    /// How many squares that rests on (degrees of freedom).
    pub(super) freedom: f64,
}

impl Dispersion {
    /// So many standard errors leave no doubt: Student's quantile by its first terms, since the error itself is uncertain.
    pub(super) fn doubt(&self) -> f64 {
        CONFIDENCE * (1.0 + (CONFIDENCE * CONFIDENCE + 1.0) / (4.0 * self.freedom))
    }
}

impl Scatter {
    /// Adds the jobs of a second that follows the one before.
    pub(super) fn add(&mut self, jobs: f64) {
        let mut count = jobs;
        for length in &mut self.lengths {
            let Some(before) = length.before.take() else {
                length.before = Some(count);
                return;
            };
            let sum = before + count;
            if sum > 0.0 {
                let keep = 1.0 - 1.0 / REMEMBERED_PAIRS;
                let usual = (PRIOR + length.sum) / (1.0 + length.pairs);
                length.sum = length.sum * keep + ((count - before).powi(2) / sum).min(UNUSUAL * usual);
                length.pairs = length.pairs * keep + 1.0;
            }
            count = sum;
        }
    }

    /// The next second does not follow the one before.
    pub(super) fn interrupt(&mut self) {
        for length in &mut self.lengths {
            length.before = None;
        }
    }

    /// The index of dispersion of batches that are long against a job of `job_seconds`. Where jobs are independent of each other it
    /// is, in the long run, their squared coefficient of variation (D. R. Cox, Renewal Theory, 1962); batches may say more.
    pub(super) fn dispersion(&self, job_seconds: f64, jobs: Option<JobVariation>) -> Dispersion {
        let JobVariation { squared, samples } = jobs.unwrap_or(JobVariation { squared: 0.0, samples: 0.0 });
        let weight = PRIOR_SAMPLES + samples;
        let prior = Dispersion {
            index: (PRIOR * PRIOR_SAMPLES + squared * samples) / weight,
            freedom: weight / SAMPLES_IN_PAIR,
        };
        let long_enough = |power: usize| f64::from(1_u32 << power) >= JOBS_IN_BATCH * job_seconds;
        let lengths =
            self.lengths.iter().enumerate().filter(|(power, _)| long_enough(*power)).map(|(_, length)| length);
        lengths.fold(prior, |most, length| {
            let index = (prior.index * PRIOR_PAIRS + length.sum) / (PRIOR_PAIRS + length.pairs);
            let freedom = prior.freedom + length.pairs;
            Dispersion { index: most.index.max(index), freedom: most.freedom.max(freedom) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_hang_together_scatter_more_in_long_batches() {
        let mut scatter = Scatter::default();
        // Ten seconds with few jobs, ten with many: their neighbours are like them.
        for second in 0..640 {
            scatter.add(if second / 10 % 2 == 0 { 80.0 } else { 120.0 });
        }
        let jobs = Some(JobVariation { squared: 0.25, samples: 200.0 });
        let (short, long) = (scatter.lengths[0], scatter.dispersion(0.0, jobs));
        assert!(short.sum / short.pairs < 1.0 && long.index > 5.0, "{short:?} {long:?}");
        // Batches that are shorter than some jobs do not count.
        let (all, longest) = (scatter.dispersion(0.0, None), scatter.dispersion(100.0, None));
        assert!(all.index > longest.index && all.freedom > longest.freedom, "{all:?} {longest:?}");
    }

    #[test]
    fn little_is_known_at_first_and_a_gap_joins_nothing() {
        let mut scatter = Scatter::default();
        let first = scatter.dispersion(0.01, None);
        assert!((first.index - PRIOR).abs() < 1e-9 && first.doubt() > 1.5 * CONFIDENCE, "{first:?}");
        for _ in 0..50 {
            scatter.add(1.0);
            scatter.interrupt();
            scatter.add(1000.0);
            scatter.interrupt();
        }
        assert_eq!(scatter.dispersion(0.01, None), first);
        let known = scatter.dispersion(0.01, Some(JobVariation { squared: 9.0, samples: 200.0 }));
        assert!(known.index > 8.0 && known.doubt() < 1.1 * CONFIDENCE, "{known:?}");
    }
}
