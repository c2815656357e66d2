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
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{Resource, core::PartialObjectMeta, runtime::watcher::Event};
use tokio::{sync::Mutex, time::Instant};

use crate::state::{
    budgets::Share,
    deployment_cache::CachedDeployment,
    endpoint_key::EndpointKey,
    fair_share::FairShare,
    key::{Key, Uid},
    owned_objects::{OwnedKind, OwnedNews, OwnedObject},
    queue_state::{AutoscalerView, Connections, QueueState, ReconcilerView},
    registry::{ObjectState, Registry},
    reported_conditions::ReportedConditions,
    spec::{Initial, Spec},
    status_cursor::{StatusDigest, WrittenStatus},
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
        spec.policy = tables.shared_policy(spec.policy);
        if tables.served.get(key).is_some_and(|queue| queue.uid == uid) {
            tables.change_served(key, |queue, _| queue.spec = spec);
            return;
        }
        let (key, queue) = (tables.shared_key(key), Box::new(QueueState::new(uid, spec, initial)));
        tables.remove_served(&key);
        tables.budgets.replace(None, Share::of(&queue));
        tables.served.insert(key, queue);
    }

    /// Serves a queue no longer.
    pub(crate) fn forget(&self, key: &Key) {
        let mut tables = self.lock();
        tables.remove_served(key);
        // The watch of the Deployments removes its own part.
        tables.change_object(key, |object| {
            (object.failures, object.repairs, object.written_status) = (None, 0, None);
            object.conditions = None;
        });
    }

    /// Forgets the queues that `exists` does not know; returns them.
    pub(crate) fn retain(&self, exists: impl Fn(&Key) -> bool) -> Vec<Arc<Key>> {
        // What was forgotten the last time is used by nobody now.
        self.lock().drop_unused();
        let known: HashSet<Arc<Key>> = {
            let tables = self.lock();
            let reconciled = |object: &ObjectState| {
                let reported = object.written_status.is_some() || object.conditions.is_some();
                reported || object.failures.is_some() || object.repairs > 0
            };
            let known = tables.objects.iter().filter(|(_, object)| reconciled(object));
            known.map(|(key, _)| key).chain(tables.served.keys()).cloned().collect()
        };
        let gone: Vec<Arc<Key>> = known.into_iter().filter(|key| !exists(key)).collect();
        for key in &gone {
            self.forget(key);
        }
        gone
    }

    /// The one key of a queue that all tables have: there may be thousands.
    pub(crate) fn shared_key(&self, key: &Key) -> Arc<Key> {
        self.lock().shared_key(key)
    }

    /// Changes what was applied for a queue; `None` if it is not served.
    pub(crate) fn update<T>(&self, key: &Key, change: impl FnOnce(ReconcilerView<'_>) -> T) -> Option<T> {
        self.lock().change_served(key, |queue, _| change(queue.into()))
    }

    /// The lock to hold while a queue's Deployment is written; a fresh one if it is not served.
    pub(crate) fn deployment_lock(&self, key: &Key) -> Arc<Mutex<()>> {
        self.read(key, |queue| queue.deployment_lock.clone()).unwrap_or_default()
    }

    /// Takes in an event of the watch of the Deployments; returns the queues that it is about.
    pub(crate) fn cache_deployment(&self, event: &Event<Deployment>) -> Vec<Key> {
        let mut tables = self.lock();
        match event {
            // What is not in the new list was deleted meanwhile; until the list is complete, a reconcile asks the API server.
            Event::Init => {
                tables.deployments_listed = false;
                tables.objects.retain(|_, object| {
                    object.deployment = None;
                    !object.is_empty()
                });
                Vec::new()
            }
            Event::InitDone => {
                tables.deployments_listed = true;
                let has_deployment = |key| tables.objects.get(key).is_some_and(|object| object.deployment.is_some());
                let lacking = tables
                    .served
                    .iter()
                    .filter(|(key, queue)| queue.applied.deployment.is_some() && !has_deployment(*key));
                lacking.map(|(key, _)| Key::clone(key)).collect()
            }
            Event::Apply(deployment) | Event::InitApply(deployment) => {
                let Some((key, cached)) = CachedDeployment::of(deployment) else { return Vec::new() };
                tables.change_object(&key, |object| object.deployment = Some(cached));
                vec![key]
            }
            Event::Delete(deployment) => {
                let Some((key, _)) = CachedDeployment::of(deployment) else { return Vec::new() };
                tables.change_object(&key, |object| object.deployment = None);
                vec![key]
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
    /// Its workers, as far as they are known.
    pub(crate) workers: u32,
    /// Workers that the last answer told of; 0 if they were few.
    pub(crate) reported_workers: u32,
    /// So many of an answer are taken in.
    pub(crate) most_workers: usize,
}

impl AutoscalerState {
    /// Changes what was observed and decided of a queue; `None` if it is not served.
    pub(crate) fn update<T>(&self, key: &Key, change: impl FnOnce(AutoscalerView<'_>) -> T) -> Option<T> {
        self.lock().change_served(key, |queue, _| change(queue.into()))
    }

    /// The same, with the database connections of the other queues of the same budget.
    pub(crate) fn update_within_budget<T>(
        &self,
        key: &Key,
        change: impl FnOnce(AutoscalerView<'_>, Connections) -> T,
    ) -> Option<T> {
        self.lock().change_served(key, |queue, elsewhere| change(queue.into(), elsewhere))
    }

    /// The queues by the server to ask for them.
    pub(crate) fn by_endpoint(&self) -> BTreeMap<EndpointKey, Vec<PollTarget>> {
        let mut by_endpoint: BTreeMap<EndpointKey, Vec<PollTarget>> = BTreeMap::new();
        let now = Instant::now();
        let mut tables = self.lock();
        let fair = FairShare::of_all(tables.served.values().map(|queue| queue.observed.reported_workers));
        for (key, queue) in &tables.served {
            let asked_at = queue.observed.eviction_asked_at;
            let eviction_policy_due = asked_at.is_none_or(|at| now.duration_since(at) >= EVICTION_POLICY_EVERY);
            let workers = queue.scaling.replicas.max(queue.applied.ready);
            let (query, reported_workers) = (queue.spec.query.clone(), queue.observed.reported_workers);
            let most_workers = fair.of(reported_workers, workers);
            let key = key.clone();
            let target = PollTarget { key, query, eviction_policy_due, workers, reported_workers, most_workers };
            by_endpoint.entry(queue.spec.endpoint.clone()).or_default().push(target);
        }
        // What is left of a server that no queue names any more may be a password.
        tables.endpoints.retain(|endpoint| by_endpoint.contains_key(endpoint));
        by_endpoint
    }

    /// An answer told of so many workers, of whom not all may be remembered.
    pub(crate) fn record_reported_workers(&self, key: &Key, reported: u32) {
        if let Some(queue) = self.lock().served.get_mut(key) {
            queue.observed.reported_workers = reported;
        }
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

    /// What the status says of the conditions, or is about to.
    pub(crate) fn record_conditions(&self, key: &Key, conditions: &[Condition]) {
        let conditions = ReportedConditions::of(conditions);
        self.lock().change_object(key, |object| object.conditions = Some(conditions));
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
    use crate::state::{budgets::Budget, testing::spec};

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
    fn the_connections_of_a_budget_are_those_of_the_other_queues() {
        let Owners { reconciler, autoscaler, .. } = Owners::new();
        let key = |name: &str| Key::new(name).within("n");
        let serve = |name: &str, name_of_budget: Option<&str>, replicas| {
            let mut spec = spec("redis://r:6379/0");
            Arc::make_mut(&mut spec.policy).connections =
                Some(jobqueue_scaling::ConnectionBudget { per_worker: 2, connections: 100 });
            let budget = |name: &str| Budget { namespace: Some("n".into()), name: name.into() };
            spec.budget = name_of_budget.map(|name| budget(name).into());
            reconciler.serve(&key(name), Uid::default(), spec, Initial { replicas, ..Initial::default() });
        };
        let elsewhere = |name: &str| autoscaler.update_within_budget(&key(name), |_, elsewhere| elsewhere).unwrap();
        let asked = |name: &str| elsewhere(name).asked;
        serve("a", Some("b"), 3);
        serve("b", Some("b"), 5);
        serve("c", Some("other"), 7);
        serve("d", None, 11);
        assert_eq!(["a", "b", "c", "d"].map(asked), [10, 6, 0, 0]);
        autoscaler.update(&key("b"), |queue| queue.scaling.replicas = 1);
        assert_eq!(asked("a"), 2);
        reconciler.update(&key("b"), |queue| queue.applied.present = 9);
        assert_eq!(elsewhere("a"), Connections { asked: 2, beyond: 16 }, "eight pods that drain");
        serve("c", Some("b"), 7);
        assert_eq!(asked("a"), 16, "another budget, and the number that it has");
        reconciler.forget(&key("b"));
        assert_eq!(elsewhere("a"), Connections { asked: 14, beyond: 0 });
    }

    #[test]
    fn one_key_serves_all_that_is_known_of_a_queue() {
        let Owners { reconciler, registry, .. } = Owners::new();
        let key = Key::new("a");
        reconciler.record_failure(&key);
        reconciler.schedule_retry(&key, None, false, 0.0);
        reconciler.serve(&key, Uid::default(), spec("redis://r:6379/0"), Initial::default());
        let tables = registry.lock();
        let (served, _) = tables.served.get_key_value(&key).expect("served");
        let (known, _) = tables.objects.get_key_value(&key).expect("failed once");
        assert!(Arc::ptr_eq(served, known));
        drop(tables);
        assert!(Arc::ptr_eq(&reconciler.shared_key(&key), &reconciler.shared_key(&Key::new("a"))));
        assert_eq!(reconciler.retain(|_| false).len(), 1);
        reconciler.retain(|_| false);
        let tables = registry.lock();
        assert!(tables.keys.is_empty(), "nothing is kept of a queue that is gone");
    }

    #[test]
    fn queues_with_the_same_rules_share_them() {
        let Owners { reconciler, registry, .. } = Owners::new();
        let serve = |name: &str, max_replicas: u32| {
            let mut spec = spec("redis://r:6379/0");
            Arc::make_mut(&mut spec.policy).max_replicas = max_replicas;
            reconciler.serve(&Key::new(name), Uid::default(), spec, Initial::default());
            registry.read(&Key::new(name), |queue| queue.spec.policy.clone()).expect("served")
        };
        let (a, b, c) = (serve("a", 5), serve("b", 5), serve("c", 6));
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
        assert_eq!((serve("b", 7).max_replicas, a.max_replicas), (7, 5), "each changes by itself");
    }
}
