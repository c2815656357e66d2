//! From the manifest and the flags to the runs: every load with every policy.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::Context;
use jobqueue_crds::JobQueueSpec;
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

/// What to run.
pub(super) struct Setting {
    spec: JobQueueSpec,
    policies: Vec<PolicyArg>,
    worlds: Vec<(String, World)>,
    /// Waiting jobs per worker, for those who know nothing else.
    list_length: f64,
    seed: u64,
}

impl Setting {
    /// Reads manifest and traces.
    pub(super) fn read(global: &GlobalArgs, args: &SimulateArgs) -> anyhow::Result<Self> {
        let Some(manifest) = &global.filename else {
            return Err(Failure::new(Exit::Usage, "a manifest is needed").hint("give it with -f FILE").into());
        };
        let spec = read_manifest(manifest, None)?.spec;
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
            spec,
        })
    }

    /// Runs all of them, on as many threads as there are cores; the order is that of the flags in any case.
    pub(super) fn run(&self) -> Report {
        let pairs = self.worlds.iter().flat_map(|world| self.policies.iter().map(move |policy| (world, *policy)));
        let pairs: Vec<_> = pairs.collect();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut rows = Vec::new();
            while let Some(((name, world), policy)) = pairs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let (title, mut foreman) = self.foreman(*policy);
                let outcome = world.run(foreman.as_mut());
                rows.push(Row { load: name.clone(), policy: title, seconds: world.seconds, outcome });
            }
            rows
        };
        let cores = thread::available_parallelism().map_or(1, usize::from).min(pairs.len().max(1));
        let mut rows: Vec<Row> = thread::scope(|scope| {
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
        });
        let place = |row: &Row| {
            let policy = self.policies.iter().position(|policy| self.foreman(*policy).0 == row.policy);
            (self.worlds.iter().position(|(name, _)| *name == row.load), policy)
        };
        rows.sort_by_key(place);
        Report { seed: self.seed, list_length: self.list_length, rows }
    }

    /// The policy's name in the table, and who follows it.
    fn foreman(&self, policy: PolicyArg) -> (String, Box<dyn Foreman + Send>) {
        let scaling = &self.spec.scaling;
        let bounds = (scaling.min_replicas, scaling.max_replicas);
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(PHASES);
        let phases = (chance.random(), chance.random());
        let length = self.list_length;
        match policy {
            PolicyArg::Ours => {
                let ours = Ours::new(jobqueue_demand::policy(&self.spec), scaling.scale_down.protect_busy);
                ("ours".into(), Box::new(ours))
            }
            PolicyArg::Fixed(workers) => {
                let workers = workers.unwrap_or(scaling.max_replicas);
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
