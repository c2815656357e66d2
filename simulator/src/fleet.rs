//! The pods: they start slowly, take jobs from the head of the queue, and drain when there are to be fewer.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

use rand::RngExt;
use rand::rngs::ChaCha8Rng;

use super::fifo::{Fifo, Lot};
use super::waits::Waits;
use super::work::{Database, Spread, Work};

/// Which pods go first when there are to be fewer. Those that have not started yet go before all others, as Kubernetes
/// has it (`ActivePodsWithRanks` in its `pkg/controller/controller_utils.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ScaleDownOrder {
    /// Any: to Kubernetes one ready pod is as good as another.
    Any,
    /// Idle ones first, by their deletion cost.
    IdleFirst,
    /// Idle ones only; others wait until they are idle (`protectBusy`).
    IdleOnly,
}

/// A pod with its worker.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    id: u64,
    /// Its worker's name.
    pub(crate) name: String,
    /// Jobs that it has done.
    pub(crate) completed: u64,
    /// Seconds that those took, by its number of slots.
    pub(crate) worked_seconds: f64,
    state: State,
    hands: Vec<InHand>,
    busy_hands: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Starting { ready_at: f64 },
    Ready,
    Draining { deadline: f64 },
}

/// What one slot has in hand.
#[derive(Debug, Clone, Default)]
struct InHand {
    /// What is not done yet.
    lots: Vec<Lot>,
    /// When the last one of those before it was done, or all of them were taken.
    since: f64,
    /// How many were taken, and when, by the clock of the work, the first is begun and the last is done.
    jobs: u64,
    begins: f64,
    ends: f64,
}

impl InHand {
    fn left(&self) -> u64 {
        self.lots.iter().map(|lot| lot.jobs).sum()
    }

    /// How many more have been done by `clock`. The last one is done when all are.
    fn done_by(&self, clock: f64) -> u64 {
        // Of none, this is not a number, which is cast to 0.
        let part = (clock - self.begins) / (self.ends - self.begins);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, rounded down")]
        let done = (self.jobs as f64 * part) as u64;
        let left = self.left();
        done.saturating_sub(self.jobs - left).min(left.saturating_sub(1))
    }
}

impl Pod {
    /// Whether it serves the queue.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Whether it has started, so that it has a record in Redis.
    pub(crate) fn has_started(&self) -> bool {
        !matches!(self.state, State::Starting { .. })
    }

    /// Whether it has jobs in hand.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy_hands > 0
    }

    /// Jobs that it does at once.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.hands.len()).unwrap_or(u32::MAX)
    }

    /// Jobs in hand.
    pub(crate) fn in_hand(&self) -> u64 {
        self.hands.iter().map(InHand::left).sum()
    }

    fn is_going(&self) -> bool {
        matches!(self.state, State::Draining { .. })
    }

    /// The first `jobs` jobs of a slot have been done, one after another, and the last of them now.
    fn complete(&mut self, slot: usize, jobs: u64, now: f64, waits: &mut Waits) {
        let slots = self.hands.len() as f64;
        let hand = &mut self.hands[slot];
        let since = std::mem::replace(&mut hand.since, now);
        let each = (now - since) / jobs as f64;
        let mut done = 0;
        hand.lots.retain_mut(|lot| {
            let part = lot.jobs.min(jobs - done);
            if part > 0 {
                // The middle one stands for all of them.
                let begun = since + each * (done as f64 + (part as f64 - 1.0) / 2.0);
                waits.add(begun - lot.arrived, part);
            }
            done += part;
            lot.jobs -= part;
            lot.jobs > 0
        });
        self.completed += jobs;
        self.worked_seconds += (now - since) / slots;
    }
}

/// When a slot will have done what it has in hand, by the clock of the work: it runs slower where the database does.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Finish {
    at: f64,
    pod: u64,
    slot: usize,
}

impl Eq for Finish {}

impl Ord for Finish {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then(other.pod.cmp(&self.pod)).then(other.slot.cmp(&self.slot))
    }
}

impl PartialOrd for Finish {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// All pods of a queue.
#[derive(Debug)]
pub(crate) struct Fleet {
    work: Work,
    start: Spread,
    /// How long a pod that drains may take, in seconds.
    grace: f64,
    chance: ChaCha8Rng,
    /// By age.
    pods: Vec<Pod>,
    next: u64,
    clock: f64,
    finishing: BinaryHeap<Finish>,
    /// Slots that wait for a job, the longest first: Redis serves blocked clients in that order.
    free: VecDeque<(u64, usize)>,
    running: u64,
    busy_hands: u32,
    /// Jobs done.
    pub(crate) done: u64,
    /// Jobs that a pod that had to go could not finish in time; they went back to the queue.
    pub(crate) interrupted: u64,
    /// How long the jobs that are done had waited.
    pub(crate) waits: Waits,
}

impl Fleet {
    /// None yet.
    pub(crate) fn new(work: Work, start: Spread, grace: f64, chance: ChaCha8Rng) -> Self {
        Self {
            work,
            start,
            grace,
            chance,
            pods: Vec::new(),
            next: 1,
            clock: 0.0,
            finishing: BinaryHeap::new(),
            free: VecDeque::new(),
            running: 0,
            busy_hands: 0,
            done: 0,
            interrupted: 0,
            waits: Waits::default(),
        }
    }

    /// All that there are, draining ones too.
    pub(crate) fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Jobs in hand.
    pub(crate) fn running(&self) -> u64 {
        self.running
    }

    /// What is in hand.
    pub(crate) fn in_hand(&self) -> impl Iterator<Item = (f64, Lot)> {
        let hands = self.pods.iter().flat_map(|pod| &pod.hands);
        hands.flat_map(|hand| hand.lots.iter().map(|lot| (hand.since, *lot)))
    }

    /// Whether nothing will happen by itself: no job in hand, and no pod that starts or goes.
    pub(crate) fn is_still(&self) -> bool {
        self.running == 0 && self.pods.iter().all(Pod::is_ready)
    }

    /// Has `desired` pods at `now`.
    pub(crate) fn scale(&mut self, desired: u32, order: ScaleDownOrder, now: f64, fifo: &mut Fifo) {
        let desired = desired as usize;
        let mut staying = self.pods.iter().filter(|pod| !pod.is_going()).count();
        while staying < desired {
            self.begin(now);
            staying += 1;
        }
        while staying > desired {
            let Some(index) = self.next_to_go(order) else { break };
            self.pods[index].state = State::Draining { deadline: now + self.grace };
            staying -= 1;
        }
        self.remove_drained(now, fifo);
    }

    fn begin(&mut self, now: f64) {
        let id = self.next;
        self.next += 1;
        let ready_at = now + self.start.sample(&mut self.chance);
        let hands = vec![InHand::default(); self.work.slots as usize];
        let name = format!("worker-{id}");
        self.pods.push(Pod {
            id,
            name,
            completed: 0,
            worked_seconds: 0.0,
            state: State::Starting { ready_at },
            hands,
            busy_hands: 0,
        });
    }

    /// The index of the pod that goes next; `None`: no pod may go now.
    fn next_to_go(&mut self, order: ScaleDownOrder) -> Option<usize> {
        let starting = self.pods.iter().rposition(|pod| !pod.has_started());
        if starting.is_some() {
            return starting;
        }
        let ready = |pod: &Pod, idle: bool| pod.is_ready() && !(idle && pod.is_busy());
        let random = |pods: &[Pod], idle: bool, chance: &mut ChaCha8Rng| {
            let candidates = pods.iter().filter(|pod| ready(pod, idle)).count();
            let nth = if candidates > 0 { chance.random_range(0..candidates) } else { return None };
            pods.iter().enumerate().filter(|(_, pod)| ready(pod, idle)).map(|(index, _)| index).nth(nth)
        };
        let idle = if order == ScaleDownOrder::Any { None } else { random(&self.pods, true, &mut self.chance) };
        let may = order != ScaleDownOrder::IdleOnly;
        idle.or_else(|| may.then(|| random(&self.pods, false, &mut self.chance))?)
    }

    /// Lives from `from` to `to`: jobs are done and taken, pods become ready and end.
    pub(crate) fn live(&mut self, from: f64, to: f64, fifo: &mut Fifo, database: &Database) {
        let wanted = self.work.rate() / f64::from(self.work.slots) * f64::from(self.busy_hands);
        let speed = database.speed(from, wanted);
        let (began, end) = (self.clock, self.clock + speed * (to - from));
        while let Some(finish) = self.finishing.peek().copied().filter(|finish| speed > 0.0 && finish.at <= end) {
            self.finishing.pop();
            self.clock = finish.at;
            self.finish(finish, from + (finish.at - began) / speed, fifo);
        }
        self.clock = end;
        self.progress(to);
        for pod in &mut self.pods {
            if let State::Starting { ready_at } = pod.state
                && ready_at <= to
            {
                pod.state = State::Ready;
                self.free.extend((0..pod.hands.len()).map(|slot| (pod.id, slot)));
            }
        }
        self.remove_drained(to, fifo);
        self.serve(to, fifo);
    }

    /// Free slots take the jobs that wait.
    pub(crate) fn serve(&mut self, now: f64, fifo: &mut Fifo) {
        while fifo.waiting() > 0 {
            let Some((id, slot)) = self.free.pop_front() else { break };
            if let Some(index) = self.find(id).filter(|index| self.pods[*index].is_ready()) {
                self.take(index, slot, now, fifo);
            }
        }
    }

    fn find(&self, id: u64) -> Option<usize> {
        self.pods.binary_search_by_key(&id, |pod| pod.id).ok()
    }

    fn take(&mut self, index: usize, slot: usize, now: f64, fifo: &mut Fifo) {
        let pod = &mut self.pods[index];
        let hand = &mut pod.hands[slot];
        let jobs = fifo.take(self.work.grain, &mut hand.lots);
        if jobs == 0 {
            self.free.push_back((pod.id, slot));
            return;
        }
        let at = self.clock + hand.lots.iter().map(Lot::seconds).sum::<f64>();
        (hand.since, hand.jobs, hand.begins, hand.ends) = (now, jobs, self.clock, at);
        pod.busy_hands += 1;
        self.busy_hands += 1;
        self.running += jobs;
        self.finishing.push(Finish { at, pod: pod.id, slot });
    }

    fn finish(&mut self, finish: Finish, now: f64, fifo: &mut Fifo) {
        // A pod that was killed took its jobs with it.
        let Some(index) = self.find(finish.pod) else { return };
        let pod = &mut self.pods[index];
        let jobs = pod.hands[finish.slot].left();
        pod.complete(finish.slot, jobs, now, &mut self.waits);
        pod.busy_hands -= 1;
        self.busy_hands -= 1;
        self.running -= jobs;
        self.done += jobs;
        if pod.is_ready() {
            self.take(index, finish.slot, now, fifo);
        }
    }

    /// Counts what has been done of that which was taken several at a time: where the database is slow, that takes long.
    fn progress(&mut self, now: f64) {
        if self.work.grain == 1 {
            return;
        }
        for pod in &mut self.pods {
            for slot in 0..pod.hands.len() {
                let jobs = pod.hands[slot].done_by(self.clock);
                if jobs > 0 {
                    pod.complete(slot, jobs, now, &mut self.waits);
                    self.running -= jobs;
                    self.done += jobs;
                }
            }
        }
    }

    /// Removes pods that have drained, and those that took too long.
    fn remove_drained(&mut self, now: f64, fifo: &mut Fifo) {
        let (running, busy_hands, interrupted) = (&mut self.running, &mut self.busy_hands, &mut self.interrupted);
        self.pods.retain(|pod| {
            let State::Draining { deadline } = pod.state else { return true };
            if pod.is_busy() && now < deadline {
                return true;
            }
            for hand in pod.hands.iter().filter(|hand| !hand.lots.is_empty()) {
                let jobs = hand.left();
                *running -= jobs;
                *busy_hands -= 1;
                *interrupted += jobs;
                fifo.give_back(&hand.lots);
            }
            false
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::work::Slump;
    use super::*;

    #[test]
    fn what_is_done_of_a_portion_is_seen_as_it_is_done_and_counted_once() {
        let work = Work::new(1, Spread { mean: 0.001, variation: 0.0 });
        assert_eq!(work.grain, 250);
        let start = Spread { mean: 0.0, variation: 0.0 };
        let mut fleet = Fleet::new(work, start, 0.5, ChaCha8Rng::seed_from_u64(1));
        let mut fifo = Fifo::default();
        fifo.push(Lot { arrived: 0.0, jobs: 1000, each: 0.001 });
        // A hundred jobs a second instead of a thousand.
        let database = Database { ceiling: None, slumps: vec![Slump { from: 0.0, to: 9.0, ceiling: 100.0 }] };
        fleet.scale(1, ScaleDownOrder::Any, 0.0, &mut fifo);
        fleet.live(0.0, 0.0, &mut fifo, &database);
        let mut seen = Vec::new();
        for poll in 0..12 {
            let now = f64::from(poll) * 0.25;
            fleet.live(now, now + 0.25, &mut fifo, &database);
            seen.push(fleet.pods()[0].completed);
            assert_eq!(fleet.done + fleet.running() + fifo.waiting(), 1000);
            assert_eq!(fleet.pods()[0].completed, fleet.done);
        }
        let steps: Vec<u64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.iter().all(|step| (24..=26).contains(step)), "{seen:?}");
        let worked = fleet.pods()[0].worked_seconds;
        assert!((worked - 3.0).abs() < 0.02, "{worked}");
        // The pod is killed: what it has done is done, and the rest waits again.
        fleet.scale(0, ScaleDownOrder::Any, 3.0, &mut fifo);
        fleet.live(3.0, 3.5, &mut fifo, &database);
        assert!(fleet.pods().is_empty());
        assert_eq!((fleet.done + fifo.waiting(), fleet.running()), (1000, 0));
        assert!((348..=350).contains(&fleet.done) && fleet.interrupted == 500 - fleet.done, "{fleet:?}");
    }
}
