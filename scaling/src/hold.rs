//! For how long a worker without work is kept: as long as a start takes, or not at all where that has proved cheaper.
//!
//! A worker that is removed after it was idle for as long as a start takes costs at most twice what it would cost with foresight.
//! Where the gaps between jobs are usually longer, it costs that each time, and removing it at once is cheaper. So an account
//! is kept, in starts: what removing at once did save or lose counts in full, what it would have saved or lost a quarter.
//! While the account holds a start, workers are removed at once. But for that quarter, what is lost was saved before, so that
//! a worker costs at most two and a quarter times as much as with foresight.

use serde::{Deserialize, Serialize};

/// What removing at once would have saved counts for this part of what it did save.
const WOULD_HAVE: f32 = 0.25;
/// The most that an account holds, in starts: the less, the sooner a change of the load is noticed.
const MOST_SAVED: f32 = 3.0;
/// The most groups of idle workers that are told apart.
const MOST_GROUPS: usize = 8;

/// The accounts, and the workers that were needed within the time of a start.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Holds {
    /// For the first worker, the next two, the next four, and so on.
    accounts: Vec<f32>,
    /// Workers that are needed no more, those first that are so for the longest time.
    idle: Vec<Idle>,
    /// How many were needed at the last poll.
    needed: u32,
}

/// Workers that are needed no more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Idle {
    since: f64,
    /// All above the `to`-th, and none above the `from`-th.
    from: u32,
    to: u32,
    /// As many were kept, whether they were needed or not.
    kept: u32,
}

/// To which account a worker belongs, counted from one.
fn account(worker: u32) -> u32 {
    worker.max(1).ilog2()
}

impl Holds {
    /// Whether the last worker goes at once.
    pub(crate) fn last_goes(&self) -> bool {
        self.goes_at_once(0)
    }

    fn goes_at_once(&self, account: u32) -> bool {
        self.accounts.get(account as usize).is_some_and(|saved| *saved >= 1.0)
    }

    /// How many are kept of those that were needed a short time ago, where so many are needed now.
    pub(crate) fn kept(&self, recently: u32, needed: u32) -> u32 {
        let mut worker = recently;
        while worker > needed {
            if !self.goes_at_once(account(worker)) {
                return worker;
            }
            worker = (1 << account(worker)) - 1;
        }
        needed
    }

    /// Settles for workers that have not been needed for `start` seconds: removing them at once would have been best.
    pub(crate) fn settle_long_gaps(&mut self, clock: f64, start: f64) {
        let over = self.idle.iter().take_while(|idle| clock - idle.since >= start).count();
        for index in 0..over {
            self.settle(self.idle[index], 1.0);
        }
        self.idle.drain(..over);
    }

    /// Settles for workers that are needed again, sooner than `start` seconds after they were needed last.
    pub(crate) fn settle_short_gaps(&mut self, clock: f64, start: f64, needed: u32) {
        while let Some(last) = self.idle.last().copied().filter(|last| last.to < needed) {
            let back = needed.min(last.from);
            #[expect(clippy::cast_possible_truncation, reason = "a part of a start")]
            let saved = ((clock - last.since) / start - 1.0) as f32;
            self.settle(Idle { from: back, ..last }, saved);
            self.idle.pop();
            if back < last.from {
                self.idle.push(Idle { to: back, ..last });
            }
        }
    }

    /// Notes how many are needed from now on, and how many are kept.
    pub(crate) fn keep(&mut self, clock: f64, needed: u32, kept: u32) {
        if needed < self.needed {
            let full = self.idle.len() >= MOST_GROUPS;
            match self.idle.last_mut() {
                Some(last) if full || last.since >= clock => last.to = needed,
                _ => self.idle.push(Idle { since: clock, from: self.needed, to: needed, kept }),
            }
        }
        self.needed = needed;
    }

    /// What was needed before counts no longer; the accounts stay.
    pub(crate) fn forget(&mut self) {
        self.idle.clear();
        self.needed = 0;
    }

    /// What going at once saved of a start, for these workers, or would have.
    fn settle(&mut self, Idle { from, to, kept, .. }: Idle, saved: f32) {
        for account in account(to + 1)..=account(from) {
            let lowest = (1 << account).max(to + 1);
            let index = account as usize;
            if self.accounts.len() <= index {
                self.accounts.resize(index + 1, 0.0);
            }
            let weight = if lowest > kept { 1.0 } else { WOULD_HAVE };
            self.accounts[index] = (self.accounts[index] + weight * saved).clamp(0.0, MOST_SAVED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: f64 = 10.0;

    /// `workers` are needed for a second after each of these gaps; answers how many were kept two polls after each gap began.
    fn follow(workers: u32, gaps: impl IntoIterator<Item = f64>) -> Vec<u32> {
        let (mut holds, mut clock, mut told) = (Holds::default(), 0.0, Vec::new());
        for gap in gaps {
            let (needed_from, end) = (clock + gap, clock + gap + 1.0);
            let mut since = 0.0;
            while clock < end {
                let needed = if clock < needed_from { 0 } else { workers };
                holds.settle_long_gaps(clock, START);
                holds.settle_short_gaps(clock, START, needed);
                let kept = if since < START { holds.kept(workers, needed) } else { needed };
                holds.keep(clock, needed, kept);
                if (since - 0.5_f64).abs() < 0.1 {
                    told.push(kept);
                }
                (clock, since) = (clock + 0.25, since + 0.25);
            }
        }
        told
    }

    #[test]
    fn who_is_not_needed_for_long_four_times_goes_at_once_the_fifth() {
        assert_eq!(follow(1, [60.0; 8]), [1, 1, 1, 1, 1, 0, 0, 0]);
        assert_eq!(follow(6, [60.0; 7]), [6, 6, 6, 6, 6, 0, 0]);
    }

    #[test]
    fn who_is_needed_soon_again_is_kept() {
        assert_eq!(follow(1, [4.0; 30]), [1; 30]);
        // Going at once would save a start every other time, and cost about one the other times.
        let often = (0..40).map(|gap| if gap % 2 == 0 { 60.0 } else { 0.5 });
        assert!(follow(2, often).iter().all(|kept| *kept == 2));
    }

    #[test]
    fn what_it_loses_it_has_saved() {
        // After four long gaps there is one start in the account; a short one takes it.
        let told = follow(1, [60.0, 60.0, 60.0, 60.0, 60.0, 0.75, 60.0, 60.0]);
        assert_eq!(told, [1, 1, 1, 1, 1, 0, 1, 1]);
        // Times have changed for good: a few starts, no more.
        let changed = follow(1, [60.0; 50].into_iter().chain([2.0; 50]));
        assert!(changed[51..].iter().filter(|kept| **kept == 0).count() <= 4, "{changed:?}");
    }

    #[test]
    fn workers_that_are_always_needed_stay_while_others_go() {
        let (mut holds, mut clock) = (Holds::default(), 0.0);
        let mut kept = 8;
        for poll in 0..4_000_u32 {
            let needed = match poll % 400 {
                0..100 => 8,
                // Every three seconds two more for one.
                other if other % 12 < 4 => 3,
                _ => 1,
            };
            holds.settle_long_gaps(clock, START);
            holds.settle_short_gaps(clock, START, needed);
            kept = holds.kept(if poll % 400 < 140 { 8 } else { 3 }, needed);
            holds.keep(clock, needed, kept);
            clock += 0.25;
        }
        assert_eq!((holds.kept(8, 1), kept), (3, 3), "{holds:?}");
    }
}
