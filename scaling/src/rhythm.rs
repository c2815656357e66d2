//! Work that comes at regular times: where a target is shorter than the start of a worker, only workers that are there before
//! the jobs can meet it.
//!
//! What is learned is how long it is from one beginning of work to the next, and how many workers it takes then. Whether that
//! is of use is asked in hindsight: for each beginning, would the times before have foretold it, and what would workers have
//! cost that are started for the foretold time and wait until it has passed? They are started only while most beginnings were
//! foretold, at no more than what starting workers for jobs that are there costs.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::offered::Offered;

/// So many beginnings are remembered.
const KEPT: usize = 8;
/// With fewer, nothing is foretold.
const ENOUGH: usize = 2;
/// Three of four must have been foretold.
const FORETOLD_PART: f64 = 0.75;
/// To react to one job costs a start, and as long again for which the worker is kept.
pub(crate) const REACTING_STARTS: f64 = 2.0;

/// What is remembered of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rhythm {
    /// When work began last; none before a beginning has been seen.
    began: Option<f64>,
    /// Since when there has been nothing to do, and all jobs that had come until then.
    idle: Option<(f64, u64)>,
    /// The beginning that is being measured.
    beginning: Option<Beginning>,
    /// Seconds from one beginning to the next.
    intervals: VecDeque<f32>,
    /// Workers that recent beginnings took.
    workers: VecDeque<u32>,
    /// What foretelling would have done.
    account: VecDeque<Hindsight>,
    /// What arrives at other times.
    #[serde(default)]
    pub(crate) offered: Offered,
}

/// One beginning of work.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Beginning {
    at: f64,
    /// All jobs that had come before.
    came: u64,
    /// Jobs within the target's time, once that has passed.
    first: Option<u64>,
}

/// Whether one beginning would have been foretold, and what that would have cost, in starts of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Hindsight {
    foretold: bool,
    starts: f32,
}

/// The circumstances of a poll.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Circumstances {
    /// What a start takes, in seconds.
    pub(crate) start: f64,
    /// The time in which a job must begin, in seconds.
    pub(crate) wait: f64,
    /// Jobs per second of a worker, and how many it has in hand at once.
    pub(crate) rate: f64,
    pub(crate) slots: u32,
}

impl Circumstances {
    /// How long a job takes, in seconds.
    pub(crate) fn job_seconds(&self) -> f64 {
        f64::from(self.slots.max(1)) / self.rate
    }
}

/// What is foretold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Foretold {
    /// In so many seconds work should begin; none is left where it is due.
    pub(crate) within: f64,
    /// How many of the recent beginnings were foretold.
    pub(crate) right: u32,
    /// Of how many.
    pub(crate) of: u32,
    /// The workers that there should be now: none as long as it is too early.
    pub(crate) workers: u32,
}

impl Rhythm {
    /// Takes in a poll: whether there is work, and how many jobs came so far.
    pub(crate) fn observe(&mut self, clock: f64, idle: bool, came: u64, now: Circumstances) {
        self.offered.observe(clock, came, now);
        match (idle, self.idle) {
            (true, None) => self.idle = Some((clock, came)),
            (false, Some((since, before))) => {
                self.idle = None;
                // Between two jobs of a busy queue there may be nothing to do for a moment; workers are kept for longer.
                if clock - since >= now.start {
                    self.begin(clock, before, now);
                }
            }
            (true, Some(_)) | (false, None) => {}
        }
        self.measure(clock, came, now);
    }

    /// What is foretold, if it may be relied on.
    pub(crate) fn foretold(&self, clock: f64, now: Circumstances) -> Option<Foretold> {
        let (began, _) = (self.began?, self.idle?);
        let (from, to) = self.times(now)?;
        let passed = clock - began;
        if self.account.len() < ENOUGH || passed > to {
            return None;
        }
        let right = self.account.iter().filter(|hindsight| hindsight.foretold).count();
        let cost: f64 = self.account.iter().map(|hindsight| f64::from(hindsight.starts)).sum();
        let of = self.account.len();
        let pays = right as f64 >= FORETOLD_PART * of as f64 && cost <= REACTING_STARTS * of as f64;
        let mut workers: Vec<u32> = self.workers.iter().copied().collect();
        workers.sort_unstable();
        let workers = *workers.get(workers.len().saturating_sub(1) * 3 / 4)?;
        let workers = if passed < from - now.start { 0 } else { workers };
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let within = (from - passed).max(0.0);
        pays.then_some(Foretold { within, right: count(right), of: count(of), workers })
    }

    /// When the next beginning is to be expected, in seconds after the last: workers are ready at the first and wait for the
    /// second of these.
    fn times(&self, now: Circumstances) -> Option<(f64, f64)> {
        let bounds = self
            .intervals
            .iter()
            .fold((f32::INFINITY, 0.0_f32), |(low, high), interval| (low.min(*interval), high.max(*interval)));
        // Starts and polls scatter.
        let slack = 0.5 + now.start / 4.0;
        let (from, to) = (f64::from(bounds.0) - slack, f64::from(bounds.1) + slack);
        (self.intervals.len() >= ENOUGH).then_some((from, to))
    }

    fn begin(&mut self, clock: f64, came: u64, now: Circumstances) {
        if let Some(before) = self.began.replace(clock) {
            let interval = clock - before;
            if let Some((from, to)) = self.times(now) {
                let foretold = (from..=to).contains(&interval);
                let kept = (interval.min(to) - (from - now.start)).max(0.0);
                #[expect(clippy::cast_possible_truncation, reason = "a few starts")]
                let starts = (kept / now.start) as f32;
                remember(&mut self.account, Hindsight { foretold, starts });
            }
            #[expect(clippy::cast_possible_truncation, reason = "seconds")]
            remember(&mut self.intervals, interval as f32);
        }
        self.beginning = Some(Beginning { at: clock, came, first: None });
    }

    /// How many workers a beginning takes: those that begin its first jobs in time, and those that are busy with what comes
    /// until others could be there.
    fn measure(&mut self, clock: f64, came: u64, now: Circumstances) {
        let Some(beginning) = &mut self.beginning else { return };
        let passed = clock - beginning.at;
        let jobs = came.saturating_sub(beginning.came);
        if passed < now.wait {
            return;
        }
        let first = *beginning.first.get_or_insert(jobs);
        if passed < now.start + now.wait {
            return;
        }
        let slots = f64::from(now.slots.max(1));
        let each = slots * (1.0 + (now.wait * now.rate / slots).floor());
        let busy = jobs as f64 / (now.rate * (now.start + now.wait)).max(1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        let workers = (first as f64 / each).max(busy).ceil() as u32;
        remember(&mut self.workers, workers.max(1));
        self.beginning = None;
    }
}

fn remember<T>(values: &mut VecDeque<T>, value: T) {
    if values.len() >= KEPT {
        values.pop_front();
    }
    values.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Circumstances = Circumstances { start: 5.0, wait: 3.0, rate: 0.2, slots: 1 };

    /// Four jobs at each of these times, done within ten seconds; answers when workers were foretold, and how many.
    fn foretold(times: &[f64]) -> Vec<(f64, u32)> {
        foretold_since(0.0, times)
    }

    /// The same, if the first poll is at `since`.
    fn foretold_since(since: f64, times: &[f64]) -> Vec<(f64, u32)> {
        let mut rhythm = Rhythm::default();
        let mut told = Vec::new();
        let end = *times.last().expect("some");
        for poll in 0..10_000_000_u32 {
            let clock = f64::from(poll) / 4.0;
            if clock < since {
                continue;
            }
            if clock > end {
                break;
            }
            let came = 4 * times.iter().filter(|at| **at <= clock).count() as u64;
            let busy = times.iter().any(|at| (*at..at + 10.0).contains(&clock));
            rhythm.observe(clock, !busy, came, NOW);
            if let Some(foretold) = rhythm.foretold(clock, NOW).filter(|foretold| foretold.workers > 0) {
                told.push((clock, foretold.workers));
            }
        }
        told
    }

    #[test]
    fn what_comes_every_minute_finds_workers() {
        let times: Vec<f64> = (1..30).map(|minute| f64::from(minute) * 60.0).collect();
        let told = foretold(&times);
        // The times of two intervals, tried on two more; then always.
        let before = |minute: f64| told.iter().filter(|(at, _)| (minute - 6.75..minute).contains(at)).count();
        assert_eq!((before(300.0), before(360.0), before(1680.0)), (0, 27, 27));
        assert!(told.iter().all(|(at, workers)| *workers == 4 && at % 60.0 >= 53.25), "{told:?}");
    }

    /// The first jobs of all tell how long a job takes, so that nothing is looked for before they have ended.
    #[test]
    fn work_that_was_there_before_the_first_poll_began_at_no_known_time() {
        let times: Vec<f64> = (1..30).map(|minute| f64::from(minute) * 60.0).collect();
        let told = foretold_since(65.0, &times);
        // Beginnings at 120, 180 and 240 s make two intervals, which are tried on two more.
        let first = told.first().map(|(at, _)| *at);
        assert_eq!(first, Some(413.25));
    }

    #[test]
    fn what_comes_at_random_is_not_waited_for() {
        let mut random = 1_u32;
        let mut at = 0.0;
        let times: Vec<f64> = (0..60)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                at += 15.0 + f64::from(random >> 20) / 40.0;
                at
            })
            .collect();
        let told = foretold(&times);
        assert!(told.len() < 40, "{} polls", told.len());
    }

    #[test]
    fn a_rhythm_that_ends_is_given_up() {
        let regular = (1..20).map(|minute| f64::from(minute) * 60.0);
        let times: Vec<f64> = regular.chain([1_400.0, 1_625.0, 1_700.0, 1_950.0, 2_100.0, 2_300.0]).collect();
        let told = foretold(&times);
        assert!(told.iter().all(|(at, _)| *at < 2_100.0), "{told:?}");
    }
}
