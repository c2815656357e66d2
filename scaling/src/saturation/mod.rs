//! Whether more workers still help: what n of them do together is remembered by n, and levels are compared.
//!
//! Where nothing limits them, n workers do n times as much as one (Little's law: a job takes as long however many there are);
//! where the database limits them, all together do the same, and each job takes longer the more there are. Only times count in
//! which every worker had work and more was waiting. A verdict takes as many jobs as their scatter demands. Where nothing tells,
//! as after a start from zero to many, fewer are tried for a while; where a verdict stands, more are, ever less often.

mod errors;
mod levels;
mod probe;
mod scatter;
mod survival;
mod verdict;

use serde::{Deserialize, Serialize};

use crate::{Backlog, Limit, Observation};
use errors::{Errors, Refused};
use levels::{Finding, Level, Levels};
use probe::Probing;
use verdict::{Answer, Claim, Verdict};

/// What is remembered of it. What most queues have none of is boxed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saturation {
    /// When the last poll was, and what waited.
    last: Option<(f64, u64)>,
    #[serde(default)]
    errors: Errors,
    /// As long as there are workers.
    #[serde(default)]
    measured: Option<Box<Measured>>,
    #[serde(default)]
    verdict: Option<Box<Verdict>>,
}

/// What workers do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Measured {
    levels: Levels,
    probing: Probing,
}

impl Saturation {
    /// Takes in a poll; `short`: the work takes more workers than there may be. Answers how many there may be, if that is limited.
    pub(crate) fn observe(
        &mut self,
        clock: f64,
        seen: &Observation,
        backlog: Backlog,
        short: bool,
    ) -> Option<(Limit, u32)> {
        let ended = seen.rates.ended;
        let last = self.last.replace((clock, backlog.waiting));
        let enough = |waiting: u64| waiting > ended && waiting > 0;
        let full = last.is_some_and(|(at, waiting)| clock - at < 2.0 && enough(waiting) && enough(backlog.waiting));
        if seen.workers.ready == 0 {
            self.measured = None;
        } else if self.measured.get_or_insert_default().levels.count(clock, full, seen, backlog) {
            self.judge(clock, seen, backlog, short);
        }
        match self.errors.judge(clock, seen) {
            Refused::All(limit, cap) => return Some((limit, cap)),
            Refused::Some(limit, cap) => self.refuse(clock, limit, cap),
            Refused::No => {}
        }
        self.answer(clock, seen.workers.desired)
    }

    /// A second more is known of the workers that there are.
    fn judge(&mut self, clock: f64, seen: &Observation, backlog: Backlog, short: bool) {
        let Some(Measured { levels, probing }) = self.measured.as_deref_mut() else { return };
        if levels.is_new() {
            probing.forget(clock);
        }
        let now = levels.current();
        if probing.probe.is_some_and(|probe| seen.workers.ready <= probe.fewer) {
            return self.judge_probe(clock, now);
        }
        let Some(now) = now else { return };
        if !self.asks_for_comparison(clock, now) {
            return;
        }
        let Some(Measured { levels, probing }) = self.measured.as_deref_mut() else { return };
        let dispersion = levels.dispersion();
        let fewer: Vec<_> =
            levels.fewer(now.workers, clock).map(|fewer| (fewer.compare(&now, dispersion), fewer)).collect();
        if let Some((_, fewer)) = fewer.iter().find(|(finding, _)| *finding == Finding::Saturated) {
            return self.find(clock, *fewer, now, now);
        }
        let slowdown = levels.slowdown(now.workers);
        let finding = slowdown.map(|slowdown| slowdown.finding());
        if let Some(slowdown) = slowdown.filter(|_| finding == Some(Finding::Saturated)) {
            return self.find(clock, slowdown.fewer, slowdown.more, now);
        }
        if finding == Some(Finding::Helps) || fewer.iter().any(|(finding, _)| *finding == Finding::Helps) {
            self.verdict.take_if(|verdict| verdict.trial.is_some());
            return;
        }
        // Where there could be more workers, or there are enough, nothing is amiss.
        let is_steady = short && seen.workers.desired == now.workers;
        let on_trial = self.verdict.as_ref().is_some_and(|verdict| verdict.trial.is_some());
        if !on_trial && is_steady && !self.errors.last() && probing.is_due(clock, now, levels, backlog.waiting) {
            probing.begin(clock, now);
        }
    }

    /// Fewer are being tried, and are what is measured `now`.
    fn judge_probe(&mut self, clock: f64, now: Option<Level>) {
        let Some(Measured { levels, probing }) = self.measured.as_deref_mut() else { return };
        let Some(probe) = &mut probing.probe else { return };
        let slowdown = levels.slowdown(probe.more.workers);
        if now.is_some() || slowdown.is_some() {
            probe.reach(clock);
        }
        let (left, tried, dispersion) = (probe.left(clock), probe.fewer, levels.dispersion());
        let more = levels.of(probe.more.workers).unwrap_or(probe.more);
        let by_counts = now.map_or(Finding::Unknown, |now| now.compare(&more, dispersion));
        let by_times = slowdown.map_or(Finding::Unknown, |slowdown| slowdown.finding_of_trial(left));
        if let Some(now) = now.filter(|_| by_counts == Finding::Saturated) {
            self.find(clock, now, more, now);
        } else if let Some(slowdown) = slowdown.filter(|_| by_times == Finding::Saturated) {
            let fewer = slowdown.fewer.of_workers(tried);
            self.find(clock, fewer, slowdown.more, fewer);
        } else if by_counts == Finding::Helps || by_times == Finding::Helps {
            probing.give_up(clock);
            if let Some(verdict) = &mut self.verdict {
                verdict.is_lowest(clock);
            }
        } else if slowdown.is_some_and(|slowdown| slowdown.seems_all(left)) {
            probe.deepen();
        } else {
            let by_counts = now.is_none_or(|now| now.may_be_enough(&more, left, dispersion));
            if !by_counts && !slowdown.is_some_and(|slowdown| slowdown.may_be_enough(left)) {
                probing.give_up(clock);
            }
        }
    }

    /// Whether what is measured `now` is to be compared with fewer workers. While a verdict stands it is first seen whether it
    /// holds, and then only whether fewer than its cap would do.
    fn asks_for_comparison(&mut self, clock: f64, now: Level) -> bool {
        let Some(Measured { levels, probing }) = self.measured.as_deref_mut() else { return false };
        let Some(verdict) = self.verdict.as_deref_mut().filter(|verdict| verdict.trial.is_none()) else { return true };
        let Some(claim) = verdict.claim.as_mut().filter(|_| now.workers <= verdict.cap) else { return false };
        if !claim.confirmed {
            match now.is_like(&claim.fewer, &claim.more, levels.dispersion()) {
                Some(true) => claim.confirmed = true,
                // The jobs are others than before.
                Some(false) => {
                    self.verdict = None;
                    levels.keep_only(now.workers);
                    probing.give_up(clock);
                    return false;
                }
                None => return false,
            }
        }
        !claim.is_lowest
    }

    /// `more` workers do not do as much more as they are more than `fewer`. `now` is what is measured.
    fn find(&mut self, clock: f64, fewer: Level, more: Level, now: Level) {
        let Some(measured) = self.measured.as_deref_mut() else { return };
        let cap = fewer.worth(&more, measured.levels.dispersion());
        // The last worker may be needed for a part of it.
        if cap >= more.workers {
            return;
        }
        let limit = Limit::Saturated {
            fewer: fewer.workers,
            fewer_rate: fewer.rate(),
            more: more.workers,
            more_rate: more.rate(),
        };
        // What a trial confirms was known before.
        let before = self.verdict.as_ref().and_then(|verdict| verdict.claim);
        let claim = Claim {
            fewer,
            more,
            confirmed: now.workers == cap || before.is_some_and(|claim| claim.confirmed),
            is_lowest: cap > fewer.workers || before.is_some_and(|claim| claim.is_lowest && claim.fewer.workers <= cap),
        };
        let verdict = Verdict::new(limit, cap, Some(claim), clock, self.verdict.as_deref());
        self.verdict = Some(Box::new(verdict));
        // What others did was before the jobs or the database may have changed.
        measured.levels.keep_only(if now.workers == fewer.workers { fewer.workers } else { 0 });
        measured.probing.probe = None;
    }

    /// Some workers get nothing done and others do.
    fn refuse(&mut self, clock: f64, limit: Limit, cap: u32) {
        let stands = self.verdict.as_ref().is_some_and(|verdict| verdict.trial.is_none() && verdict.cap <= cap);
        if !stands {
            self.verdict = Some(Box::new(Verdict::new(limit, cap, None, clock, self.verdict.as_deref())));
        }
    }

    fn answer(&mut self, clock: f64, desired: u32) -> Option<(Limit, u32)> {
        let probe = self.measured.as_mut().and_then(|measured| measured.probing.answer(clock));
        let Some(verdict) = self.verdict.as_deref_mut() else { return probe };
        let held = self.errors.last() || probe.is_some();
        let job_seconds = self.measured.as_ref().map_or(0.0, |measured| measured.levels.job_seconds());
        let cap = match verdict.answer(clock, desired, held, job_seconds) {
            Answer::Cap(cap) => cap,
            Answer::TrialBegins(cap) => {
                // What more of them did was before.
                if let Some(measured) = &mut self.measured {
                    measured.levels.keep_only(verdict.cap);
                }
                cap
            }
            Answer::TrialIsOver => {
                self.end_trial(clock);
                return self.verdict.as_ref().map(|verdict| (verdict.limit, verdict.cap));
            }
        };
        Some(probe.filter(|(_, fewer)| *fewer < cap).unwrap_or((verdict.limit, cap)))
    }

    /// A trial that found nothing: the limit stands again if the workers seem to have done no more, and is gone otherwise.
    fn end_trial(&mut self, clock: f64) {
        let Some(verdict) = self.verdict.as_deref_mut() else { return };
        let levels = self.measured.as_ref().map(|measured| &measured.levels);
        let seems = levels.and_then(|levels| {
            let (fewer, more) = (levels.of(verdict.cap)?, levels.current()?);
            let middle = (f64::from(more.workers) / f64::from(fewer.workers)).sqrt();
            Some(more.workers > fewer.workers && more.rate() < middle * fewer.rate())
        });
        if seems == Some(true) {
            verdict.renew(clock);
        } else {
            self.verdict = None;
        }
    }
}
