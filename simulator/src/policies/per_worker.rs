//! The bare rule that is written first: the length of the list divided by a number, at every poll.

use super::{ScalingPolicy, Snapshot};

/// One worker for so many waiting jobs, without memory, rates or regard for running jobs.
#[derive(Debug)]
pub(crate) struct PerWorker {
    /// Waiting jobs per worker.
    pub(crate) length: f64,
    /// The fewest workers.
    pub(crate) least: u32,
    /// The most workers.
    pub(crate) most: u32,
}

impl ScalingPolicy for PerWorker {
    fn decide(&mut self, seen: Snapshot<'_>) -> u32 {
        shares(seen.waiting, self.length).clamp(self.least, self.most)
    }

    fn why(&self) -> String {
        format!("waiting jobs by {}", self.length)
    }

    fn settles_within(&self) -> f64 {
        0.0
    }
}

/// How many shares of `length` jobs `waiting` jobs make, the last one perhaps not full.
pub(super) fn shares(waiting: u64, length: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; saturates")]
    let shares = (waiting as f64 / length).ceil() as u32;
    shares
}
