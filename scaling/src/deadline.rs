//! Deadlines: which jobs must have begun by when, what the workers that there are will have begun by then, and how many more
//! that takes.

use serde::{Deserialize, Serialize};

use crate::arrivals::Group;

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

/// Holds the waiting jobs, the oldest first, against their deadlines, `target` seconds after each came; a worker asked for now
/// is ready in `start` seconds. None where nothing waits.
pub(crate) fn verdict(
    waiting: impl DoubleEndedIterator<Item = Group> + Clone,
    clock: f64,
    target: f64,
    supply: &Supply,
    start: f64,
) -> Option<Verdict> {
    let deadlines = Deadlines { clock, target, supply, start };
    let last = waiting.clone().next_back()?;
    deadlines.lacking(waiting.clone(), last).or_else(|| Some(deadlines.tightest(waiting, last)))
}

/// The deadlines of one target. Later ones are of more jobs, and more is begun by then: most follow from another one, and only
/// those are computed that can say something else.
struct Deadlines<'a> {
    clock: f64,
    target: f64,
    supply: &'a Supply,
    start: f64,
}

impl Deadlines<'_> {
    fn within(&self, group: Group) -> f64 {
        (group.came + self.target - self.clock).max(0.0)
    }

    fn is_late(&self, within: f64) -> bool {
        within < self.start + TOO_LATE_SECONDS
    }

    /// What workers must start for `group`; none where those that there are begin it in time.
    fn lack(&self, group: Group) -> Option<Verdict> {
        let (supply, start) = (self.supply, self.start);
        let within = self.within(group);
        let begun = supply.begun_in(within);
        let jobs = group.up_to as f64;
        if begun + HALF_A_JOB >= jobs {
            return None;
        }
        // What a worker that is asked for now cannot save is to begin soon: no panic, since that saves nothing.
        let late = self.is_late(within);
        let within = if late { start + (self.target / 2.0).max(SOON_SECONDS) } else { within };
        let begun = if late { supply.begun_in(within) } else { begun };
        let lack = jobs - begun;
        let more = if lack > HALF_A_JOB { round_up(lack / supply.one_more(within, start)) } else { 0 };
        Some(Verdict { more, spare: 0, jobs: group.up_to, within, late, begun })
    }

    /// The first of the deadlines for which most workers must start.
    fn lacking(&self, waiting: impl Iterator<Item = Group> + Clone, last: Group) -> Option<Verdict> {
        // The last of all, and of the late ones, usually takes most.
        let last_late = waiting.clone().take_while(|group| self.is_late(self.within(*group))).enumerate().last();
        let more = |group| self.lack(group).map_or(0, |verdict| verdict.more);
        let at_least = more(last).max(last_late.filter(|(_, late)| *late != last).map_or(0, |(_, late)| more(late)));
        let late = last_late.map_or(0, |(index, _)| index + 1);
        let mut most: Option<Verdict> = None;
        let mut enough = f64::NEG_INFINITY;
        for (index, group) in waiting.enumerate() {
            if index == late {
                // What is late may begin later than what is not.
                enough = f64::NEG_INFINITY;
            }
            if (group.up_to as f64) < enough {
                continue;
            }
            let verdict = self.lack(group);
            if let Some(verdict) = verdict.filter(|verdict| most.is_none_or(|most| verdict.more > most.more)) {
                most = Some(verdict);
            }
            let needed = most.map_or(at_least, |most| at_least.max(most.more + 1));
            enough = match verdict {
                Some(Verdict { within, begun, .. }) if needed > 0 => {
                    begun + f64::from(needed - 1) * self.supply.one_more(within, self.start) - ROUNDING
                }
                _ => self.supply.begun_in(self.within(group)) + HALF_A_JOB - ROUNDING,
            };
        }
        most
    }

    /// The last of the deadlines, which are all met, that leaves the fewest workers to spare.
    fn tightest(&self, waiting: impl Iterator<Item = Group>, last: Group) -> Verdict {
        // Whoever is let go and needed after all is back one start later.
        let sooner = |group| (self.within(group) - self.start).max(0.0);
        let spare = |surplus: f64, of_one: f64| whole((surplus / of_one).max(0.0));
        let of_one = self.supply.one_more(sooner(last), 0.0);
        let surplus = self.supply.begun_in(sooner(last)) - last.up_to as f64;
        let (mut fewest, mut tightest) = (spare(surplus, of_one), last);
        let mut begun = f64::NEG_INFINITY;
        for group in waiting {
            if fewest == 0 && tightest == last {
                break;
            }
            let (sooner, jobs) = (sooner(group), group.up_to as f64);
            let of_one = self.supply.one_more(sooner, 0.0);
            if begun - jobs > (f64::from(fewest) + 1.0) * of_one + ROUNDING {
                continue;
            }
            begun = self.supply.begun_in(sooner);
            let spare = spare(begun - jobs, of_one);
            if spare < fewest || (spare == fewest && tightest != last) {
                (fewest, tightest) = (spare, group);
            }
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
    whole((value - 1e-9).ceil().max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(came: f64, up_to: u64) -> Group {
        Group { came, up_to }
    }

    fn of(waiting: &[Group], clock: f64, target: f64, supply: &Supply) -> Verdict {
        verdict(waiting.iter().copied(), clock, target, supply, 5.0).expect("something waits")
    }

    #[test]
    fn what_the_workers_there_are_begin_in_time_needs_no_more() {
        let mut supply = Supply::new(0.2, 1, 0.0);
        supply.add_free(2, 0.0);
        // Two begin two at once, and two more each five seconds: fourteen in thirty seconds.
        assert_eq!(of(&[group(0.0, 14)], 0.0, 30.0, &supply).more, 0);
        let lacks = of(&[group(0.0, 20)], 0.0, 30.0, &supply);
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
        assert_eq!(of(&[group(0.0, 4)], 0.0, 60.0, &supply).more, 0);
        assert_eq!(of(&[group(0.0, 6)], 0.0, 60.0, &supply).more, 2);
    }

    #[test]
    fn nobody_comes_for_what_nobody_can_save_and_what_is_late_begins_soon() {
        let mut supply = Supply::new(1.0, 1, 0.0);
        supply.add_free(10, 2.0);
        // These ten are late, and begin in two seconds, before anybody else could.
        assert_eq!(of(&[group(0.0, 10)], 31.0, 30.0, &supply).more, 0);
        let late = of(&[group(0.0, 1000)], 31.0, 30.0, &supply);
        // In 20 s: ten begin 19 each; another one 16.
        assert_eq!((late.late, late.within, late.more), (true, 20.0, 51));
    }

    #[test]
    fn the_tightest_of_all_deadlines_says_how_many_could_go() {
        let mut supply = Supply::new(1.0, 4, 0.0);
        supply.add_free(10, 0.0);
        let verdict = of(&[group(0.0, 40), group(20.0, 50)], 20.0, 30.0, &supply);
        // Five seconds before the first one, 90 have begun, of which 40 must: fifty less are five workers of nine each.
        assert_eq!((verdict.spare, verdict.more, verdict.jobs), (5, 0, 40));
    }

    /// Every deadline computed by itself.
    fn one_by_one(waiting: &[Group], clock: f64, target: f64, supply: &Supply, start: f64) -> Option<Verdict> {
        let deadlines = Deadlines { clock, target, supply, start };
        let lacking = waiting.iter().filter_map(|group| deadlines.lack(*group));
        let more = |a: Verdict, b: Verdict| if b.more > a.more { b } else { a };
        let met = waiting.iter().map(|group| deadlines.tightest(std::iter::empty(), *group));
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
            let groups: Vec<Group> = came.iter().map(|(later, jobs)| {
                (at, up_to) = (at + later, up_to + jobs);
                group(at, up_to)
            }).collect();
            let clock = at + since;
            let verdict = verdict(groups.iter().copied(), clock, target, &supply, start);
            prop_assert_eq!(verdict, one_by_one(&groups, clock, target, &supply, start));
        }
    }
}
