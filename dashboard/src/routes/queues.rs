//! The list, and one queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use chrono::Utc;
use jobqueue_queue::admin::current_jobs;
use jobqueue_queue::{Protocol, QueueError, WorkerStats, stats};

use super::{field, fields, frame, key, page_of, refused};
use crate::App;
use crate::access::Visitor;
use crate::pages::{self, PAGE, QueuePage, Worker};
use crate::source::{Backlog, Pod};

/// Workers that a page lists.
const MOST_WORKERS: usize = 500;
/// Redis is waited for so long before a page goes without the workers.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    RawQuery(query): RawQuery,
) -> Response {
    let fields = fields(query.as_deref().unwrap_or_default());
    let (wanted, page) = (field(&fields, "q"), page_of(&fields));
    let visible = match app.access.visible(&visitor, &*app.source).await {
        Ok(visible) => visible,
        Err(problem) => return refused(&app, &visitor, &problem),
    };
    let overview = app.source.overview(wanted, (page - 1) * PAGE, PAGE, &visible).await;
    let source = app.source.title();
    pages::queues(&frame(&app, &visitor, &source, true), &overview, wanted, page)
}

pub(super) async fn one(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(path): Path<(String, String)>,
) -> Response {
    let key = key(path);
    let view = match app.queue(&visitor, &key).await {
        Ok(view) => view,
        Err(problem) => return refused(&app, &visitor, &problem),
    };
    let read = async {
        let backlog = app.backlog(&visitor, &key).await.map_err(|problem| problem.to_string())?;
        let read = tokio::time::timeout(PATIENCE, workers(&backlog)).await;
        let late = |_| format!("Redis did not answer within {} s.", PATIENCE.as_secs());
        read.map_err(late)?.map_err(|error| error.to_string())
    };
    let asked = async {
        match &app.prometheus {
            Some(prometheus) => Some(prometheus.samples(&key).await),
            None => None,
        }
    };
    let (read, more_samples) = tokio::join!(read, asked);
    let (workers, workers_problem) = match read {
        Ok(workers) => (workers, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let workers = with_pods(workers, &view.pods);
    let page = QueuePage { view, workers, workers_problem, more_samples };
    let source = app.source.title();
    pages::queue(&frame(&app, &visitor, &source, true), &page, Utc::now())
}

/// The workers as their records say, the busy ones first.
async fn workers(backlog: &Backlog) -> Result<Vec<Worker>, QueueError> {
    let mut answers = stats(&backlog.connection, &[&backlog.query]).await?;
    let mut known = answers.pop().map(|answer| answer.map(|stats| stats.workers)).transpose()?.unwrap_or_default();
    known.sort_by(|one, other| other.is_busy().cmp(&one.is_busy()).then_with(|| one.name.cmp(&other.name)));
    known.truncate(MOST_WORKERS);
    let names: Vec<&str> = known.iter().map(|worker| worker.name.as_str()).collect();
    let jobs = match backlog.query.protocol {
        Protocol::Rq => current_jobs(&backlog.connection, &backlog.query.key_prefix, &names).await?,
        Protocol::List | Protocol::Stream => Vec::new(),
    };
    let mut jobs = jobs.into_iter();
    let worker = |worker: WorkerStats| {
        let job = jobs.next().unwrap_or_default();
        let busy = worker.is_busy();
        Worker {
            job: job.id.filter(|_| busy),
            description: job.description.filter(|_| busy),
            draining: job.is_ending,
            busy_for: worker.job_age.map(|age| age.as_secs()),
            silent_for: Some(worker.silent_for).filter(|age| *age < Duration::MAX).map(|age| age.as_secs()),
            name: worker.name,
            host: worker.hostname,
            state: worker.state,
            running: worker.running,
            succeeded: worker.succeeded,
            failed: worker.failed,
        }
    };
    Ok(known.into_iter().map(worker).collect())
}

/// Adds what the pods say: which workers drain, and pods that no record speaks of yet.
fn with_pods(mut workers: Vec<Worker>, pods: &[Pod]) -> Vec<Worker> {
    let mut left: BTreeMap<&str, &Pod> = pods.iter().map(|pod| (pod.name.as_str(), pod)).collect();
    for worker in &mut workers {
        if let Some(pod) = left.remove(worker.host.as_str()) {
            worker.draining |= pod.draining;
        }
    }
    workers.extend(left.into_values().map(|pod| Worker {
        name: pod.name.clone(),
        host: String::new(),
        state: if pod.ready { "ready".to_owned() } else { pod.phase.clone() },
        draining: pod.draining,
        running: 0,
        job: None,
        description: None,
        busy_for: None,
        succeeded: 0,
        failed: 0,
        silent_for: None,
    }));
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_say_who_drains_and_who_is_not_there_yet() {
        let pod = |name: &str, ready, draining| Pod { name: name.into(), phase: "Pending".into(), ready, draining };
        let worker = with_pods(Vec::new(), &[pod("a", true, false)]).remove(0);
        let known = Worker { host: "a".into(), name: "w".into(), state: "busy".into(), ..worker };
        let workers = with_pods(vec![known], &[pod("a", true, true), pod("b", false, false)]);
        let shown: Vec<_> = workers.iter().map(|worker| (worker.name.as_str(), worker.draining)).collect();
        assert_eq!(shown, [("w", true), ("b", false)]);
        assert_eq!(workers[1].state, "Pending");
    }
}
