//! From the manifests and the flags to what is run: every load with every policy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jobqueue_crds::{JobQueue, JobQueueSpec};
use jobqueue_simulator::{Circumstances, Comparison, ManifestScaling, PolicyName, Scenario};

use super::args::{Instant, SimulateArgs};
use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::target::read_manifest;

/// Reads the manifests and the traces.
pub(super) fn read(global: &GlobalArgs, args: &SimulateArgs) -> anyhow::Result<Comparison> {
    let manifests = global.filename.iter().map(|path| read_manifest(path, None)).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = manifests.first() else {
        return Err(Failure::new(Exit::Usage, "a manifest is needed").hint("give it with -f FILE").into());
    };
    let titles = titles(&global.filename, &manifests)?;
    let scalings =
        titles.into_iter().zip(&manifests).zip(&global.filename).map(|((title, manifest), path)| {
            scaling(title, &manifest.spec).with_context(|| format!("{}", path.display()))
        });
    let scalings = scalings.collect::<Result<Vec<_>, _>>()?;
    let circumstances = circumstances(&first.spec, args);
    let shapes = args.shape.iter().flat_map(|shape| shape.each());
    let mut scenarios: Vec<Scenario> =
        shapes.map(|shape| Scenario::of_shape(shape, args.duration, &circumstances)).collect();
    for path in &args.load {
        scenarios.push(recorded(path, args.duration, &circumstances)?);
    }
    let policies = if args.policy.is_empty() { PolicyName::ALL.to_vec() } else { args.policy.clone() };
    if let Some(at) = circumstances.explain {
        check_explained(at, &policies, &scenarios)?;
    }
    Ok(Comparison { manifests: scalings, policies, scenarios, start: args.start, seed: args.seed })
}

fn scaling(title: String, spec: &JobQueueSpec) -> anyhow::Result<ManifestScaling> {
    let calendar =
        jobqueue_scaling_input::calendar(spec).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
    let protect_busy = spec.scaling.scale_down.protect_busy;
    Ok(ManifestScaling { title, policy: jobqueue_scaling_input::policy(spec), calendar, protect_busy })
}

fn circumstances(spec: &JobQueueSpec, args: &SimulateArgs) -> Circumstances {
    let given = &args.circumstances;
    let concurrency = spec.worker.settings.concurrency;
    let explain = args.explain.map(|instant| match instant {
        Instant::After(seconds) => seconds,
        Instant::At(moment) => (moment - args.start).as_seconds_f64(),
    });
    let usual =
        Circumstances::new(&jobqueue_scaling_input::policy(spec), concurrency, spec.worker.settings.drain_seconds);
    Circumstances {
        job_seconds: given.jobs_per_second.map_or(given.job_seconds, |rate| f64::from(concurrency) / rate),
        job_variation: given.job_variation,
        pod_start_seconds: given.pod_start_seconds,
        grace_seconds: given.grace_seconds.unwrap_or(usual.grace_seconds),
        database_ceiling: given.database_ceiling,
        list_length: given.list_length,
        bound_wait: given.bound_wait,
        seed: args.seed,
        explain,
        ..usual
    }
}

/// Whether the moment that is to be explained is one at which `ours` decides in every run.
fn check_explained(at: f64, policies: &[PolicyName], scenarios: &[Scenario]) -> anyhow::Result<()> {
    if !policies.contains(&PolicyName::Ours) {
        return Err(Failure::new(Exit::Usage, "--explain is about ours").hint("add --policy ours").into());
    }
    let outside = scenarios.iter().find(|scenario| !(0.0..scenario.seconds()).contains(&at));
    outside.map_or(Ok(()), |scenario| {
        let message = format!("--explain: {at} s after its start, the run {} is not going on", scenario.name());
        Err(Failure::new(Exit::Usage, message).hint(format!("it is {} s long", scenario.seconds())).into())
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

fn recorded(path: &Path, seconds: Option<f64>, circumstances: &Circumstances) -> anyhow::Result<Scenario> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
        Failure::new(exit, format!("cannot read the trace {shown}: {error}"))
    })?;
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Scenario::of_trace(name, &text, seconds, circumstances)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))
        .with_context(|| format!("{shown}"))
}
