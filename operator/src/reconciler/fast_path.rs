//! The path of most reconciles, which find nothing to do: it asks the API server for nothing but Secrets, and for those
//! seldom. What was applied is unchanged as far as the watch has it.

use std::time::Duration;

use jobqueue_crds::JobQueue;

use crate::{
    digest::Digest,
    names,
    reconciler::{context::Context, controller::resync, secrets::resolve, warnings},
    state::{
        applied::Surge,
        deployment_cache::CachedDeployment,
        key::{Key, Uid},
        missing_pods::MissingPods,
        queue_state::ReconcilerView,
        workers::{PodProblem, Workers},
    },
    status::writer::Findings,
};

/// How old a Secret may be for a queue that did not change, while its Secrets may have.
pub(super) const UNCHANGED: Duration = Duration::from_secs(2);

/// How long after a scaling the watch may still have the old number.
const WATCH_DELAY: Duration = Duration::from_secs(1);

/// What is as it was applied.
#[derive(Debug)]
struct AsApplied {
    workers: Workers,
    /// What keeps pods from starting; `None` if nothing is known to.
    problem: Option<PodProblem>,
    /// Digests of the Secrets that it was applied with, and of their versions.
    secrets: (Digest, Digest),
}

/// What there is to report, if everything is as it was applied for this object; `None` if a full reconcile is needed.
pub(super) async fn as_applied(context: &Context, key: &Key, queue: &JobQueue) -> Option<Findings> {
    if context.state.lacks_objects(key) {
        return None;
    }
    let cached = context.state.cached_deployment(key)?;
    let (uid, generation, queues) = (Uid::of(queue), queue.metadata.generation?, context.state.len());
    let room = context.state.room(key);
    let found = context.state.update(key, |state| {
        // What a rollout may do follows the number of workers and the connections.
        let is_of_now = state.applied.surge == Some(Surge::within(room, state.scaling.replicas));
        is_of_now.then(|| found_as_applied(state, &uid, generation, cached, queues)).flatten()
    });
    let AsApplied { workers, problem, secrets } = found.flatten()?;
    let failing = context.state.read(key, |state| state.observed.queue.is_failed() || state.database().is_failed())?;
    // If a server refuses the password, it may have changed.
    let max_age = if failing { UNCHANGED } else { resync(queues) / 2 };
    let resolved = resolve(&context.client, queue, &context.secrets, max_age).await.ok()?;
    if (resolved.hash, resolved.version) != secrets {
        return None;
    }
    context.state.update(key, |state| (state.applied.ready, state.applied.present) = (workers.ready, workers.present));
    let warnings = warnings(context, key, &names::object_name(queue)).await;
    Some(Findings { workers: Some(workers), problem, warnings, ..Findings::default() })
}

/// What there is, if everything is as it was applied for this object. `None` if the cluster has to be asked: something
/// differs, or pods are missing and were not listed for a while, however often the Deployment changes.
fn found_as_applied(
    state: ReconcilerView<'_>,
    uid: &Uid,
    generation: i64,
    cached: CachedDeployment,
    queues: usize,
) -> Option<AsApplied> {
    let ReconcilerView { uid: served_uid, applied, scaling } = state;
    let source = applied.source?;
    let record = applied.record.as_ref()?;
    // The watch may still have the number before the one just written.
    let just_scaled = scaling.written_at.is_some_and(|at| at.elapsed() < WATCH_DELAY);
    let as_is = served_uid == uid
        && source.generation == generation
        && record.matches(cached.digest)
        && !record.is_old(queues)
        && (just_scaled || cached.workers.wanted == scaling.replicas);
    if !as_is {
        return None;
    }
    let (workers, secrets) =
        (Workers { wanted: scaling.replicas, ..cached.workers }, (source.secrets, source.secret_version));
    if !workers.is_short() {
        applied.missing_pods = None;
        return Some(AsApplied { workers, problem: None, secrets });
    }
    let missing = applied.missing_pods.get_or_insert_with(|| MissingPods::checked_now(None, None).into());
    let due = missing.until_next_check(queues).is_zero();
    (!due).then(|| AsApplied { workers, problem: missing.problem().cloned(), secrets })
}
