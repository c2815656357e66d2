//! The least cost with whole workers, by dynamic programming: for the parts of a load in which few jobs overlap.
//!
//! The state at a boundary is the work that has been done, in slots by steps, and the number of workers. Both curves are rounded
//! up to whole ones: the number of workers is constant within a step, so that a run which does as much as possible is at a
//! whole number wherever the earliest course does not hold it back, and rounding that up can only lower the bound.

use super::tube::Tube;

/// The most slots of a worker that are told apart; more are taken for so many.
const SLOTS: u32 = 8;

/// A part that is worth solving exactly.
#[derive(Debug)]
pub(super) struct Whole {
    step: f64,
    /// Slots of a worker: units of work that it does in a step.
    slots: u64,
    latest: Vec<u64>,
    earliest: Vec<u64>,
    /// More workers than this have nothing to do.
    most: usize,
}

impl Whole {
    /// With at most `most` workers.
    pub(super) fn new(tube: &Tube, most: u32) -> Self {
        let slots = tube.slots.min(SLOTS);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
        let up = |value: &f64| (value / tube.step * f64::from(slots) - 1e-6).ceil().max(0.0) as u64;
        let latest: Vec<u64> = tube.latest.iter().map(up).collect();
        let earliest: Vec<u64> = tube.earliest.iter().map(up).collect();
        let open = latest.iter().zip(&earliest[1..]).map(|(latest, earliest)| earliest - latest.min(earliest));
        let present = tube.present.iter().map(|present| up(&(present * tube.step)));
        let useful = open.zip(present).map(|(open, present)| open.min(present)).max().unwrap_or(0);
        let slots = u64::from(slots);
        let most = usize::try_from(useful.div_ceil(slots)).unwrap_or(usize::MAX).min(most as usize);
        Self { step: tube.step, slots, latest, earliest, most }
    }

    /// How many states there are.
    pub(super) fn states(&self) -> f64 {
        let widths = self.latest.iter().zip(&self.earliest).map(|(latest, earliest)| (earliest - latest + 1) as f64);
        widths.sum::<f64>() * (self.most + 1) as f64
    }

    /// The least worker-seconds; a worker that is started costs `start` of them before it is ready.
    pub(super) fn cost(&self, start: f64) -> f64 {
        let start = start / self.step;
        let width = |index: usize| {
            let (latest, earliest) = (self.latest[index], self.earliest[index]);
            usize::try_from(earliest - latest + 1).expect("the states have been counted")
        };
        // costs[workers][work beyond the latest course]: at the beginning no worker, and nothing done.
        let mut costs = vec![vec![f64::INFINITY; width(0)]; self.most + 1];
        costs[0][0] = 0.0;
        let mut next = Vec::new();
        for index in 0..self.latest.len() - 1 {
            change(&mut costs, start);
            let (from, to) = (self.latest[index], self.latest[index + 1]);
            let last = width(index + 1) - 1;
            for (workers, costs) in costs.iter_mut().enumerate() {
                next.clear();
                next.resize(last + 1, f64::INFINITY);
                // What was `late` by now is not enough by the next boundary; what is done `early` there comes from nothing less.
                let reached = from + workers as u64 * self.slots;
                let late = usize::try_from(to.saturating_sub(reached)).expect("less than there is to do");
                let early = usize::try_from(reached.saturating_sub(to)).expect("less than there is to do");
                let known = costs.get(late..).unwrap_or_default();
                let (within, beyond) = known.split_at(known.len().min(last.saturating_sub(early)));
                for (next, cost) in next[early.min(last)..].iter_mut().zip(within) {
                    *next = cost + workers as f64;
                }
                let best = beyond.iter().copied().fold(f64::INFINITY, f64::min);
                next[last] = next[last].min(best + workers as f64);
                std::mem::swap(costs, &mut next);
            }
        }
        costs.iter().flatten().copied().fold(f64::INFINITY, f64::min) * self.step
    }
}

/// The best over all numbers of workers before: each one more costs a start.
fn change(costs: &mut [Vec<f64>], start: f64) {
    let relax = |costs: &mut [Vec<f64>], from: usize, to: usize, price: f64| {
        let [from, to] = costs.get_disjoint_mut([from, to]).expect("two neighbours");
        for (to, from) in to.iter_mut().zip(from.iter()) {
            *to = to.min(from + price);
        }
    };
    for workers in 1..costs.len() {
        relax(costs, workers - 1, workers, start);
    }
    for workers in (1..costs.len()).rev() {
        relax(costs, workers, workers - 1, 0.0);
    }
}
