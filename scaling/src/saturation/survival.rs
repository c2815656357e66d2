//! Whether a job takes longer where there are more workers, by the times of single jobs.
//!
//! What so many workers do together scatters by the variance of the jobs' times, to which a few long ones contribute most; the
//! logarithms of the times scatter far less. For each number of workers a life table says how many jobs ended at every age and how
//! many seconds were spent at it (occurrences and exposures: N. E. Breslow and N. E. Day, Statistical Methods in Cancer Research II,
//! 1987). A job that goes on through a change counts for either number with the ages that it had there, and one that still runs with
//! those it has reached, so that nothing is left out for being long. Of these rates by age survival curves are made (E. L. Kaplan and
//! P. Meier, 1958), and the areas under two of them compared, weighted as in M. S. Pepe and T. R. Fleming (1989), here by the logarithm
//! of the age: then their difference is that of the mean logarithms, and so the logarithm of how much longer a job takes.

use serde::{Deserialize, Serialize};

use super::levels::{Finding, KEPT, Level};
use super::scatter::CONFIDENCE;
use crate::LifeTable;
use crate::life_table::{AGES, STEP_LN, bounds};

/// Numbers of workers that are so near each other, as a logarithm, share a table.
const NEAR: f64 = 0.14;
/// A table counts as that of so many seconds at most: the past fades.
const LONGEST_SECONDS: f64 = 300.0;
/// What was not added to for so long, in seconds, is forgotten.
const STALE_SECONDS: f64 = 600.0;
/// Ages at which fewer jobs than that were seen are left out, with all later ones.
const LEAST_AT_RISK: f64 = 2.0;
/// So many jobs, and so many of each worker, say something; and only if not more than this part of them outlives the ages that are
/// known.
const LEAST_JOBS: f64 = 25.0;
const JOBS_OF_WORKER: f64 = 3.0;
const OUTLIVING: f64 = 0.5;
/// So many standard errors say that the workers kept more than [`KEPT`] of their rate.
const HELPFUL: f64 = 2.0;
/// What disturbs all workers alike, as the variance of a second.
const DISTURBANCE: f64 = 0.02;
/// Where levels are compared at any time, chance has many of them: below this precision, in variance, it takes more.
const PRECISE: f64 = 0.004;
/// At the end of a trial so many standard errors do, and before it more: the boundary of P. C. O'Brien and T. R. Fleming (1979), by
/// which looking often makes false findings hardly more likely.
const TRIED: f64 = 2.7;
/// A level is known well enough for a trial after so many seconds, or with such a variance of the mean logarithm.
const KNOWN_SECONDS: f64 = 90.0;
const KNOWN_VARIANCE: f64 = 0.001;
/// Fewer that seem to do nearly as much together as more, after such a part of a trial, by so many standard errors.
const NEARLY: f64 = 0.65;
const EARLY: f64 = 0.3;
const SEEMINGLY: f64 = 1.5;

/// The life tables of all numbers of workers, where single jobs are known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Survival {
    tables: Vec<Table>,
    /// When it was judged last.
    judged: f64,
}

/// The jobs of about so many workers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Table {
    near: u32,
    /// When it was added to last.
    last: f64,
    /// For how many seconds, and the workers times seconds.
    seconds: f64,
    worker_seconds: f64,
    ended: [f64; AGES],
    lived: [f64; AGES],
}

/// How much longer a job takes where there are more workers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slowdown {
    /// As a logarithm, and its variance if in truth there is none.
    ln: f64,
    variance: f64,
    /// The part of the jobs that outlives all ages that are compared.
    outliving: f64,
    /// What was seen of fewer and of more.
    pub(super) fewer: Level,
    pub(super) more: Level,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and small")]
fn near(workers: u32) -> u32 {
    (f64::from(workers.max(1)).ln() / NEAR).round() as u32
}

impl Survival {
    /// Adds what single jobs of so many workers did.
    pub(super) fn add(&mut self, clock: f64, workers: u32, lives: &LifeTable) {
        if lives.is_empty() {
            return;
        }
        let near = near(workers);
        let place = self.tables.iter().position(|table| table.near == near).unwrap_or_else(|| {
            self.tables.push(Table {
                near,
                last: clock,
                seconds: 0.0,
                worker_seconds: 0.0,
                ended: [0.0; AGES],
                lived: [0.0; AGES],
            });
            self.tables.len() - 1
        });
        self.tables[place].add(clock, workers, lives);
    }

    /// Forgets what is stale. Answers whether there is something new, once a second.
    pub(super) fn is_due(&mut self, clock: f64) -> bool {
        let is_stale = |table: &Table| clock - table.last >= STALE_SECONDS;
        if self.tables.iter().any(is_stale) {
            self.tables.retain(|table| !is_stale(table));
            self.tables.shrink_to_fit();
        }
        let due = clock - self.judged >= 1.0 && self.tables.iter().any(|table| table.last > self.judged);
        if due {
            self.judged = clock;
        }
        due
    }

    /// Forgets all but about so many workers.
    pub(super) fn keep_only(&mut self, workers: u32) {
        self.tables.retain(|table| table.near == near(workers));
    }

    /// Whether so many workers are known well enough to try fewer; none where nothing is known of single jobs.
    pub(super) fn is_known(&self, workers: u32) -> Option<bool> {
        let table = self.of(workers)?;
        let is_precise = || table.compare(table, workers).is_some_and(|known| known.variance / 2.0 < KNOWN_VARIANCE);
        Some(table.says_something() && (table.seconds >= KNOWN_SECONDS || is_precise()))
    }

    /// How much longer a job takes with `more` workers than with at most `fewer`.
    pub(super) fn slowdown(&self, fewer: f64, more: u32) -> Option<Slowdown> {
        let few = self.tables.iter().filter(|table| table.workers() <= fewer);
        let few = few.copied().reduce(|all, table| all.joined(&table))?;
        few.compare(self.of(more)?, more)
    }

    fn of(&self, workers: u32) -> Option<&Table> {
        self.tables.iter().find(|table| table.near == near(workers))
    }
}

impl Table {
    fn add(&mut self, clock: f64, workers: u32, lives: &LifeTable) {
        let worker_seconds = lives.seconds();
        let seconds = worker_seconds / f64::from(workers);
        let keep = (LONGEST_SECONDS / (self.seconds + seconds)).min(1.0);
        self.last = clock;
        self.seconds = self.seconds * keep + seconds;
        self.worker_seconds = self.worker_seconds * keep + worker_seconds;
        for age in 0..AGES {
            self.ended[age] = self.ended[age] * keep + f64::from(lives.ended[age]);
            self.lived[age] = self.lived[age] * keep + f64::from(lives.seconds[age]);
        }
    }

    fn joined(mut self, other: &Self) -> Self {
        self.last = self.last.max(other.last);
        self.seconds += other.seconds;
        self.worker_seconds += other.worker_seconds;
        for age in 0..AGES {
            self.ended[age] += other.ended[age];
            self.lived[age] += other.lived[age];
        }
        self
    }

    /// How many workers there were on average.
    fn workers(&self) -> f64 {
        self.worker_seconds / self.seconds
    }

    fn jobs(&self) -> f64 {
        self.ended.iter().sum()
    }

    fn says_something(&self) -> bool {
        self.jobs() >= (JOBS_OF_WORKER * self.workers()).max(LEAST_JOBS)
    }

    /// As what so many workers did.
    fn level(&self, workers: u32) -> Level {
        Level::new(workers, self.jobs(), self.worker_seconds / f64::from(workers), self.last)
    }

    /// Whether enough jobs were seen at this age.
    fn is_followed(&self, age: usize) -> bool {
        let (from, to) = bounds(age);
        self.lived[age] >= LEAST_AT_RISK * (to - from)
    }

    /// How many of those that reach this age outlive it, as a logarithm.
    fn outlives(&self, age: usize) -> f64 {
        let (from, to) = bounds(age);
        -(to - from) * self.ended[age] / self.lived[age]
    }

    /// The area under the survival curve over the logarithm of the age, by ages up to `end`, and what is left of the curve there.
    fn areas(&self, end: usize) -> ([f64; AGES], f64) {
        let (mut left, mut areas) = (1.0, [0.0; AGES]);
        for (age, area) in areas.iter_mut().enumerate().take(end) {
            let next = left * self.outlives(age).exp();
            *area = STEP_LN * (left + next) / 2.0;
            left = next;
        }
        (areas, left)
    }

    /// Compares these jobs with those of so many `workers`.
    fn compare(&self, more: &Self, workers: u32) -> Option<Slowdown> {
        let both = self.joined(more);
        let end = (0..AGES).find(|age| !self.is_followed(*age) || !more.is_followed(*age)).unwrap_or(AGES);
        let area = |table: &Self| table.areas(end).0.iter().sum::<f64>();
        // The variance of an area is that of the rates by age, each weighted by what it changes of the area (Greenwood's formula),
        // under the hypothesis that all these jobs are alike.
        let (areas, outliving) = both.areas(end);
        let (mut left, mut rest, mut variance) = (1.0, areas.iter().sum::<f64>(), 0.0);
        for (age, area) in areas.iter().enumerate().take(end) {
            let (from, to) = bounds(age);
            left *= both.outlives(age).exp();
            rest -= area;
            let weight = (to - from) * (rest + STEP_LN * left / 2.0);
            let rate = both.ended[age] / both.lived[age];
            variance += weight.powi(2) * rate * (1.0 / self.lived[age] + 1.0 / more.lived[age]);
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of workers")]
        let fewer = self.workers().round().max(1.0) as u32;
        (variance > 0.0).then(|| Slowdown {
            ln: area(more) - area(self),
            variance: variance + DISTURBANCE / self.seconds + DISTURBANCE / more.seconds,
            // Where too few have ended, nothing is to be said either.
            outliving: if self.says_something() && more.says_something() { outliving } else { 1.0 },
            fewer: self.level(fewer),
            more: more.level(workers),
        })
    }
}

impl Slowdown {
    /// What follows at any time.
    pub(super) fn finding(&self) -> Finding {
        self.with(CONFIDENCE * (self.variance / PRECISE).sqrt().max(1.0))
    }

    /// What follows in a trial that goes on for so many `seconds`.
    pub(super) fn finding_of_trial(&self, seconds: f64) -> Finding {
        self.with(TRIED / self.part(seconds).sqrt())
    }

    fn with(&self, doubt: f64) -> Finding {
        let error = self.variance.sqrt();
        if self.outliving > OUTLIVING {
            Finding::Unknown
        } else if self.ln > -KEPT.ln() && self.ln > doubt * error {
            Finding::Saturated
        } else if self.ln + HELPFUL * error < -KEPT.ln() {
            Finding::Helps
        } else {
            Finding::Unknown
        }
    }

    /// Whether a trial may still find something in so many `seconds`.
    pub(super) fn may_be_enough(&self, seconds: f64) -> bool {
        let error = self.variance.sqrt();
        let needed = (TRIED * error * self.part(seconds).sqrt()).max(-KEPT.ln());
        self.outliving > OUTLIVING || self.ln + HELPFUL * error > needed
    }

    /// Whether the fewer seem to do nearly as much together as the more, in a trial that goes on for so many `seconds`: then still
    /// fewer may do, and show it sooner.
    pub(super) fn seems_all(&self, seconds: f64) -> bool {
        let all = (f64::from(self.more.workers) / f64::from(self.fewer.workers)).ln();
        let seems = self.ln > NEARLY * all && self.ln > SEEMINGLY * self.variance.sqrt();
        self.outliving <= OUTLIVING && self.part(seconds) > EARLY && seems
    }

    /// What there is of the information that there will be after so many more `seconds` with fewer.
    fn part(&self, seconds: f64) -> f64 {
        let (fewer, more) = (self.fewer.jobs, self.more.jobs);
        let later = fewer + self.fewer.rate() * seconds;
        // Of two means the variance is as 1 / fewer + 1 / more.
        if fewer > 0.0 { (1.0 / later + 1.0 / more) / (1.0 / fewer + 1.0 / more) } else { f64::MIN_POSITIVE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Jobs of so many workers that take a tenth of a second to some minutes, each `times` as long, `rounds` times; what is still in
    /// hand after so many `seconds` does not end.
    fn jobs(survival: &mut Survival, workers: u32, times: f64, rounds: u32, seconds: f64) {
        for step in 0..25 * rounds {
            // Quantiles of a log-normal distribution, roughly: the logarithm is that of a sum of three parts.
            let part = |prime: u32| f64::from(step * prime % 25) / 25.0 - 0.48;
            let length = times * 3.0 * (1.8 * (part(1) + part(7) + part(11))).exp();
            let mut lives = LifeTable::default();
            lives.run(1, 0.0, length.min(seconds));
            if length <= seconds {
                lives.end(1, length);
            }
            survival.add(f64::from(step), workers, &lives);
        }
    }

    fn slowdown(times: f64, rounds: u32, seconds: f64) -> Slowdown {
        let mut survival = Survival::default();
        jobs(&mut survival, 20, times, rounds, 1e9);
        jobs(&mut survival, 10, 1.0, rounds, seconds);
        survival.slowdown(16.0, 20).expect("both are known")
    }

    #[test]
    fn says_how_much_longer_jobs_take() {
        let (twice, alike) = (slowdown(2.0, 8, 1e9), slowdown(1.0, 24, 1e9));
        // A few outlive the ages that are compared.
        assert!((0.55..0.75).contains(&twice.ln), "{twice:?}");
        assert_eq!((twice.finding(), alike.finding()), (Finding::Saturated, Finding::Helps));
        // The variance is that of the logarithms, 0.8, by 600 jobs on either side.
        assert!((0.8..1.6).contains(&(alike.variance * 300.0 / 0.81)), "{alike:?}");
        assert!(alike.ln.abs() < 0.01 && !alike.seems_all(0.0) && twice.seems_all(0.0));
    }

    #[test]
    fn jobs_that_still_run_are_not_left_out() {
        // Only those of up to four seconds have ended: their mean is far below that of all.
        let short = slowdown(1.0, 8, 4.0);
        assert!(short.ln.abs() < 0.1, "{short:?}");
        let hardly = slowdown(1.0, 8, 1.0);
        assert_eq!(hardly.finding(), Finding::Unknown, "{hardly:?}");
    }

    #[test]
    fn a_few_jobs_say_nothing_and_early_in_a_trial_more_say_less() {
        assert_eq!(slowdown(4.0, 1, 1e9).finding(), Finding::Unknown);
        let some = slowdown(1.4, 8, 1e9);
        assert_eq!((some.finding_of_trial(0.0), some.finding_of_trial(1e5)), (Finding::Saturated, Finding::Unknown));
        assert!(some.may_be_enough(1e5) && !slowdown(1.0, 8, 1e9).may_be_enough(1.0));
    }

    #[test]
    fn forgets_what_is_stale() {
        let mut survival = Survival::default();
        jobs(&mut survival, 10, 1.0, 4, 1e9);
        assert!(survival.is_due(100.0) && !survival.is_due(100.5) && survival.is_known(10).is_some());
        assert!(!survival.is_due(99.0 + STALE_SECONDS) && survival.is_known(10).is_none());
        assert_eq!(survival.tables.capacity(), 0);
    }
}
