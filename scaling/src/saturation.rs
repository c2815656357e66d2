//! Whether more workers still help: what all together did before a step up and after it, and whether workers say that the
//! database takes nothing from them.
//!
//! Only times count in which every worker had work and more was waiting, a second after the number of ready workers
//! changed: a slow start, or the end of a backlog, is no saturation. Pods become ready one by one, so that several smaller
//! numbers may be known, none of them for long; the number that there is now is compared with each. A verdict is a matter of
//! confidence: the total rate's own scatter, second by second, must leave no doubt that less than a fifth of the gain came
//! that more workers should have brought. It stands for a minute, twice as long each time it is confirmed, and then more
//! workers are tried again.

use serde::{Deserialize, Serialize};

use crate::{Backlog, Limit, Observation};

/// New workers have so long, in seconds, before what they do is measured.
const SETTLE_SECONDS: f64 = 1.0;
/// Seconds that are needed to know what fewer workers did, and what more do.
const BEFORE_SECONDS: u32 = 2;
const AFTER_SECONDS: u32 = 10;
/// Jobs that are needed on either side.
const ENOUGH_JOBS: f64 = 30.0;
/// After so many seconds without a verdict, the step is taken to have helped.
const DOUBT_SECONDS: u32 = 60;
/// Less than this part of the gain that would be proportional is none.
const GAIN: f64 = 0.2;
/// So many smaller numbers of workers are compared with at most.
const COMPARED: usize = 4;
/// Errors that last so long, in seconds, count.
const ERRORS_SECONDS: f64 = 5.0;
/// How long a verdict stands at first, and at most, in seconds.
const FIRST_PAUSE: f64 = 60.0;
const LONGEST_PAUSE: f64 = 960.0;
/// How long a trial of more workers may take, in seconds.
const TRIAL_SECONDS: f64 = 120.0;

/// What is remembered of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saturation {
    /// When the last look was, and what waited.
    last: Option<(f64, u64)>,
    /// The workers that there are, if there are any. Boxed, like the verdict: most queues have neither most of the time.
    level: Option<Box<Level>>,
    /// Fewer workers, before them: those that are known well enough, the fewest first.
    before: Vec<Level>,
    /// Since when workers report errors.
    errors_since: Option<f64>,
    /// The workers, ready or asked for, and since when there are not more of them.
    all: u32,
    fewer_since: f64,
    verdict: Option<Box<Verdict>>,
}

/// What so many workers do together, in jobs per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Level {
    workers: u32,
    began: f64,
    /// The second that is being counted: since when, jobs, most busy workers.
    second: (f64, u64, u32),
    /// Seconds counted; mean and sum of squared deviations of their rates (Welford, 1962).
    seconds: u32,
    mean: f64,
    squares: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Verdict {
    limit: Limit,
    cap: u32,
    /// When more is tried again.
    until: f64,
    /// How long it stands.
    pause: f64,
    /// More is being tried: how many.
    trial: Option<u32>,
}

impl Level {
    fn new(workers: u32, clock: f64) -> Self {
        Self { workers, began: clock, second: (clock, 0, 0), seconds: 0, mean: 0.0, squares: 0.0 }
    }

    /// Counts a look at `clock`; `full`: every worker had work since the look before.
    fn count(&mut self, clock: f64, full: bool, ended: u64, busy: u32) {
        if !full || clock - self.began < SETTLE_SECONDS {
            self.second = (clock, 0, 0);
            return;
        }
        let (since, jobs, most) = self.second;
        self.second = (since, jobs + ended, most.max(busy));
        let passed = clock - since;
        if passed < 1.0 {
            return;
        }
        let (_, jobs, most) = std::mem::replace(&mut self.second, (clock, 0, 0));
        // Workers that crash, or find nothing, say nothing about the database.
        if u64::from(most) * 4 < u64::from(self.workers) * 3 {
            return;
        }
        let rate = jobs as f64 / passed;
        self.seconds += 1;
        let off = rate - self.mean;
        self.mean += off / f64::from(self.seconds);
        self.squares += off * (rate - self.mean);
    }

    /// Whether so many seconds are known well enough.
    fn is_known(&self, seconds: u32) -> bool {
        self.seconds >= seconds && self.mean * f64::from(self.seconds) >= ENOUGH_JOBS
    }

    /// Whether these did more than fewer ones `before` by less than [`GAIN`] of what is proportional, without a doubt; or by
    /// more; none: nobody can tell yet.
    fn helps(&self, before: &Self) -> Option<bool> {
        let scatter = self.scatter(before);
        let more = f64::from(self.workers) / f64::from(before.workers);
        let gain = 1.0 + GAIN * (more - 1.0);
        let (own, its) = (scatter * self.standard_error(), scatter * before.standard_error());
        if its < 1.0 && self.mean * (1.0 + 2.0 * own) < before.mean * (1.0 - 2.0 * its) * gain {
            return Some(false);
        }
        (self.mean * (1.0 - 2.0 * own) > before.mean * gain).then_some(true)
    }

    /// The standard deviation of a second's rate, as a part of the mean: of both together, since one of them may be known
    /// for two or three seconds only.
    fn scatter(&self, other: &Self) -> f64 {
        let relative = |level: &Self| level.squares / (level.mean * level.mean);
        let freedom = f64::from(self.seconds + other.seconds) - 2.0;
        ((relative(self) + relative(other)) / freedom.max(1.0)).sqrt()
    }

    /// Of the mean, in standard deviations of a second's rate.
    fn standard_error(&self) -> f64 {
        1.0 / f64::from(self.seconds).sqrt()
    }
}

impl Saturation {
    /// Takes in a look. Answers how many workers there may be, if that is limited.
    pub(crate) fn look(&mut self, clock: f64, seen: &Observation, backlog: Backlog) -> Option<(Limit, u32)> {
        let (ended, workers) = (seen.rates.ended, seen.workers);
        let last = self.last.replace((clock, backlog.waiting));
        let enough = |waiting: u64| waiting > ended && waiting > 0;
        let full = last.is_some_and(|(at, waiting)| clock - at < 2.0 && enough(waiting) && enough(backlog.waiting));
        self.follow(workers.ready, clock);
        if let Some(level) = &mut self.level {
            level.count(clock, full, ended, workers.busy);
        }
        self.judge(clock);
        let away = self.judge_errors(clock, seen);
        away.or_else(|| self.answer(clock, workers.desired))
    }

    /// Begins anew where the number of workers changed.
    fn follow(&mut self, ready: u32, clock: f64) {
        if self.level.as_ref().map_or(0, |level| level.workers) == ready {
            return;
        }
        if let Some(level) = self.level.take().filter(|level| level.is_known(BEFORE_SECONDS)) {
            self.before.push(*level);
        }
        self.before.retain(|before| before.workers < ready);
        if self.before.len() > COMPARED {
            // The fewest tell most; of the others, the latest.
            self.before.remove(1);
        }
        self.level = (ready > 0).then(|| Box::new(Level::new(ready, clock)));
    }

    fn judge(&mut self, clock: f64) {
        let Some(level) = self.level.as_deref().copied().filter(|level| level.is_known(AFTER_SECONDS)) else { return };
        if let Some(before) = self.before.iter().find(|before| level.helps(before) == Some(false)).copied() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped right after")]
            let worth = (f64::from(before.workers) * level.mean / before.mean).round() as u32;
            let cap = worth.clamp(before.workers, level.workers - 1);
            let (fewer, more) = (before.workers, level.workers);
            let limit = Limit::Saturated { fewer, fewer_rate: before.mean, more, more_rate: level.mean };
            self.decide(clock, limit, cap);
            self.before.clear();
            return;
        }
        let compared = self.before.len();
        self.before.retain(|before| level.helps(before).is_none() && level.seconds < DOUBT_SECONDS);
        if self.before.len() < compared {
            // They helped, or nobody can tell.
            self.verdict.take_if(|verdict| verdict.trial.is_some());
        }
    }

    /// Some workers get nothing done and others do: the database takes no more than those. All of them: it is away, nobody is
    /// added as long as that lasts, and nothing follows for later.
    fn judge_errors(&mut self, clock: f64, seen: &Observation) -> Option<(Limit, u32)> {
        let (refused, ready) = (seen.troubled, seen.workers.ready);
        // What says it is often a worker that is not ready for that very reason.
        let all = ready.max(seen.workers.desired);
        if std::mem::replace(&mut self.all, all) > all {
            self.fewer_since = clock;
        }
        if refused == 0 {
            self.errors_since = None;
            return None;
        }
        let since = *self.errors_since.get_or_insert(clock);
        if clock - since < ERRORS_SECONDS {
            return None;
        }
        let limit = Limit::DatabaseErrors { workers: refused, of: all };
        if refused >= all {
            return Some((limit, all.max(1)));
        }
        // Of fewer workers, others may be refused than of more: that has to last as well.
        if clock - self.fewer_since < ERRORS_SECONDS {
            return None;
        }
        let cap = all - refused;
        let stands = self.verdict.as_ref().is_some_and(|verdict| verdict.trial.is_none() && verdict.cap <= cap);
        if !stands {
            self.decide(clock, limit, cap);
        }
        None
    }

    fn decide(&mut self, clock: f64, limit: Limit, cap: u32) {
        let pause = self.verdict.as_ref().map_or(FIRST_PAUSE, |verdict| (2.0 * verdict.pause).min(LONGEST_PAUSE));
        self.verdict = Some(Box::new(Verdict { limit, cap, until: clock + pause, pause, trial: None }));
    }

    fn answer(&mut self, clock: f64, desired: u32) -> Option<(Limit, u32)> {
        let verdict = self.verdict.as_mut()?;
        if verdict.trial.is_none() && desired > verdict.cap {
            // It stands from when it is followed.
            verdict.until = clock + verdict.pause;
        }
        if clock >= verdict.until {
            if verdict.trial.is_some() || self.errors_since.is_some() {
                // A trial that brought no verdict was no harm either; while errors last, nothing is tried.
                self.verdict.take_if(|_| self.errors_since.is_none());
                return self.verdict.as_ref().map(|verdict| (verdict.limit, verdict.cap));
            }
            verdict.trial = Some(verdict.cap.saturating_mul(2));
            verdict.until = clock + TRIAL_SECONDS;
        }
        Some((verdict.limit, verdict.trial.unwrap_or(verdict.cap)))
    }
}
