//! The simulator on a queue's own load: the present settings beside those of the page's sliders, run as `jobqueue simulate` runs
//! a manifest. One at a time, off the threads that answer requests, and bounded in time and memory.

mod load;
mod sliders;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_crds::JobQueueSpec;
use jobqueue_simulator::{Circumstances, Comparison, ManifestScaling, Outcome, PolicyName, Row, Scenario};
use tokio::sync::Semaphore;

pub(crate) use self::load::{Recent, Source};
pub(crate) use self::sliders::{Position, Slider, Sliders, seconds};

/// A run may take so long, and one waits so long for another to end.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of more jobs than these all are taken to be equally long: then they are counts, and cost no memory each.
const MOST_DIFFERENT_JOBS: f64 = 200_000.0;
/// Jobs that all workers together may have in hand.
const MOST_IN_HAND: u64 = 100_000;

/// What came of the settings.
#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) present: Outcome,
    /// With the sliders' settings; `None` where they are the present ones.
    pub(crate) changed: Option<Outcome>,
    /// How long it lasted, in seconds of the simulation.
    pub(crate) seconds: f64,
}

/// Why nothing came of it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SimulationError {
    #[error("These settings are refused: {0}.")]
    Refused(String),
    #[error(
        "This simulation is too large for a page: all workers together have at most {MOST_IN_HAND} jobs in hand. Choose fewer workers, \
         or use jobqueue simulate."
    )]
    TooLarge,
    #[error("This simulation took longer than {} s, and was stopped. Choose a smaller one, or use jobqueue simulate.", PATIENCE.as_secs())]
    TooLong,
    #[error("Another simulation is running. Try again in a moment.")]
    Busy,
}

/// Runs simulations.
pub(crate) struct Simulator {
    free: Arc<Semaphore>,
    patience: Duration,
}

impl Default for Simulator {
    fn default() -> Self {
        Self { free: Arc::new(Semaphore::new(1)), patience: PATIENCE }
    }
}

/// Stops a run that nobody waits for any more.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Simulator {
    /// Runs the present settings, and those of the sliders where they are others.
    pub(crate) async fn run(
        &self,
        spec: &JobQueueSpec,
        sliders: &Sliders,
        recent: &Recent,
        start: DateTime<Utc>,
    ) -> Result<Simulated, SimulationError> {
        let comparison = comparison(spec, sliders, recent, start)?;
        let seconds = recent.seconds;
        let permit = tokio::time::timeout(self.patience, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit.ok().and_then(Result::ok).ok_or(SimulationError::Busy)?;
        let stop = Stop(Arc::default());
        let flag = Arc::clone(&stop.0);
        let run = tokio::task::spawn_blocking(move || {
            let report = comparison.run_unless(&flag);
            drop(permit);
            report
        });
        let report = tokio::time::timeout(self.patience, run).await;
        drop(stop);
        let rows = report.ok().and_then(Result::ok).flatten().ok_or(SimulationError::TooLong)?.rows;
        let mut outcomes = rows.into_iter().filter_map(Row::into_outcome);
        let present = outcomes.next().ok_or(SimulationError::TooLong)?;
        Ok(Simulated { present, changed: outcomes.next(), seconds })
    }
}

fn comparison(
    spec: &JobQueueSpec,
    sliders: &Sliders,
    recent: &Recent,
    start: DateTime<Utc>,
) -> Result<Comparison, SimulationError> {
    let recent = recent.clone().times(sliders.value(Slider::Arrivals));
    let changed = sliders.applied(spec);
    let named = [("present settings", spec), ("settings of this page", &changed)];
    let count = if sliders.changes_settings() { 2 } else { 1 };
    let manifests = named.into_iter().take(count).map(|(title, spec)| scaling(title, spec));
    let manifests = manifests.collect::<Result<Vec<_>, _>>()?;
    let settings = &spec.worker.settings;
    let most = manifests.iter().map(|manifest| u64::from(manifest.policy.max_replicas)).max().unwrap_or_default();
    if most.saturating_mul(settings.concurrency.into()) > MOST_IN_HAND {
        return Err(SimulationError::TooLarge);
    }
    let usual = Circumstances::new(&manifests[0].policy, settings.concurrency, settings.drain_seconds);
    let circumstances = Circumstances {
        job_seconds: sliders.value(Slider::JobSeconds),
        job_variation: if recent.jobs() > MOST_DIFFERENT_JOBS { 0.0 } else { usual.job_variation },
        pod_start_seconds: Some(sliders.value(Slider::StartSeconds)),
        database_ceiling: Some(sliders.value(Slider::Database)).filter(|rate| *rate > 0.0),
        ..usual
    };
    let name = "recent".to_owned();
    let scenario = Scenario::of_arrivals(name, recent.waiting, &recent.arrivals, recent.seconds, &circumstances);
    let policies = vec![PolicyName::Ours];
    Ok(Comparison {
        manifests,
        policies,
        scenarios: vec![scenario],
        start: start.fixed_offset(),
        seed: circumstances.seed,
    })
}

fn scaling(title: &str, spec: &JobQueueSpec) -> Result<ManifestScaling, SimulationError> {
    let refused = |problem: jobqueue_crds::Problem| SimulationError::Refused(problem.to_string());
    let mut problems = jobqueue_crds::validate(spec).into_iter();
    if let Some(problem) = problems.find(|problem| problem.path.starts_with("spec.scaling")) {
        return Err(refused(problem));
    }
    let calendar = jobqueue_scaling_input::calendar(spec).map_err(refused)?;
    let protect_busy = spec.scaling.scale_down.protect_busy;
    Ok(ManifestScaling {
        title: title.to_owned(),
        policy: jobqueue_scaling_input::policy(spec),
        calendar,
        protect_busy,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use jobqueue_simulator::ArrivalRate;
    use serde_json::json;

    use super::*;

    fn spec(concurrency: u32) -> JobQueueSpec {
        let queue = json!({"names": ["q"], "redis": {"url": "redis://redis"}});
        serde_json::from_value(json!({"queue": queue, "worker": {"concurrency": concurrency}})).expect("a manifest")
    }

    fn recent(seconds: f64) -> Recent {
        Recent { waiting: 3, arrivals: vec![ArrivalRate { at: 0.0, per_second: 1.0 }], seconds, source: Source::Seen }
    }

    async fn run(simulator: &Simulator, spec: &JobQueueSpec, seconds: f64) -> Result<Simulated, SimulationError> {
        simulator.run(spec, &Sliders::new(spec, 0.5, 5.0, |_| ""), &recent(seconds), Utc::now()).await
    }

    #[tokio::test]
    async fn a_run_that_takes_too_long_is_stopped_and_the_next_is_not_kept_waiting() {
        let simulator = Simulator { patience: Duration::from_millis(200), ..Simulator::default() };
        let began = Instant::now();
        // Years, which take hours.
        assert_eq!(run(&simulator, &spec(1), 1e9).await.expect_err("stopped"), SimulationError::TooLong);
        let simulator = Simulator { patience: PATIENCE, ..simulator };
        let simulated = run(&simulator, &spec(1), 600.0).await.expect("a result");
        assert!(simulated.present.done > 400 && simulated.changed.is_none(), "{simulated:?}");
        assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn one_runs_at_a_time_and_none_that_is_too_large() {
        let simulator = Simulator { patience: Duration::from_millis(50), ..Simulator::default() };
        let held = Arc::clone(&simulator.free).acquire_owned().await.expect("free");
        assert_eq!(run(&simulator, &spec(1), 60.0).await.expect_err("busy"), SimulationError::Busy);
        drop(held);
        assert_eq!(run(&simulator, &spec(20_000), 60.0).await.expect_err("large"), SimulationError::TooLarge);
    }
}
