//! What drives the reconciles: the watches, the requests of the autoscaler, and when a queue is reconciled again by itself.
//!
//! This is the loop of a controller, and not the library's, which keeps more of an object that is at rest than all else here
//! does: a copy of its metadata, and its name four times.

use std::{sync::Arc, time::Duration};

use futures::{
    Stream, StreamExt,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use k8s_openapi::api::{
    apps::v1::Deployment, core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event},
};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    backoff::{self, per_queue},
    liveness::Pulse,
    metrics::OutcomeLabels,
    names,
    reconciler::{
        compact_object::{CompactObject, GuardedJobQueue, PackedObject},
        context::Context,
        error::Error,
        objects::{Objects, Observed},
        reconcile,
        watches::watch,
        work_queue::{Return, WorkQueue},
    },
    state::{key::Key, owned_objects::OwnedKind, registry::Registry},
    status::writer::{FIRST_POLL, Next},
};

/// Objects in one answer when all are listed: it is in memory as a whole.
const PAGE: u32 = 100;

/// Missing pods are not looked for more often.
const SHORTEST: Duration = Duration::from_millis(50);

/// How often queues that were deleted are forgotten.
const TIDY: Duration = Duration::from_secs(1);

/// The queues that an event of a watch is about, as often as the watch tells of one. Hardly anything is kept of what it tells.
fn woken<K>(
    context: &Arc<Context>,
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
    mut observe: impl FnMut(&Context, &Event<K>) -> Vec<Key> + Send + 'static,
) -> BoxStream<'static, Key>
where
    K: Resource<DynamicType = ()> + 'static,
{
    let context = context.clone();
    // A watch that fails begins anew by itself.
    let woken = events.map(move |event| event.map(|event| observe(&context, &event)).unwrap_or_default());
    woken.flat_map(stream::iter).boxed()
}

/// The queues whose Deployments changed or went.
fn of_deployments(context: &Arc<Context>, config: &watcher::Config) -> BoxStream<'static, Key> {
    let events = watch(context.scope.apis::<Deployment>(&context.client), config, &context.liveness);
    woken(context, events, |context, event| context.state.cache_deployment(event))
}

/// The queues that lack one of their objects of a kind, of which only metadata is asked for.
fn lacking<K>(context: &Arc<Context>, config: &watcher::Config, kind: OwnedKind) -> BoxStream<'static, Key>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + Send
        + 'static,
{
    let events = watch(context.scope.apis::<PartialObjectMeta<K>>(&context.client), config, &context.liveness);
    woken(context, events, move |context, event| context.state.observe_owned(kind, event))
}

/// Reconciles queues until `stop`: those that changed, and those that `requests` names.
pub(crate) async fn run(
    context: Arc<Context>,
    requests: impl Stream<Item = Key> + Send + 'static,
    stop: CancellationToken,
) {
    let all = watcher::Config::default().page_size(PAGE);
    let of_queues = all.clone().labels(names::QUEUE_LABEL);
    let queues = watch(context.scope.apis::<CompactObject>(&context.client), &all, &context.liveness).boxed();
    let wakes = stream::select_all([
        requests.boxed(),
        of_deployments(&context, &of_queues),
        lacking::<ConfigMap>(&context, &of_queues, OwnedKind::ConfigMap),
        lacking::<PodDisruptionBudget>(&context, &of_queues, OwnedKind::PodDisruptionBudget),
        lacking::<NetworkPolicy>(&context, &of_queues, OwnedKind::NetworkPolicy),
    ]);
    let pulse = context.liveness.begin("reconcile", TIDY);
    let controller = Controller { context, objects: Objects::default(), work: WorkQueue::default(), pulse };
    controller.run(queues, wakes, stop).await;
}

/// The loop, and what it knows.
struct Controller {
    context: Arc<Context>,
    objects: Objects,
    work: WorkQueue,
    pulse: Pulse,
}

/// A reconcile that is over: of which queue, and when it comes back by itself.
type Reconciled = (Arc<Key>, Option<Return>);

impl Controller {
    async fn run(
        mut self,
        mut queues: impl Stream<Item = watcher::Result<Event<CompactObject>>> + Unpin,
        mut wakes: impl Stream<Item = Key> + Unpin,
        stop: CancellationToken,
    ) {
        let mut running: FuturesUnordered<BoxFuture<'static, Reconciled>> = FuturesUnordered::new();
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            running.extend(self.begin());
            let next_due = self.work.next_due().filter(|_| self.objects.is_complete());
            tokio::select! {
                () = stop.cancelled() => break,
                Some(event) = queues.next() => self.observe(event),
                Some(key) = wakes.next() => self.wake(&key),
                Some((key, next)) = running.next() => self.work.finish(&key, next, Instant::now()),
                () = sleep_until(next_due.unwrap_or_else(Instant::now)), if next_due.is_some() => {}
                _ = tidy.tick() => self.tidy(),
            }
        }
        while running.next().await.is_some() {}
    }

    /// Begins the reconciles that are due.
    fn begin(&mut self) -> Vec<BoxFuture<'static, Reconciled>> {
        let mut begun = Vec::new();
        while let Some(key) = self.objects.is_complete().then(|| self.work.pop(Instant::now())).flatten() {
            let Some(object) = self.objects.get(&key).map(PackedObject::unpack) else {
                self.work.finish(&key, None, Instant::now());
                continue;
            };
            let (context, span) = (self.context.clone(), tracing::info_span!("reconcile", queue = %key));
            let reconciled = async move {
                let next = reconcile_object(&key, object, &context).await;
                (key, next)
            };
            begun.push(Box::pin(reconciled.instrument(span)) as BoxFuture<'static, Reconciled>);
        }
        begun
    }

    /// Takes in an event of the watch of JobQueues.
    fn observe(&mut self, event: watcher::Result<Event<CompactObject>>) {
        // A watch that fails begins anew by itself.
        let Ok(event) = event else { return };
        let state = &self.context.state;
        let observed = self.objects.observe(event, |key| state.shared_key(&key));
        let Some(Observed { key, is_changed }) = observed else { return };
        if is_changed {
            self.work.request_changed(&key, Instant::now());
        } else {
            self.work.request(&key, Instant::now());
        }
    }

    /// Something that belongs to a queue, or that it goes by, has changed.
    fn wake(&mut self, key: &Key) {
        // One that is not listed yet is reconciled when it is.
        if self.objects.has(key) {
            self.work.request(&self.context.state.shared_key(key), Instant::now());
        }
    }

    /// Queues that were deleted are served no more.
    fn tidy(&mut self) {
        self.pulse.beat();
        self.context.secrets.tidy();
        if !self.objects.is_complete() {
            return;
        }
        for key in self.context.state.retain(|key| self.objects.has(key)) {
            tracing::info!(queue = %key, "deleted: its workers drain and go");
        }
        self.work.retain(|key| self.objects.has(key));
    }
}

/// One reconcile, unless the last one failed a moment ago; returns when to come back, `None` for when something happens.
pub(crate) async fn reconcile_object(key: &Key, object: GuardedJobQueue, context: &Context) -> Option<Return> {
    let generation = object.meta().generation;
    // Whatever woke it: a reconcile that failed comes again when its time has come, or the object has changed.
    if let Some(wait) = context.state.until_retry(key, generation) {
        return Some(Return::Retry(wait));
    }
    let began = Instant::now();
    let outcome = Box::pin(reconcile(key, &object, context)).await;
    let label = outcome.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconciles.get_or_create(&OutcomeLabels { outcome: label }).inc();
    context.metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    if context.traces.is_on() {
        let failure = outcome.as_ref().err().map(|error| (error.category(), error.to_string()));
        context.traces.reconciled(key, began, failure);
    }
    match outcome {
        Ok(next) => {
            let repairs = context.state.record_repair(key, next == Next::Repair);
            pause(next, &context.state, repairs)
        }
        Err(error) => Some(retry_later(key, generation, &error, context)),
    }
}

/// When to come back. Secrets are not watched: the fewer queues there are, the sooner a change of one is noticed. `repairs`
/// reconciles in a row found that a person must act, or a server come back.
fn pause(next: Next, state: &Registry, repairs: u32) -> Option<Return> {
    let queues = state.len();
    let pause = match next {
        Next::Change => return None,
        // What a server says is followed by the autoscaler; a reconcile only checks whether a person changed something.
        Next::Repair => repair_pause(state.failing(), repairs),
        // No sooner than they are listed again: the jitter takes up to a quarter off.
        Next::Pods(left) => left.max(SHORTEST).mul_f64(4.0 / 3.0).min(resync(queues)),
        Next::Poll => FIRST_POLL,
        Next::Report(early) => early.mul_f64(4.0 / 3.0),
        Next::Resync => resync(queues),
    };
    let pause = backoff::jittered(pause, rand::random());
    Some(if next == Next::Repair { Return::Repair(pause) } else { Return::After(pause) })
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

/// How long a queue waits after a reconcile that failed.
fn retry_later(key: &Key, generation: Option<i64>, error: &Error, context: &Context) -> Return {
    // The end of a deletion is an event of the watch.
    let waits_for_event = matches!(error, Error::Leftover(_));
    let (failures, wait) = context.state.schedule_retry(key, generation, waits_for_event, rand::random());
    tracing::warn!(queue = %key, %error, category = error.category(), failures, ?wait, "a reconcile failed");
    if waits_for_event { Return::Repair(wait) } else { Return::Retry(wait) }
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
