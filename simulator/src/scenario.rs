//! What a run is made of, before a policy is chosen: a load, and what jobs, pods and database are like.

use jobqueue_scaling::{Policy, Targets};

use super::bound::Target;
use super::load::{Burst, Load, Stretch};
use super::shape::{Case, Shape};
use super::simulation::Simulation;
use super::trace::{self, TraceError};
use super::work::{Database, Spread, Work};

/// A trace is followed for so long after its end, in seconds, to see the scale-down.
const AFTER_TRACE: f64 = 900.0;
/// How long pods take to start by default, in seconds.
const START_SECONDS: f64 = 5.0;
/// How long a job may wait where the manifest has no target, in starts of a pod.
const STARTS_WAITED: f64 = 2.0;
/// Standard deviation of a pod's start, by its mean.
const START_VARIATION: f64 = 0.2;
/// Waiting jobs per worker where nothing says how many.
const LIST_LENGTH: f64 = 100.0;
/// A pod is killed so many seconds after its worker should have drained.
const AFTER_DRAIN_SECONDS: f64 = 5.0;
/// How long a job takes where nobody says, in seconds, and how much that varies.
const JOB_SECONDS: f64 = 1.0;
const JOB_VARIATION: f64 = 0.5;

/// What all scenarios have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Circumstances {
    /// The most workers; shapes are measured by what these can do.
    pub max_replicas: u32,
    /// The manifest's targets: defaults of the bound and of `list_length`.
    pub targets: Targets,
    /// Jobs that a worker does at once.
    pub concurrency: u32,
    /// How long a job takes on average, in seconds.
    pub job_seconds: f64,
    /// Standard deviation of a job's time, by its mean.
    pub job_variation: f64,
    /// How long a pod takes to start on average, in seconds; `None`: as the shape says, or 5.
    pub pod_start_seconds: Option<f64>,
    /// How long a pod may drain before it is killed, in seconds.
    pub grace_seconds: f64,
    /// Jobs per second that the database does for all workers together; `None`: no limit.
    pub database_ceiling: Option<f64>,
    /// Waiting jobs per worker, for policies that see the length of the list only; `None`: derived from the targets.
    pub list_length: Option<f64>,
    /// How long a job may wait, for the bound, in seconds; `None`: derived from the targets.
    pub bound_wait: Option<f64>,
    /// The seed of all random numbers.
    pub seed: u64,
    /// The moment whose decision is to be explained, in seconds since the start; `None`: nothing is explained.
    pub explain: Option<f64>,
}

/// What was seen to arrive: at random, so many on average, until the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArrivalRate {
    /// Seconds since the start.
    pub at: f64,
    /// Jobs per second.
    pub per_second: f64,
}

/// A load with everything but the policy.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(crate) name: String,
    pub(crate) simulation: Simulation,
    /// Waiting jobs per worker, for policies that see the length of the list only.
    pub(crate) list_length: f64,
    /// What the bound keeps to.
    pub(crate) target: Target,
}

impl Scenario {
    /// A built-in load; it lasts `seconds`, or as long as the shape if that is `None`.
    pub fn of_shape(shape: Shape, seconds: Option<f64>, circumstances: &Circumstances) -> Self {
        let work = circumstances.work(circumstances.job_seconds);
        Self::new(shape.case(work, circumstances.max_replicas, seconds), circumstances)
    }

    /// A recorded load in the CSV text `trace`; it lasts `seconds`, or 15 minutes longer than the trace if that is `None`.
    /// Fails with the line that cannot be read.
    pub fn of_trace(
        name: String,
        trace: &str,
        seconds: Option<f64>,
        circumstances: &Circumstances,
    ) -> Result<Self, TraceError> {
        let load = trace::parse(trace)?;
        let seconds = seconds.unwrap_or(load.end() + AFTER_TRACE);
        let job_seconds = load.job_seconds();
        let case = Case { name, load, seconds, slumps: Vec::new(), start_seconds: None, job_seconds };
        Ok(Self::new(case, circumstances))
    }

    /// What was seen of a queue: `waiting` jobs at its start, and these arrivals, in the order of time, for `seconds`.
    pub fn of_arrivals(
        name: String,
        waiting: u64,
        arrivals: &[ArrivalRate],
        seconds: f64,
        circumstances: &Circumstances,
    ) -> Self {
        let ends = arrivals.iter().skip(1).map(|next| next.at).chain([seconds]);
        let stretches = arrivals.iter().zip(ends).filter(|(rate, to)| rate.at < *to).map(|(rate, to)| Stretch {
            from: rate.at,
            to,
            first: rate.per_second,
            last: rate.per_second,
        });
        let bursts = if waiting > 0 { vec![Burst { at: 0.0, jobs: waiting }] } else { Vec::new() };
        let load = Load { stretches: stretches.collect(), bursts, ..Load::default() };
        let case = Case { name, load, seconds, slumps: Vec::new(), start_seconds: None, job_seconds: None };
        Self::new(case, circumstances)
    }

    fn new(case: Case, circumstances: &Circumstances) -> Self {
        let start = circumstances.pod_start_seconds.or(case.start_seconds).unwrap_or(START_SECONDS);
        let simulation = Simulation {
            load: case.load,
            seconds: case.seconds,
            work: circumstances.work(case.job_seconds.unwrap_or(circumstances.job_seconds)),
            start: Spread { mean: start, variation: START_VARIATION },
            grace: circumstances.grace_seconds,
            database: Database { ceiling: circumstances.database_ceiling, slumps: case.slumps },
            seed: circumstances.seed,
            explain: circumstances.explain,
        };
        let rate = simulation.work.rate();
        let list_length = circumstances.list_length.unwrap_or_else(|| list_length(&circumstances.targets, rate));
        let target =
            circumstances.bound_wait.map_or_else(|| target(&circumstances.targets, rate, start), Target::begun_within);
        Self { name: case.name, simulation, list_length, target }
    }

    /// The shape's or the trace's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long a run lasts, in seconds.
    pub fn seconds(&self) -> f64 {
        self.simulation.seconds
    }
}

impl Circumstances {
    /// Those of a manifest, and for the rest what is usual.
    pub fn new(policy: &Policy, concurrency: u32, drain_seconds: u32) -> Self {
        Self {
            max_replicas: policy.max_replicas,
            targets: policy.targets,
            concurrency,
            job_seconds: JOB_SECONDS,
            job_variation: JOB_VARIATION,
            pod_start_seconds: None,
            grace_seconds: f64::from(drain_seconds) + AFTER_DRAIN_SECONDS,
            database_ceiling: None,
            list_length: None,
            bound_wait: None,
            seed: 1,
            explain: None,
        }
    }

    fn work(&self, job_seconds: f64) -> Work {
        Work::new(self.concurrency, Spread { mean: job_seconds, variation: self.job_variation })
    }
}

/// Waiting jobs per worker: the manifest's target, or what one worker does within the shorter of its times.
fn list_length(targets: &Targets, rate: f64) -> f64 {
    let times = targets.max_wait_seconds.into_iter().chain(targets.drain_seconds);
    let wait = times.min_by(f64::total_cmp);
    targets.jobs_per_worker.or(wait.map(|wait| wait * rate)).unwrap_or(LIST_LENGTH)
}

/// What the bound keeps to by default: the targets of the manifest.
fn target(targets: &Targets, rate: f64, start: f64) -> Target {
    let Targets { jobs_per_worker, max_wait_seconds, drain_seconds } = *targets;
    // Without a time there is how many jobs stand behind each other, or what the start of pods makes of any queue.
    let behind = || jobs_per_worker.map(|jobs| jobs / rate);
    let begun = max_wait_seconds.or(drain_seconds).or_else(behind).unwrap_or(STARTS_WAITED * start);
    Target { begun, done: drain_seconds }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_arrives_again() {
        let circumstances = Circumstances::new(&Policy::default(), 2, 30);
        assert!((circumstances.grace_seconds - 35.0).abs() < 1e-9);
        let rates = [(0.0, 2.0), (60.0, 0.0), (90.0, 4.0)].map(|(at, per_second)| ArrivalRate { at, per_second });
        let Scenario { simulation, .. } = Scenario::of_arrivals("seen".into(), 7, &rates, 100.0, &circumstances);
        let stretches: Vec<_> = simulation.load.stretches.iter().map(|one| (one.from, one.to, one.first)).collect();
        assert_eq!(stretches, [(0.0, 60.0, 2.0), (60.0, 90.0, 0.0), (90.0, 100.0, 4.0)]);
        assert_eq!(simulation.load.bursts, [Burst { at: 0.0, jobs: 7 }]);
    }
}
