//! A limit that stands for a while, and the trial of more workers that ends it.

use serde::{Deserialize, Serialize};

use super::levels::Level;
use crate::Limit;

/// How long a verdict stands at first, and at most, in seconds.
const FIRST_PAUSE: f64 = 60.0;
const LONGEST_PAUSE: f64 = 960.0;
/// How long a trial of more workers may take, in seconds and in jobs.
const TRIAL_SECONDS: f64 = 120.0;
const TRIAL_JOBS: f64 = 20.0;

/// A limit that was found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Verdict {
    pub(super) limit: Limit,
    /// So many workers there may be.
    pub(super) cap: u32,
    /// Until when it stands, and then: until when more are tried.
    until: f64,
    /// How long it stands.
    pause: f64,
    /// How many are tried, if more are.
    pub(super) trial: Option<u32>,
    /// What it rests on, where that is a comparison.
    pub(super) claim: Option<Claim>,
}

/// Each of the cap does as much as each of the fewer did, and all of them as much as the more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Claim {
    pub(super) fewer: Level,
    pub(super) more: Level,
    /// It was seen to.
    pub(super) confirmed: bool,
    /// Fewer than the cap do less.
    pub(super) is_lowest: bool,
}

/// What a verdict says at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// So many workers there may be.
    Cap(u32),
    /// The same, and they are more than so far.
    TrialBegins(u32),
    /// The trial is over without a finding.
    TrialIsOver,
}

impl Verdict {
    /// A new one, which stands longer the longer the one `before` did.
    pub(super) fn new(limit: Limit, cap: u32, claim: Option<Claim>, clock: f64, before: Option<&Self>) -> Self {
        let pause = match before {
            None => FIRST_PAUSE,
            // More were tried, or errors came again.
            Some(before) if before.trial.is_some() || claim.is_none() => (2.0 * before.pause).min(LONGEST_PAUSE),
            Some(before) => before.pause,
        };
        Self { limit, cap, until: clock + pause, pause, trial: None, claim }
    }

    /// Fewer than the cap do less: it stands from now.
    pub(super) fn is_lowest(&mut self, clock: f64) {
        if let Some(claim) = &mut self.claim {
            claim.is_lowest = true;
        }
        self.until = clock + self.pause;
    }

    /// Stands again, twice as long, after a trial.
    pub(super) fn renew(&mut self, clock: f64) {
        self.pause = (2.0 * self.pause).min(LONGEST_PAUSE);
        (self.until, self.trial) = (clock + self.pause, None);
    }

    /// How many workers there may be. It stands from when it is followed by the number that is `desired`; nothing is tried while
    /// the limit is `held`.
    pub(super) fn answer(&mut self, clock: f64, desired: u32, held: bool, job_seconds: f64) -> Answer {
        if self.trial.is_none() && desired > self.cap {
            self.until = clock + self.pause;
        }
        if clock >= self.until && !held {
            if self.trial.is_some() {
                return Answer::TrialIsOver;
            }
            let more = self.cap.saturating_mul(2);
            self.trial = Some(more);
            self.until = clock + TRIAL_SECONDS.max(TRIAL_JOBS * job_seconds);
            return Answer::TrialBegins(more);
        }
        Answer::Cap(self.trial.unwrap_or(self.cap))
    }
}
