//! One reconcile of one queue, in five steps: fetch, validate, build, apply, status. This file only puts them in order.

mod apply;
pub(crate) mod build;
pub(crate) mod compact_object;
pub(crate) mod context;
pub(crate) mod controller;
pub(crate) mod error;
mod fast_path;
mod fetch;
mod interruption;
mod objects;
mod ownership;
mod password_file;
mod prune;
pub(crate) mod rollouts;
pub(crate) mod secrets;
mod validate;
mod watches;
pub(crate) mod work_queue;
pub(crate) mod worker_defaults;

use std::time::Duration;

use jobqueue_crds::{JobQueue, Reason};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{Resource, ResourceExt, core::error_boundary::InvalidObject};

use crate::{
    reconciler::{
        apply::{
            AppliedObjects, Marks, apply, has_template, inherited, is_operators_change, is_unchanged, owned_objects,
        },
        build::{BuildInput, DesiredObjects, Rendition, build},
        compact_object::GuardedJobQueue,
        context::Context,
        error::{Error, Refusal},
        fast_path::UNCHANGED,
        fetch::{Fetched, events, fetch, pods},
        validate::{Valid, validate},
    },
    state::{
        applied::{Source, Surge},
        deployment_cache::is_rolled_out_by_operator,
        health::{Stall, Warning},
        key::{Key, Uid},
        missing_pods::MissingPods,
        workers::{PodProblem, Workers},
    },
    status::{
        pod_problems, slow_pods,
        writer::{Findings, Next},
    },
};

/// How old a Secret may be that a first reconcile shares with other queues: a hundred that share one begin together.
const STARTING: Duration = Duration::from_secs(5);

/// One reconcile; returns when the next one is due. One that failed is counted, and after some in a row the status says why.
pub(crate) async fn reconcile(key: &Key, object: &GuardedJobQueue, context: &Context) -> Result<Next, Error> {
    let outcome = Box::pin(attempt(object, key, context)).await;
    match &outcome {
        Ok(_) => context.state.record_success(key),
        Err(error) => {
            if context.state.record_failure(key) {
                report_retry(object, key, context, error).await;
            }
        }
    }
    outcome
}

/// Lets the status say that reconciles fail. Its own failure is no news: it is tried again like everything else.
async fn report_retry(object: &GuardedJobQueue, key: &Key, context: &Context, error: &Error) {
    let (Ok(queue), false) = (&object.0, matches!(error, Error::Status(_))) else { return };
    let workers = context.state.cached_deployment(key).map(|deployment| deployment.workers);
    let problem = context.state.read(key, |state| state.applied.missing_pods.as_ref()?.problem().cloned());
    let retry = Some(error.to_string());
    let findings = Findings { retry, workers, problem: problem.flatten(), ..Findings::default() };
    if let Err(error) = context.status.report(key, queue, findings).await {
        tracing::debug!(queue = %key, %error, "the status does not say that reconciles fail");
    }
}

async fn attempt(object: &GuardedJobQueue, key: &Key, context: &Context) -> Result<Next, Error> {
    let queue = match &object.0 {
        Ok(queue) => queue,
        Err(InvalidObject { error, .. }) => {
            tracing::error!(queue = %key, error, "a JobQueue cannot be read, and is left alone");
            let generation = object.meta().generation.unwrap_or_default();
            let written = context.status.report_unreadable(key, generation, error).await;
            written.map_err(|source| Error::Status(source.into()))?;
            return Ok(Next::Change);
        }
    };
    context.write_priority.wait_until_few().await;
    if queue.metadata.deletion_timestamp.is_some() {
        context.state.forget(key);
        return Ok(Next::Change);
    }
    let findings = match fast_path::as_applied(context, key, queue).await {
        Some(findings) => findings,
        None => Box::pin(serve(context, key, queue)).await?,
    };
    context.status.report(key, queue, findings).await.map_err(|source| Error::Status(source.into()))
}

/// All steps but the status; returns what it is to report.
async fn serve(context: &Context, key: &Key, queue: &JobQueue) -> Result<Findings, Error> {
    let fetched = fetch(&context.client, queue, &context.secrets, max_secret_age(context, key, queue)).await?;
    let present = fetched.deployment.clone();
    match Box::pin(serve_fetched(context, key, queue, fetched)).await {
        Ok(findings) => Ok(findings),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Stalled(stall)) => {
            let workers = present.as_ref().map(Workers::of);
            Ok(Findings { stall: Some(stall), workers, ..Findings::default() })
        }
    }
}

async fn serve_fetched(context: &Context, key: &Key, queue: &JobQueue, fetched: Fetched) -> Result<Findings, Refusal> {
    let present = fetched.deployment.clone();
    let last = context.state.read(key, |state| state.applied.source.filter(|_| state.uid == Uid::of(queue))).flatten();
    let surroundings = (context.in_cluster, context.password_directory.as_deref());
    let Valid { spec, initial, source, secret_mark } = validate(queue, fetched, surroundings, last)?;
    context.state.serve(key, Uid::of(queue), spec, initial);
    let built = Box::pin(build_and_apply(context, key, queue, (source, &secret_mark), present.as_ref())).await?;
    let Built { deployment, held } = built;
    let (name, workers) = (deployment.name_any(), Workers::of(&deployment));
    context.state.update(key, |state| {
        state.applied.deployment = Some(name.as_str().into());
        (state.applied.ready, state.applied.present) = (workers.ready, workers.present);
    });
    let problem = check_pods(context, key, queue, &deployment, workers).await?;
    let mut warnings = warnings(context, key, &name).await;
    if let Some(Held::RolledBack(warning)) = &held {
        warnings.insert(0, warning.clone());
    }
    let rollout_queued = matches!(held, Some(Held::RolloutQueued));
    Ok(Findings { workers: Some(workers), problem, warnings, rollout_queued, ..Findings::default() })
}

/// How old the queue's Secrets may be. One may have been written together with the JobQueue, and is then read anew; what was
/// read since does for all queues that share it.
fn max_secret_age(context: &Context, key: &Key, queue: &JobQueue) -> Duration {
    let uid = Uid::of(queue);
    let is_unchanged = context.state.read(key, |state| {
        let generation = state.applied.source.map(|source| source.generation);
        state.uid == uid && generation.is_some() && generation == queue.metadata.generation
    });
    match is_unchanged {
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

/// What came of building and applying.
struct Built {
    /// The workers' Deployment.
    deployment: Deployment,
    /// Why nothing was applied although the Deployment is not as desired; `None` if it is.
    held: Option<Held>,
}

/// Why a Deployment stays as it is.
enum Held {
    /// Its workers are replaced when other queues' are.
    RolloutQueued,
    /// Somebody put back an earlier template.
    RolledBack(Warning),
}

impl Held {
    /// Why `present` is left as it is; `None` if it is to be as `desired`. `known` is the generation that this process found
    /// applied.
    fn of(
        context: &Context,
        key: &Key,
        (present, desired): (&Deployment, &DesiredObjects),
        generation: i64,
        known: Option<i64>,
    ) -> Option<Self> {
        if let Some(earlier) = rollouts::rolled_back(present, generation, known) {
            let message = format!(
                "the Deployment was rolled back to what was applied for generation {earlier} of the JobQueue, and stays so \
                 until the JobQueue is changed"
            );
            return Some(Self::RolledBack(Warning { reason: Reason::RolledBack, message }));
        }
        let waits = rollouts::has_pods(present)
            && is_operators_change(present, desired, generation, known)
            && !context.rollouts.admit(key, &context.state);
        waits.then_some(Self::RolloutQueued)
    }
}

/// Builds the objects with the number of workers that holds at this moment, and applies them.
async fn build_and_apply(
    context: &Context,
    key: &Key,
    queue: &JobQueue,
    (source, secret_mark): (Source, &str),
    present: Option<&Deployment>,
) -> Result<Built, Refusal> {
    let lock = context.state.deployment_lock(key);
    let _deployment_lock = lock.lock().await;
    let known = context.state.read(key, |state| {
        (state.scaling.replicas, state.applied.record.clone(), state.applied.source.map(|source| source.generation))
    });
    let (replicas, last, applied_for) = known.unwrap_or_default();
    let (rendition, room) = (Rendition::Present, context.state.room(key));
    let (workers, secret_version) = (&context.workers, &source.secret_version.to_string());
    let input = BuildInput { queue, workers, secret_mark, secret_version, replicas, room, rendition };
    let desired = desired(&input, present).map_err(|error| stalled(Reason::InvalidSpec, &error))?;
    let last = last.or_else(|| inherited(&desired, present?));
    let objects = owned_objects(queue, &desired);
    if let (Some(last), Some(deployment)) = (last, present)
        && is_unchanged(&last, &desired, deployment, context.state.len())
        && !context.state.lacks_any(&objects)
    {
        context.state.update(key, |state| {
            state.applied.objects = objects;
            state.applied.surge = Surge::of(deployment);
            state.applied.record = Some(last);
            state.applied.source = Some(source);
        });
        return Ok(Built { deployment: deployment.clone(), held: None });
    }
    let generation = source.generation;
    if let Some(deployment) = present
        && let Some(held) = Held::of(context, key, (deployment, &desired), generation, applied_for)
    {
        // It was considered: no poll needs to ask for it again.
        let surge = Surge::of(&desired.deployment);
        context.state.update(key, |state| state.applied.surge = surge);
        return Ok(Built { deployment: deployment.clone(), held: Some(held) });
    }
    let operator_rollout = present.is_some_and(|present| {
        is_rolled_out_by_operator(present)
            || (rollouts::has_pods(present) && is_operators_change(present, &desired, generation, applied_for))
    });
    let config = desired.config_map.as_ref().map(ResourceExt::name_any);
    let marks = Marks { generation, operator_rollout };
    let is_ours = |object| context.state.has_object(object);
    let applied = apply(&context.client, queue, desired, marks, present, is_ours).await?;
    let AppliedObjects { deployment, record } = applied;
    context.state.record_objects(key, objects);
    context.state.update(key, |state| {
        state.applied.surge = Surge::of(&deployment);
        state.applied.record = Some(record);
        state.applied.source = Some(source);
        state.applied.missing_pods = None;
    });
    if present.is_some() {
        prune::prune(&context.client, queue, config.as_deref()).await;
    }
    Ok(Built { deployment, held: None })
}

/// Builds the objects; in an earlier rendition if the Deployment is of that one, so that its pods stay.
fn desired(input: &BuildInput<'_>, present: Option<&Deployment>) -> Result<DesiredObjects, build::BuildError> {
    let desired = build(input)?;
    let Some(present) = present.filter(|present| !has_template(present, &desired)) else { return Ok(desired) };
    // Earlier renditions lack what protected pods have beside: a person who asks for it now gets it.
    if input.queue.spec.scaling.scale_down.protect_busy && rollouts::is_unprotected(present) {
        return Ok(desired);
    }
    for rendition in Rendition::EARLIER {
        let earlier = build(&BuildInput { rendition, ..input.clone() })?;
        if has_template(present, &earlier) {
            return Ok(earlier);
        }
    }
    Ok(desired)
}

fn stalled(reason: Reason, error: &dyn std::error::Error) -> Refusal {
    Refusal::Stalled(Stall { reason, message: error.to_string() })
}

/// What keeps pods from starting; `None` if none are missing, or nothing is known to keep them.
async fn check_pods(
    context: &Context,
    key: &Key,
    queue: &JobQueue,
    deployment: &Deployment,
    workers: Workers,
) -> Result<Option<PodProblem>, Error> {
    if !workers.is_short() {
        context.state.update(key, |state| state.applied.missing_pods = None);
        return Ok(None);
    }
    let pods = pods(&context.client, queue).await?;
    let mut problem = pod_problems::problem(deployment, &pods);
    if let (None, Some(pod)) = (&problem, slow_pods::slow_pod(&pods, Timestamp::now())) {
        problem = slow_pods::event_problem(pod, &events(&context.client, pod).await);
    }
    let problem = problem.or_else(|| pod_problems::deployment_problem(deployment, &pods));
    context.state.update(key, |state| {
        let before = state.applied.missing_pods.as_deref();
        state.applied.missing_pods = Some(MissingPods::checked_now(before, problem.clone()).into());
    });
    Ok(problem)
}

async fn warnings(context: &Context, key: &Key, deployment: &str) -> Vec<Warning> {
    let Context { client, scope, competing_scalers, .. } = context;
    let namespace = key.namespace.as_deref().unwrap_or_default();
    competing_scalers.of(client, scope, namespace, deployment).await
}
