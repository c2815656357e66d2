//! The last part of a number's way: the change is written to the Deployment, and what became of it is recorded and reported.

use std::{sync::Arc, time::Duration};

use jobqueue_crds::LastScale;
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};

use crate::{
    autoscaler::{
        evaluate::Change,
        scale_down::{self, ScaleDown},
        write_priority::WritePriority,
    },
    backoff,
    kube_client::{FIELD_MANAGER, WriteError},
    metrics::{DecisionLabels, Metrics},
    names,
    state::{
        key::{Key, reference},
        owners::AutoscalerState,
    },
    status::events::Events,
    traces::{Scale, Traces},
};

/// When a scale-down is tried again after no pod could be removed.
const NO_PODS_TO_REMOVE: Duration = Duration::from_secs(2);

/// Writes numbers of workers.
#[derive(Clone)]
pub(crate) struct Executor {
    /// For patches; with connections of its own.
    pub(crate) client: Client,
    /// For `kubectl describe`.
    pub(crate) events: Events,
    /// What was decided.
    pub(crate) state: AutoscalerState,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// The numbers that are being written.
    pub(crate) write_priority: Arc<WritePriority>,
    /// Where a reconcile is requested.
    pub(crate) requests: UnboundedSender<Key>,
    /// Where spans are made.
    pub(crate) traces: Traces,
}

impl Executor {
    /// Writes a change that a poll begun at `polled_at` called for.
    pub(crate) async fn execute(&self, key: &Key, change: Change, polled_at: Instant) {
        let (priority, decided_at) = (self.write_priority.begin_write(), Instant::now());
        let seen = self.traces.is_on().then(|| self.state.read(key, |queue| queue.observed.snapshot.clone())).flatten();
        let Some(lock) = self.state.deployment_lock(key) else { return };
        let deployment_lock = lock.lock().await;
        let change = self.within_removable(key, change).await;
        if change.to == change.from {
            self.state.update(key, |queue| queue.scaling.postpone(NO_PODS_TO_REMOVE));
            return;
        }
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let outcome = patch_scale(&self.client, namespace, &change.deployment, change.to).await;
        self.measure(key, &change, &outcome, polled_at);
        self.record(key, &change, &outcome);
        if self.traces.is_on() {
            let Change { from, to, reason, message, .. } = &change;
            let (seen, problem) = (seen.flatten(), outcome.as_ref().err().map(ToString::to_string));
            let (from, to) = (*from, *to);
            self.traces.scaled(&Scale { key, from, to, reason, message, seen, polled_at, decided_at, problem });
        }
        self.request_reconcile(key);
        drop(deployment_lock);
        drop(priority);
        if outcome.is_ok() {
            self.write_priority.wait_until_few().await;
            let Change { from, to, message, .. } = change;
            let about = self.state.read(key, |queue| reference(key, &queue.uid, queue.spec.version));
            let Some(about) = about else { return };
            self.events.scaled(&about, from, to, &message).await;
        }
    }

    /// Asks for a reconcile of a queue, which renews its status.
    pub(crate) fn request_reconcile(&self, key: &Key) {
        // The receiver is gone only when the term ends.
        let _ = self.requests.send(key.clone());
    }

    /// With fewer workers than before, marks the pods that are to be removed; the number is larger than wanted if fewer can be.
    async fn within_removable(&self, key: &Key, change: Change) -> Change {
        let Change { from, to, .. } = change;
        if to >= from {
            return change;
        }
        let pods = self.state.read(key, |queue| {
            let protect = queue.spec.protect_busy && !queue.observed.nothing_runs();
            (queue.observed.idle_pods.clone(), protect)
        });
        let (idle_pods, protect) = pods.unwrap_or_default();
        let selector = format!("{}={}", names::QUEUE_LABEL, key.name);
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let scale_down = ScaleDown { namespace, selector: &selector, from, to, protect };
        let marked = scale_down::mark_pods(&self.client, scale_down, &idle_pods).await;
        // The API server may have taken a while, and a worker may have begun a job meanwhile.
        let still_idle = !protect
            || self
                .state
                .read(key, |queue| marked.pods.iter().all(|pod| queue.observed.idle_pods.is_quiet(pod)))
                .unwrap_or_default();
        Change { to: if still_idle { marked.to } else { from }, ..change }
    }

    fn measure(&self, key: &Key, change: &Change, outcome: &Result<(), WriteError>, polled_at: Instant) {
        let Change { from, to, reason, message, .. } = change;
        if let Err(error) = outcome {
            tracing::warn!(queue = %key, %error, "the number of workers could not be written; tried again");
            return;
        }
        self.metrics.reaction_seconds.observe(polled_at.elapsed().as_secs_f64());
        let direction = if to > from { "up" } else { "down" };
        self.metrics.scalings.get_or_create(&DecisionLabels { reason: reason.clone(), direction }).inc();
        tracing::info!(queue = %key, from, to, reason, message, "scaled");
    }

    /// Without an answer the number may have been written, and then nothing must put back the old one: it counts as written,
    /// and the next reconcile sees to it that it is there.
    fn record(&self, key: &Key, change: &Change, outcome: &Result<(), WriteError>) {
        self.state.update(key, |queue| match outcome {
            Err(error) if !error.is_ambiguous() => {
                queue.scaling.record_failed(|failures| backoff::wait(failures, rand::random()));
            }
            _ => queue.scaling.record_written(last_scale(change), change.to, outcome.is_ok()),
        });
    }
}

/// The change as a status has it, with seconds as its finest unit: what comes back by the watch must be what was written, or
/// it is written again and again.
fn last_scale(change: &Change) -> LastScale {
    let Change { from, to, reason, message, .. } = change;
    let count = |workers: u32| i32::try_from(workers).unwrap_or(i32::MAX);
    let this_second = Timestamp::from_second(Timestamp::now().as_second()).expect("the present is a moment");
    let (reason, message) = (reason.clone(), message.clone());
    LastScale { time: Time(this_second), from: count(*from), to: count(*to), reason, message }
}

/// Sets the number of workers and nothing else. By the `scale` subresource, which costs the API server less than a patch of
/// the Deployment: that one is written as JSON and read again as a whole.
async fn patch_scale(client: &Client, namespace: &str, name: &str, replicas: u32) -> Result<(), WriteError> {
    let api: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let patch = serde_json::json!({"spec": {"replicas": replicas}});
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
    let outcome = api.patch_scale(name, &parameters, &Patch::Merge(&patch)).await;
    outcome.map(|_| ()).map_err(|source| WriteError { kind: "Deployment", name: name.into(), source: Box::new(source) })
}
