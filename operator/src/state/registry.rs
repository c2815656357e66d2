//! All queues. Everybody reads here; who writes what is in [`super::owners`].

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    autoscaler::redis_endpoints::EndpointKey,
    state::{
        deployment_cache::CachedDeployment,
        key::Key,
        owned_objects::{OwnedObject, OwnedObjects},
        queue_state::{Connections, QueueState},
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
    /// The queues that are served.
    pub(super) served: ByQueue<QueueState>,
    /// What is known of objects whether they are served or not.
    pub(super) objects: ByQueue<ObjectState>,
    /// The objects of queues beside their Deployments: the reconciler's.
    pub(super) owned: OwnedObjects,
    /// The watch of the Deployments has brought all that there are.
    pub(super) deployments_listed: bool,
    /// The servers that queues have in common, each once.
    pub(super) endpoints: BTreeSet<EndpointKey>,
}

/// What is known of one object whether it is served or not.
#[derive(Debug, Default)]
pub(super) struct ObjectState {
    /// Reconciles in a row that failed: the reconciler's.
    pub(super) failed_reconciles: u32,
    /// The Deployment, as its watch has it: the reconciler's. `None` while there is none.
    pub(super) deployment: Option<CachedDeployment>,
    /// The status that this process wrote last: the status writer's. `None` if it wrote none.
    pub(super) written_status: Option<WrittenStatus>,
}

impl ObjectState {
    /// True if there is nothing to remember.
    pub(super) fn is_empty(&self) -> bool {
        let Self { failed_reconciles, deployment, written_status } = self;
        *failed_reconciles == 0 && deployment.is_none() && written_status.is_none()
    }
}

impl Tables {
    /// The key as it is known already, so that a queue has one only; else a copy of this one.
    pub(super) fn shared_key(&self, key: &Key) -> Arc<Key> {
        let served = self.served.get_key_value(key).map(|(key, _)| key);
        let known = served.or_else(|| self.objects.get_key_value(key).map(|(key, _)| key));
        known.cloned().unwrap_or_else(|| Arc::new(key.clone()))
    }

    /// The same server, as the other queues have it.
    pub(super) fn shared_endpoint(&mut self, endpoint: EndpointKey) -> EndpointKey {
        if let Some(known) = self.endpoints.get(&endpoint) {
            return known.clone();
        }
        self.endpoints.insert(endpoint.clone());
        endpoint
    }

    /// The database connections of the other queues of a queue's budget; none if it has its own.
    pub(super) fn connections_elsewhere(&self, key: &Key) -> Connections {
        let budget = self.served.get(key).and_then(|queue| queue.spec.budget.as_ref());
        let Some(budget) = budget else { return Connections::default() };
        let others = self.served.iter().filter(|(other, queue)| {
            ***other != *key && other.namespace == key.namespace && queue.spec.budget.as_ref() == Some(budget)
        });
        others.map(|(_, queue)| queue.connections()).fold(Connections::default(), std::ops::Add::add)
    }

    /// Changes what is known of an object; if nothing is left of it, it is dropped.
    pub(super) fn change_object<T>(&mut self, key: &Key, change: impl FnOnce(&mut ObjectState) -> T) -> T {
        if let Some(object) = self.objects.get_mut(key) {
            let result = change(object);
            if object.is_empty() {
                self.objects.remove(key);
            }
            return result;
        }
        let mut object = ObjectState::default();
        let result = change(&mut object);
        if !object.is_empty() {
            self.objects.insert(self.shared_key(key), Box::new(object));
        }
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
        let Connections { asked, beyond } = tables.connections_elsewhere(key);
        let ours = queue.connections().asked;
        let free = limit.connections.saturating_sub(asked).saturating_sub(beyond).saturating_sub(ours);
        free.checked_div(limit.per_worker)
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

    /// Whether a queue is served.
    pub(crate) fn serves(&self, key: &Key) -> bool {
        self.lock().served.contains_key(key)
    }

    /// How many queues are served.
    pub(crate) fn len(&self) -> usize {
        self.lock().served.len()
    }
}
