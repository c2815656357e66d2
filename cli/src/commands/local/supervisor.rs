//! Who to start, stop and restart. A state machine without processes: it is told what happened and what is wanted, and
//! answers what to do. Times are seconds since any fixed moment.

use std::collections::BTreeMap;

use jobqueue_scaling::Workers;

/// The first wait after a crash, in seconds; it doubles with each crash in a row.
const BACKOFF_SECONDS: f64 = 0.5;
/// The longest wait after a crash, in seconds.
const MAX_BACKOFF_SECONDS: f64 = 30.0;
/// A worker that ran for so long, in seconds, did not crash at start.
const STEADY_SECONDS: f64 = 10.0;
/// Beyond its drain time a worker has so long, in seconds, to end: as the kubelet would give it.
const GRACE_SECONDS: f64 = 5.0;

/// One start of a worker process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WorkerId(pub(crate) u64);

/// What a worker's own record says that it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// No job in hand.
    Idle,
    /// Jobs in hand.
    Busy,
}

/// What to do with a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start one.
    Start(WorkerId),
    /// SIGTERM: drain and end.
    Drain(WorkerId),
    /// SIGKILL.
    Kill(WorkerId),
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Exit code 0.
    Cleanly,
    /// By a signal, or with another exit code.
    Crashed,
    /// It says that its configuration is wrong: another start would end the same.
    Unusable,
}

/// What an end means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Consequence {
    /// It was asked to end, and did.
    Drained,
    /// It was asked to end, and did so badly; its jobs run again when their leases lapse.
    DiedDraining,
    /// It starts again after so many seconds.
    Restart {
        /// The wait.
        seconds: f64,
    },
    /// No use trying again.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Up {
        since: f64,
        activity: Option<Activity>,
    },
    Draining {
        /// When it has had its time; it is killed once.
        deadline: Option<f64>,
    },
    /// Crashed; the slot's next process starts then.
    Waiting {
        until: f64,
    },
}

#[derive(Debug)]
struct Slot {
    id: WorkerId,
    /// Crashes in a row.
    crashes: u32,
    state: State,
}

/// The workers of one queue.
#[derive(Debug)]
pub(crate) struct Supervisor {
    drain_seconds: f64,
    protect_busy: bool,
    desired: u32,
    next: u64,
    /// In the order of their first start.
    slots: Vec<Slot>,
}

impl Supervisor {
    /// `protect_busy`: only idle workers are stopped when there are too many.
    pub(crate) fn new(drain_seconds: f64, protect_busy: bool) -> Self {
        Self { drain_seconds, protect_busy, desired: 0, next: 1, slots: Vec::new() }
    }

    /// So many workers are wanted from now on.
    pub(crate) fn scale(&mut self, desired: u32) {
        self.desired = desired;
    }

    /// Everything is to end; `protect_busy` no longer matters.
    pub(crate) fn drain_all(&mut self) {
        self.desired = 0;
        self.protect_busy = false;
    }

    /// What the workers' own records say. Workers without one are starting.
    pub(crate) fn observe(&mut self, records: &BTreeMap<WorkerId, Activity>) {
        for slot in &mut self.slots {
            if let State::Up { activity, .. } = &mut slot.state {
                *activity = records.get(&slot.id).copied();
            }
        }
    }

    /// A process ended. `jitter` is random in 0..1.
    pub(crate) fn ended(&mut self, id: WorkerId, how: &Ended, now: f64, jitter: f64) -> Option<Consequence> {
        let index = self.slots.iter().position(|slot| slot.id == id)?;
        let slot = &mut self.slots[index];
        match (slot.state, how) {
            (State::Waiting { .. }, _) => None,
            (State::Draining { .. }, Ended::Cleanly) => {
                self.slots.remove(index);
                Some(Consequence::Drained)
            }
            (State::Draining { .. }, Ended::Crashed | Ended::Unusable) => {
                self.slots.remove(index);
                Some(Consequence::DiedDraining)
            }
            (State::Up { .. }, Ended::Unusable) => {
                self.slots.remove(index);
                Some(Consequence::GiveUp)
            }
            (State::Up { since, .. }, Ended::Cleanly | Ended::Crashed) => {
                if now - since >= STEADY_SECONDS {
                    slot.crashes = 0;
                }
                let seconds = backoff(slot.crashes, jitter);
                slot.crashes += 1;
                slot.state = State::Waiting { until: now + seconds };
                Some(Consequence::Restart { seconds })
            }
        }
    }

    /// What to do now.
    pub(crate) fn step(&mut self, now: f64) -> Vec<Action> {
        let mut actions = Vec::new();
        self.remove_surplus(now, &mut actions);
        for slot in &mut self.slots {
            match &mut slot.state {
                State::Waiting { until } if *until <= now => {
                    slot.id = WorkerId(self.next);
                    self.next += 1;
                    slot.state = State::Up { since: now, activity: None };
                    actions.push(Action::Start(slot.id));
                }
                State::Draining { deadline } if deadline.is_some_and(|deadline| deadline <= now) => {
                    *deadline = None;
                    actions.push(Action::Kill(slot.id));
                }
                State::Up { .. } | State::Waiting { .. } | State::Draining { .. } => {}
            }
        }
        while self.present() < self.desired {
            let id = WorkerId(self.next);
            self.next += 1;
            self.slots.push(Slot { id, crashes: 0, state: State::Up { since: now, activity: None } });
            actions.push(Action::Start(id));
        }
        actions
    }

    /// Crashed ones first, then those that just start, then idle ones, then busy ones; of equals the youngest.
    fn remove_surplus(&mut self, now: f64, actions: &mut Vec<Action>) {
        while self.present() > self.desired {
            let rank = |slot: &Slot| match slot.state {
                State::Waiting { .. } => Some(0),
                State::Up { activity: None, .. } => Some(1),
                State::Up { activity: Some(Activity::Idle), .. } => Some(2),
                State::Up { activity: Some(Activity::Busy), .. } => (!self.protect_busy).then_some(3),
                State::Draining { .. } => None,
            };
            let ranked = self.slots.iter().enumerate().rev();
            let ranked = ranked.filter_map(|(index, slot)| Some((rank(slot)?, index)));
            let Some((_, index)) = ranked.min_by_key(|(rank, _)| *rank) else { return };
            if matches!(self.slots[index].state, State::Waiting { .. }) {
                self.slots.remove(index);
                continue;
            }
            let slot = &mut self.slots[index];
            slot.state = State::Draining { deadline: Some(now + self.drain_seconds + GRACE_SECONDS) };
            actions.push(Action::Drain(slot.id));
        }
    }

    /// Workers as the decision counts them: those that drain are gone already.
    pub(crate) fn workers(&self) -> Workers {
        let count = |which: fn(&State) -> bool| {
            let count = self.slots.iter().filter(|slot| which(&slot.state)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        Workers {
            desired: self.desired,
            ready: count(|state| matches!(state, State::Up { activity: Some(_), .. })),
            busy: count(|state| matches!(state, State::Up { activity: Some(Activity::Busy), .. })),
        }
    }

    /// Workers that were told to end and have not yet.
    pub(crate) fn draining(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(slot.state, State::Draining { .. })).count()
    }

    /// Every process that may still run.
    pub(crate) fn processes(&self) -> impl Iterator<Item = WorkerId> {
        let up = self.slots.iter().filter(|slot| !matches!(slot.state, State::Waiting { .. }));
        up.map(|slot| slot.id)
    }

    /// Whether every worker has crashed so many times in a row, without one that lasts.
    pub(crate) fn all_crashed(&self, times: u32) -> bool {
        !self.slots.is_empty() && self.slots.iter().all(|slot| slot.crashes >= times)
    }

    fn present(&self) -> u32 {
        let present = self.slots.iter().filter(|slot| !matches!(slot.state, State::Draining { .. })).count();
        u32::try_from(present).unwrap_or(u32::MAX)
    }
}

/// `0.5 x 2^crashes` seconds, at most 30, times a random factor in 0.5..1.
fn backoff(crashes: u32, jitter: f64) -> f64 {
    let exponent = i32::try_from(crashes).unwrap_or(i32::MAX).min(16);
    (BACKOFF_SECONDS * 2.0_f64.powi(exponent)).min(MAX_BACKOFF_SECONDS) * (0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::Action::{Drain, Kill, Start};
    use super::*;

    fn up(count: u32) -> Supervisor {
        let mut supervisor = Supervisor::new(60.0, false);
        supervisor.scale(count);
        let starts: Vec<Action> = (1..=u64::from(count)).map(|id| Start(WorkerId(id))).collect();
        assert_eq!(supervisor.step(0.0), starts);
        supervisor
    }

    fn records(states: &[(u64, Activity)]) -> BTreeMap<WorkerId, Activity> {
        states.iter().map(|(id, activity)| (WorkerId(*id), *activity)).collect()
    }

    #[test]
    fn starts_what_is_missing_once() {
        let mut supervisor = up(2);
        assert_eq!(supervisor.step(1.0), []);
        supervisor.scale(3);
        assert_eq!(supervisor.step(2.0), [Start(WorkerId(3))]);
        assert_eq!(supervisor.workers(), Workers { desired: 3, ready: 0, busy: 0 });
    }

    #[test]
    fn stops_starting_then_idle_then_busy_workers() {
        let mut supervisor = up(4);
        let busy = Activity::Busy;
        supervisor.observe(&records(&[(1, busy), (2, Activity::Idle), (3, busy)]));
        assert_eq!(supervisor.workers(), Workers { desired: 4, ready: 3, busy: 2 });
        supervisor.scale(3);
        assert_eq!(supervisor.step(1.0), [Drain(WorkerId(4))]);
        supervisor.scale(1);
        assert_eq!(supervisor.step(2.0), [Drain(WorkerId(2)), Drain(WorkerId(3))]);
        assert_eq!((supervisor.draining(), supervisor.step(3.0)), (3, vec![]));
        assert_eq!(supervisor.ended(WorkerId(2), &Ended::Cleanly, 3.0, 0.0), Some(Consequence::Drained));
        assert_eq!(supervisor.ended(WorkerId(3), &Ended::Crashed, 3.0, 0.0), Some(Consequence::DiedDraining));
        assert_eq!(supervisor.step(4.0), []);
    }

    #[test]
    fn protected_busy_workers_are_waited_for() {
        let mut supervisor = Supervisor::new(60.0, true);
        supervisor.scale(2);
        let _ = supervisor.step(0.0);
        supervisor.observe(&records(&[(1, Activity::Busy), (2, Activity::Busy)]));
        supervisor.scale(1);
        assert_eq!(supervisor.step(1.0), []);
        supervisor.observe(&records(&[(1, Activity::Idle), (2, Activity::Busy)]));
        assert_eq!(supervisor.step(2.0), [Drain(WorkerId(1))]);
        supervisor.drain_all();
        assert_eq!(supervisor.step(3.0), [Drain(WorkerId(2))]);
    }

    #[test]
    fn a_crashed_worker_comes_back_later_each_time() {
        let mut supervisor = up(1);
        let mut now = 0.0;
        for (id, seconds) in [(1, 0.25), (2, 0.5), (3, 1.0), (4, 2.0), (5, 4.0), (6, 8.0), (7, 15.0), (8, 15.0)] {
            now += 1.0;
            let restart = supervisor.ended(WorkerId(id), &Ended::Crashed, now, 0.0);
            assert_eq!(restart, Some(Consequence::Restart { seconds }));
            assert_eq!(supervisor.step(now + seconds - 0.01), []);
            now += seconds;
            assert_eq!(supervisor.step(now), [Start(WorkerId(id + 1))]);
        }
        assert!(supervisor.all_crashed(5));
        // One that lasted is not held responsible for its predecessors.
        let restart = supervisor.ended(WorkerId(9), &Ended::Crashed, now + 10.0, 1.0);
        assert_eq!(restart, Some(Consequence::Restart { seconds: 0.5 }));
    }

    #[test]
    fn one_crash_holds_up_neither_the_others_nor_growth() {
        let mut supervisor = up(2);
        let _ = supervisor.ended(WorkerId(1), &Ended::Crashed, 1.0, 1.0);
        supervisor.scale(3);
        assert_eq!(supervisor.step(1.0), [Start(WorkerId(3))]);
        supervisor.scale(2);
        // The crashed one is not there: nobody needs to stop for it.
        assert_eq!(supervisor.step(1.1), []);
        assert_eq!(supervisor.step(60.0), []);
        assert!(!supervisor.all_crashed(1));
    }

    #[test]
    fn a_worker_that_cannot_work_is_given_up() {
        let mut supervisor = up(1);
        assert_eq!(supervisor.ended(WorkerId(1), &Ended::Unusable, 0.1, 0.0), Some(Consequence::GiveUp));
        assert_eq!(supervisor.ended(WorkerId(1), &Ended::Unusable, 0.1, 0.0), None);
    }

    #[test]
    fn one_that_does_not_end_in_time_is_killed_once() {
        let mut supervisor = up(1);
        supervisor.drain_all();
        assert_eq!(supervisor.step(1.0), [Drain(WorkerId(1))]);
        assert_eq!(supervisor.step(65.9), []);
        assert_eq!(supervisor.step(66.0), [Kill(WorkerId(1))]);
        assert_eq!(supervisor.step(90.0), []);
        assert_eq!(supervisor.processes().collect::<Vec<_>>(), [WorkerId(1)]);
        assert_eq!(supervisor.ended(WorkerId(1), &Ended::Crashed, 91.0, 0.0), Some(Consequence::DiedDraining));
        assert_eq!(supervisor.processes().count(), 0);
    }
}
