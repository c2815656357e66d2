//! One reconcile of one queue, in five steps: fetch, validate, build, apply, status. This file only puts them in order.

pub(crate) mod admission;
mod apply;
pub(crate) mod build;
pub(crate) mod context;
pub(crate) mod controller;
pub(crate) mod error;
mod fast_path;
mod fetch;
mod password_file;
pub(crate) mod secrets;
mod validate;
mod watches;

use std::time::Duration;

use jobqueue_crds::{JobQueue, Reason};
use k8s_openapi::{api::apps::v1::Deployment, jiff::Timestamp};
use kube::{Resource, ResourceExt, core::error_boundary::InvalidObject, runtime::reflector::ObjectRef};

use crate::{
    reconciler::{
        apply::{AppliedObjects, apply, inherited, is_unchanged},
        build::{BuildInput, build},
        context::Context,
        error::{Error, Refusal},
        fast_path::UNCHANGED,
        fetch::{Fetched, fetch, pods},
        validate::{Valid, validate},
    },
    state::{
        applied::Source,
        compact_object::GuardedJobQueue,
        health::{Stall, Warning},
        key::{Key, Uid},
        missing_pods::MissingPods,
    },
    status::{
        pod_problems::{self, PodProblem, Workers},
        writer::{Findings, Next},
    },
};

/// How old a Secret may be that a first reconcile shares with other queues: a hundred that share one begin together.
const STARTING: Duration = Duration::from_secs(5);

/// One reconcile; returns when the next one is due.
pub(crate) async fn reconcile(object: &GuardedJobQueue, context: &Context) -> Result<Next, Error> {
    let queue = match &object.0 {
        Ok(queue) => queue,
        Err(InvalidObject { error, .. }) => {
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            tracing::error!(namespace, name, error, "a JobQueue cannot be read, and is left alone");
            let generation = object.meta().generation.unwrap_or_default();
            let written = context.status.report_unreadable(&name, &namespace, generation, error).await;
            written.map_err(|source| Error::Status(source.into()))?;
            return Ok(Next::Change);
        }
    };
    context.write_priority.wait_until_few().await;
    let key = ObjectRef::new(&queue.name_any()).within(&queue.namespace().unwrap_or_default());
    if queue.metadata.deletion_timestamp.is_some() {
        context.state.forget(&key);
        return Ok(Next::Change);
    }
    let findings = match fast_path::as_applied(context, &key, queue).await {
        Some(findings) => findings,
        None => Box::pin(serve(context, &key, queue)).await?,
    };
    let next = context.status.report(&key, queue, findings).await.map_err(|source| Error::Status(source.into()))?;
    context.state.record_success(&key);
    Ok(next)
}

/// All steps but the status; returns what it is to report.
async fn serve(context: &Context, key: &Key, queue: &JobQueue) -> Result<Findings, Error> {
    let fetched = fetch(&context.client, queue, &context.secrets, max_secret_age(context, key, queue)).await?;
    let present = fetched.deployment.clone();
    match Box::pin(serve_fetched(context, key, queue, fetched)).await {
        Ok(findings) => Ok(findings),
        Err(Refusal::Failed(error)) => Err(error),
        Err(Refusal::Stalled(stall)) => {
            let workers = present.as_ref().map(pod_problems::workers);
            Ok(Findings { stall: Some(stall), workers, ..Findings::default() })
        }
    }
}

async fn serve_fetched(context: &Context, key: &Key, queue: &JobQueue, fetched: Fetched) -> Result<Findings, Refusal> {
    let present = fetched.deployment.clone();
    let Valid { spec, initial, source, secret_hash } =
        validate(queue, fetched, (context.in_cluster, context.password_directory.as_deref()))?;
    context.state.serve(key, Uid::of(queue), spec, initial);
    let deployment = Box::pin(build_and_apply(context, key, queue, (source, &secret_hash), present.as_ref())).await?;
    let (name, workers) = (deployment.name_any(), pod_problems::workers(&deployment));
    context.state.update(key, |state| {
        state.applied.deployment = Some(name.as_str().into());
        state.applied.ready = workers.ready;
    });
    let problem = check_pods(context, key, queue, &deployment, workers).await?;
    let warnings = warnings(context, key, &name).await;
    Ok(Findings { stall: None, workers: Some(workers), problem, warnings })
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

/// Builds the objects with the number of workers that holds at this moment, and applies them. Returns the Deployment.
async fn build_and_apply(
    context: &Context,
    key: &Key,
    queue: &JobQueue,
    (source, secret_hash): (Source, &str),
    present: Option<&Deployment>,
) -> Result<Deployment, Refusal> {
    let lock = context.state.deployment_lock(key);
    let _deployment_lock = lock.lock().await;
    let known = context.state.read(key, |state| (state.scaling.replicas, state.applied.record.clone()));
    let (replicas, last) = known.unwrap_or_default();
    let input = BuildInput { queue, workers: &context.workers, secret_hash, replicas };
    let desired = build(&input).map_err(|error| stalled(Reason::InvalidSpec, &error))?;
    let last = last.or_else(|| inherited(&desired, present?));
    if let (Some(last), Some(deployment)) = (last, present)
        && is_unchanged(&last, &desired, deployment, context.state.len())
    {
        context.state.update(key, |state| {
            state.applied.record = Some(last);
            state.applied.source = Some(source);
        });
        return Ok(deployment.clone());
    }
    let namespace = queue.namespace().unwrap_or_default();
    let applied = apply(&context.client, &namespace, desired, present).await;
    let AppliedObjects { deployment, record } = applied.map_err(|error| {
        if error.is_refused() { stalled(Reason::WorkersForbidden, &error) } else { Error::from(error).into() }
    })?;
    context.state.update(key, |state| {
        state.applied.record = Some(record);
        state.applied.source = Some(source);
        state.applied.missing_pods = None;
    });
    Ok(deployment)
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
    let problem = pod_problems::problem(deployment, pods(&context.client, queue).await?.iter());
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
