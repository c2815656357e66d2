//! What a decision remembers of those before it: its own clock, recommendations within the stabilization windows, and
//! since when nothing was to do.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::arrivals::Arrivals;
use crate::hold::Holds;
use crate::need::circumstances;
use crate::rhythm::Rhythm;
use crate::saturation::Saturation;
use crate::starts::Starts;
use crate::{Backlog, Observation, Policy, Workers};

/// A longer pause between two observations counts as this, in seconds: a clock that jumps ahead, or a process that was
/// stopped, proves nothing about what went on meanwhile.
const LONGEST_GAP_SECONDS: f64 = 15.0;

/// What [`crate::decide`] remembers. Start with `Memory::default()`; after a restart that is safe: windows begin anew.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The caller's time of the last observation.
    last_now: Option<f64>,
    /// Seconds observed so far; never goes back, never jumps.
    pub(crate) clock: f64,
    /// Recommendations, for scaling down: the highest within the window counts.
    pub(crate) highest: Window,
    /// Recommendations, for scaling up: the lowest within the window counts.
    pub(crate) lowest: Window,
    /// Since when there has been nothing to do.
    pub(crate) idle_since: Option<f64>,
    /// Since when the queue could not be read.
    pub(crate) unreadable_since: Option<f64>,
    /// When the last step up was taken.
    pub(crate) stepped_up: Option<f64>,
    /// When the last step down was taken.
    pub(crate) stepped_down: Option<f64>,
    /// Whether more workers still help.
    #[serde(default)]
    pub(crate) saturation: Saturation,
    /// When the jobs that wait came.
    #[serde(default)]
    pub(crate) arrivals: Arrivals,
    /// The workers that start, and how long that takes.
    #[serde(default)]
    pub(crate) starts: Starts,
    /// Workers at work, by their own accounts, on average over about a start; none where they do not say.
    #[serde(default)]
    pub(crate) occupied: Option<f64>,
    /// How much work comes and at which times, where a target is shorter than a start.
    #[serde(default)]
    pub(crate) rhythm: Option<Box<Rhythm>>,
    /// Whether workers without work are worth keeping.
    #[serde(default)]
    pub(crate) holds: Holds,
}

impl Memory {
    /// Advances the clock to the caller's `now`; answers by how much.
    pub(crate) fn advance(&mut self, now: f64) -> f64 {
        if !now.is_finite() {
            return 0.0;
        }
        let passed = self.last_now.map_or(0.0, |last| now - last).clamp(0.0, LONGEST_GAP_SECONDS);
        self.clock += passed;
        self.last_now = Some(now);
        passed
    }

    /// Takes in a poll, `passed` seconds after the one before it.
    pub(crate) fn observe(&mut self, seen: &Observation, backlog: Backlog, passed: f64) {
        let ended = if passed > 0.0 { seen.rates.ended } else { 0 };
        self.starts.observe(self.clock, Workers { ready: seen.workers.there(), ..seen.workers });
        self.arrivals.observe(self.clock, backlog, ended);
        if passed <= 0.0 {
            return;
        }
        let start = self.starts.seconds();
        self.occupied = seen.rates.occupied.map(|occupied| faded(self.occupied, occupied, passed, start));
    }

    /// Learns how much work comes and at which times, where workers must be there before it.
    pub(crate) fn learn_rhythm(&mut self, policy: &Policy, seen: &Observation, idle: bool) {
        if let Some(now) = circumstances(policy, seen, self.starts.seconds()) {
            let (clock, came) = (self.clock, self.arrivals.came());
            self.rhythm.get_or_insert_default().observe(clock, idle, came, now);
        }
    }

    /// Seconds since `moment`, by our clock.
    pub(crate) fn since(&self, moment: Option<f64>) -> f64 {
        moment.map_or(0.0, |moment| self.clock - moment)
    }
}

/// An average that fades within `window` seconds, `passed` seconds after the last value.
fn faded(before: Option<f64>, value: f64, passed: f64, window: f64) -> f64 {
    let before = before.unwrap_or(0.0);
    before + (1.0 - (-passed / window).exp()) * (value - before)
}

/// The extreme of recent values: a queue in which only values that can still become the extreme are kept.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub(crate) struct Window {
    /// When the first value came; before a whole window has passed, nothing is known to have lasted.
    began: Option<f64>,
    /// The oldest of them, and when it came. Most queues have no other, since nothing changes.
    first: Option<(f64, u32)>,
    /// Those after it; times and values are both in order.
    #[expect(clippy::box_collection, reason = "most have none, and a pointer is a quarter of it")]
    rest: Option<Box<VecDeque<(f64, u32)>>>,
}

/// A window as it is written.
#[derive(Serialize, Deserialize)]
struct Stored {
    began: Option<f64>,
    entries: Vec<(f64, u32)>,
}

impl From<Stored> for Window {
    fn from(Stored { began, entries }: Stored) -> Self {
        let mut window = Self { began, ..Self::default() };
        for entry in entries {
            window.push_last(entry);
        }
        window
    }
}

impl From<Window> for Stored {
    fn from(Window { began, first, rest }: Window) -> Self {
        Self { began, entries: first.into_iter().chain(rest.into_iter().flat_map(|rest| *rest)).collect() }
    }
}

impl Window {
    /// Adds `value` at `clock`, and forgets what is older than `seconds`. `supersedes(new, old)` says whether an old
    /// value can no longer be the extreme. Answers the extreme, and whether a whole window has been seen.
    pub(crate) fn push(
        &mut self,
        clock: f64,
        seconds: f64,
        value: u32,
        supersedes: impl Fn(u32, u32) -> bool,
    ) -> (u32, bool) {
        let began = *self.began.get_or_insert(clock);
        if seconds <= 0.0 {
            (self.first, self.rest) = (None, None);
        }
        while self.last().is_some_and(|(_, old)| supersedes(value, old)) {
            self.pop_last();
        }
        // A sixtieth of the window is fine enough, and keeps the queue short: what comes sooner after a value that
        // outlives it anyway is left out.
        if self.last().is_none_or(|(at, _)| clock - at >= seconds / 60.0) {
            self.push_last((clock, value));
        }
        while self.first.is_some_and(|(at, _)| clock - at > seconds) {
            self.pop_first();
        }
        let extreme = self.first.map_or(value, |(_, extreme)| extreme);
        (extreme, clock - began >= seconds)
    }

    fn last(&self) -> Option<(f64, u32)> {
        self.rest.as_ref().and_then(|rest| rest.back().copied()).or(self.first)
    }

    fn push_last(&mut self, entry: (f64, u32)) {
        if self.first.is_none() {
            self.first = Some(entry);
        } else {
            self.rest.get_or_insert_default().push_back(entry);
        }
    }

    fn pop_last(&mut self) {
        if self.rest.as_mut().and_then(|rest| rest.pop_back()).is_none() {
            self.first = None;
        }
    }

    fn pop_first(&mut self) {
        self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        self.rest.take_if(|rest| rest.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_neither_goes_back_nor_jumps() {
        let mut memory = Memory::default();
        let mut clock = Vec::new();
        for now in [1000.0, 1001.0, 500.0, 502.0, 90_000.0, f64::NAN, 90_001.0] {
            memory.advance(now);
            clock.push(memory.clock);
        }
        assert_eq!(clock, [0.0, 1.0, 1.0, 3.0, 18.0, 18.0, 19.0]);
    }

    #[test]
    fn window_keeps_the_highest_while_it_is_recent() {
        let mut window = Window::default();
        let mut push = |clock: f64, value| window.push(clock, 10.0, value, |new, old| new >= old);
        assert_eq!(push(0.0, 5), (5, false));
        assert_eq!(push(5.0, 3), (5, false));
        assert_eq!(push(10.0, 1), (5, true));
        assert_eq!(push(10.5, 2), (3, true));
        assert_eq!(push(16.0, 1), (2, true));
        assert_eq!(push(30.0, 1), (1, true));
    }

    #[test]
    fn a_window_is_written_as_a_list_and_one_value_needs_no_room_of_its_own() {
        let mut window = Window::default();
        for poll in 0..4_u32 {
            let _ = window.push(f64::from(poll), 30.0, 7 - poll, |new, old| new >= old);
        }
        let written = serde_json::to_string(&window).expect("JSON");
        assert_eq!(written, r#"{"began":0.0,"entries":[[0.0,7],[1.0,6],[2.0,5],[3.0,4]]}"#);
        assert_eq!(serde_json::from_str::<Window>(&written).expect("a window"), window);
        for poll in 4..40_u32 {
            let _ = window.push(f64::from(poll), 30.0, 0, |new, old| new >= old);
        }
        assert_eq!((window.first, window.rest), (Some((39.0, 0)), None));
    }
}
