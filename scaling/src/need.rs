//! How many workers the work takes, before any limit: the rules, of which the largest answer wins.

use crate::deadline::{Supply, TOO_LATE_SECONDS, Verdict, round_up, verdict};
use crate::memory::Memory;
use crate::rhythm::{Circumstances, Foretold, REACTING_STARTS};
use crate::{Backlog, Candidate, Deadline, Observation, Policy, Reason, Targets, erlang};

/// Without a target no job waits for longer than so many starts of a worker.
const DEFAULT_STARTS: f64 = 2.0;
/// A job that takes less, in seconds, comes and goes between two polls: the workers' accounts tell how many are in use, not
/// who is busy at the moment of a poll.
const FLEETING_SECONDS: f64 = 0.5;

/// The largest answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    /// How many workers.
    pub(crate) workers: u32,
    /// Why.
    pub(crate) reason: Reason,
    /// Every rule's answer.
    pub(crate) candidates: Vec<Candidate>,
    /// How many of them are worth keeping for a while, should the need fall.
    pub(crate) lasting: u32,
    /// As many as there would be if the last worker did not stay while nothing is to do.
    pub(crate) without_idle: u32,
}

impl Need {
    /// One more rule, of whose answer so many are `lasting`.
    fn raise(&mut self, workers: u32, reason: Reason, lasting: u32) {
        if workers > 0 {
            self.candidates.push(Candidate { workers, reason });
        }
        if workers > self.workers {
            (self.workers, self.reason) = (workers, reason);
        }
        self.lasting = self.lasting.max(lasting.min(workers));
        if !matches!(reason, Reason::Idle { .. }) {
            self.without_idle = self.without_idle.max(workers);
        }
    }
}

/// What the rules have in common.
struct Situation<'a> {
    policy: &'a Policy,
    seen: &'a Observation,
    backlog: Backlog,
    memory: &'a Memory,
    /// What a start takes, in seconds.
    start: f64,
}

/// One target, as a time in which every job must begin.
#[derive(Debug, Clone, Copy)]
struct Target {
    kind: Kind,
    /// As it is written.
    seconds: f64,
    /// After it came, a job must begin in so many seconds.
    wait: f64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    MaxWait,
    Drain,
    TwoStarts,
}

impl Target {
    fn reason(self, deadline: Deadline) -> Reason {
        let Self { kind, seconds, .. } = self;
        match kind {
            Kind::MaxWait => Reason::MaxWait { seconds, deadline },
            Kind::Drain => Reason::Drain { seconds, deadline },
            Kind::TwoStarts => Reason::TwoStarts { seconds, deadline },
        }
    }
}

/// The need of a readable queue. `idle`: for how long nothing has been to do, and for how long the last worker stays then.
pub(crate) fn need(
    policy: &Policy,
    seen: &Observation,
    backlog: Backlog,
    memory: &Memory,
    (idle_seconds, idle_limit): (f64, f64),
) -> Need {
    let situation = Situation { policy, seen, backlog, memory, start: memory.starts.seconds() };
    let mut need = Need { workers: 0, reason: Reason::Empty, candidates: Vec::new(), lasting: 0, without_idle: 0 };
    let (workers, jobs) = (seen.workers, backlog.jobs());
    if let Some(supply) = supply(seen, backlog, memory) {
        for target in situation.targets() {
            if let Some((workers, reason)) = situation.deadline(target, &supply) {
                need.raise(workers, reason, workers);
            }
        }
    }
    // Whoever knows when the next job comes needs nobody until then.
    if let Some((workers, reason)) = situation.foretold() {
        need.raise(workers, reason, 0);
    } else if let Some((workers, reason)) = situation.keep_up() {
        need.raise(workers, reason, workers);
    }
    if let Some(per_worker) = policy.targets.jobs_per_worker {
        let workers = situation.per_worker(jobs, per_worker);
        need.raise(workers, Reason::JobsPerWorker { jobs, per_worker, workers }, workers);
    }
    if jobs > 0 {
        let unknown = situation.rate() <= 0.0 && policy.targets.jobs_per_worker.is_none();
        need.raise(1, if unknown { Reason::RateUnknown { jobs } } else { Reason::AtLeastOne { jobs } }, 1);
    }
    // A busy worker is never surplus: the same work takes the same worker-seconds, and stopping it may undo some.
    let busy = workers.busy.min(workers.desired);
    need.raise(busy, Reason::Busy { workers: busy }, situation.in_use());
    if let Some((workers, reason)) = situation.passing() {
        need.raise(workers, reason, workers);
    }
    if is_idle(seen, backlog) && workers.desired > 0 && idle_seconds < idle_limit {
        need.raise(1, Reason::Idle { seconds: idle_seconds, limit: idle_limit }, 0);
    }
    need.raise(policy.min_replicas, Reason::MinReplicas { replicas: policy.min_replicas }, policy.min_replicas);
    if let Some(bound) = policy.bounds.floor {
        need.raise(bound.replicas, Reason::Schedule { bound }, bound.replicas);
    }
    need
}

/// Nothing is to do, and nothing was since the last poll.
pub(crate) fn is_idle(seen: &Observation, backlog: Backlog) -> bool {
    backlog.jobs() == 0 && seen.workers.busy == 0 && seen.rates.ended == 0
}

/// How long a job takes, in seconds, if that is known.
pub(crate) fn job_seconds(seen: &Observation) -> Option<f64> {
    Some(f64::from(seen.rates.slots.max(1)) / seen.rates.of_a_worker()?)
}

/// Under which circumstances workers must be there before the jobs; none where they need not.
pub(crate) fn circumstances(policy: &Policy, seen: &Observation, start: f64) -> Option<Circumstances> {
    let (rate, job) = (seen.rates.of_a_worker()?, job_seconds(seen)?);
    let Targets { max_wait_seconds, drain_seconds, .. } = policy.targets;
    let wait = max_wait_seconds.into_iter().chain(drain_seconds.map(|seconds| (seconds - job).max(0.0)));
    let wait = wait.reduce(f64::min).filter(|wait| *wait < start + TOO_LATE_SECONDS)?;
    Some(Circumstances { start, wait, rate, slots: seen.rates.slots.max(1) })
}

/// What the workers will begin; none where nothing waits, and while nothing is known of their rate.
fn supply(seen: &Observation, backlog: Backlog, memory: &Memory) -> Option<Supply> {
    (backlog.waiting > 0).then_some(())?;
    let rate = seen.rates.of_a_worker()?;
    // Of what nobody knows, no more than of exponential times is expected.
    let variation = seen.rates.job_variation.map_or(1.0, |jobs| jobs.squared);
    let mut supply = Supply::new(rate, seen.rates.slots, variation);
    let ready = seen.workers.there();
    let busy = seen.workers.busy.min(ready);
    supply.add_free(ready - busy, 0.0);
    let mut left = busy;
    for (age, workers) in seen.rates.ages.groups() {
        let workers = workers.min(left);
        supply.add_busy(workers, age);
        left -= workers;
    }
    // Of those of whom nothing else is known, one is as far as the other.
    supply.add_busy(left, supply.job_seconds() / 2.0);
    for (workers, at) in memory.starts.pending(memory.clock, memory.starts.seconds()) {
        supply.add_free(workers, at);
    }
    Some(supply)
}

impl Situation<'_> {
    /// What is asked of the jobs.
    fn targets(&self) -> impl Iterator<Item = Target> {
        let targets = self.policy.targets;
        let job = job_seconds(self.seen).unwrap_or(0.0);
        let wait = targets.max_wait_seconds.map(|seconds| Target { kind: Kind::MaxWait, seconds, wait: seconds });
        let begin = |seconds: f64| (seconds - job).max(0.0);
        let drain = targets.drain_seconds.map(|seconds| Target { kind: Kind::Drain, seconds, wait: begin(seconds) });
        let seconds = DEFAULT_STARTS * self.start;
        let default = targets.are_default().then_some(Target { kind: Kind::TwoStarts, seconds, wait: seconds });
        [wait, drain, default].into_iter().flatten()
    }

    /// What the deadlines of one target ask for. Workers that there are are kept as far as the deadlines take them, or as they
    /// have work for as long as a start takes: no sooner is it worth having stopped one.
    fn deadline(&self, target: Target, supply: &Supply) -> Option<(u32, Reason)> {
        let waiting = self.memory.arrivals.waiting(self.backlog.waiting);
        let verdict = verdict(waiting, self.memory.clock, target.wait, supply, self.start)?;
        let have = self.seen.workers.desired;
        let workers = if verdict.more > 0 { self.more(verdict) } else { self.kept(verdict) };
        Some((workers, target.reason(verdict.deadline(supply, have, workers))))
    }

    /// No more than one worker per job can help.
    fn more(&self, verdict: Verdict) -> u32 {
        let have = self.seen.workers.desired;
        let useful = round_up(self.backlog.jobs() as f64 / f64::from(self.seen.rates.slots.max(1)));
        have.saturating_add(verdict.more).min(useful.max(have))
    }

    fn kept(&self, verdict: Verdict) -> u32 {
        let have = self.seen.workers.desired;
        if !self.job_is_known() {
            return have;
        }
        let work = self.backlog.waiting as f64 / (self.rate() * self.start.max(f64::MIN_POSITIVE));
        let with_work = round_up(self.load() + work);
        have.saturating_sub(verdict.spare).max(with_work.min(have))
    }

    fn rate(&self) -> f64 {
        self.seen.rates.of_a_worker().unwrap_or(0.0)
    }

    /// Workers at work.
    fn load(&self) -> f64 {
        let busy = f64::from(self.seen.workers.busy.min(self.seen.workers.desired));
        let fleeting = job_seconds(self.seen).is_some_and(|job| job < FLEETING_SECONDS);
        self.memory.occupied.filter(|_| fleeting).unwrap_or(busy)
    }

    fn in_use(&self) -> u32 {
        round_up(self.load())
    }

    /// Whether it is known how long a job takes. Of what runs since a moment ago it is known only that it takes longer: no reason
    /// to do with fewer workers.
    fn job_is_known(&self) -> bool {
        self.seen.rates.per_worker.is_some_and(|rate| rate.completions >= 1.0)
    }

    /// `jobsPerWorker`: no more workers than have work for as long as they take to start, where that is known.
    fn per_worker(&self, jobs: u64, per_worker: f64) -> u32 {
        let workers = round_up(jobs as f64 / per_worker.max(f64::MIN_POSITIVE));
        let rate = self.rate();
        if rate <= 0.0 || jobs == 0 || !self.job_is_known() {
            return workers;
        }
        let with_work = round_up(jobs as f64 / (rate * self.start.max(f64::MIN_POSITIVE)));
        workers.min(with_work.max(1))
    }

    /// Where a target is shorter than a start, only workers that are there already can meet it: as many as random arrivals take,
    /// and no more than there are jobs to be had.
    fn keep_up(&self) -> Option<(u32, Reason)> {
        let now = circumstances(self.policy, self.seen, self.start)?;
        let (wait, job, load) = (now.wait, now.job_seconds(), self.memory.rhythm.as_ref()?.offered.load()?);
        let workers = erlang::workers(load, job, wait, self.policy.max_replicas);
        // To react costs a start and a hold for each arrival; to keep costs those who are not busy.
        let idle = f64::from(workers) - load;
        let react = REACTING_STARTS * self.start * load / job;
        (idle <= load + react).then_some(())?;
        Some((workers, Reason::KeepUp { busy: load, wait, workers }))
    }

    /// What comes at regular times finds workers, as far as that pays.
    fn foretold(&self) -> Option<(u32, Reason)> {
        let now = circumstances(self.policy, self.seen, self.start)?;
        let Foretold { within, right, of, workers } = self.memory.rhythm.as_ref()?.foretold(self.memory.clock, now)?;
        Some((workers, Reason::Foretold { within, right, of, workers }))
    }

    /// What came and was done since the last poll was work too, seen or not. That is no reason to add workers, since it got
    /// done, but one to keep those it takes.
    fn passing(&self) -> Option<(u32, Reason)> {
        let ended = Some(self.seen.rates.ended).filter(|ended| *ended > 0)?;
        let at_once = self.backlog.jobs().saturating_add(ended);
        let peak = self.policy.targets.jobs_per_worker.map_or(0, |per_worker| self.per_worker(at_once, per_worker));
        let base = if self.rate() > 0.0 { self.in_use() } else { 0 };
        let keep = peak.max(base).max(1).min(self.seen.workers.desired);
        Some((keep, Reason::Passing { ended, workers: keep }))
    }
}
