//! One run: a load, a fleet of workers, and a policy that decides four times a second as the operator does.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;

use super::explained::Explained;
use super::fifo::{Fifo, Lot};
use super::fleet::Fleet;
use super::incoming::Incoming;
use super::load::Load;
use super::policies::{ScalingPolicy, Snapshot};
use super::series::{Point, Series};
use super::work::{Database, Spread, Work};

/// Between two polls, in seconds: the operator's default.
pub(crate) const POLL_SECONDS: f64 = 0.25;
/// The random parts of a run, each with a stream of its own: what one of them draws changes no other.
const ARRIVALS: u64 = 1;
const PODS: u64 = 2;
const JOBS: u64 = 4;

/// Everything but the policy.
#[derive(Debug, Clone)]
pub(crate) struct Simulation {
    /// What arrives.
    pub(crate) load: Load,
    /// How long the run is, in seconds.
    pub(crate) seconds: f64,
    /// What the jobs are like.
    pub(crate) work: Work,
    /// How long a pod takes to become ready.
    pub(crate) start: Spread,
    /// How long a pod may drain before it is killed, in seconds.
    pub(crate) grace: f64,
    /// What the database allows.
    pub(crate) database: Database,
    /// The seed of all random numbers.
    pub(crate) seed: u64,
    /// When a decision is to be explained, in seconds since the start.
    pub(crate) explain: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Jobs that arrived.
    pub arrived: u64,
    /// Jobs that were done.
    pub done: u64,
    /// Jobs that were waiting or running at the end.
    pub left: u64,
    /// Jobs that were stopped half-way by a scale-in and had to run again.
    pub interrupted: u64,
    /// Half of the jobs waited no longer than this, in seconds. Those that are left have waited until the end.
    pub p50_wait_seconds: f64,
    /// 95 of 100 jobs.
    pub p95_wait_seconds: f64,
    /// 99 of 100 jobs.
    pub p99_wait_seconds: f64,
    /// All jobs.
    pub max_wait_seconds: f64,
    /// On average.
    pub mean_wait_seconds: f64,
    /// The longest time, in seconds, in which the queue was never empty.
    pub longest_backlog_seconds: f64,
    /// Pods by the time that each of them existed, from its start to its end.
    pub worker_seconds: f64,
    /// The most pods at once.
    pub most_workers: u32,
    /// How often the number of workers that were asked for changed.
    pub changes: usize,
    /// Each of those changes.
    #[serde(skip)]
    pub scalings: Vec<ScalingChange>,
    /// The decision that was to be explained; `None`: none was, or the policy cannot say more.
    #[serde(skip)]
    pub explained: Option<Explained>,
    /// What went on.
    #[serde(skip)]
    pub series: Series,
}

/// A change of the number of workers that are asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingChange {
    /// When, in seconds since the start.
    pub at: f64,
    /// Before.
    pub from: u32,
    /// After.
    pub to: u32,
    /// The policy's reason.
    pub why: String,
}

/// A run that goes on.
struct Run<'a> {
    simulation: &'a Simulation,
    incoming: Incoming<'a>,
    fifo: Fifo,
    fleet: Fleet,
    desired: u32,
    arrived: u64,
    scalings: Vec<ScalingChange>,
    worker_seconds: f64,
    most_workers: u32,
    /// Since when the queue has not been empty.
    backlog_since: Option<f64>,
    longest_backlog: f64,
    /// Since when nothing has happened at all.
    still_since: Option<f64>,
    /// When the policy's rule will be another.
    rule_until: f64,
    /// The poll that is to be explained: the last one not later than that moment.
    explain: Option<f64>,
    explained: Option<Explained>,
    series: Series,
}

/// The random numbers of one part of the run.
fn chance(seed: u64, part: u64) -> ChaCha8Rng {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    chance.set_stream(part);
    chance
}

impl Simulation {
    /// The jobs in the order in which they come.
    pub(crate) fn incoming(&self) -> Incoming<'_> {
        Incoming::new(&self.load, self.work, chance(self.seed, ARRIVALS), chance(self.seed, JOBS))
    }

    /// Runs it with this policy. The same seed gives the same outcome; the jobs are the same for every policy. `None` if
    /// it was told to stop.
    pub(crate) fn run_unless(&self, policy: &mut dyn ScalingPolicy, stop: &AtomicBool) -> Option<Outcome> {
        let mut run = Run {
            simulation: self,
            incoming: self.incoming(),
            fifo: Fifo::default(),
            fleet: Fleet::new(self.work, self.start, self.grace, chance(self.seed, PODS)),
            desired: 0,
            arrived: 0,
            scalings: Vec::new(),
            worker_seconds: 0.0,
            most_workers: 0,
            backlog_since: None,
            longest_backlog: 0.0,
            still_since: None,
            rule_until: f64::INFINITY,
            explain: self.explain.map(|at| (at / POLL_SECONDS + 1e-9).floor() * POLL_SECONDS),
            explained: None,
            series: Series::new(self.seconds),
        };
        let polls = self.seconds / POLL_SECONDS;
        let mut poll = 0.0;
        while poll < polls {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            let now = poll * POLL_SECONDS;
            run.poll(now, policy);
            let next = run.next_poll(poll, policy).min(polls);
            run.pass(now, next * POLL_SECONDS);
            poll = next;
        }
        Some(run.outcome())
    }

    #[cfg(test)]
    pub(crate) fn run(&self, policy: &mut dyn ScalingPolicy) -> Outcome {
        self.run_unless(policy, &AtomicBool::new(false)).expect("nobody stops it")
    }
}

impl Run<'_> {
    /// The policy decides; then jobs arrive, so that a job is seen up to a quarter of a second after it came.
    fn poll(&mut self, now: f64, policy: &mut dyn ScalingPolicy) {
        let seen = Snapshot {
            now,
            waiting: self.fifo.waiting(),
            running: self.fleet.running(),
            oldest_wait: self.fifo.oldest().map(|arrived| now - arrived),
            desired: self.desired,
            pods: self.fleet.pods(),
        };
        let to = policy.decide(seen);
        if self.explain.is_some_and(|at| (at - now).abs() < POLL_SECONDS / 2.0) {
            self.explained = policy.decision().map(|(decision, rates)| Explained::new(&seen, decision, rates));
        }
        if to != self.desired {
            self.scalings.push(ScalingChange { at: now, from: self.desired, to, why: policy.why() });
            self.desired = to;
        }
        self.fleet.scale(to, policy.scale_down_order(), now, &mut self.fifo);
        for lot in self.incoming.between(now, now + POLL_SECONDS) {
            self.arrived += lot.jobs;
            self.fifo.push(*lot);
        }
        self.fleet.serve(now, &mut self.fifo);
        self.note(now);
    }

    fn note(&mut self, now: f64) {
        let point = Point {
            waiting: self.fifo.waiting() as f64,
            oldest_wait: self.fifo.oldest().map_or(0.0, |arrived| now - arrived),
            workers: self.fleet.pods().len() as f64,
            desired: f64::from(self.desired),
            worker_seconds: self.worker_seconds,
        };
        self.series.add(now, point);
    }

    /// The number of the next poll: the following one, or where nothing is going to happen, the next at which a job may
    /// arrive, or the last before the policy's rule changes: it must remember what held until then.
    fn next_poll(&mut self, poll: f64, policy: &dyn ScalingPolicy) -> f64 {
        let now = poll * POLL_SECONDS;
        if now >= std::mem::replace(&mut self.rule_until, policy.changes_at()) {
            self.still_since = None;
        }
        if self.fifo.waiting() > 0 || !self.fleet.is_still() || self.fleet.pods().len() != self.desired as usize {
            self.still_since = None;
        } else {
            let since = *self.still_since.get_or_insert(now);
            if self.scalings.last().is_some_and(|scaling| scaling.at >= now) {
                self.still_since = Some(now);
            } else if now - since > policy.settles_within() {
                let next = self.incoming.next(now + POLL_SECONDS).map_or(f64::INFINITY, |at| at / POLL_SECONDS);
                let change = (self.rule_until / POLL_SECONDS).ceil() - 1.0;
                let explained = self.explain.filter(|at| *at > now).map_or(f64::INFINITY, |at| at / POLL_SECONDS);
                return next.floor().min(change).min(explained).max(poll + 1.0);
            }
        }
        poll + 1.0
    }

    fn pass(&mut self, from: f64, to: f64) {
        let pods = self.fleet.pods().len();
        self.most_workers = self.most_workers.max(u32::try_from(pods).unwrap_or(u32::MAX));
        self.worker_seconds += pods as f64 * (to - from);
        self.fleet.live(from, to, &mut self.fifo, &self.simulation.database);
        if self.fifo.waiting() > 0 {
            let since = *self.backlog_since.get_or_insert(from);
            self.longest_backlog = self.longest_backlog.max(to - since);
        } else {
            self.backlog_since = None;
        }
    }

    fn outcome(mut self) -> Outcome {
        let end = self.simulation.seconds;
        // Where the last polls were skipped, the picture goes on to the end all the same.
        self.note((end - POLL_SECONDS).max(0.0));
        let left = self.fifo.waiting() + self.fleet.running();
        let mut waits = std::mem::take(&mut self.fleet.waits);
        for Lot { arrived, jobs, .. } in self.fifo.lots() {
            waits.add(end - arrived, jobs);
        }
        for (taken, Lot { arrived, jobs, .. }) in self.fleet.in_hand() {
            waits.add(taken - arrived, jobs);
        }
        Outcome {
            arrived: self.arrived,
            done: self.fleet.done,
            left,
            interrupted: self.fleet.interrupted,
            p50_wait_seconds: waits.quantile(0.5),
            p95_wait_seconds: waits.quantile(0.95),
            p99_wait_seconds: waits.quantile(0.99),
            max_wait_seconds: waits.longest(),
            mean_wait_seconds: waits.mean(),
            longest_backlog_seconds: self.longest_backlog,
            worker_seconds: self.worker_seconds,
            most_workers: self.most_workers,
            changes: self.scalings.len(),
            scalings: self.scalings,
            explained: self.explained,
            series: self.series,
        }
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_scaling::{Calendar, Policy, Schedule};

    use super::super::policies::{Fixed, Keda, OperatorPolicy, PerWorker};
    use super::super::work::Slump;
    use super::*;

    /// `rate` jobs per second for `seconds`; a job takes a second, `variation` is how much that varies.
    fn steady(rate: f64, seconds: f64, job: Spread) -> Simulation {
        Simulation {
            load: Load::default().then(seconds, rate, rate),
            seconds,
            work: Work::new(1, job),
            start: Spread { mean: 0.0, variation: 0.0 },
            grace: 30.0,
            database: Database::default(),
            seed: 1,
            explain: None,
        }
    }

    /// Pollaczek and Khinchin: one worker at load ρ keeps a job waiting for ρ S (1 + c²) / 2 (1 - ρ) on average.
    #[test]
    fn one_worker_keeps_jobs_waiting_as_long_as_the_formula_says() {
        for (load, variation) in [(0.5, 0.0), (0.7, 0.5), (0.8, 1.0)] {
            let job = Spread { mean: 10.0, variation };
            let outcome = steady(load / 10.0, 6e5, job).run(&mut Fixed { workers: 1 });
            let expected = load * 10.0 * (1.0 + variation * variation) / (2.0 * (1.0 - load));
            let ratio = outcome.mean_wait_seconds / expected;
            assert!((ratio - 1.0).abs() < 0.1, "{load} {variation}: {} for {expected}", outcome.mean_wait_seconds);
        }
    }

    /// Little: as many wait, on average over time, as arrive per second times how long each waits.
    #[test]
    fn littles_law_holds() {
        let simulation = steady(0.16, 100_000.0, Spread { mean: 50.0, variation: 0.5 });
        let mut run_points = Vec::new();
        let mut watcher = Watcher { workers: 9, seen: &mut run_points };
        let outcome = simulation.run(&mut watcher);
        let waiting = run_points.iter().sum::<u64>() as f64 / run_points.len() as f64;
        let expected = outcome.arrived as f64 / simulation.seconds * outcome.mean_wait_seconds;
        // A job is counted half a poll too seldom.
        assert!((waiting / expected - 1.0).abs() < 0.05, "{waiting} for {expected}");
    }

    /// A fixed number of workers; writes down how many jobs wait.
    struct Watcher<'a> {
        workers: u32,
        seen: &'a mut Vec<u64>,
    }

    impl ScalingPolicy for Watcher<'_> {
        fn decide(&mut self, seen: Snapshot<'_>) -> u32 {
            self.seen.push(seen.waiting);
            self.workers
        }

        fn why(&self) -> String {
            String::new()
        }

        fn settles_within(&self) -> f64 {
            f64::INFINITY
        }
    }

    #[test]
    fn no_job_is_lost_or_done_twice_whatever_is_done_to_the_workers() {
        for seed in 0..20 {
            let long = steady(3.0, 900.0, Spread { mean: 20.0, variation: 1.0 });
            // Short jobs are done in portions.
            let short = steady(900.0, 900.0, Spread { mean: 0.05, variation: 1.0 });
            let mut simulation = if seed % 2 == 0 { long } else { short };
            simulation.seed = seed;
            simulation.grace = 5.0;
            simulation.start = Spread { mean: 10.0, variation: 0.5 };
            simulation.load.bursts = vec![super::super::load::Burst { at: 100.0, jobs: 500 }];
            simulation.database.slumps = vec![Slump { from: 200.0, to: 300.0, ceiling: 0.0 }];
            let policies = || -> [Box<dyn ScalingPolicy>; 3] {
                [
                    Box::new(PerWorker { length: 5.0, least: 0, most: 60 }),
                    Box::new(Keda::new(5.0, (0, 60), 30.0, (0.3, 0.6))),
                    Box::new(Fixed { workers: 7 }),
                ]
            };
            let outcomes = policies().map(|mut policy| simulation.run(policy.as_mut()));
            let again = policies().map(|mut policy| simulation.run(policy.as_mut()));
            assert_eq!(outcomes, again, "the same seed, the same outcome");
            let arrived = outcomes.map(|outcome| {
                assert_eq!(outcome.arrived, outcome.done + outcome.left, "seed {seed}");
                outcome.arrived
            });
            assert!(arrived.windows(2).all(|pair| pair[0] == pair[1]), "every policy meets the same jobs");
        }
    }

    #[test]
    fn a_pod_that_goes_too_early_interrupts_jobs() {
        let mut simulation = steady(0.0, 2000.0, Spread { mean: 100.0, variation: 0.0 });
        simulation.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 10 }];
        let outcome = simulation.run(&mut PerWorker { length: 1.0, least: 0, most: 10 });
        // The list is empty as soon as the jobs run, and no pod is left to end them.
        assert!(outcome.interrupted >= 10, "{outcome:?}");
    }

    /// The operator's policy, which never says that it has settled.
    struct Sleepless(OperatorPolicy);

    impl ScalingPolicy for Sleepless {
        fn decide(&mut self, seen: Snapshot<'_>) -> u32 {
            self.0.decide(seen)
        }

        fn why(&self) -> String {
            self.0.why()
        }

        fn settles_within(&self) -> f64 {
            f64::INFINITY
        }
    }

    #[test]
    fn a_schedule_is_not_slept_through() {
        let calendar = || {
            let schedule = |name, times, bounds| Schedule::new(name, times, "UTC", bounds).unwrap();
            let floor = schedule("morning", ("30 6 * * *", "0 9 * * *"), (Some(3), None));
            Calendar::new(vec![floor, schedule("noon", ("0 8 * * *", "0 13 * * *"), (Some(4), Some(2)))])
        };
        let start = chrono::DateTime::parse_from_rfc3339("2026-01-05T00:00:00.4Z").unwrap().to_utc();
        let mut simulation = steady(0.0, 100_000.0, Spread { mean: 1.0, variation: 0.5 });
        simulation.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 100 }];
        let ours = || OperatorPolicy::new(Policy::default(), false, calendar(), start);
        let (mut sleeper, mut sleepless) = (ours(), Sleepless(ours()));
        let (short, long) = (simulation.run(&mut sleeper), simulation.run(&mut sleepless));
        let changes = |outcome: &Outcome| {
            let changes = outcome.scalings.iter().map(|scaling| (scaling.at, scaling.to));
            changes.filter(|(at, _)| *at > 3600.0).collect::<Vec<_>>()
        };
        let times = [(6.5, 3), (8.0, 2)].map(|(hours, workers)| (hours * 3600.0 - 0.25, workers));
        assert_eq!(changes(&short)[..2], times);
        assert_eq!(changes(&short), changes(&long));
        assert!((short.worker_seconds - long.worker_seconds).abs() < 1e-6);
    }

    #[test]
    fn quiet_hours_cost_nothing_and_change_nothing() {
        let hours = |seconds: f64| {
            let mut simulation = steady(0.0, seconds, Spread { mean: 1.0, variation: 0.5 });
            simulation.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 1000 }];
            simulation.run(&mut Keda::new(10.0, (0, 20), 30.0, (0.5, 0.5)))
        };
        let (short, long) = (hours(3600.0), hours(3.6e8));
        assert_eq!((short.done, short.changes, short.interrupted), (long.done, long.changes, long.interrupted));
        assert!((short.worker_seconds - long.worker_seconds).abs() < 1e-6);
        assert_eq!((short.series.points.len(), long.series.points.len()), (600, 600));
    }
}
