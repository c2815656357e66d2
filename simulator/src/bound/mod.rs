//! The least that any decision could have spent, had it known all jobs beforehand: a lower bound, no policy.
//!
//! Pods cost from their start, and those that become ready take as long as starts take on average. [`tube`] has the model;
//! the parts of a load between long pauses are solved one by one, with whole workers where there are few states
//! ([`exact`]) and with divisible ones elsewhere ([`fluid`]). What is left out makes the bound lower, never higher. See
//! `docs/simulate.md`.

mod exact;
mod fluid;
mod tube;

pub(crate) use tube::Target;

use exact::Whole;
use fluid::Fluid;
use tube::{Deadlines, Tube};

use super::simulation::{POLL_SECONDS, Simulation};

/// The most steps that a run is cut into; in longer ones a step spans several poll intervals.
const STEPS: f64 = 1_000_000.0;
/// The most steps of one linear program.
const FLUID_STEPS: usize = 20_000;
/// The most states that dynamic programming may go through in a run.
const STATES: f64 = 5e7;

/// A lower bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    /// No run that keeps to the target spends less.
    pub(crate) worker_seconds: f64,
    /// What part of it was found with whole workers.
    pub(crate) whole: f64,
    /// Whether so many workers can keep to the target at all.
    pub(crate) kept: bool,
    /// Jobs that arrived.
    pub(crate) arrived: u64,
}

/// The bound of runs of this simulation whose jobs all wait no longer than the target says, or as `most` workers that are always
/// there would have them wait.
pub(crate) fn bound(simulation: &Simulation, target: Target, most: u32) -> Bound {
    let (tube, arrived) = tube(simulation, target, most);
    let start = simulation.start.mean;
    let (worker_seconds, whole) = least(&tube, start, most, STATES);
    Bound { worker_seconds, whole, kept: tube.kept, arrived }
}

/// The curves of a simulation, and how many jobs there are.
fn tube(simulation: &Simulation, target: Target, most: u32) -> (Tube, u64) {
    let polls = (simulation.seconds / POLL_SECONDS).floor();
    let step = POLL_SECONDS * (polls / STEPS).ceil().max(1.0);
    // Jobs that are taken several at a time are begun within that time: where in it is not followed.
    let slack = if simulation.work.grain > 1 { POLL_SECONDS } else { 0.0 };
    let target = Target { begun: target.begun + slack, done: target.done.map(|done| done + slack) };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most a million")]
    let steps = (simulation.seconds / step).floor() as usize;
    let mut deadlines = Deadlines::new(target, simulation.work.slots, step, steps);
    let mut incoming = simulation.incoming();
    let (mut poll, mut arrived) = (0.0, 0);
    while poll < polls {
        let now = poll * POLL_SECONDS;
        for lot in incoming.between(now, now + POLL_SECONDS) {
            deadlines.add(lot);
            arrived += lot.jobs;
        }
        let next = incoming.next(now + POLL_SECONDS).map_or(f64::INFINITY, |at| (at / POLL_SECONDS).floor());
        poll = next.max(poll + 1.0);
    }
    (deadlines.tube(most, simulation.start.mean), arrived)
}

/// The least cost of all parts, and what share of it was found with whole workers, going through at most `states` states.
fn least(tube: &Tube, start: f64, most: u32, states: f64) -> (f64, f64) {
    // Where a start costs nothing, there is nothing to decide: workers are there while they work.
    if start <= 0.0 {
        return (tube.latest.last().copied().unwrap_or(0.0), 0.0);
    }
    let one_poll = (tube.step - POLL_SECONDS).abs() < 1e-9;
    let mut parts: Vec<(Whole, Tube)> =
        tube.parts(start).into_iter().map(|part| (Whole::new(&part, most), part)).collect();
    parts.sort_by(|(one, _), (other, _)| one.states().total_cmp(&other.states()));
    let (mut sum, mut whole, mut left) = (0.0, 0.0, states);
    for (exact, part) in parts {
        // The number of workers is constant between two polls, and not over several.
        if one_poll && exact.states() <= left {
            left -= exact.states();
            let cost = exact.cost(start);
            whole += cost;
            sum += cost;
        } else {
            let part = part.coarser(part.steps().div_ceil(FLUID_STEPS));
            sum += Fluid::new(&part, start).cost();
        }
    }
    (sum, if sum > 0.0 { whole / sum } else { 0.0 })
}

#[cfg(test)]
mod tests;
