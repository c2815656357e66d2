//! Who writes what: one handle for each writer of queues' state. A handle reads everything and changes what is its owner's;
//! the parts of the others it has by shared reference only.

use std::{
    collections::{BTreeMap, HashSet},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

use jobqueue_crds::JobQueueStatus;
use jobqueue_queue::StatsQuery;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Resource, core::PartialObjectMeta, runtime::watcher::Event};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    autoscaler::redis_endpoints::EndpointKey,
    state::{
        deployment_cache::CachedDeployment,
        key::{Key, Uid},
        owned_objects::{OwnedKind, OwnedNews, OwnedObject},
        queue_state::{AutoscalerView, Connections, QueueState, ReconcilerView},
        registry::Registry,
        spec::{Initial, Spec},
        status_cursor::{StatusDigest, WrittenStatus},
    },
};

/// The handles of one registry. Each is made once, here.
pub(crate) struct Owners {
    /// For the reconciler.
    pub(crate) reconciler: ReconcilerState,
    /// For the autoscaler.
    pub(crate) autoscaler: AutoscalerState,
    /// For the status writer.
    pub(crate) status: StatusState,
    /// For those who only read.
    pub(crate) registry: Arc<Registry>,
}

impl Owners {
    /// Those of an empty registry.
    pub(crate) fn new() -> Self {
        let registry = Arc::new(Registry::default());
        Self {
            reconciler: ReconcilerState(registry.clone()),
            autoscaler: AutoscalerState(registry.clone()),
            status: StatusState(registry.clone()),
            registry,
        }
    }
}

/// The reconciler's: which queues are served, their `spec` and `applied`, failed reconciles and the cached Deployments.
pub(crate) struct ReconcilerState(Arc<Registry>);

/// The autoscaler's: `observed` and `scaling`.
#[derive(Clone)]
pub(crate) struct AutoscalerState(Arc<Registry>);

/// The status writer's: `status_cursor` and the statuses that were written.
pub(crate) struct StatusState(Arc<Registry>);

impl Deref for ReconcilerState {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

impl Deref for AutoscalerState {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

impl Deref for StatusState {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

impl ReconcilerState {
    /// Serves a queue by `spec` from now on; one that is not served yet begins at `initial`.
    pub(crate) fn serve(&self, key: &Key, uid: Uid, mut spec: Spec, initial: Initial) {
        let mut tables = self.lock();
        spec.endpoint = tables.shared_endpoint(spec.endpoint);
        match tables.served.get_mut(key) {
            Some(queue) if queue.uid == uid => queue.spec = spec,
            _ => {
                let key = tables.shared_key(key);
                tables.served.insert(key, Box::new(QueueState::new(uid, spec, initial)));
            }
        }
    }

    /// Serves a queue no longer.
    pub(crate) fn forget(&self, key: &Key) {
        let mut tables = self.lock();
        tables.served.remove(key);
        // The watch of the Deployments removes its own part.
        tables.change_object(key, |object| (object.failed_reconciles, object.written_status) = (0, None));
    }

    /// Forgets the queues that `exists` does not know; returns them.
    pub(crate) fn retain(&self, exists: impl Fn(&Key) -> bool) -> Vec<Arc<Key>> {
        let known: HashSet<Arc<Key>> = {
            let tables = self.lock();
            let written = tables.objects.iter().filter(|(_, object)| object.written_status.is_some());
            written.map(|(key, _)| key).chain(tables.served.keys()).cloned().collect()
        };
        let gone: Vec<Arc<Key>> = known.into_iter().filter(|key| !exists(key)).collect();
        for key in &gone {
            self.forget(key);
        }
        gone
    }

    /// Changes what was applied for a queue; `None` if it is not served.
    pub(crate) fn update<T>(&self, key: &Key, change: impl FnOnce(ReconcilerView<'_>) -> T) -> Option<T> {
        self.lock().served.get_mut(key).map(|queue| change(queue.as_mut().into()))
    }

    /// The lock to hold while a queue's Deployment is written; a fresh one if it is not served.
    pub(crate) fn deployment_lock(&self, key: &Key) -> Arc<Mutex<()>> {
        self.read(key, |queue| queue.deployment_lock.clone()).unwrap_or_default()
    }

    /// Takes in an event of the watch of the Deployments.
    pub(crate) fn cache_deployment(&self, event: &Event<Deployment>) {
        match event {
            // What is not in the new list was deleted meanwhile; until the list is complete, a reconcile asks the API server.
            Event::Init => {
                let mut tables = self.lock();
                tables.deployments_listed = false;
                tables.objects.retain(|_, object| {
                    object.deployment = None;
                    !object.is_empty()
                });
            }
            Event::InitDone => self.lock().deployments_listed = true,
            Event::Apply(deployment) | Event::InitApply(deployment) => {
                if let Some((key, cached)) = CachedDeployment::of(deployment) {
                    self.lock().change_object(&key, |object| object.deployment = Some(cached));
                }
            }
            Event::Delete(deployment) => {
                if let Some((key, _)) = CachedDeployment::of(deployment) {
                    self.lock().change_object(&key, |object| object.deployment = None);
                }
            }
        }
    }

    /// Takes in an event of the watch of what queues have beside their Deployments; returns the queues that lack something now.
    pub(crate) fn observe_owned<K>(&self, kind: OwnedKind, event: &Event<PartialObjectMeta<K>>) -> Vec<Key>
    where
        PartialObjectMeta<K>: Resource,
    {
        let mut tables = self.lock();
        match tables.owned.observe(kind, event) {
            OwnedNews::None => Vec::new(),
            OwnedNews::Deleted(queue) => vec![queue],
            OwnedNews::Listed => {
                let lacking = tables.served.iter().filter(|(_, queue)| tables.owned.lacks_any(&queue.applied.objects));
                lacking.map(|(key, _)| Key::clone(key)).collect()
            }
        }
    }

    /// The objects of a queue were applied.
    pub(crate) fn record_objects(&self, key: &Key, objects: Box<[OwnedObject]>) {
        let mut tables = self.lock();
        tables.owned.record_applied(&objects);
        if let Some(queue) = tables.served.get_mut(key) {
            queue.applied.objects = objects;
        }
    }

    /// Counts a failed reconcile; returns how many failed in a row.
    pub(crate) fn record_failure(&self, key: &Key) -> u32 {
        self.lock().change_object(key, |object| {
            object.failed_reconciles = object.failed_reconciles.saturating_add(1);
            object.failed_reconciles
        })
    }

    /// Ends a row of failed reconciles.
    pub(crate) fn record_success(&self, key: &Key) {
        self.lock().change_object(key, |object| object.failed_reconciles = 0);
    }
}

/// How often each queue's Redis is asked for its eviction policy.
const EVICTION_POLICY_EVERY: Duration = Duration::from_secs(10);

/// A queue to poll, and what to ask its Redis.
pub(crate) struct PollTarget {
    /// The queue.
    pub(crate) key: Arc<Key>,
    /// The numbers to ask for.
    pub(crate) query: Arc<StatsQuery>,
    /// Whether the eviction policy is to be asked for, too.
    pub(crate) eviction_policy_due: bool,
}

impl AutoscalerState {
    /// Changes what was observed and decided of a queue; `None` if it is not served.
    pub(crate) fn update<T>(&self, key: &Key, change: impl FnOnce(AutoscalerView<'_>) -> T) -> Option<T> {
        self.lock().served.get_mut(key).map(|queue| change(queue.as_mut().into()))
    }

    /// The same, with the database connections of the other queues of the same budget.
    pub(crate) fn update_within_budget<T>(
        &self,
        key: &Key,
        change: impl FnOnce(AutoscalerView<'_>, Connections) -> T,
    ) -> Option<T> {
        let mut tables = self.lock();
        let elsewhere = tables.connections_elsewhere(key);
        tables.served.get_mut(key).map(|queue| change(queue.as_mut().into(), elsewhere))
    }

    /// The queues by the server to ask for them.
    pub(crate) fn by_endpoint(&self) -> BTreeMap<EndpointKey, Vec<PollTarget>> {
        let mut by_endpoint: BTreeMap<EndpointKey, Vec<PollTarget>> = BTreeMap::new();
        let now = Instant::now();
        let mut tables = self.lock();
        for (key, queue) in &tables.served {
            let asked_at = queue.observed.eviction_asked_at;
            let eviction_policy_due = asked_at.is_none_or(|at| now.duration_since(at) >= EVICTION_POLICY_EVERY);
            let target = PollTarget { key: key.clone(), query: queue.spec.query.clone(), eviction_policy_due };
            by_endpoint.entry(queue.spec.endpoint.clone()).or_default().push(target);
        }
        // What is left of a server that no queue names any more may be a password.
        tables.endpoints.retain(|endpoint| by_endpoint.contains_key(endpoint));
        by_endpoint
    }

    /// The lock to hold while a queue's Deployment is written; `None` if it is not served.
    pub(crate) fn deployment_lock(&self, key: &Key) -> Option<Arc<Mutex<()>>> {
        self.read(key, |queue| queue.deployment_lock.clone())
    }
}

impl StatusState {
    /// A status was written.
    pub(crate) fn record_written(&self, key: &Key, uid: Uid, status: JobQueueStatus) {
        let written = WrittenStatus { uid, status: Some(Box::new(status)), at: Instant::now() };
        self.lock().change_object(key, |object| object.written_status = Some(written));
    }

    /// The watch has the status that was written: no need to keep it twice.
    pub(crate) fn record_seen_by_watch(&self, key: &Key) {
        self.lock().change_object(key, |object| {
            if let Some(written) = &mut object.written_status {
                written.status = None;
            }
        });
    }

    /// The status reports what is known now.
    pub(crate) fn record_reported(&self, key: &Key) {
        if let Some(queue) = self.lock().served.get_mut(key) {
            let digest = StatusDigest::of(&queue.observed, &queue.scaling);
            queue.status_cursor.reported = Some((Instant::now(), digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::spec;

    #[test]
    fn queues_of_one_redis_share_what_is_known_of_it() {
        let Owners { reconciler, autoscaler, registry, .. } = Owners::new();
        for (name, url) in [("a", "redis://r:6379/0"), ("b", "redis://r:6379/0"), ("c", "redis://other:6379/0")] {
            reconciler.serve(&Key::new(name), Uid::default(), spec(url), Initial::default());
        }
        let places = autoscaler.by_endpoint();
        assert_eq!(places.values().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(registry.lock().endpoints.len(), 2);
        reconciler.forget(&Key::new("c"));
        let _ = autoscaler.by_endpoint();
        assert_eq!(registry.lock().endpoints.len(), 1, "a password that nobody uses is not kept");
    }

    #[test]
    fn one_key_serves_all_that_is_known_of_a_queue() {
        let Owners { reconciler, registry, .. } = Owners::new();
        let key = Key::new("a");
        reconciler.record_failure(&key);
        reconciler.serve(&key, Uid::default(), spec("redis://r:6379/0"), Initial::default());
        let tables = registry.lock();
        let (served, _) = tables.served.get_key_value(&key).expect("served");
        let (known, _) = tables.objects.get_key_value(&key).expect("failed once");
        assert!(Arc::ptr_eq(served, known));
    }
}
