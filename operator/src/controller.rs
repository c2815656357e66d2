//! One visit to one queue: fetch, validate, plan, apply, status. This file only puts the steps in order.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt};
use jobqueue_crds::JobQueue;
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
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
    apply::{Applied, Record, apply, unchanged},
    backoff,
    digest::Digest,
    error::Error,
    events::Events,
    fetch::{fetch, pods},
    glimpse::{AsApplied, Missing, each},
    kept::{Guarded, Kept},
    metrics::{Metrics, OutcomeLabels},
    observe,
    plan::{self, PlanInput, plan},
    registry::{Key, Registry},
    report::{FIRST_LOOK, Findings, Next, report, unreadable},
    rivals::Rivals,
    secrets::{RecentSecrets, resolve},
    status::{Blocked, Reach},
    tracked::{Tracked, Uid},
    turns::{self, Turns},
    validate::{Invalid, Valid, validate},
};

/// Requests within this time make one visit: pods become ready in swarms.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Objects in one answer when all are listed: it is in memory as a whole.
const PAGE: u32 = 100;
/// How old a Secret may be that a first visit takes from its neighbours: a hundred queues that share one begin together.
const STARTING: Duration = Duration::from_secs(5);
/// The same for a queue that did not change, where its Secrets may have.
const UNCHANGED: Duration = Duration::from_secs(2);

/// What every visit uses.
pub struct Context {
    /// The API server; writes need the lease.
    pub client: Client,
    /// The queues that are served.
    pub registry: Arc<Registry>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// For `kubectl describe`.
    pub events: Events,
    /// The image of this release's worker.
    pub default_image: String,
    /// This process runs in the cluster, and knows the names of its Services.
    pub in_cluster: bool,
    /// The namespace that is served; none: all.
    pub scope: Option<String>,
    /// Other autoscalers.
    pub rivals: Rivals,
    /// Secrets read a moment ago.
    pub secrets: RecentSecrets,
    /// New queues go first.
    pub turns: Turns,
}

/// The watch of all JobQueues in `namespace` (none: all), and of the Deployments that they own. The first are kept packed,
/// of the second hardly anything is.
pub fn controller(client: &Client, namespace: Option<&str>, registry: &Arc<Registry>) -> Controller<Kept> {
    let queues: Api<Kept> = scoped(client, namespace);
    let deployments: Api<Deployment> = scoped(client, namespace);
    let ours = watcher::Config::default().page_size(PAGE).labels(plan::QUEUE_LABEL);
    let (store, writer) = reflector::store();
    let queues = watcher(queues, watcher::Config::default().page_size(PAGE)).reflect(writer).applied_objects();
    let registry = registry.clone();
    let deployments = watcher(deployments, ours).inspect_ok(move |event| registry.glimpse(event)).touched_objects();
    Controller::for_stream(queues, store)
        .owns_stream(deployments)
        .with_config(controller::Config::default().debounce(DEBOUNCE).concurrency(turns::AT_ONCE))
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    namespace.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace))
}

/// Visits queues until `stop`: those that changed, and those that `woken` names.
pub async fn run(
    controller: Controller<Kept>,
    context: Arc<Context>,
    woken: impl Stream<Item = Key> + Send + 'static,
    stop: CancellationToken,
) {
    let store = controller.store();
    let woken = woken.map(|key| key.into_kind_unchecked::<Kept>(()));
    let visits = controller
        .reconcile_on(woken)
        .graceful_shutdown_on(stop.clone().cancelled_owned())
        .run(reconcile, retry_later, context.clone())
        .for_each(|outcome| async {
            match outcome {
                Ok(_) | Err(controller::Error::ReconcilerFailed(..) | controller::Error::ObjectNotFound(_)) => {}
                // The API server forgets old versions: no news.
                Err(controller::Error::QueueError(watcher::Error::WatchError(answer))) if answer.code == 410 => {}
                Err(error) => tracing::warn!(%error, "the watch was interrupted; it goes on by itself"),
            }
        });
    tokio::select! {
        () = visits => {}
        () = forget_the_gone(&store, &context) => {}
    }
}

/// A queue that was deleted is looked at no more.
async fn forget_the_gone(store: &Store<Kept>, context: &Context) {
    if store.wait_until_ready().await.is_err() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        context.secrets.tidy();
        let exists = |key: &Key| store.get(&key.clone().into_kind_unchecked::<Kept>(())).is_some();
        for key in context.registry.retain(exists) {
            tracing::info!(queue = %key, "deleted: its workers drain and go");
        }
    }
}

async fn reconcile(object: Arc<Kept>, context: Arc<Context>) -> Result<Action, Error> {
    let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
    let served = context.registry.serves(&ObjectRef::new(&name).within(&namespace));
    let _turn = match context.turns.take(served, rand::random()) {
        Ok(turn) => turn,
        Err(wait) => return Ok(Action::requeue(wait)),
    };
    let began = Instant::now();
    let outcome = Box::pin(visit(&object.open(), &context)).await;
    let label = outcome.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconciles.get_or_create(&OutcomeLabels { outcome: label }).inc();
    context.metrics.reconcile_seconds.observe(began.elapsed().as_secs_f64());
    outcome
}

/// One visit, in order.
pub async fn visit(object: &Guarded, context: &Context) -> Result<Action, Error> {
    let queue = match &object.0 {
        Ok(queue) => queue,
        Err(invalid) => {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            tracing::error!(namespace, name, error = invalid.error, "a JobQueue cannot be read, and is left alone");
            let generation = object.meta().generation.unwrap_or_default();
            unreadable(context, &name, &namespace, generation, &invalid.error).await?;
            return Ok(Action::await_change());
        }
    };
    context.registry.rush.passed().await;
    let key = ObjectRef::new(&queue.name_any()).within(&queue.namespace().unwrap_or_default());
    if queue.metadata.deletion_timestamp.is_some() {
        context.registry.forget(&key);
        return Ok(Action::await_change());
    }
    let findings = Box::pin(serve(context, &key, queue)).await?;
    let next = report(context, &key, queue, findings).await?;
    context.registry.succeeded(&key);
    Ok(again(next, context.registry.len()))
}

/// Everything but the status.
async fn serve(context: &Context, key: &Key, queue: &JobQueue) -> Result<Findings, Error> {
    if let Some(findings) = as_applied(context, key, queue).await {
        return Ok(findings);
    }
    let fetched = fetch(&context.client, queue, &context.secrets, patience(context, key, queue)).await?;
    let present = fetched.deployment.clone();
    let Valid { served, secrets, secret_hash } = match validate(queue, fetched, context.in_cluster) {
        Ok(valid) => valid,
        Err(Invalid::NotYet(error)) => return Err(error),
        Err(Invalid::Blocked(blocked)) => return Ok(stopped(blocked, present.as_ref())),
    };
    context.registry.serve(key, served);
    let applied = match Box::pin(settle(context, key, queue, (secrets, &secret_hash), present.as_ref())).await {
        Ok(applied) => applied,
        Err(Refusal::Blocked(blocked)) => return Ok(stopped(blocked, present.as_ref())),
        Err(Refusal::NotYet(error)) => return Err(error),
    };
    let Applied { deployment } = applied;
    let workers = observe::workers(&deployment);
    let name = deployment.name_any();
    context.registry.with(key, |tracked| {
        tracked.deployment = Some(name.as_str().into());
        tracked.ready = workers.ready;
    });
    let mut problem = None;
    if workers.is_short() {
        problem = observe::problem(&deployment, pods(&context.client, queue).await?.iter());
    }
    context.registry.with(key, |tracked| {
        let before = tracked.missing.take();
        tracked.missing = workers.is_short().then(|| Missing::now(before, problem.clone()));
    });
    let warnings = warnings(context, key, &name).await;
    Ok(Findings { blocked: None, workers: Some(workers), problem, warnings })
}

/// The short way, which asks the API server for nothing but Secrets, and for those seldom: what was applied is as it was,
/// so far as the watch tells. None where it takes the long one.
async fn as_applied(context: &Context, key: &Key, queue: &JobQueue) -> Option<Findings> {
    let glimpse = context.registry.glimpsed(key)?;
    let (uid, generation, queues) = (Uid::of(queue), queue.metadata.generation?, context.registry.len());
    let known = |tracked: &mut Tracked| {
        let troubled = [&tracked.reach, &tracked.database].iter().any(|reach| matches!(reach, Reach::Failed { .. }));
        tracked.as_applied(uid, generation, &glimpse, queues).map(|there| (there, troubled))
    };
    let (AsApplied { workers, problem, secrets }, troubled) = context.registry.with(key, known).flatten()?;
    // Where a server refuses us, its password may have changed.
    let patience = if troubled { UNCHANGED } else { resync(queues) / 2 };
    let resolved = resolve(&context.client, queue, &context.secrets, patience).await.ok()?;
    if resolved.hash != secrets {
        return None;
    }
    context.registry.with(key, |tracked| tracked.ready = workers.ready);
    let warnings = warnings(context, key, &plan::object_name(queue)).await;
    Some(Findings { blocked: None, workers: Some(workers), problem, warnings })
}

/// A Secret may have been written together with the JobQueue, and is then read anew; what was read since does for all
/// queues that share it.
fn patience(context: &Context, key: &Key, queue: &JobQueue) -> Duration {
    let uid = Uid::of(queue);
    let unchanged = |tracked: &mut Tracked| {
        let generation = tracked.applied_for.as_ref().map(|(generation, _)| *generation);
        tracked.uid == uid && generation.is_some() && generation == queue.metadata.generation
    };
    match context.registry.with(key, unchanged) {
        None => {
            let created = queue.creation_timestamp().map_or(0, |time| time.0.as_second());
            // Created within that second, and not at its beginning.
            let age = Timestamp::now().as_second().saturating_sub(created).saturating_sub(1);
            Duration::from_secs(u64::try_from(age).unwrap_or(0)).min(STARTING)
        }
        Some(true) => UNCHANGED,
        Some(false) => Duration::ZERO,
    }
}

enum Refusal {
    Blocked(Blocked),
    NotYet(Error),
}

/// Plans and applies, with the number of workers that holds at this moment.
async fn settle(
    context: &Context,
    key: &Key,
    queue: &JobQueue,
    (secrets, secret_hash): (Digest, &str),
    present: Option<&Deployment>,
) -> Result<Applied, Refusal> {
    let write = context.registry.with(key, |tracked| tracked.write.clone()).unwrap_or_default();
    let _writing = write.lock().await;
    let known = context.registry.with(key, |tracked| (tracked.current, tracked.applied.clone()));
    let (replicas, last) = known.unwrap_or_default();
    let applied_for = Some((queue.metadata.generation.unwrap_or_default(), secrets));
    let input = PlanInput { queue, default_image: &context.default_image, secret_hash, replicas };
    let planned = plan(&input).map_err(|error| {
        let reason = jobqueue_crds::Reason::InvalidSpec;
        Refusal::Blocked(Blocked { reason, message: error.to_string() })
    })?;
    let last = last.or_else(|| Record::left(&planned, present?));
    if let (Some(last), Some(deployment)) = (last, present)
        && unchanged(&last, &planned, deployment, context.registry.len())
    {
        context.registry.with(key, |tracked| {
            tracked.applied = Some(last);
            tracked.applied_for = applied_for;
        });
        return Ok(Applied { deployment: deployment.clone() });
    }
    let namespace = queue.namespace().unwrap_or_default();
    let (applied, record) = apply(&context.client, &namespace, planned, present).await.map_err(|error| {
        if error.refused() {
            let reason = jobqueue_crds::Reason::WorkersForbidden;
            Refusal::Blocked(Blocked { reason, message: error.to_string() })
        } else {
            Refusal::NotYet(error.into())
        }
    })?;
    context.registry.with(key, |tracked| {
        tracked.applied = Some(record);
        tracked.applied_for = applied_for;
        tracked.missing = None;
    });
    Ok(applied)
}

fn stopped(blocked: Blocked, deployment: Option<&Deployment>) -> Findings {
    Findings { blocked: Some(blocked), workers: deployment.map(observe::workers), ..Findings::default() }
}

async fn warnings(context: &Context, key: &Key, deployment: &str) -> Vec<Blocked> {
    let Context { client, scope, rivals, .. } = context;
    rivals.of(client, scope.as_deref(), key.namespace.as_deref().unwrap_or_default(), deployment).await
}

/// When to come back. Secrets are not watched: the fewer queues there are, the sooner a change of one is noticed.
fn again(next: Next, queues: usize) -> Action {
    let pause = match next {
        // What a server says is followed by the sweep; a visit only looks whether a person changed something.
        Next::Repair => each(queues, 20).clamp(Duration::from_secs(4), Duration::from_secs(60)),
        // No sooner than they are looked at again: the jitter takes up to a quarter off.
        Next::Pods(left) => left.max(DEBOUNCE).mul_f64(4.0 / 3.0).min(resync(queues)),
        Next::Look => FIRST_LOOK,
        Next::Tell(early) => early.mul_f64(4.0 / 3.0),
        Next::Resync => resync(queues),
    };
    Action::requeue(backoff::jittered(pause, rand::random()))
}

/// Twenty visits a second, all queues together; and each within five minutes.
fn resync(queues: usize) -> Duration {
    each(queues, 50).clamp(Duration::from_secs(10), Duration::from_secs(300))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is the library's")]
fn retry_later(object: Arc<Kept>, error: &Error, context: Arc<Context>) -> Action {
    let key = ObjectRef::from_obj(&*object).into_kind_unchecked::<JobQueue>(());
    let failures = context.registry.failed_again(&key);
    let wait = backoff::wait(failures, rand::random());
    tracing::warn!(queue = %key, %error, category = error.category(), failures, ?wait, "a visit failed");
    Action::requeue(wait)
}
