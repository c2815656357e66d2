//! For a while there are fewer workers, to see whether they do as much.

use serde::{Deserialize, Serialize};

use super::levels::{Level, Levels};
use crate::Limit;

/// A backlog that is gone so soon, in seconds, is not worth it.
const BACKLOG_SECONDS: f64 = 300.0;
/// How long it may take, in seconds, until there are fewer, and then to see what they do.
const REACH_SECONDS: f64 = 150.0;
const PROBE_SECONDS: f64 = 150.0;
/// One worker alone is not tried: of two or three little would be saved, and much is lost meanwhile if they were needed.
const FEWEST: u32 = 2;
/// What part of the workers is tried: of half of them, what the others still have in hand would leave more than half for a while.
const TRIED: f64 = 0.45;
/// And what part of those.
const DEEPER: f64 = 0.6;
/// The time between two of them that found nothing, at first and at most, in seconds.
const FIRST_PAUSE: f64 = 600.0;
const LONGEST_PAUSE: f64 = 4800.0;

/// Whether fewer are tried, or when they may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Probing {
    pub(super) probe: Option<Probe>,
    not_before: f64,
    pause: f64,
}

/// Fewer are being tried.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    /// What there was before.
    pub(super) more: Level,
    /// How many are tried.
    pub(super) fewer: u32,
    /// When it ends at the latest.
    until: f64,
    reached: bool,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a number of workers")]
fn tried(workers: u32, part: f64) -> u32 {
    ((f64::from(workers) * part) as u32).max(FEWEST)
}

impl Probing {
    /// Whether fewer are worth a trial, the level `now` being known, and nothing else telling.
    pub(super) fn is_due(&self, clock: f64, now: Level, levels: &Levels, waiting: u64) -> bool {
        let lasts = levels.clears_in(clock, waiting).is_none_or(|seconds| seconds > BACKLOG_SECONDS);
        let is_known = levels.is_known(now);
        self.probe.is_none() && clock >= self.not_before && lasts && is_known && now.workers / 2 >= FEWEST
    }

    /// Begins.
    pub(super) fn begin(&mut self, clock: f64, more: Level) {
        self.probe =
            Some(Probe { more, fewer: tried(more.workers, TRIED), until: clock + REACH_SECONDS, reached: false });
    }

    /// Ends without a finding.
    pub(super) fn give_up(&mut self, clock: f64) {
        self.probe = None;
        self.pause = (2.0 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.not_before = clock + self.pause;
    }

    /// What was found out is of the past.
    pub(super) fn forget(&mut self, clock: f64) {
        (self.probe, self.not_before) = (None, clock);
    }

    /// The limit that holds meanwhile.
    pub(super) fn answer(&mut self, clock: f64) -> Option<(Limit, u32)> {
        let Probe { more, fewer, until, .. } = self.probe?;
        if clock >= until {
            self.give_up(clock);
            return None;
        }
        Some((Limit::Probing { workers: more.workers, rate: more.rate(), fewer }, fewer))
    }
}

impl Probe {
    /// So few are measured; the time for it begins.
    pub(super) fn reach(&mut self, clock: f64) {
        if !std::mem::replace(&mut self.reached, true) {
            self.until = clock + PROBE_SECONDS;
        }
    }

    /// Even fewer are tried, once.
    pub(super) fn deepen(&mut self) {
        if self.fewer == tried(self.more.workers, TRIED) {
            self.fewer = tried(self.fewer, DEEPER);
        }
    }

    /// How long it goes on, in seconds.
    pub(super) fn left(&self, clock: f64) -> f64 {
        (self.until - clock).max(0.0)
    }
}
