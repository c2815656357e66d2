//! The simulator of a queue: its recent load, the sliders as the address sets them, and what came of both.

use axum::response::Response;
use chrono::Utc;
use jobqueue_crds::JobQueueSpec;
use jobqueue_queue::stats;
use serde_json::json;

use super::Asked;
use crate::App;
use crate::pages::{self, SimulationPage};
use crate::simulation::{Recent, Sliders};
use crate::source::{Problem, QueueKey, QueueView};
use crate::workers::PATIENCE;

/// How long a job takes where it is not known, in seconds; and the start of a pod, which a queue does not say.
const JOB_SECONDS: f64 = 1.0;
const START_SECONDS: f64 = 5.0;

pub(super) async fn simulate(asked: Asked) -> Response {
    let view = match asked.queue().await {
        Ok(view) => view,
        Err(problem) => return asked.refused(&problem),
    };
    let (app, key) = (&asked.app, &asked.key);
    let (measured, (recent, prometheus_problem)) = tokio::join!(job_seconds(&asked), recent(app, key, &view));
    let has_manifest = view.spec.is_some();
    let spec = match view.spec.map_or_else(|| defaults(&key.name), Ok) {
        Ok(spec) => spec,
        Err(error) => {
            return asked.refused(&Problem::Unavailable(format!("There are no default settings: {error}")));
        }
    };
    let sliders = Sliders::new(&spec, measured.unwrap_or(JOB_SECONDS), START_SECONDS, |name| asked.field(name));
    let result = app.simulator.run(&spec, &sliders, &recent, Utc::now()).await;
    let page = SimulationPage {
        key,
        has_manifest,
        spec: &spec,
        sliders: &sliders,
        recent: &recent,
        is_job_measured: measured.is_some(),
        prometheus_problem,
        result,
    };
    pages::simulation(&asked.frame(false), &page)
}

/// What was seen of the queue, by Prometheus if there is one, and why it did not tell.
async fn recent(app: &App, key: &QueueKey, view: &QueueView) -> (Recent, Option<String>) {
    let numbers = &view.row.numbers;
    let Some(prometheus) = &app.prometheus else { return (Recent::new(&view.samples, numbers), None) };
    match prometheus.samples(key).await {
        Ok(samples) => (Recent::new(&samples, numbers), None),
        Err(problem) => (Recent::new(&view.samples, numbers), Some(problem)),
    }
}

/// How long a slot of the workers took for a job, on average since they started; `None` where none has done any.
async fn job_seconds(asked: &Asked) -> Option<f64> {
    let read = async {
        let backlog = asked.backlog().await.ok()?;
        stats(&backlog.connection, &[&backlog.query]).await.ok()?.pop()?.ok()
    };
    let workers = tokio::time::timeout(PATIENCE, read).await.ok()??.workers;
    let (busy, ended) = workers.iter().fold((0.0, 0), |(busy, ended): (f64, u64), worker| {
        (busy + worker.busy_seconds, ended.saturating_add(worker.ended()))
    });
    let milliseconds = (busy / ended as f64 * 1000.0).round();
    (ended > 0 && busy.is_finite()).then(|| (milliseconds / 1000.0).clamp(0.001, 86_400.0))
}

/// The settings of a queue whose manifest sets none.
fn defaults(name: &str) -> Result<JobQueueSpec, serde_json::Error> {
    let queue = json!({"names": [name], "redis": {"url": "redis://localhost"}});
    serde_json::from_value(json!({ "queue": queue }))
}
