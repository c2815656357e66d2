//! The jobs as they come: when, and how long each takes. They are drawn before anybody decides anything, so that every policy,
//! and the bound, has the same jobs.

use rand::rngs::ChaCha8Rng;

use super::fifo::Lot;
use super::load::{Arrivals, Load};
use super::work::Work;

/// A walk through a load, one step after another.
#[derive(Debug)]
pub(crate) struct Incoming<'a> {
    arrivals: Arrivals<'a>,
    work: Work,
    /// Draws how long jobs take.
    chance: ChaCha8Rng,
    lots: Vec<Lot>,
}

impl<'a> Incoming<'a> {
    /// From the start: one source of chance for the moments, and one for the lengths.
    pub(crate) fn new(load: &'a Load, work: Work, moments: ChaCha8Rng, lengths: ChaCha8Rng) -> Self {
        Self { arrivals: Arrivals::new(load, moments), work, chance: lengths, lots: Vec::new() }
    }

    /// What arrives from `from` on and before `to`; all of it counts as having arrived at `from`.
    pub(crate) fn between(&mut self, from: f64, to: f64) -> &[Lot] {
        self.lots.clear();
        let jobs = self.arrivals.between(from, to);
        self.work.draw(from, jobs, &mut self.chance, &mut self.lots);
        let work = self.work;
        self.lots.extend(self.arrivals.given(to).iter().map(|job| work.given(from, job.seconds)));
        &self.lots
    }

    /// When, at `now` or later, the next job may come; none: no more ever.
    pub(crate) fn next(&self, now: f64) -> Option<f64> {
        self.arrivals.next(now)
    }
}
