//! A queue of single jobs, its workers and their database, with chance: whoever is busy is slowed down as soon as all together
//! would do more than the database can (processor sharing).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use jobqueue_scaling::{
    Backlog, Decision, Memory, Meter, Observation, Policy, Sample, Targets, WorkerCounters, Workers, decide,
};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Poisson};

const LOOK_SECONDS: f64 = 0.25;
pub(crate) const MOST: u32 = 20;

/// What jobs and the database are like, and what arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// Seconds that a job takes, and their standard deviation by their mean.
    pub(crate) job_seconds: f64,
    pub(crate) variation: f64,
    /// Jobs per second that the database can do.
    pub(crate) ceiling: f64,
    /// Jobs that arrive per second.
    pub(crate) arrivals: f64,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and small enough")]
fn whole(value: f64) -> u64 {
    value as u64
}

struct Worker {
    completed: u64,
    worked_seconds: f64,
    ready_at: f64,
    /// Since when it is busy.
    busy_since: Option<f64>,
    is_going: bool,
}

pub(crate) struct Simulation {
    pub(crate) setting: Setting,
    pub(crate) now: f64,
    pub(crate) desired: u32,
    pub(crate) decision: Option<Decision>,
    pub(crate) policy: Policy,
    memory: Memory,
    meter: Meter,
    chance: ChaCha8Rng,
    pub(crate) waiting: u64,
    workers: BTreeMap<u64, Worker>,
    next: u64,
    /// When jobs end, by a clock that the database slows down; microseconds, so that they have an order.
    ends: BinaryHeap<Reverse<(u64, u64)>>,
    clock: f64,
    pub(crate) done: u64,
}

impl Simulation {
    pub(crate) fn new(setting: Setting, seed: u64) -> Self {
        let targets = Targets { max_wait_seconds: Some(30.0), ..Targets::default() };
        Self {
            setting,
            now: 0.0,
            desired: 0,
            decision: None,
            policy: Policy { targets, max_replicas: MOST, ..Policy::default() },
            memory: Memory::default(),
            meter: Meter::default(),
            chance: ChaCha8Rng::seed_from_u64(seed),
            waiting: 0,
            workers: BTreeMap::new(),
            next: 0,
            ends: BinaryHeap::new(),
            clock: 0.0,
            done: 0,
        }
    }

    /// Lets time pass until `end`; `watch` sees each decision.
    pub(crate) fn run(&mut self, end: f64, mut watch: impl FnMut(f64, &Decision)) {
        while self.now < end {
            self.observe();
            watch(self.now, self.decision.as_ref().expect("just decided"));
            self.live(self.now + LOOK_SECONDS);
        }
    }

    fn busy(&self) -> usize {
        self.workers.values().filter(|worker| worker.busy_since.is_some()).count()
    }

    fn observe(&mut self) {
        let now = self.now;
        let started = self.workers.iter().filter(|(_, worker)| worker.ready_at <= now);
        let started: Vec<_> = started.map(|(id, worker)| (format!("w{id}"), worker)).collect();
        let workers = started
            .iter()
            .map(|(name, worker)| {
                let Worker { completed, worked_seconds, .. } = **worker;
                let busy = worker.busy_since.is_some();
                let counters = WorkerCounters { completed, busy, worked_seconds, ..WorkerCounters::default() };
                (name.as_str(), counters)
            })
            .collect();
        let (busy, waiting) = (self.busy(), self.waiting);
        let running = busy as u64;
        let rates = self.meter.sample(Sample { now, waiting, running, workers });
        let ready = self.workers.values().filter(|worker| worker.ready_at <= now && !worker.is_going).count();
        let count = |number: usize| u32::try_from(number).expect("few");
        let seen = Observation {
            now,
            backlog: Some(Backlog { waiting, running, oldest_wait_seconds: None }),
            workers: Workers { desired: self.desired, ready: count(ready), busy: count(busy) },
            rates,
            troubled: 0,
        };
        let (decision, memory) = decide(&self.policy, &seen, &self.memory);
        self.memory = memory;
        self.scale(decision.replicas);
        self.decision = Some(decision);
    }

    fn scale(&mut self, desired: u32) {
        self.desired = desired;
        let desired = desired as usize;
        let mut staying: Vec<u64> =
            self.workers.iter().filter(|(_, worker)| !worker.is_going).map(|(id, _)| *id).collect();
        while staying.len() < desired {
            let ready_at = self.now + self.length(5.0, 0.1);
            let worker = Worker { completed: 0, worked_seconds: 0.0, ready_at, busy_since: None, is_going: false };
            self.workers.insert(self.next, worker);
            staying.push(self.next);
            self.next += 1;
        }
        while staying.len() > desired {
            let chosen = usize::try_from(self.chance.next_u64() % staying.len() as u64).expect("few");
            let id = staying.swap_remove(chosen);
            let worker = self.workers.get_mut(&id).expect("it stays");
            worker.is_going = true;
            if worker.busy_since.is_none() {
                self.workers.remove(&id);
            }
        }
    }

    /// Log-normal, which has a long tail.
    fn length(&mut self, mean: f64, variation: f64) -> f64 {
        let variance = (1.0 + variation * variation).ln();
        if variation == 0.0 {
            return mean;
        }
        LogNormal::new(mean.ln() - variance / 2.0, variance.sqrt()).expect("finite").sample(&mut self.chance)
    }

    fn live(&mut self, to: f64) {
        self.waiting += Poisson::new(self.setting.arrivals * (to - self.now))
            .map_or(0, |jobs| whole(jobs.sample(&mut self.chance)));
        let idle: Vec<u64> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.ready_at <= self.now && worker.busy_since.is_none() && !worker.is_going)
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            self.take(id);
        }
        let wanted = self.busy() as f64 / self.setting.job_seconds;
        let speed = (self.setting.ceiling / wanted).min(1.0);
        let (from, began) = (self.now, self.clock);
        let end = began + speed * (to - from);
        while let Some(Reverse((at, id))) = self.ends.peek().copied().filter(|Reverse((at, _))| *at as f64 / 1e6 <= end)
        {
            self.ends.pop();
            self.clock = at as f64 / 1e6;
            self.now = from + (self.clock - began) / speed;
            self.end(id);
        }
        (self.now, self.clock) = (to, end);
    }

    fn take(&mut self, id: u64) {
        if self.waiting == 0 {
            return;
        }
        self.waiting -= 1;
        let Setting { job_seconds, variation, .. } = self.setting;
        let ends = whole((self.clock + self.length(job_seconds, variation)) * 1e6);
        self.ends.push(Reverse((ends, id)));
        self.workers.get_mut(&id).expect("it is there").busy_since = Some(self.now);
    }

    fn end(&mut self, id: u64) {
        let worker = self.workers.get_mut(&id).expect("it is busy");
        let since = worker.busy_since.take().expect("it is busy");
        worker.completed += 1;
        worker.worked_seconds += self.now - since;
        self.done += 1;
        if worker.is_going {
            self.workers.remove(&id);
        } else {
            self.take(id);
        }
    }
}
