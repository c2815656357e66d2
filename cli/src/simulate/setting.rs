//! From the manifest and the flags to the runs: every load with every policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use chrono::{DateTime, FixedOffset};
use jobqueue_crds::{JobQueue, JobQueueSpec};
use jobqueue_scaling::{Calendar, Policy};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::args::{PolicyArg, SimulateArgs};
use super::foreman::{Fixed, Foreman, Keda, Ours, PerWorker};
use super::report::{Report, Row};
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
/// How much that varies.
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
    worlds: Vec<(String, World)>,
    /// Waiting jobs per worker, for those who know nothing else.
    list_length: f64,
    seed: u64,
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
        let work = Work::new(concurrency, Spread { mean: job_seconds, variation: given.job_variation });
        let workers = spec.scaling.max_replicas;
        let mut cases = Vec::new();
        for shape in args.shape.iter().flat_map(|shape| shape.each()) {
            cases.push(shape.case(work, workers, args.duration));
        }
        for path in &args.load {
            cases.push(recorded(path, args.duration)?);
        }
        let grace = given.grace_seconds.unwrap_or(f64::from(spec.worker.drain_seconds) + 5.0);
        let world = |case: Case| {
            let start = given.pod_start_seconds.or(case.start_seconds).unwrap_or(START_SECONDS);
            let world = World {
                load: case.load,
                seconds: case.seconds,
                work,
                start: Spread { mean: start, variation: START_VARIATION },
                grace,
                database: Database { ceiling: given.database_ceiling, slumps: case.slumps },
                seed: args.seed,
            };
            (case.name, world)
        };
        let targets = &spec.scaling.targets;
        let wait = targets.max_wait_seconds.into_iter().chain(targets.drain_seconds).min();
        let length = targets.jobs_per_worker.map(f64::from).or(wait.map(|wait| f64::from(wait) * work.rate()));
        Ok(Self {
            policies: if args.policy.is_empty() { PolicyArg::ALL.to_vec() } else { args.policy.clone() },
            worlds: cases.into_iter().map(world).collect(),
            list_length: given.list_length.or(length).unwrap_or(100.0),
            seed: args.seed,
            start: args.start,
            plans,
        })
    }

    /// Runs all of them, on as many threads as there are cores; the order is that of the flags in any case.
    pub(super) fn run(&self) -> Report {
        let several = |policy: PolicyArg| if policy == PolicyArg::Ours { &self.plans[..] } else { &self.plans[..1] };
        let rules = self.policies.iter().flat_map(|policy| several(*policy).iter().map(move |plan| (*policy, plan)));
        let pairs: Vec<_> = self.worlds.iter().flat_map(|world| rules.clone().map(move |rule| (world, rule))).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut rows = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(((name, world), (policy, plan))) = pairs.get(place) else { return rows };
                let (title, mut foreman) = self.foreman(*policy, plan);
                let outcome = world.run(foreman.as_mut());
                rows.push((place, Row { load: name.clone(), policy: title, seconds: world.seconds, outcome }));
            }
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(pairs.len().max(1));
        let mut rows: Vec<(usize, Row)> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
        });
        rows.sort_by_key(|(place, _)| *place);
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        Report { seed: self.seed, start: self.start, list_length: self.list_length, rows }
    }

    /// The policy's name in the table, and who follows it.
    fn foreman(&self, policy: PolicyArg, plan: &Plan) -> (String, Box<dyn Foreman + Send>) {
        let bounds = (plan.policy.min_replicas, plan.policy.max_replicas);
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(PHASES);
        let phases = (chance.random(), chance.random());
        let length = self.list_length;
        match policy {
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
        }
    }
}

fn plan(title: String, spec: &JobQueueSpec) -> anyhow::Result<Plan> {
    let calendar = jobqueue_demand::calendar(spec).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let protect_busy = spec.scaling.scale_down.protect_busy;
    Ok(Plan { title, policy: jobqueue_demand::policy(spec), calendar, protect_busy })
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
    Ok(Case { name, load, seconds, slumps: Vec::new(), start_seconds: None })
}
