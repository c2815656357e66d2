//! The model of the bound: between which two curves the work that has been done lies, whatever the policy.
//!
//! A job that arrives at a and takes a slot d seconds is begun between a and a + W, so that by t a worker of c slots has given
//! it at least clamp(t - a - W, 0, d) / c and at most clamp(t - a, 0, d) / c worker-seconds. The sums over all jobs are
//! the latest and the earliest course that the work can take. Whether a job is stopped and begun again, which job goes first, and how
//! slow the database is can only add to what the workers must be there for.

use crate::fifo::Lot;

/// Within what time a job must be begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Target {
    /// Within so many seconds of its arrival.
    pub(crate) begun: f64,
    /// And in time to be done within so many, if it lasts no longer than that.
    pub(crate) done: Option<f64>,
}

impl Target {
    /// Within `seconds` of its arrival, whenever it is done.
    pub(crate) fn begun_within(seconds: f64) -> Self {
        Self { begun: seconds, done: None }
    }

    /// How long a job may wait that lasts `each` seconds.
    fn wait(&self, each: f64) -> f64 {
        self.done.map_or(self.begun, |done| self.begun.min((done - each).max(0.0)))
    }
}

/// The two curves, at the boundaries of equal steps of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tube {
    /// Seconds between two boundaries.
    pub(super) step: f64,
    /// How many jobs a worker has in hand at once.
    pub(super) slots: u32,
    /// Worker-seconds that must have been done by a boundary.
    pub(super) latest: Vec<f64>,
    /// Worker-seconds that can have been done by it.
    pub(super) earliest: Vec<f64>,
    /// The most workers that can be busy in a step: one for each job that has come and need not have ended, by the slots of a worker.
    pub(super) present: Vec<f64>,
    /// Whether the latest course is what the target asks for, and not less.
    pub(super) kept: bool,
}

/// A sum of ramps, as changes at the boundaries.
#[derive(Debug)]
struct Ramps {
    step: f64,
    /// What is added at a boundary, and by how much more per second it rises from there.
    changes: Vec<(f64, f64)>,
}

impl Ramps {
    fn new(step: f64, steps: usize) -> Self {
        Self { step, changes: vec![(0.0, 0.0); steps + 1] }
    }

    /// Rises by `slope` per second from `at` on, for `seconds`.
    fn add(&mut self, at: f64, seconds: f64, slope: f64) {
        self.bend(at, slope);
        self.bend(at + seconds, -slope);
    }

    fn bend(&mut self, at: f64, slope: f64) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
        let index = (at / self.step).ceil() as usize;
        if let Some((value, rise)) = self.changes.get_mut(index) {
            *value += slope * (index as f64 * self.step - at);
            *rise += slope;
        }
    }

    /// The values at the boundaries.
    fn curve(self) -> Vec<f64> {
        let (mut sum, mut slope) = (0.0_f64, 0.0);
        let next = |(value, rise): &(f64, f64)| {
            // What rounding takes away is not work that was undone.
            sum = sum.max(sum + slope * self.step + value);
            slope += rise;
            sum
        };
        self.changes.iter().map(next).collect()
    }
}

/// Adds up the jobs.
#[derive(Debug)]
pub(super) struct Deadlines {
    target: Target,
    slots: u32,
    latest: Ramps,
    earliest: Ramps,
    /// Jobs that come, less those that have ended even if they were begun as late as may be, for each step.
    present: Vec<f64>,
}

impl Deadlines {
    /// Nothing yet; for workers with so many slots, and a run of so many steps.
    pub(super) fn new(target: Target, slots: u32, step: f64, steps: usize) -> Self {
        let ramps = || Ramps::new(step, steps);
        Self { target, slots, latest: ramps(), earliest: ramps(), present: vec![0.0; steps + 1] }
    }

    /// These jobs as well.
    pub(super) fn add(&mut self, lot: &Lot) {
        let Lot { arrived, jobs, each } = *lot;
        let slope = jobs as f64 / f64::from(self.slots);
        self.earliest.add(arrived, each, slope);
        let late = arrived + self.target.wait(each);
        self.latest.add(late, each, slope);
        for (at, jobs) in [(arrived, slope), ((late + each + self.latest.step * 1.001), -slope)] {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
            let step = (at / self.latest.step) as usize;
            if let Some(present) = self.present.get_mut(step) {
                *present += jobs;
            }
        }
    }

    /// The curves. What even `most` workers could not do that are ready `start` seconds after the beginning, and stay, need
    /// not be done: where the target cannot be kept, it is kept as well as those would keep it.
    pub(super) fn tube(self, most: u32, start: f64) -> Tube {
        let step = self.latest.step;
        let (mut latest, earliest) = (self.latest.curve(), self.earliest.curve());
        let (mut done, mut kept) = (0.0_f64, true);
        for (index, (least, most_possible)) in latest.iter_mut().zip(&earliest).enumerate() {
            let end = index as f64 * step;
            let ready = (end - start).clamp(0.0, step);
            done = (done + f64::from(most) * ready).min(*most_possible);
            kept &= *least <= done + 1e-6 * (1.0 + done);
            *least = least.min(done);
        }
        let mut sum = 0.0;
        let mut present = self.present;
        for present in &mut present {
            sum += *present;
            *present = sum;
        }
        Tube { step, slots: self.slots, latest, earliest, present, kept }
    }
}

impl Tube {
    /// The steps.
    pub(super) fn steps(&self) -> usize {
        self.latest.len() - 1
    }

    /// Some of the steps, with what has been done before them as zero. A run that did as much as possible before has the least to do.
    fn part(&self, from: usize, to: usize) -> Self {
        let before = self.earliest[from];
        let cut = |curve: &[f64]| curve[from..=to].iter().map(|value| (value - before).max(0.0)).collect();
        Self {
            step: self.step,
            slots: self.slots,
            latest: cut(&self.latest),
            earliest: cut(&self.earliest),
            present: self.present[from..to].to_vec(),
            kept: self.kept,
        }
    }

    /// The parts between pauses of at least `pause` seconds in which nothing can be done. If a start costs no more than a worker that
    /// stays for the pause, no worker needs to stay, and the parts have nothing to do with each other.
    pub(super) fn parts(&self, pause: f64) -> Vec<Self> {
        let close = |index: usize| self.earliest[index] - self.latest[index] <= 1e-9 * (1.0 + self.earliest[index]);
        let still = |index: usize| self.earliest[index + 1] - self.earliest[index] <= 1e-12 && close(index);
        let steps = self.steps();
        let mut parts = Vec::new();
        let (mut from, mut index) = (None, 0);
        while index < steps {
            let quiet = (index..steps).take_while(|step| still(*step)).count();
            let long = quiet as f64 * self.step >= pause;
            let ends = long || index + quiet == steps;
            if let Some(begun) = from.filter(|_| quiet > 0 && ends) {
                parts.push(self.part(begun, index));
                from = None;
            } else if (quiet == 0 || !ends) && from.is_none() {
                from = Some(index);
            }
            index += quiet.max(1);
        }
        parts.extend(from.map(|begun| self.part(begun, steps)));
        parts
    }

    /// The same with `times` steps in one: less is asked for, since only what happens at the boundaries counts.
    pub(super) fn coarser(&self, times: usize) -> Self {
        let last = self.steps();
        let cut = |curve: &[f64]| {
            let mut values: Vec<f64> = curve.iter().copied().step_by(times).collect();
            if !last.is_multiple_of(times) {
                values.extend(curve.last());
            }
            values
        };
        let present = self.present.chunks(times).map(|steps| steps.iter().copied().fold(0.0, f64::max)).collect();
        Self {
            step: self.step * times as f64,
            slots: self.slots,
            latest: cut(&self.latest),
            earliest: cut(&self.earliest),
            present,
            kept: self.kept,
        }
    }
}
