//! Deadlines: which jobs must have begun by when, what the workers that there are will have begun by then, and how many more
//! that takes.

use std::cell::OnceCell;

use serde::{Deserialize, Serialize};

use crate::arrivals::{Group, Waiting};

/// A worker that would be ready only this much before a deadline, in seconds, comes too late for it.
pub(crate) const TOO_LATE_SECONDS: f64 = 0.5;
/// What is late is to begin so soon after a worker that starts now is ready, in seconds, or within half the target.
const SOON_SECONDS: f64 = 1.0;
/// Of times that vary by more than this the formula for many of them says too much.
const MOST_VARIATION: f64 = 4.0;
/// Less than half a job is none.
const HALF_A_JOB: f64 = 0.5;
/// Two ways to compute the same number of jobs differ by less than this.
const ROUNDING: f64 = 1e-6;

/// What the workers will begin, as time goes on.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Supply {
    batches: Vec<Batch>,
    /// Busy workers of whom one begins its next job now, another then.
    random: f64,
    /// Jobs per second of a worker, and how many it has in hand at once.
    rate: f64,
    slots: f64,
    /// How much the time of a job varies: its variance by the square of its mean.
    variation: f64,
}

/// Workers that begin their next job at the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Batch {
    workers: f64,
    /// In so many seconds.
    at: f64,
    /// How many each begins then at once.
    first: f64,
}

impl Supply {
    /// Without workers yet, each of which does `rate` jobs per second, `slots` at once; their time varies by so much.
    pub(crate) fn new(rate: f64, slots: u32, variation: f64) -> Self {
        Self {
            batches: Vec::with_capacity(10),
            random: 0.0,
            rate,
            slots: f64::from(slots.max(1)),
            variation: variation.min(MOST_VARIATION),
        }
    }

    /// How long a job takes, in seconds.
    pub(crate) fn job_seconds(&self) -> f64 {
        self.slots / self.rate
    }

    /// Workers that have nothing in hand in so many seconds.
    pub(crate) fn add_free(&mut self, workers: u32, at: f64) {
        self.add(f64::from(workers), at, self.slots);
    }

    /// Workers that have been at their jobs for `age` seconds. Of jobs that take the usual time it is known when they end; what
    /// has run for longer takes a part of the usual time more. Of jobs that vary as much as exponential ones, and of several in
    /// hand, one ends now and another then, whatever their age.
    pub(crate) fn add_busy(&mut self, workers: u32, age: f64) {
        let job = self.job_seconds();
        let random = if self.slots > 1.0 { 1.0 } else { self.variation.min(1.0) };
        self.random += f64::from(workers) * random;
        self.add(f64::from(workers) * (1.0 - random), (job - age).max(job / 5.0), 1.0);
    }

    fn add(&mut self, workers: f64, at: f64, first: f64) {
        if workers > 0.0 {
            self.batches.push(Batch { workers, at, first });
        }
    }

    /// How many jobs they will have begun in so many seconds: what may be relied on, one standard deviation below the mean.
    /// Those that follow one another vary as many renewals do, whose variance is that of the jobs times their number.
    fn begun_in(&self, seconds: f64) -> f64 {
        let (mut at_once, mut later) = (0.0, self.random * seconds * self.rate);
        for batch in &self.batches {
            if batch.at <= seconds {
                at_once += batch.workers * batch.first;
                later += batch.workers * (seconds - batch.at) * self.rate;
            }
        }
        at_once + (later - (self.variation * later).sqrt()).max(0.0)
    }

    /// How many jobs one more worker will have begun in so many seconds, if it is ready in `at`.
    fn one_more(&self, seconds: f64, at: f64) -> f64 {
        self.slots + (seconds - at).max(0.0) * self.rate
    }
}

/// The deadline that decides.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    /// Jobs that must have begun by then.
    pub jobs: u64,
    /// In so many seconds.
    pub within: f64,
    /// The target's time has passed for them, or passes before a worker could start: they are to begin soon.
    pub late: bool,
    /// The workers that there are, starting ones included.
    pub have: u32,
    /// How many of the jobs those begin by then.
    pub begun: u64,
    /// Jobs per second of one worker.
    pub rate: f64,
    /// How many workers it takes.
    pub workers: u32,
}

/// What follows from all deadlines together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Verdict {
    /// Workers to start now.
    pub(crate) more: u32,
    /// Workers without which every deadline would be met too.
    pub(crate) spare: u32,
    /// The deadline that says so.
    jobs: u64,
    within: f64,
    late: bool,
    begun: f64,
}

impl Verdict {
    /// The deadline in numbers: of `have` workers, it takes `workers`.
    pub(crate) fn deadline(&self, supply: &Supply, have: u32, workers: u32) -> Deadline {
        let Self { jobs, within, late, begun, .. } = *self;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "no more than there are jobs")]
        let begun = begun.min(jobs as f64).max(0.0) as u64;
        Deadline { jobs, within, late, have, begun, rate: supply.rate, workers }
    }
}

/// Holds the waiting jobs against their deadlines, `target` seconds after each came; a worker asked for now is ready in `start`
/// seconds. None where nothing waits.
pub(crate) fn verdict(waiting: Waiting, clock: f64, target: f64, supply: &Supply, start: f64) -> Option<Verdict> {
    let deadlines = Deadlines::new(clock, target, supply, start);
    let last = waiting.last()?;
    deadlines.lacking(waiting, last).or_else(|| Some(deadlines.tightest(waiting, last)))
}

/// The deadlines of one target. Later ones are of more jobs, and more is begun by then: most follow from another one, and only
/// those are computed that can say something else.
struct Deadlines<'a> {
    clock: f64,
    target: f64,
    supply: &'a Supply,
    start: f64,
    /// What a worker that is asked for now cannot save is to begin so soon: no panic, since that saves nothing.
    soon: f64,
    /// How many jobs will have begun by then; computed where something is late.
    begun_soon: OnceCell<f64>,
}

/// One deadline, held against what the workers that there are will have begun.
#[derive(Clone, Copy)]
enum Held {
    /// Workers must start.
    Lacks(Verdict),
    /// It is met: so many jobs will have begun.
    Met(f64),
}

impl Held {
    /// Workers to start.
    fn more(&self) -> u32 {
        match self {
            Self::Lacks(verdict) => verdict.more,
            Self::Met(_) => 0,
        }
    }
}

impl<'a> Deadlines<'a> {
    fn new(clock: f64, target: f64, supply: &'a Supply, start: f64) -> Self {
        let soon = start + (target / 2.0).max(SOON_SECONDS);
        Self { clock, target, supply, start, soon, begun_soon: OnceCell::new() }
    }

    fn within(&self, group: Group) -> f64 {
        (group.came + self.target - self.clock).max(0.0)
    }

    fn is_late(&self, within: f64) -> bool {
        within < self.start + TOO_LATE_SECONDS
    }

    fn hold(&self, group: Group) -> Held {
        let jobs = group.up_to as f64;
        let in_time = self.within(group);
        let late = self.is_late(in_time);
        let (within, begun) = if late {
            let begun = *self.begun_soon.get_or_init(|| self.supply.begun_in(self.soon));
            // What will not have begun soon will not have begun in time.
            if begun + HALF_A_JOB + ROUNDING >= jobs {
                let begun = self.supply.begun_in(in_time);
                if begun + HALF_A_JOB >= jobs {
                    return Held::Met(begun);
                }
            }
            (self.soon, begun)
        } else {
            let begun = self.supply.begun_in(in_time);
            if begun + HALF_A_JOB >= jobs {
                return Held::Met(begun);
            }
            (in_time, begun)
        };
        let lack = jobs - begun;
        let more = if lack > HALF_A_JOB { round_up(lack / self.supply.one_more(within, self.start)) } else { 0 };
        Held::Lacks(Verdict { more, spare: 0, jobs: group.up_to, within, late, begun })
    }

    /// The first of the deadlines for which most workers must start.
    fn lacking(&self, waiting: Waiting, last: Group) -> Option<Verdict> {
        let late = waiting.first_not(0, |group| self.is_late(self.within(group)));
        // The last of all, and of the late ones, usually takes most.
        let last_late = late.checked_sub(1).and_then(|place| waiting.get(place)).filter(|group| *group != last);
        let held_last = self.hold(last);
        let at_least = held_last.more().max(last_late.map_or(0, |group| self.hold(group).more()));
        let mut most: Option<Verdict> = None;
        let mut place = 0;
        while let Some(group) = waiting.get(place) {
            let held = if group == last { held_last } else { self.hold(group) };
            // With fewer jobs than this, no deadline says anything else.
            let enough = match held {
                Held::Lacks(verdict) => {
                    let most = most.insert(most.filter(|most| verdict.more <= most.more).unwrap_or(verdict));
                    let needed = at_least.max(most.more + 1);
                    let one_more = self.supply.one_more(verdict.within, self.start);
                    verdict.begun + f64::from(needed - 1) * one_more - ROUNDING
                }
                Held::Met(begun) => begun + HALF_A_JOB - ROUNDING,
            };
            let next = waiting.first_not(place + 1, |group| (group.up_to as f64) < enough);
            // What is late may begin later than what is not.
            place = if place < late { next.min(late) } else { next };
        }
        most
    }

    /// The last of the deadlines, which are all met, that leaves the fewest workers to spare.
    fn tightest(&self, waiting: Waiting, last: Group) -> Verdict {
        // Whoever is let go and needed after all is back one start later.
        let sooner = |group| (self.within(group) - self.start).max(0.0);
        let spare = |surplus: f64, of_one: f64| whole((surplus / of_one).max(0.0));
        let of_one = |sooner: f64| self.supply.one_more(sooner, 0.0);
        let surplus = self.supply.begun_in(sooner(last)) - last.up_to as f64;
        let (mut fewest, mut tightest) = (spare(surplus, of_one(sooner(last))), last);
        let (mut begun, mut place) = (f64::NEG_INFINITY, 0);
        while fewest > 0 || tightest != last {
            // Others must leave fewer than the last, or as few as another one.
            let enough = f64::from(fewest) + if tightest == last { 0.0 } else { 1.0 };
            place = waiting
                .first_not(place, |group| begun - group.up_to as f64 > enough * of_one(sooner(group)) + ROUNDING);
            let Some(group) = waiting.get(place).filter(|group| *group != last) else { break };
            let sooner = sooner(group);
            begun = self.supply.begun_in(sooner);
            let spare = spare(begun - group.up_to as f64, of_one(sooner));
            if spare < fewest || (spare == fewest && tightest != last) {
                (fewest, tightest) = (spare, group);
            }
            place += 1;
        }
        let within = self.within(tightest);
        let begun = self.supply.begun_in(within);
        Verdict { more: 0, spare: fewest, jobs: tightest.up_to, within, late: false, begun }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; NaN is 0")]
fn whole(value: f64) -> u32 {
    value as u32
}

/// A number of workers that is at least `value`; a rounding error is not a worker.
pub(crate) fn round_up(value: f64) -> u32 {
    let value = value - 1e-9;
    let below = whole(value);
    // Cheaper than to ask the library for the next whole number.
    below.saturating_add(u32::from(f64::from(below) < value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(waiting: &[(f64, u64)], clock: f64, target: f64, supply: &Supply) -> Verdict {
        verdict(Waiting::new(waiting, 0), clock, target, supply, 5.0).expect("something waits")
    }

    #[test]
    fn what_the_workers_there_are_begin_in_time_needs_no_more() {
        let mut supply = Supply::new(0.2, 1, 0.0);
        supply.add_free(2, 0.0);
        // Two begin two at once, and two more each five seconds: fourteen in thirty seconds.
        assert_eq!(of(&[(0.0, 14)], 0.0, 30.0, &supply).more, 0);
        let lacks = of(&[(0.0, 20)], 0.0, 30.0, &supply);
        // Six are lacking; one that is ready in five seconds begins six.
        assert_eq!((lacks.more, lacks.within, lacks.late), (1, 30.0, false));
        assert_eq!(lacks.deadline(&supply, 2, 3).begun, 14);
    }

    #[test]
    fn workers_that_start_count_from_when_they_are_ready_and_busy_ones_from_when_they_are_free() {
        let mut supply = Supply::new(1.0 / 300.0, 1, 0.0);
        supply.add_busy(1, 290.0);
        supply.add_busy(1, 10.0);
        supply.add_free(3, 4.0);
        assert_eq!(of(&[(0.0, 4)], 0.0, 60.0, &supply).more, 0);
        assert_eq!(of(&[(0.0, 6)], 0.0, 60.0, &supply).more, 2);
    }

    #[test]
    fn nobody_comes_for_what_nobody_can_save_and_what_is_late_begins_soon() {
        let mut supply = Supply::new(1.0, 1, 0.0);
        supply.add_free(10, 2.0);
        // These ten are late, and begin in two seconds, before anybody else could.
        assert_eq!(of(&[(0.0, 10)], 31.0, 30.0, &supply).more, 0);
        let late = of(&[(0.0, 1000)], 31.0, 30.0, &supply);
        // In 20 s: ten begin 19 each; another one 16.
        assert_eq!((late.late, late.within, late.more), (true, 20.0, 51));
    }

    #[test]
    fn the_tightest_of_all_deadlines_says_how_many_could_go() {
        let mut supply = Supply::new(1.0, 4, 0.0);
        supply.add_free(10, 0.0);
        let verdict = of(&[(0.0, 40), (20.0, 50)], 20.0, 30.0, &supply);
        // Five seconds before the first one, 90 have begun, of which 40 must: fifty less are five workers of nine each.
        assert_eq!((verdict.spare, verdict.more, verdict.jobs), (5, 0, 40));
    }

    /// Every deadline computed by itself.
    fn one_by_one(waiting: &[(f64, u64)], clock: f64, target: f64, supply: &Supply, start: f64) -> Option<Verdict> {
        let deadlines = Deadlines::new(clock, target, supply, start);
        let groups = waiting.iter().map(|(came, up_to)| Group { came: *came, up_to: *up_to });
        let lacking = groups.clone().filter_map(|group| match deadlines.hold(group) {
            Held::Lacks(verdict) => Some(verdict),
            Held::Met(_) => None,
        });
        let more = |a: Verdict, b: Verdict| if b.more > a.more { b } else { a };
        let met = groups.map(|group| deadlines.tightest(Waiting::new(&[], 0), group));
        let fewer = |a: Verdict, b: Verdict| if b.spare <= a.spare { b } else { a };
        lacking.reduce(more).or_else(|| met.reduce(fewer))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn deadlines_that_are_not_computed_would_say_nothing_else(
            came in prop::collection::vec((0.0_f64..4.0, 1_u64..20), 1..32),
            batches in prop::collection::vec((0_u32..12, 0.0_f64..40.0, any::<bool>()), 0..6),
            (rate, slots, variation) in (0.01_f64..5.0, 1_u32..4, 0.0_f64..6.0),
            (since, target, start) in (0.0_f64..60.0, 0.0_f64..90.0, 1.0_f64..30.0),
        ) {
            let mut supply = Supply::new(rate, slots, variation);
            for (workers, seconds, free) in batches {
                if free { supply.add_free(workers, seconds) } else { supply.add_busy(workers, seconds) }
            }
            let (mut at, mut up_to) = (0.0, 0);
            let groups: Vec<(f64, u64)> = came.iter().map(|(later, jobs)| {
                (at, up_to) = (at + later, up_to + jobs);
                (at, up_to)
            }).collect();
            let clock = at + since;
            let verdict = verdict(Waiting::new(&groups, 0), clock, target, &supply, start);
            prop_assert_eq!(verdict, one_by_one(&groups, clock, target, &supply, start));
        }
    }
}
