//! From the manifest and the flags to the runs: every load with every policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use chrono::{DateTime, FixedOffset};
use jobqueue_crds::{JobQueue, JobQueueSpec, TargetsSpec};
use jobqueue_scaling::{Calendar, Policy};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::args::{Instant, PolicyArg, SimulateArgs};
use super::bound::{Target, bound};
use super::foreman::{Fixed, Foreman, Keda, Ours, PerWorker};
use super::report::{Clairvoyant, Report, Row, Told};
use super::shape::Case;
use super::trace;
use super::work::{Database, Spread, Work};
use super::world::World;
use crate::args::GlobalArgs;
use crate::exit::{Exit, Failure};
use crate::target::read_manifest;

/// After a trace has ended it is looked at for so long, in seconds, for what scaling in does.
const AFTER_TRACE: f64 = 900.0;
/// How long pods take to start where nothing is said, in seconds.
const START_SECONDS: f64 = 5.0;
/// How many of those a job waits that nothing is said about.
const STARTS_WAITED: f64 = 2.0;
/// How much a start varies.
const START_VARIATION: f64 = 0.2;
/// The stream of random numbers from which the phases of KEDA and HPA come.
const PHASES: u64 = 3;

/// A manifest's scaling section.
struct Plan {
    /// What `ours` is called.
    title: String,
    policy: Policy,
    calendar: Calendar,
    protect_busy: bool,
}

/// What to run.
pub(super) struct Setting {
    /// One for each manifest; bounds for the other policies are the first one's.
    plans: Vec<Plan>,
    policies: Vec<PolicyArg>,
    start: DateTime<FixedOffset>,
    places: Vec<Place>,
    seed: u64,
}

/// A load with all that belongs to it.
struct Place {
    name: String,
    world: World,
    /// Waiting jobs per worker, for those who know nothing else.
    list_length: f64,
    /// What the bound is to keep to.
    target: Target,
}

impl Setting {
    /// Reads manifests and traces.
    pub(super) fn read(global: &GlobalArgs, args: &SimulateArgs) -> anyhow::Result<Self> {
        let manifests = global.filename.iter().map(|path| read_manifest(path, None)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = manifests.first() else {
            return Err(Failure::new(Exit::Usage, "a manifest is needed").hint("give it with -f FILE").into());
        };
        let titles = titles(&global.filename, &manifests)?;
        let plans = titles.into_iter().zip(&manifests).zip(&global.filename).map(|((title, manifest), path)| {
            plan(title, &manifest.spec).with_context(|| format!("{}", path.display()))
        });
        let plans = plans.collect::<Result<Vec<_>, _>>()?;
        let spec = &first.spec;
        let given = &args.circumstances;
        let concurrency = spec.worker.concurrency;
        let job_seconds = given.jobs_per_second.map_or(given.job_seconds, |rate| f64::from(concurrency) / rate);
        let work_of = |mean: f64| Work::new(concurrency, Spread { mean, variation: given.job_variation });
        let work = work_of(job_seconds);
        let workers = spec.scaling.max_replicas;
        let mut cases = Vec::new();
        for shape in args.shape.iter().flat_map(|shape| shape.each()) {
            cases.push(shape.case(work, workers, args.duration));
        }
        for path in &args.load {
            cases.push(recorded(path, args.duration)?);
        }
        let grace = given.grace_seconds.unwrap_or(f64::from(spec.worker.drain_seconds) + 5.0);
        let targets = &spec.scaling.targets;
        let wait = targets.max_wait_seconds.into_iter().chain(targets.drain_seconds).min();
        let explain = args.explain.map(|instant| match instant {
            Instant::After(seconds) => seconds,
            Instant::At(moment) => (moment - args.start).as_seconds_f64(),
        });
        let place = |case: Case| {
            let start = given.pod_start_seconds.or(case.start_seconds).unwrap_or(START_SECONDS);
            let world = World {
                load: case.load,
                seconds: case.seconds,
                work: case.job_seconds.map_or(work, work_of),
                start: Spread { mean: start, variation: START_VARIATION },
                grace,
                database: Database { ceiling: given.database_ceiling, slumps: case.slumps },
                seed: args.seed,
                explain,
            };
            let rate = world.work.rate();
            let length = targets.jobs_per_worker.map(f64::from).or(wait.map(|wait| f64::from(wait) * rate));
            let list_length = given.list_length.or(length).unwrap_or(100.0);
            let target = given.bound_wait.map_or_else(|| target(targets, rate, start), Target::begun_within);
            Place { name: case.name, world, list_length, target }
        };
        let policies = if args.policy.is_empty() { PolicyArg::ALL.to_vec() } else { args.policy.clone() };
        let places: Vec<Place> = cases.into_iter().map(place).collect();
        if let Some(at) = explain {
            explainable(at, &policies, &places)?;
        }
        Ok(Self { policies, places, seed: args.seed, start: args.start, plans })
    }

    /// Runs all of them, on as many threads as there are cores; the order is that of the flags in any case.
    pub(super) fn run(&self) -> Report {
        let several = |policy: PolicyArg| if policy == PolicyArg::Ours { &self.plans[..] } else { &self.plans[..1] };
        let rules = self.policies.iter().flat_map(|policy| several(*policy).iter().map(move |plan| (*policy, plan)));
        let pairs: Vec<_> = self.places.iter().flat_map(|place| rules.clone().map(move |rule| (place, rule))).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut rows = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((place, (policy, plan))) = pairs.get(number) else { return rows };
                rows.push((number, self.row(place, *policy, plan)));
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(pairs.len().max(1));
        let mut rows: Vec<(usize, Row)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
        });
        rows.sort_by_key(|(number, _)| *number);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        Report { seed: self.seed, start: self.start, rows }
    }

    fn row(&self, place: &Place, policy: PolicyArg, plan: &Plan) -> Row {
        let Place { name, world, list_length, target } = place;
        let (policy, told) = if let Some((title, mut foreman)) = self.foreman(policy, plan, *list_length) {
            (title, Told::Ran(Box::new(world.run(foreman.as_mut()))))
        } else {
            let bound = bound(world, *target, plan.policy.max_replicas);
            ("bound".into(), Told::Bound(Clairvoyant::new(bound, *target)))
        };
        Row { load: name.clone(), policy, seconds: world.seconds, list_length: *list_length, told }
    }

    /// The policy's name in the table, and who follows it; `None` for the bound, which nobody follows.
    fn foreman(&self, policy: PolicyArg, plan: &Plan, length: f64) -> Option<(String, Box<dyn Foreman + Send>)> {
        let bounds = (plan.policy.min_replicas, plan.policy.max_replicas);
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(PHASES);
        let phases = (chance.random(), chance.random());
        Some(match policy {
            PolicyArg::Bound => return None,
            PolicyArg::Ours => {
                let Plan { title, policy, calendar, protect_busy } = plan;
                let ours = Ours::new(policy.clone(), *protect_busy, calendar.clone(), self.start.to_utc());
                (title.clone(), Box::new(ours))
            }
            PolicyArg::Fixed(workers) => {
                let workers = workers.unwrap_or(plan.policy.max_replicas);
                (format!("fixed:{workers}"), Box::new(Fixed { workers }))
            }
            PolicyArg::Keda => ("keda".into(), Box::new(Keda::new(length, bounds, 30.0, phases))),
            PolicyArg::KedaTuned => ("keda-1s".into(), Box::new(Keda::new(length, bounds, 1.0, phases))),
            PolicyArg::PerWorker => {
                let (least, most) = bounds;
                ("per-worker".into(), Box::new(PerWorker { length, least, most }))
            }
        })
    }
}

fn plan(title: String, spec: &JobQueueSpec) -> anyhow::Result<Plan> {
    let calendar = jobqueue_demand::calendar(spec).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let protect_busy = spec.scaling.scale_down.protect_busy;
    Ok(Plan { title, policy: jobqueue_demand::policy(spec), calendar, protect_busy })
}

/// What the bound is to keep to, where nothing is said: the targets of the manifest.
fn target(targets: &TargetsSpec, rate: f64, start: f64) -> Target {
    let wait = targets.max_wait_seconds.map(f64::from);
    let done = targets.drain_seconds.map(f64::from);
    // Without a time there is how many jobs stand behind each other, or what the start of pods makes of any queue.
    let behind = || targets.jobs_per_worker.map(|jobs| f64::from(jobs) / rate);
    Target { begun: wait.or(done).or_else(behind).unwrap_or(STARTS_WAITED * start), done }
}

fn explainable(at: f64, policies: &[PolicyArg], places: &[Place]) -> anyhow::Result<()> {
    if !policies.contains(&PolicyArg::Ours) {
        return Err(Failure::new(Exit::Usage, "--explain is about ours").hint("add --policy ours").into());
    }
    let outside = places.iter().find(|place| !(0.0..place.world.seconds).contains(&at));
    outside.map_or(Ok(()), |Place { name, world, .. }| {
        let message = format!("--explain: {at} s after its start, the run {name} is not going on");
        Err(Failure::new(Exit::Usage, message).hint(format!("it is {} s long", world.seconds)).into())
    })
}

/// What `ours` is called for each manifest: where there are several, by their names, or where those are the same, by their
/// files.
fn titles(paths: &[PathBuf], manifests: &[JobQueue]) -> anyhow::Result<Vec<String>> {
    if paths.len() < 2 {
        return Ok(vec!["ours".into(); paths.len()]);
    }
    let names = manifests.iter().map(|manifest| manifest.metadata.name.clone().unwrap_or_default()).collect();
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let files = paths.iter().map(stem).collect();
    let whole = paths.iter().map(|path| path.display().to_string()).collect();
    let differ = |titles: &Vec<String>| titles.iter().collect::<BTreeSet<_>>().len() == titles.len();
    let titles = [names, files, whole].into_iter().find(differ);
    let titles = titles.ok_or_else(|| Failure::new(Exit::Usage, "a manifest is given twice"))?;
    Ok(titles.into_iter().map(|title| format!("ours:{title}")).collect())
}

fn recorded(path: &Path, seconds: Option<f64>) -> anyhow::Result<Case> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read the trace {shown}: {error}"))
    })?;
    let load = trace::parse(&text).map_err(|error| Failure::new(Exit::Usage, error.to_string()));
    let load = load.with_context(|| format!("{shown}"))?;
    let seconds = seconds.unwrap_or(load.end() + AFTER_TRACE);
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let job_seconds = load.job_seconds();
    Ok(Case { name, load, seconds, slumps: Vec::new(), start_seconds: None, job_seconds })
}
