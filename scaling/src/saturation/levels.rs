//! What so many workers do together, remembered by their number.

use serde::{Deserialize, Serialize};

use super::scatter::{Dispersion, Scatter};
use super::survival::{Slowdown, Survival};
use crate::{Backlog, JobVariation, Observation};

/// So many levels are remembered at most.
const REMEMBERED: usize = 8;
/// How fast the past of a level fades while it is measured, and while another one is, in seconds.
const FADE_SECONDS: f64 = 180.0;
const STALE_SECONDS: f64 = 300.0;
/// After a change, what is measured counts from so many seconds on...
const SETTLE_SECONDS: f64 = 1.0;
/// ...and of new workers so many jobs later: the first ones that end are the short ones.
const SETTLE_JOBS: f64 = 2.0;
/// A level is compared with those that have at most this part of its workers.
const COMPARABLE: f64 = 0.8;
/// Workers that keep less than this part of their rate as they become more are too many...
pub(super) const KEPT: f64 = 0.88;
/// ...if there is no doubt that they kept less than all of it. So many standard errors say that they kept more than that part.
const HELPFUL: f64 = 2.0;
/// So many times as much, or so many standard errors more, is not the same.
const SAME: f64 = 1.1;
const SURELY: f64 = 1.5;
/// The variance of two levels that are compared by that of one: the other is known as well as this one, and the difference may
/// seem less than it is.
const BOTH: f64 = 2.5;
/// The logarithm of the odds that decides whether a verdict holds once it is followed.
const EVIDENCE: f64 = 4.0;
/// A rate that is so many times another, or as many times less, and by so many standard errors, is that of other jobs or of
/// another database. It is looked for in the last jobs: in so many seconds at most, or in those that tell it so well.
const CHANGE: f64 = 1.2;
const SURPRISE: f64 = 4.0;
const LATEST_SECONDS: f64 = 60.0;
const LATEST_VARIANCE: f64 = 0.002;
/// Single jobs are known if they last for about a poll, in seconds. Where their squared variation is less, counts tell as much.
const LONG_SECONDS: f64 = 0.25;
const VARIED: f64 = 0.1;
/// What disturbs all workers alike, as the relative variance of a second.
const DISTURBANCE: f64 = 0.02;

/// What so many workers did, all of them at work and more waiting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) workers: u32,
    /// Jobs, and in how many seconds; the past fades in both.
    pub(super) jobs: f64,
    pub(super) seconds: f64,
    /// When the last of them were counted.
    last: f64,
}

/// What the comparison of two levels says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// The more workers do less each, without a doubt.
    Saturated,
    /// They do about as much each.
    Helps,
    /// Nobody can tell yet.
    Unknown,
}

impl Level {
    /// So many jobs in so many seconds, counted until `last`.
    pub(super) fn new(workers: u32, jobs: f64, seconds: f64, last: f64) -> Self {
        Self { workers, jobs, seconds, last }
    }

    /// The same as what so many workers did, each as much as these.
    pub(super) fn of_workers(self, workers: u32) -> Self {
        Self { workers, seconds: self.seconds * f64::from(self.workers) / f64::from(workers), ..self }
    }

    /// Jobs per second, all together.
    pub(super) fn rate(&self) -> f64 {
        self.jobs / self.seconds
    }

    /// Jobs per second of one of them.
    pub(super) fn each(&self) -> f64 {
        self.rate() / f64::from(self.workers)
    }

    /// As it counts at `clock`, after a time in which others were measured.
    fn at(mut self, clock: f64) -> Self {
        let keep = (-(clock - self.last) / STALE_SECONDS).exp();
        self.jobs *= keep;
        self.seconds *= keep;
        self
    }

    /// The relative variance of the rate. At either end of the time up to one job of each worker is counted or not by chance.
    pub(super) fn variance(&self, dispersion: Dispersion) -> f64 {
        (dispersion.index + f64::from(self.workers) / self.jobs) / self.jobs + DISTURBANCE / self.seconds
    }

    /// Whether it is known so well that twice the rate, or half of it, could be told from it.
    pub(super) fn is_known(&self, dispersion: Dispersion) -> bool {
        dispersion.doubt() * (BOTH * self.variance(dispersion)).sqrt() < std::f64::consts::LN_2
    }

    /// Compares what each of these workers did with what each of `more` did.
    pub(super) fn compare(&self, more: &Self, dispersion: Dispersion) -> Finding {
        let comparable = f64::from(self.workers) <= COMPARABLE * f64::from(more.workers);
        if !comparable || self.jobs < 1.0 || more.jobs < 1.0 {
            return Finding::Unknown;
        }
        let kept = (more.each() / self.each()).ln();
        let error = (self.variance(dispersion) + more.variance(dispersion)).sqrt();
        let doubt = dispersion.doubt();
        if kept < KEPT.ln() && kept + doubt * error < 0.0 {
            // The last worker may be needed for a part of it.
            return if self.worth(more, dispersion) < more.workers { Finding::Saturated } else { Finding::Helps };
        }
        if kept - HELPFUL * error > KEPT.ln() { Finding::Helps } else { Finding::Unknown }
    }

    /// Whether it may still turn out that `more` are too many, if these go on for so many `seconds`.
    pub(super) fn may_be_enough(&self, more: &Self, seconds: f64, dispersion: Dispersion) -> bool {
        if self.jobs < 1.0 {
            return true;
        }
        let seconds = self.seconds + seconds;
        let later = Self { jobs: self.rate() * seconds, seconds, ..*self };
        let error = |level: &Self| (level.variance(dispersion) + more.variance(dispersion)).sqrt();
        let kept = (more.each() / self.each()).ln() - HELPFUL * error(self);
        kept < KEPT.ln() && kept + dispersion.doubt() * error(&later) < 0.0
    }

    /// How many like these do what `more` do together: as many as these, unless it is sure to be more.
    pub(super) fn worth(&self, more: &Self, dispersion: Dispersion) -> u32 {
        let ratio = more.rate() / self.rate();
        let error = (self.variance(dispersion) + more.variance(dispersion)).sqrt();
        if ratio < SAME.max(1.0 + SURELY * error) {
            return self.workers;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped right after")]
        let worth = (ratio * f64::from(self.workers)).round() as u32;
        worth.clamp(self.workers, more.workers)
    }

    /// Whether each of these does as much as each of the `fewer` did (`true`) or only as much as each of the `more`.
    pub(super) fn is_like(&self, fewer: &Self, more: &Self, dispersion: Dispersion) -> Option<bool> {
        if self.jobs < 1.0 {
            return None;
        }
        let unlikely = |other: &Self| {
            let variance = self.variance(dispersion) + other.variance(dispersion);
            (self.each() / other.each()).ln().powi(2) / (2.0 * variance)
        };
        let evidence = unlikely(more) - unlikely(fewer);
        (evidence.abs() > EVIDENCE).then_some(evidence > 0.0)
    }
}

/// All levels that are known, and the one that is being measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Levels {
    known: Vec<Level>,
    /// The workers that there are, and since when there are so many.
    ready: u32,
    changed: f64,
    /// When workers were added the last time.
    grown: f64,
    /// What waited when the first of their seconds was counted, and when that was.
    waited: Option<(f64, u64)>,
    /// The second that is being counted: since when, jobs, most busy workers.
    second: (f64, u64, u32),
    scatter: Scatter,
    /// The last jobs, and their seconds, which are compared with those before them.
    latest: (f64, f64),
    /// How long a job takes, by Little's law.
    job_seconds: f64,
    /// How unlike each other jobs are.
    variation: Option<JobVariation>,
    /// For how long single jobs run.
    #[serde(default)]
    survival: Survival,
}

impl Levels {
    /// Takes in a poll; `full`: every worker had work since the one before. Answers whether there is something new.
    pub(super) fn count(&mut self, clock: f64, full: bool, seen: &Observation, backlog: Backlog) -> bool {
        let (workers, ended) = (seen.workers, seen.rates.ended);
        if workers.ready != self.ready {
            if workers.ready > self.ready {
                self.grown = clock;
            }
            (self.ready, self.changed) = (workers.ready, clock);
            (self.latest, self.waited) = ((0.0, 0.0), None);
        }
        self.variation = seen.rates.job_variation;
        let rate = seen.rates.completions_per_second.unwrap_or(0.0);
        if rate > 0.0 {
            self.job_seconds = backlog.running as f64 / rate;
        }
        // Single jobs are known by their age, also of workers that are to go: those take part of the database as well.
        let are_at_work = u64::from(workers.busy) * 4 >= u64::from(workers.ready) * 3;
        if full && are_at_work && clock - self.changed >= SETTLE_SECONDS {
            self.survival.add(clock, workers.busy.max(workers.ready), &seen.rates.lives);
        }
        let is_due = self.survival.is_due(clock);
        // Workers that are to go still finish what they have in hand.
        let drains = workers.busy > workers.ready;
        if !full || drains || !self.has_settled(clock) || rate <= 0.0 {
            self.second = (clock, 0, 0);
            self.scatter.interrupt();
            return is_due;
        }
        let (since, jobs, most) = self.second;
        self.second = (since, jobs + ended, most.max(workers.busy));
        let passed = clock - since;
        if passed < 1.0 {
            return false;
        }
        let (_, jobs, most) = std::mem::replace(&mut self.second, (clock, 0, 0));
        // Workers that crash, or find nothing, say nothing about the database.
        if u64::from(most) * 4 < u64::from(workers.ready) * 3 {
            self.scatter.interrupt();
            return false;
        }
        self.waited.get_or_insert((clock, backlog.waiting));
        self.add(clock, jobs as f64, passed);
        true
    }

    fn has_settled(&self, clock: f64) -> bool {
        let new = (SETTLE_JOBS * self.job_seconds).max(SETTLE_SECONDS);
        clock - self.changed >= SETTLE_SECONDS && clock - self.grown >= new
    }

    fn add(&mut self, clock: f64, jobs: f64, passed: f64) {
        self.scatter.add(jobs / passed);
        self.latest.0 += jobs;
        let place = self.known.iter().position(|level| level.workers == self.ready);
        let place = place.unwrap_or_else(|| {
            if self.known.len() == REMEMBERED {
                let oldest = self.known.iter().enumerate().min_by(|(_, a), (_, b)| a.last.total_cmp(&b.last));
                let oldest = oldest.map_or(0, |(index, _)| index);
                self.known.swap_remove(oldest);
            }
            self.known.push(Level { workers: self.ready, jobs: 0.0, seconds: 0.0, last: clock });
            self.known.len() - 1
        });
        let before = self.known[place].at(clock - passed);
        let keep = (-passed / FADE_SECONDS).exp();
        let (jobs, seconds) = (before.jobs * keep + jobs, before.seconds * keep + passed);
        self.known[place] = Level { jobs, seconds, last: clock, ..before };
        self.latest.1 += passed;
    }

    /// Whether the workers that there are do something else than before: the jobs or the database are others now, and what all
    /// others did is of the past. Then it is forgotten.
    pub(super) fn is_new(&mut self) -> bool {
        let Some(now) = self.current() else { return false };
        let dispersion = self.dispersion();
        let level = |(jobs, seconds): (f64, f64)| Level { jobs, seconds, ..now };
        let latest = level(self.latest);
        let before = level((now.jobs - latest.jobs, now.seconds - latest.seconds));
        if latest.jobs < 1.0 || before.jobs < 1.0 {
            return false;
        }
        let error = (latest.variance(dispersion) + before.variance(dispersion)).sqrt();
        let change = (latest.rate() / before.rate()).ln().abs();
        if change > CHANGE.ln() && change > SURPRISE * error {
            self.known.clear();
            self.survival = Survival::default();
            self.scatter = Scatter::default();
            self.latest = (0.0, 0.0);
            return true;
        }
        if latest.seconds >= LATEST_SECONDS || latest.variance(dispersion) < LATEST_VARIANCE {
            self.latest = (0.0, 0.0);
        }
        false
    }

    /// The level that is measured now.
    pub(super) fn current(&self) -> Option<Level> {
        self.of(self.ready)
    }

    /// What is known of so many workers.
    pub(super) fn of(&self, workers: u32) -> Option<Level> {
        self.known.iter().find(|level| level.workers == workers).copied()
    }

    /// What is known of fewer than so many workers, as it counts at `clock`.
    pub(super) fn fewer(&self, workers: u32, clock: f64) -> impl Iterator<Item = Level> {
        self.known.iter().filter(move |level| level.workers < workers).map(move |level| level.at(clock))
    }

    /// In how many seconds nothing would wait any more, if what waits goes on as since there are so many workers; none: never.
    pub(super) fn clears_in(&self, clock: f64, waiting: u64) -> Option<f64> {
        let (since, before) = self.waited?;
        let gone = before.saturating_sub(waiting);
        (gone > 0).then(|| waiting as f64 * (clock - since) / gone as f64)
    }

    /// How much counts scatter.
    pub(super) fn dispersion(&self) -> Dispersion {
        self.scatter.dispersion(self.job_seconds, self.variation)
    }

    /// How much longer a job takes with so many workers than with fewer, where single jobs are known and tell more than counts.
    pub(super) fn slowdown(&self, workers: u32) -> Option<Slowdown> {
        self.has_varied_jobs().then(|| self.survival.slowdown(COMPARABLE * f64::from(workers), workers))?
    }

    /// Whether so many workers are known so well that fewer may be tried.
    pub(super) fn is_known(&self, now: Level) -> bool {
        let by_times = if self.has_varied_jobs() { self.survival.is_known(now.workers) } else { None };
        by_times.unwrap_or_else(|| now.is_known(self.dispersion()))
    }

    /// Jobs that are known one by one, and are not much alike.
    fn has_varied_jobs(&self) -> bool {
        self.job_seconds >= LONG_SECONDS && self.variation.is_some_and(|jobs| jobs.squared >= VARIED)
    }

    /// How long a job takes.
    pub(super) fn job_seconds(&self) -> f64 {
        self.job_seconds
    }

    /// Forgets all levels but that of so many workers.
    pub(super) fn keep_only(&mut self, workers: u32) {
        self.known.retain(|level| level.workers == workers);
        self.survival.keep_only(workers);
    }
}
