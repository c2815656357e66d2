//! All queues. Everybody reads here; who writes what is in [`super::owners`].

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use jobqueue_scaling::Policy;
use tokio::time::Instant;

use crate::{
    digest::Digest,
    state::{
        budgets::{Budgets, Share},
        deployment_cache::CachedDeployment,
        endpoint_key::EndpointKey,
        key::Key,
        owned_objects::{OwnedObject, OwnedObjects},
        queue_state::{Connections, QueueState},
        reported_conditions::ReportedConditions,
        status_cursor::WrittenStatus,
    },
};

/// By queue. Each poll asks for each queue a few times: the standard library's hasher was a tenth of it. Keys and values are
/// pointers, since a map has up to twice as many places as entries, and a poll takes all keys.
pub(super) type ByQueue<V> = HashMap<Arc<Key>, Box<V>, foldhash::fast::RandomState>;

/// The queues. One lock, held for moments and never across an await.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Tables>);

/// What the lock protects.
#[derive(Default)]
pub(super) struct Tables {
    /// The keys that are in use, each once.
    pub(super) keys: HashSet<Arc<Key>, foldhash::fast::RandomState>,
    /// The queues that are served.
    pub(super) served: ByQueue<QueueState>,
    /// What is known of objects whether they are served or not.
    pub(super) objects: ByQueue<ObjectState>,
    /// How many of these objects have a row of reconciles that came to nothing.
    pub(super) failing: usize,
    /// The objects of queues beside their Deployments: the reconciler's.
    pub(super) owned: OwnedObjects,
    /// The watch of the Deployments has brought all that there are.
    pub(super) deployments_listed: bool,
    /// The servers that queues have in common, each once.
    pub(super) endpoints: BTreeSet<EndpointKey>,
    /// The rules that queues have in common, by their digest.
    policies: HashMap<Digest, Weak<Policy>>,
    /// The database connections of the queues that are served, by budget.
    pub(super) budgets: Budgets,
}

/// What is known of one object whether it is served or not.
#[derive(Debug, Default)]
pub(super) struct ObjectState {
    /// Reconciles in a row that failed: the reconciler's. `None` if the last one succeeded.
    pub(super) failures: Option<Box<Failures>>,
    /// Reconciles in a row that found that somebody must repair something.
    pub(super) repairs: u32,
    /// The Deployment, as its watch has it: the reconciler's. `None` while there is none.
    pub(super) deployment: Option<CachedDeployment>,
    /// The status that this process wrote last: the status writer's. `None` if it wrote none.
    pub(super) written_status: Option<WrittenStatus>,
    /// What the status says of the conditions: the status writer's. `None` before this process looked.
    pub(super) conditions: Option<ReportedConditions>,
}

/// Reconciles in a row that failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// How many.
    pub(super) in_a_row: u32,
    /// When the status was told of them; `None` if it was not.
    pub(super) reported_at: Option<Instant>,
    /// When the next may begin, and the generation of the object that the last one was of; `None` while none failed.
    pub(super) retry: Option<Retry>,
}

/// When a reconcile that failed may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    /// Not before this moment.
    pub(super) not_before: Instant,
    /// `metadata.generation` of what failed: another one may be tried at once.
    pub(super) generation: Option<i64>,
}

impl ObjectState {
    /// True if the last reconcile failed, or found that somebody must repair something.
    pub(super) fn is_failing(&self) -> bool {
        self.failures.is_some() || self.repairs > 0
    }

    /// True if there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        let Self { failures, repairs, deployment, written_status, conditions } = self;
        let is_well = failures.is_none() && *repairs == 0;
        is_well && deployment.is_none() && written_status.is_none() && conditions.is_none()
    }
}

impl Tables {
    /// The key as it is known already, so that a queue has one only; else a copy of this one.
    pub(super) fn shared_key(&mut self, key: &Key) -> Arc<Key> {
        if let Some(known) = self.keys.get(key) {
            return known.clone();
        }
        // Without what else a reference may carry.
        let mut plain = Key::new(&key.name);
        plain.namespace.clone_from(&key.namespace);
        let shared = Arc::new(plain);
        self.keys.insert(shared.clone());
        shared
    }

    /// Changes a queue that is served, with the connections that other queues of its budget have; `None` if it is not served.
    pub(super) fn change_served<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut QueueState, Connections) -> T,
    ) -> Option<T> {
        let queue = self.served.get_mut(key)?;
        let before = Share::of(queue);
        let elsewhere = self.budgets.elsewhere(before.as_ref());
        let result = change(queue, elsewhere);
        self.budgets.replace(before, Share::of(queue));
        Some(result)
    }

    /// A queue is served no longer.
    pub(super) fn remove_served(&mut self, key: &Key) {
        if let Some(queue) = self.served.remove(key) {
            self.budgets.replace(Share::of(&queue), None);
        }
    }

    /// The same server, as the other queues have it.
    pub(super) fn shared_endpoint(&mut self, endpoint: EndpointKey) -> EndpointKey {
        if let Some(known) = self.endpoints.get(&endpoint) {
            return known.clone();
        }
        self.endpoints.insert(endpoint.clone());
        endpoint
    }

    /// The same rules, as the other queues have them: most queues have few of their own.
    pub(super) fn shared_policy(&mut self, policy: Arc<Policy>) -> Arc<Policy> {
        let place = self.policies.entry(Digest::of_json(&*policy)).or_default();
        match place.upgrade() {
            Some(known) if known == policy => known,
            // Digests may be the same by chance.
            Some(_) => policy,
            None => {
                *place = Arc::downgrade(&policy);
                policy
            }
        }
    }

    /// Drops what was shared by queues that are gone.
    pub(super) fn drop_unused(&mut self) {
        self.keys.retain(|key| Arc::strong_count(key) > 1);
        self.policies.retain(|_, policy| policy.strong_count() > 0);
    }

    /// Changes what is known of an object; if nothing is left of it, it is dropped.
    pub(super) fn change_object<T>(&mut self, key: &Key, change: impl FnOnce(&mut ObjectState) -> T) -> T {
        let mut before = false;
        let (result, after) = if let Some(object) = self.objects.get_mut(key) {
            before = object.is_failing();
            let result = change(object);
            let after = object.is_failing();
            if object.is_empty() {
                self.objects.remove(key);
            }
            (result, after)
        } else {
            let mut object = ObjectState::default();
            let result = change(&mut object);
            let after = object.is_failing();
            if !object.is_empty() {
                let key = self.shared_key(key);
                self.objects.insert(key, Box::new(object));
            }
            (result, after)
        };
        self.failing = self.failing + usize::from(after) - usize::from(before);
        result
    }
}

impl Registry {
    /// For the owners only. A panic elsewhere leaves plain data behind, not a broken invariant.
    pub(super) fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the state of one queue; `None` if it is not served.
    pub(crate) fn read<T>(&self, key: &Key, read: impl FnOnce(&QueueState) -> T) -> Option<T> {
        self.lock().served.get(key).map(|queue| read(queue))
    }

    /// Reads the state of every queue that is served.
    pub(crate) fn each(&self, mut read: impl FnMut(&Key, &QueueState)) {
        for (key, queue) in &self.lock().served {
            read(key, queue);
        }
    }

    /// What the watch has of a queue's Deployment; `None` if there is none, or the watch has not brought it yet.
    pub(crate) fn cached_deployment(&self, key: &Key) -> Option<CachedDeployment> {
        self.lock().objects.get(key)?.deployment
    }

    /// How many workers more than are asked for the database has connections for; `None` if the queue has no limit.
    pub(crate) fn room(&self, key: &Key) -> Option<u32> {
        let tables = self.lock();
        let queue = tables.served.get(key)?;
        let limit = queue.spec.policy.connections?;
        let elsewhere = tables.budgets.elsewhere(Share::of(queue).as_ref());
        elsewhere.room(limit, queue.connections().asked)
    }

    /// Whether one of these objects is known not to be there.
    pub(crate) fn lacks_any(&self, objects: &[OwnedObject]) -> bool {
        self.lock().owned.lacks_any(objects)
    }

    /// Whether an object of a queue that was applied is known not to be there any more.
    pub(crate) fn lacks_objects(&self, key: &Key) -> bool {
        let tables = self.lock();
        tables.served.get(key).is_some_and(|queue| tables.owned.lacks_any(&queue.applied.objects))
    }

    /// Whether an object is known to be there, and to be the queue's.
    pub(crate) fn has_object(&self, object: OwnedObject) -> bool {
        self.lock().owned.has(object)
    }

    /// The queues whose pods are being replaced because the operator changed; `None` while not all Deployments are known.
    pub(crate) fn operator_rollouts(&self) -> Option<Vec<Arc<Key>>> {
        let tables = self.lock();
        let under_way =
            tables.objects.iter().filter(|(_, object)| object.deployment.is_some_and(|one| one.operator_rollout));
        tables.deployments_listed.then(|| under_way.map(|(key, _)| key.clone()).collect())
    }

    /// The status that this process wrote last; `None` if it wrote none.
    pub(crate) fn written_status(&self, key: &Key) -> Option<WrittenStatus> {
        self.lock().objects.get(key)?.written_status.clone()
    }

    /// The conditions of every queue whose status this process reported.
    pub(crate) fn reported_conditions(&self) -> Vec<(Arc<Key>, ReportedConditions)> {
        let tables = self.lock();
        tables.objects.iter().filter_map(|(key, object)| Some((key.clone(), object.conditions?))).collect()
    }

    /// Whether a queue is served.
    pub(crate) fn serves(&self, key: &Key) -> bool {
        self.lock().served.contains_key(key)
    }

    /// Queues whose last reconcile failed, or found that somebody must repair something, whether they are served or not.
    pub(crate) fn failing(&self) -> usize {
        self.lock().failing
    }

    /// How many queues are served.
    pub(crate) fn len(&self) -> usize {
        self.lock().served.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::owners::Owners;

    #[test]
    fn the_more_queues_fail_the_longer_each_waits() {
        let reconciler = Owners::new().reconciler;
        let key = |number: u32| Key::new(&number.to_string());
        for number in 0..5_000 {
            reconciler.record_failure(&key(2 * number));
            reconciler.record_repair(&key(2 * number + 1), true);
        }
        (0..20).for_each(|_| _ = reconciler.record_failure(&key(0)));
        let wait = || reconciler.schedule_retry(&key(0), Some(1), false, 0.5).1.as_secs();
        assert_eq!((reconciler.failing(), wait()), (10_000, 200));
        (0..5_000).for_each(|number| _ = reconciler.record_repair(&key(2 * number + 1), false));
        assert_eq!((reconciler.failing(), wait()), (5_000, 100), "half of them were repaired");
        (1..5_000).for_each(|number| reconciler.forget(&key(2 * number)));
        assert_eq!((reconciler.failing(), wait()), (1, 60), "and the others deleted");
    }
}
