//! What drives the reconciles: the watches, the requests of the autoscaler, and when a queue is reconciled again by itself.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use jobqueue_crds::JobQueue;
use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        Controller, WatchStreamExt, controller,
        controller::Action,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::{self, per_queue},
    metrics::OutcomeLabels,
    names,
    reconciler::{admission, compact_object::CompactObject, context::Context, error::Error, reconcile, watches::watch},
    state::{key::Key, owned_objects::OwnedKind, registry::Registry},
    status::writer::{FIRST_POLL, Next},
};

/// Requests within this time make one reconcile: pods become ready in swarms.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Objects in one answer when all are listed: it is in memory as a whole.
const PAGE: u32 = 100;

/// The watch of all JobQueues that are served, and of the Deployments that they own. The first are kept packed, of the second
/// hardly anything is.
fn controller(context: &Arc<Context>) -> Controller<CompactObject> {
    let (queues, deployments) =
        (context.scope.apis(&context.client), context.scope.apis::<Deployment>(&context.client));
    let of_queues = watcher::Config::default().page_size(PAGE).labels(names::QUEUE_LABEL);
    let (store, writer) = reflector::store();
    let all = watcher::Config::default().page_size(PAGE);
    let queues = watch(queues, &all, &context.liveness).reflect(writer).applied_objects();
    let cache = context.clone();
    let deployments = watch(deployments, &of_queues, &context.liveness);
    let deployments = deployments.inspect_ok(move |event| cache.state.cache_deployment(event)).touched_objects();
    Controller::for_stream(queues, store)
        .owns_stream(deployments)
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(admission::CONCURRENCY))
}

/// The queues that lack one of their objects of a kind, as often as its watch tells of one. Only metadata is asked for, and of
/// that hardly anything is kept.
fn lacking<K>(context: Arc<Context>, kind: OwnedKind) -> impl Stream<Item = Key> + Send + 'static
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let objects = context.scope.apis::<PartialObjectMeta<K>>(&context.client);
    let of_queues = watcher::Config::default().page_size(PAGE).labels(names::QUEUE_LABEL);
    let events = watch(objects, &of_queues, &context.liveness);
    let lacking = events.map(move |event| match event {
        Ok(event) => context.state.observe_owned(kind, &event),
        Err(error) => {
            tracing::debug!(kind = kind.name(), %error, "the watch was interrupted; it goes on by itself");
            Vec::new()
        }
    });
    lacking.flat_map(stream::iter)
}

/// Reconciles queues until `stop`: those that changed, and those that `requests` names.
pub(crate) async fn run(
    context: Arc<Context>,
    requests: impl Stream<Item = Key> + Send + 'static,
    stop: CancellationToken,
) {
    let controller = controller(&context);
    let store = controller.store();
    let lacking = stream::select_all([
        lacking::<ConfigMap>(context.clone(), OwnedKind::ConfigMap).boxed(),
        lacking::<PodDisruptionBudget>(context.clone(), OwnedKind::PodDisruptionBudget).boxed(),
        lacking::<NetworkPolicy>(context.clone(), OwnedKind::NetworkPolicy).boxed(),
    ]);
    let requests = stream::select(requests, lacking).map(|key| key.into_kind_unchecked::<CompactObject>(()));
    let reconciles = controller
        .reconcile_on(requests)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(admitted, retry_later, context.clone())
        .for_each(|outcome| async {
            match outcome {
                Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
                // The API server forgets old versions: no news.
                Err(controller::Error::QueueError(watcher::Error::WatchError(answer))) if answer.code == 410 => {}
                Err(error) => tracing::warn!(%error, "the watch was interrupted; it goes on by itself"),
            }
        });
    tokio::select! {
        () = reconciles => {}
        () = forget_deleted(&store, &context) => {}
    }
}

/// Queues that were deleted are served no more.
async fn forget_deleted(store: &Store<CompactObject>, context: &Context) {
    if store.wait_until_ready().await.is_err() {
        return std::future::pending().await;
    }
    let pulse = context.liveness.begin("reconcile", Duration::from_secs(1));
    loop {
        pulse.beat();
        tokio::time::sleep(Duration::from_secs(1)).await;
        context.secrets.tidy();
        let exists = |key: &Key| store.get(&key.clone().into_kind_unchecked::<CompactObject>(())).is_some();
        for key in context.state.retain(exists) {
            tracing::info!(queue = %key, "deleted: its workers drain and go");
        }
    }
}

/// One reconcile, if the queue is admitted, and when to come back.
pub(crate) async fn admitted(object: Arc<CompactObject>, context: Arc<Context>) -> Result<Action, Error> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let key = ObjectRef::new(&name).within(&namespace);
    // Whatever woke it: a reconcile that failed comes again when its time has come, or the object has changed.
    if let Some(wait) = context.state.until_retry(&key, object.meta().generation) {
        return Ok(Action::requeue(wait));
    }
    let is_new = !context.state.serves(&key) && !context.state.is_failing(&key);
    let _permit = match context.admission.admit(is_new, rand::random()) {
        Ok(permit) => permit,
        Err(wait) => return Ok(Action::requeue(wait)),
    };
    let began = Instant::now();
    let outcome = Box::pin(reconcile(&object.unpack(), &context)).await;
    let label = outcome.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconciles.get_or_create(&OutcomeLabels { outcome: label }).inc();
    context.metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    let next = outcome?;
    let repairs = context.state.record_repair(&key, next == Next::Repair);
    Ok(requeue(next, &context.state, repairs))
}

/// When to come back. Secrets are not watched: the fewer queues there are, the sooner a change of one is noticed. `repairs`
/// reconciles in a row found that a person must act, or a server come back.
fn requeue(next: Next, state: &Registry, repairs: u32) -> Action {
    let queues = state.len();
    let pause = match next {
        Next::Change => return Action::await_change(),
        // What a server says is followed by the autoscaler; a reconcile only checks whether a person changed something.
        Next::Repair => repair_pause(state.failing(), repairs),
        // No sooner than they are listed again: the jitter takes up to a quarter off.
        Next::Pods(left) => left.max(DEBOUNCE).mul_f64(4.0 / 3.0).min(resync(queues)),
        Next::Poll => FIRST_POLL,
        Next::Report(early) => early.mul_f64(4.0 / 3.0),
        Next::Resync => resync(queues),
    };
    Action::requeue(backoff::jittered(pause, rand::random()))
}

/// The longer it waits already, the later: thousands of queues that nobody repairs must not be in the way of one that was
/// broken a moment ago. So many are `failing`, served or not.
fn repair_pause(failing: usize, repairs: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(4);
    let longest = backoff::longest_among(failing, FIRST);
    FIRST.saturating_mul(1 << repairs.saturating_sub(1).min(8)).min(longest)
}

/// Twenty reconciles a second, all queues together; and each within five minutes.
pub(super) fn resync(queues: usize) -> Duration {
    per_queue(queues, 50).clamp(Duration::from_secs(10), Duration::from_secs(300))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the library's")]
fn retry_later(object: Arc<CompactObject>, error: &Error, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(&*object).into_kind_unchecked::<JobQueue>(());
    // The end of a deletion is an event of the watch.
    let waits_for_event = matches!(error, Error::Leftover(_));
    let generation = object.meta().generation;
    let (failures, wait) = context.state.schedule_retry(&key, generation, waits_for_event, rand::random());
    tracing::warn!(queue = %key, %error, category = error.category(), failures, ?wait, "a reconcile failed");
    Action::requeue(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_repairs_is_looked_at_less_and_less_often() {
        let seconds = |failing, repairs| repair_pause(failing, repairs).as_secs();
        assert_eq!([1, 2, 3, 100].map(|repairs| seconds(10_000, repairs)), [4, 8, 16, 200]);
        assert_eq!([1, 2, 100].map(|repairs| seconds(10, repairs)), [4, 4, 4], "few may be looked at often");
    }
}
