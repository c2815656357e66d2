//! One run: a load, a fleet of workers, and a foreman who looks four times a second as the operator does.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;

use super::explained::Explained;
use super::fifo::{Fifo, Lot};
use super::fleet::Fleet;
use super::foreman::{Foreman, Seen};
use super::incoming::Incoming;
use super::load::Load;
use super::series::{Point, Series};
use super::work::{Database, Spread, Work};

/// Between two looks, in seconds: the operator's default.
pub(crate) const LOOK_SECONDS: f64 = 0.25;
/// The parts of a run that depend on chance, each with a stream of its own: what one of them draws changes no other.
const ARRIVALS: u64 = 1;
const PODS: u64 = 2;
const JOBS: u64 = 4;

/// Everything but the foreman.
#[derive(Debug, Clone)]
pub(crate) struct World {
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
    /// Where chance begins.
    pub(crate) seed: u64,
    /// When a decision is to be explained, in seconds since the start.
    pub(crate) explain: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// Jobs that arrived.
    pub(crate) arrived: u64,
    /// Jobs that were done.
    pub(crate) done: u64,
    /// Jobs that were waiting or running at the end.
    pub(crate) left: u64,
    /// Jobs that were stopped half-way by a scale-in and had to run again.
    pub(crate) interrupted: u64,
    /// Half of the jobs waited no longer than this, in seconds. Those that are left have waited until the end.
    pub(crate) p50_wait_seconds: f64,
    /// 95 of 100 jobs.
    pub(crate) p95_wait_seconds: f64,
    /// 99 of 100 jobs.
    pub(crate) p99_wait_seconds: f64,
    /// All jobs.
    pub(crate) max_wait_seconds: f64,
    /// On average.
    pub(crate) mean_wait_seconds: f64,
    /// The longest time, in seconds, in which the queue was never empty.
    pub(crate) longest_backlog_seconds: f64,
    /// Pods by the time that each of them existed, from its start to its end.
    pub(crate) worker_seconds: f64,
    /// The most pods at once.
    pub(crate) most_workers: u32,
    /// How often the number of workers that were asked for changed.
    pub(crate) changes: usize,
    /// Each of those changes.
    #[serde(skip)]
    pub(crate) scalings: Vec<Scaling>,
    /// The decision that was to be explained.
    #[serde(skip)]
    pub(crate) explained: Option<Explained>,
    /// What went on.
    #[serde(skip)]
    pub(crate) series: Series,
}

/// A change of the number of workers that are asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Scaling {
    /// When, in seconds since the start.
    pub(crate) at: f64,
    /// Before.
    pub(crate) from: u32,
    /// After.
    pub(crate) to: u32,
    /// The foreman's words.
    pub(crate) why: String,
}

/// A run that goes on.
struct Run<'a> {
    world: &'a World,
    incoming: Incoming<'a>,
    fifo: Fifo,
    fleet: Fleet,
    desired: u32,
    arrived: u64,
    scalings: Vec<Scaling>,
    worker_seconds: f64,
    most_workers: u32,
    /// Since when the queue has not been empty.
    backlog_since: Option<f64>,
    longest_backlog: f64,
    /// Since when nothing has happened at all.
    still_since: Option<f64>,
    /// When the foreman's rule will be another.
    rule_until: f64,
    /// The look that is to be explained: the last one not later than that moment.
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

impl World {
    /// The jobs in the order in which they come.
    pub(crate) fn incoming(&self) -> Incoming<'_> {
        Incoming::new(&self.load, self.work, chance(self.seed, ARRIVALS), chance(self.seed, JOBS))
    }

    /// Runs it with this foreman. The same seed gives the same outcome; the jobs are the same for every foreman.
    pub(crate) fn run(&self, foreman: &mut dyn Foreman) -> Outcome {
        let mut run = Run {
            world: self,
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
            explain: self.explain.map(|at| (at / LOOK_SECONDS + 1e-9).floor() * LOOK_SECONDS),
            explained: None,
            series: Series::new(self.seconds),
        };
        let looks = self.seconds / LOOK_SECONDS;
        let mut look = 0.0;
        while look < looks {
            let now = look * LOOK_SECONDS;
            run.look(now, foreman);
            let next = run.next_look(look, foreman).min(looks);
            run.pass(now, next * LOOK_SECONDS);
            look = next;
        }
        run.outcome()
    }
}

impl Run<'_> {
    /// The foreman looks; then jobs arrive, so that a job is seen up to a quarter of a second after it came.
    fn look(&mut self, now: f64, foreman: &mut dyn Foreman) {
        let seen = Seen {
            now,
            waiting: self.fifo.waiting(),
            running: self.fleet.running(),
            oldest_wait: self.fifo.oldest().map(|arrived| now - arrived),
            desired: self.desired,
            pods: self.fleet.pods(),
        };
        let to = foreman.look(seen);
        if self.explain.is_some_and(|at| (at - now).abs() < LOOK_SECONDS / 2.0) {
            self.explained = foreman.decision().map(|(decision, rates)| Explained::new(&seen, decision, rates));
        }
        if to != self.desired {
            self.scalings.push(Scaling { at: now, from: self.desired, to, why: foreman.why() });
            self.desired = to;
        }
        self.fleet.scale(to, foreman.goers(), now, &mut self.fifo);
        for lot in self.incoming.between(now, now + LOOK_SECONDS) {
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

    /// The number of the next look: the following one, or where nothing is going to happen, the next at which a job may
    /// arrive, or the last before the foreman's rule changes: what held until then is to be fresh in his memory.
    fn next_look(&mut self, look: f64, foreman: &dyn Foreman) -> f64 {
        let now = look * LOOK_SECONDS;
        if now >= std::mem::replace(&mut self.rule_until, foreman.changes_at()) {
            self.still_since = None;
        }
        if self.fifo.waiting() > 0 || !self.fleet.is_still() || self.fleet.pods().len() != self.desired as usize {
            self.still_since = None;
        } else {
            let since = *self.still_since.get_or_insert(now);
            if self.scalings.last().is_some_and(|scaling| scaling.at >= now) {
                self.still_since = Some(now);
            } else if now - since > foreman.settles_within() {
                let next = self.incoming.next(now + LOOK_SECONDS).map_or(f64::INFINITY, |at| at / LOOK_SECONDS);
                let change = (self.rule_until / LOOK_SECONDS).ceil() - 1.0;
                let explained = self.explain.filter(|at| *at > now).map_or(f64::INFINITY, |at| at / LOOK_SECONDS);
                return next.floor().min(change).min(explained).max(look + 1.0);
            }
        }
        look + 1.0
    }

    fn pass(&mut self, from: f64, to: f64) {
        let pods = self.fleet.pods().len();
        self.most_workers = self.most_workers.max(u32::try_from(pods).unwrap_or(u32::MAX));
        self.worker_seconds += pods as f64 * (to - from);
        self.fleet.live(from, to, &mut self.fifo, &self.world.database);
        if self.fifo.waiting() > 0 {
            let since = *self.backlog_since.get_or_insert(from);
            self.longest_backlog = self.longest_backlog.max(to - since);
        } else {
            self.backlog_since = None;
        }
    }

    fn outcome(mut self) -> Outcome {
        let end = self.world.seconds;
        // Where the last looks were skipped, the picture goes on to the end all the same.
        self.note((end - LOOK_SECONDS).max(0.0));
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

    use super::super::foreman::{Fixed, Keda, Ours, PerWorker};
    use super::super::work::Slump;
    use super::*;

    /// `rate` jobs per second for `seconds`; a job takes a second, `variation` is how much that varies.
    fn steady(rate: f64, seconds: f64, job: Spread) -> World {
        World {
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
        let world = steady(0.16, 100_000.0, Spread { mean: 50.0, variation: 0.5 });
        let mut run_points = Vec::new();
        let mut watcher = Watcher { workers: 9, seen: &mut run_points };
        let outcome = world.run(&mut watcher);
        let waiting = run_points.iter().sum::<u64>() as f64 / run_points.len() as f64;
        let expected = outcome.arrived as f64 / world.seconds * outcome.mean_wait_seconds;
        // A job is looked at half a look too few times.
        assert!((waiting / expected - 1.0).abs() < 0.05, "{waiting} for {expected}");
    }

    /// A fixed number of workers who write down how many jobs wait.
    struct Watcher<'a> {
        workers: u32,
        seen: &'a mut Vec<u64>,
    }

    impl Foreman for Watcher<'_> {
        fn look(&mut self, seen: Seen<'_>) -> u32 {
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
            let mut world = if seed % 2 == 0 { long } else { short };
            world.seed = seed;
            world.grace = 5.0;
            world.start = Spread { mean: 10.0, variation: 0.5 };
            world.load.bursts = vec![super::super::load::Burst { at: 100.0, jobs: 500 }];
            world.database.slumps = vec![Slump { from: 200.0, to: 300.0, ceiling: 0.0 }];
            let foremen = || -> [Box<dyn Foreman>; 3] {
                [
                    Box::new(PerWorker { length: 5.0, least: 0, most: 60 }),
                    Box::new(Keda::new(5.0, (0, 60), 30.0, (0.3, 0.6))),
                    Box::new(Fixed { workers: 7 }),
                ]
            };
            let outcomes = foremen().map(|mut foreman| world.run(foreman.as_mut()));
            let again = foremen().map(|mut foreman| world.run(foreman.as_mut()));
            assert_eq!(outcomes, again, "the same seed, the same outcome");
            let arrived = outcomes.map(|outcome| {
                assert_eq!(outcome.arrived, outcome.done + outcome.left, "seed {seed}");
                outcome.arrived
            });
            assert!(arrived.windows(2).all(|pair| pair[0] == pair[1]), "every foreman meets the same jobs");
        }
    }

    #[test]
    fn who_has_to_go_too_early_interrupts_jobs() {
        let mut world = steady(0.0, 2000.0, Spread { mean: 100.0, variation: 0.0 });
        world.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 10 }];
        let outcome = world.run(&mut PerWorker { length: 1.0, least: 0, most: 10 });
        // The list is empty as soon as the jobs run, and nobody is left to end them.
        assert!(outcome.interrupted >= 10, "{outcome:?}");
    }

    /// Ours, who never says that he has settled.
    struct Sleepless(Ours);

    impl Foreman for Sleepless {
        fn look(&mut self, seen: Seen<'_>) -> u32 {
            self.0.look(seen)
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
        let mut world = steady(0.0, 100_000.0, Spread { mean: 1.0, variation: 0.5 });
        world.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 100 }];
        let ours = || Ours::new(Policy::default(), false, calendar(), start);
        let (mut sleeper, mut sleepless) = (ours(), Sleepless(ours()));
        let (short, long) = (world.run(&mut sleeper), world.run(&mut sleepless));
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
            let mut world = steady(0.0, seconds, Spread { mean: 1.0, variation: 0.5 });
            world.load.bursts = vec![super::super::load::Burst { at: 10.0, jobs: 1000 }];
            world.run(&mut Keda::new(10.0, (0, 20), 30.0, (0.5, 0.5)))
        };
        let (short, long) = (hours(3600.0), hours(3.6e8));
        assert_eq!((short.done, short.changes, short.interrupted), (long.done, long.changes, long.interrupted));
        assert!((short.worker_seconds - long.worker_seconds).abs() < 1e-6);
        assert_eq!((short.series.points.len(), long.series.points.len()), (600, 600));
    }
}
