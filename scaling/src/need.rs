//! How many workers the work takes, before any limit: the rules, of which the largest answer wins.

use crate::{Backlog, Candidate, Limit, Observation, Policy, Reason, WorkerRate};

/// With fewer completions than this the measured rate may not send more workers than there were completions.
const CERTAIN_COMPLETIONS: f64 = 10.0;

/// An overdue backlog is to be cleared within this part of `maxWaitSeconds`.
const OVERDUE_PART: f64 = 0.1;

/// The largest answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    /// How many workers.
    pub(crate) workers: u32,
    /// Why.
    pub(crate) reason: Reason,
    /// Every rule's answer.
    pub(crate) candidates: Vec<Candidate>,
    /// The answer if the measured rate were trusted, where it is not yet.
    pub(crate) if_certain: Option<(u32, Limit)>,
}

/// The need of a readable queue. `idle_seconds`: for how long nothing has been to do.
pub(crate) fn need(policy: &Policy, observation: &Observation, backlog: Backlog, idle_seconds: f64) -> Need {
    let mut best = measured(policy, observation, backlog);
    let mut raise = |workers: u32, reason: Reason| {
        if workers > 0 {
            best.candidates.push(Candidate { workers, reason });
        }
        if workers > best.workers {
            best.workers = workers;
            best.reason = reason;
        }
    };
    let jobs = backlog.jobs();
    if let Some(per_worker) = policy.targets.jobs_per_worker() {
        let workers = per_worker_rule(jobs, per_worker);
        raise(workers, Reason::JobsPerWorker { jobs, per_worker, workers });
    }
    if jobs > 0 {
        let unknown = observation.rates.per_worker.is_none() && policy.targets.jobs_per_worker.is_none();
        raise(1, if unknown { Reason::RateUnknown { jobs } } else { Reason::AtLeastOne { jobs } });
    }
    // A busy worker is never surplus: the same work takes the same worker-seconds, and stopping it may undo some.
    let workers = observation.workers;
    let busy = workers.busy.min(workers.desired);
    raise(busy, Reason::Busy { workers: busy });
    if let Some((workers, reason)) = passing(policy, observation, backlog) {
        raise(workers, reason);
    }
    if is_idle(observation, backlog) && workers.desired > 0 && idle_seconds < policy.idle_seconds {
        raise(1, Reason::Idle { seconds: idle_seconds, limit: policy.idle_seconds });
    }
    raise(policy.min_replicas, Reason::MinReplicas { replicas: policy.min_replicas });
    if let Some(bound) = policy.bounds.floor {
        raise(bound.replicas, Reason::Schedule { bound });
    }
    best.if_certain = best.if_certain.filter(|(certain, _)| *certain > best.workers);
    best
}

/// Nothing is to do, and nothing was since the last look.
pub(crate) fn is_idle(observation: &Observation, backlog: Backlog) -> bool {
    backlog.jobs() == 0 && observation.workers.busy == 0 && observation.rates.ended == 0
}

/// The rules that rest on measured rates, with their answer held back while the rate is uncertain.
fn measured(policy: &Policy, observation: &Observation, backlog: Backlog) -> Need {
    let nothing = Need { workers: 0, reason: Reason::Empty, candidates: Vec::new(), if_certain: None };
    let Some(rate) = observation.rates.per_worker.filter(|rate| rate.jobs_per_second > 0.0) else { return nothing };
    let arrivals = arrivals(observation);
    let answers =
        [drain(policy, backlog, rate, arrivals), keep_up(policy, rate, arrivals), max_wait(policy, backlog, rate)];
    let candidates: Vec<Candidate> =
        answers.into_iter().flatten().map(|(workers, reason)| Candidate { workers, reason }).collect();
    let largest = candidates.iter().copied().reduce(|a, b| if b.workers > a.workers { b } else { a });
    let Some(Candidate { workers, reason }) = largest else { return nothing };
    if rate.completions >= CERTAIN_COMPLETIONS {
        return Need { workers, reason, candidates, if_certain: None };
    }
    let allowed = workers.min(round_up(rate.completions.floor().max(1.0)));
    let limit = Limit::RateUncertain { completions: rate.completions };
    Need { workers: allowed, reason, candidates, if_certain: Some((workers, limit)) }
}

fn arrivals(observation: &Observation) -> f64 {
    observation.rates.arrivals_per_second.unwrap_or(0.0).max(0.0)
}

fn per_worker_rule(jobs: u64, per_worker: f64) -> u32 {
    round_up(jobs as f64 / per_worker.max(f64::MIN_POSITIVE))
}

/// What came and was done since the last look was work too, seen or not: up to `jobs + ended` were there at once, and
/// Little's law says how many workers the flow keeps busy. That is no reason to add workers, since the flow got done, but
/// one to keep them.
fn passing(policy: &Policy, observation: &Observation, backlog: Backlog) -> Option<(u32, Reason)> {
    let Observation { rates, workers, .. } = observation;
    let ended = Some(rates.ended).filter(|ended| *ended > 0)?;
    let at_once = backlog.jobs().saturating_add(ended);
    let peak = policy.targets.jobs_per_worker().map_or(0, |per_worker| per_worker_rule(at_once, per_worker));
    let base = rates
        .per_worker
        .filter(|rate| rate.jobs_per_second > 0.0)
        .map_or(0, |rate| round_up(arrivals(observation) / rate.jobs_per_second));
    let keep = peak.max(base).max(1).min(workers.desired);
    Some((keep, Reason::Passing { ended, workers: keep }))
}

/// Little's law for what arrives meanwhile, plus the backlog spread over `drainSeconds`.
fn drain(policy: &Policy, backlog: Backlog, rate: WorkerRate, arrivals: f64) -> Option<(u32, Reason)> {
    let target = policy.targets.drain_seconds.filter(|_| backlog.jobs() > 0)?;
    let (jobs, rate) = (backlog.jobs(), rate.jobs_per_second);
    let workers = round_up((arrivals + jobs as f64 / target.max(f64::MIN_POSITIVE)) / rate);
    let capacity = rate * f64::from(workers);
    let net = if capacity > arrivals { capacity - arrivals } else { capacity };
    Some((workers, Reason::Drain { jobs, rate, seconds: jobs as f64 / net, workers }))
}

/// Little's law with headroom by its square root (square-root staffing: Halfin and Whitt, 1981). Below one worker it
/// says nothing: whether there is a last worker is a matter of `idleSeconds`.
fn keep_up(policy: &Policy, rate: WorkerRate, arrivals: f64) -> Option<(u32, Reason)> {
    let targets = policy.targets;
    let wanted = targets.drain_seconds.is_some() || targets.max_wait_seconds.is_some();
    let base = arrivals / rate.jobs_per_second;
    let staffed = base + base.sqrt();
    let workers = round_up(staffed);
    let reason = Reason::KeepUp { arrivals, rate: rate.jobs_per_second, workers };
    (wanted && staffed > 1.0).then_some((workers, reason))
}

/// The last job in the queue waits for all before it: `waiting / (rate x workers)` must not exceed the limit. Once the
/// oldest has waited longer than that, what waits is to be gone soon.
fn max_wait(policy: &Policy, backlog: Backlog, rate: WorkerRate) -> Option<(u32, Reason)> {
    let limit = policy.targets.max_wait_seconds.filter(|_| backlog.waiting > 0)?;
    let oldest = backlog.oldest_wait_seconds.unwrap_or(0.0);
    let within = if oldest > limit { limit * OVERDUE_PART } else { limit };
    let waiting = backlog.waiting;
    let workers = round_up(waiting as f64 / (within.max(f64::MIN_POSITIVE) * rate.jobs_per_second));
    // No more than one worker per job can help.
    let workers = workers.min(u32::try_from(backlog.jobs()).unwrap_or(u32::MAX));
    Some((workers, Reason::MaxWait { waiting, oldest, limit, workers }))
}

/// A number of workers that is at least `value`; a rounding error is not a worker.
fn round_up(value: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates; NaN is 0")]
    let workers = (value - 1e-9).ceil().max(0.0) as u32;
    workers
}
