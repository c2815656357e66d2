//! A queue and its workers, simulated poll by poll: workers take a while to start, jobs take a while to be done, one at a time,
//! in the order in which they came.

use std::collections::VecDeque;

use jobqueue_scaling::{
    Backlog, Decision, Memory, Meter, Observation, Policy, Sample, Targets, WorkerCounters, Workers, decide,
};

/// Between two polls, in seconds.
pub(crate) const POLL: f64 = 0.25;

/// A worker.
#[derive(Debug, Clone)]
struct Worker {
    name: u64,
    ready_at: f64,
    /// When it could take the next job.
    free_at: f64,
    /// When the job in hand began and ends.
    job: Option<(f64, f64)>,
    completed: u64,
    worked: f64,
    going: bool,
}

/// The simulation.
#[derive(Debug)]
pub(crate) struct Simulation {
    /// The rules.
    pub(crate) policy: Policy,
    /// What a start takes, in seconds.
    pub(crate) start: f64,
    /// What a job takes on average, in seconds.
    pub(crate) job: f64,
    /// Whether that varies (exponentially) or is always the same.
    pub(crate) varies: bool,
    memory: Memory,
    meter: Meter,
    now: f64,
    jobs: VecDeque<f64>,
    workers: Vec<Worker>,
    desired: u32,
    next: u64,
    random: u64,
    /// How long each job waited that began.
    pub(crate) waits: Vec<f64>,
    /// What the workers cost, in seconds, from when they were asked for.
    pub(crate) cost: f64,
    /// The most workers that were asked for at once.
    pub(crate) most: u32,
    /// Each change: when, and to how many.
    pub(crate) changes: Vec<(f64, u32)>,
    /// The most workers beyond the jobs there were, at the poll that asked for more.
    pub(crate) beyond: u32,
    /// The last decision.
    pub(crate) last: Option<Decision>,
}

impl Simulation {
    /// Nothing yet.
    pub(crate) fn new(targets: Targets, start: f64, job: f64) -> Self {
        Self {
            policy: Policy { targets, max_replicas: 20, ..Policy::default() },
            start,
            job,
            varies: false,
            memory: Memory::default(),
            meter: Meter::default(),
            now: 0.0,
            jobs: VecDeque::new(),
            workers: Vec::new(),
            desired: 0,
            next: 0,
            random: 0x9E37_79B9_7F4A_7C15,
            waits: Vec::new(),
            cost: 0.0,
            most: 0,
            changes: Vec::new(),
            beyond: 0,
            last: None,
        }
    }

    /// Uniform in 0..1, always the same sequence (xorshift: Marsaglia, 2003).
    pub(crate) fn uniform(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An exponential length of time.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.uniform()).ln()
    }

    /// The 95th percentile of the waits, those that wait still included.
    pub(crate) fn p95(&self) -> f64 {
        let mut waits: Vec<f64> =
            self.waits.iter().copied().chain(self.jobs.iter().map(|came| self.now - came)).collect();
        waits.sort_by(f64::total_cmp);
        waits.get(waits.len().saturating_sub(1) * 95 / 100).copied().unwrap_or(0.0)
    }

    /// Goes on until `end`; `arrivals` are the times at which jobs come, in order.
    pub(crate) fn run(&mut self, end: f64, arrivals: &mut impl Iterator<Item = f64>) {
        let mut arrivals = arrivals.peekable();
        while self.now < end {
            self.observe();
            let to = self.now + POLL;
            while let Some(at) = arrivals.next_if(|at| *at < to) {
                self.jobs.push_back(at.max(self.now));
            }
            self.pass(to);
            self.now = to;
        }
    }

    fn observe(&mut self) {
        let count = |which: &dyn Fn(&Worker) -> bool| {
            u32::try_from(self.workers.iter().filter(|worker| which(worker)).count()).expect("few")
        };
        let (busy, now) = (count(&|worker| worker.job.is_some()), self.now);
        let workers = Workers { desired: self.desired, ready: count(&|w| !w.going && w.ready_at <= now), busy };
        let counters = |worker: &Worker| WorkerCounters {
            completed: worker.completed,
            busy: worker.job.is_some(),
            worked_seconds: worker.worked,
            ..WorkerCounters::default()
        };
        let started = self.workers.iter().filter(|worker| worker.ready_at <= now);
        let records: Vec<_> = started.map(|worker| (format!("w{}", worker.name), counters(worker))).collect();
        let (waiting, running) = (self.jobs.len() as u64, u64::from(busy));
        let rates = self.meter.sample(Sample {
            now,
            waiting,
            running,
            workers: records.iter().map(|(name, counters)| (name.as_str(), *counters)).collect(),
        });
        let oldest_wait_seconds = self.jobs.front().map(|came| now - came);
        let backlog = Some(Backlog { waiting, running, oldest_wait_seconds });
        let (decision, memory) =
            decide(&self.policy, &Observation { now, backlog, workers, rates, troubled: 0 }, &self.memory);
        self.memory = memory;
        let replicas = decision.replicas;
        if replicas > self.desired {
            let jobs = u32::try_from(waiting + running).expect("few");
            self.beyond = self.beyond.max(replicas.saturating_sub(jobs));
        }
        if replicas != self.desired {
            self.changes.push((now, replicas));
        }
        self.desired = replicas;
        self.most = self.most.max(replicas);
        self.last = Some(decision);
        self.scale();
    }

    /// Those that start go first, then idle ones, then those that drain.
    fn scale(&mut self) {
        let staying = |workers: &[Worker]| workers.iter().filter(|worker| !worker.going).count();
        while staying(&self.workers) < self.desired as usize {
            let ready_at = self.now + self.start;
            let name = self.next;
            self.next += 1;
            self.workers.push(Worker {
                name,
                ready_at,
                free_at: ready_at,
                job: None,
                completed: 0,
                worked: 0.0,
                going: false,
            });
        }
        while staying(&self.workers) > self.desired as usize {
            let now = self.now;
            let rank = |worker: &Worker| (worker.ready_at <= now, worker.job.is_some());
            let goer = self.workers.iter_mut().rev().filter(|worker| !worker.going).min_by_key(|worker| rank(worker));
            goer.expect("one stays").going = true;
        }
        self.workers.retain(|worker| !worker.going || worker.job.is_some());
    }

    /// What happens until `to`, in order: jobs end, and free workers take what waits.
    fn pass(&mut self, to: f64) {
        self.cost += self.workers.len() as f64 * POLL;
        loop {
            let ends = |worker: &Worker| worker.job.map(|(_, ends)| ends).filter(|ends| *ends <= to);
            let ending = (0..self.workers.len()).filter_map(|index| Some((ends(&self.workers[index])?, index)));
            let ending = ending.min_by(|a, b| a.0.total_cmp(&b.0));
            let free = |worker: &Worker| worker.job.is_none() && !worker.going && worker.free_at <= to;
            let taking = (0..self.workers.len()).filter(|index| free(&self.workers[*index]));
            let taking = self.jobs.front().and_then(|came| {
                let at = |index: usize| self.workers[index].free_at.max(*came).max(self.now);
                taking.map(|index| (at(index), index)).min_by(|a, b| a.0.total_cmp(&b.0))
            });
            match (ending, taking) {
                (Some((at, index)), taking) if taking.is_none_or(|(takes, _)| at <= takes) => {
                    let worker = &mut self.workers[index];
                    let (began, ends) = worker.job.take().expect("it ends");
                    worker.completed += 1;
                    worker.worked += ends - began;
                    worker.free_at = at;
                }
                (_, Some((at, index))) => {
                    let came = self.jobs.pop_front().expect("it waits");
                    self.waits.push(at - came);
                    let seconds = if self.varies { self.exponential(self.job) } else { self.job };
                    self.workers[index].job = Some((at, at + seconds));
                }
                (_, None) => break,
            }
        }
        self.workers.retain(|worker| !worker.going || worker.job.is_some());
    }
}
