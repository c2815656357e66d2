//! All queues that are served, and what is known of others: the controller and the sweep meet here and nowhere else. The
//! lock is held for moments and never across an await.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jobqueue_crds::{JobQueue, JobQueueStatus};
use jobqueue_demand::Demand;
use jobqueue_queue::StatsQuery;
use jobqueue_scaling::{Calendar, Memory};
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::{reflector::ObjectRef, watcher::Event};
use tokio::{sync::mpsc, time::Instant};

use crate::{
    endpoint::EndpointKey,
    failing::Failing,
    glimpse::Glimpse,
    idle::Idle,
    rush::Rush,
    status::Reach,
    tracked::{Served, Tracked, Uid, Written},
};

/// One JobQueue.
pub type Key = ObjectRef<JobQueue>;

/// By queue. Each look asks for each queue a few times: the standard library's hasher was a tenth of the sweep.
type Queues<V> = HashMap<Arc<Key>, V, foldhash::fast::RandomState>;

/// Whom to look at, and what to ask of its Redis.
pub struct Question {
    /// The queue.
    pub key: Arc<Key>,
    /// Its numbers.
    pub query: Arc<StatsQuery>,
    /// Whether Redis throws keys away, too: that was not asked lately.
    pub eviction: bool,
}

/// How often each queue's Redis is asked for its eviction policy.
const EVICTION_EVERY: Duration = Duration::from_secs(10);

/// What is known of a queue whether it is served or not.
#[derive(Debug, Default)]
struct Around {
    /// Visits in a row that failed.
    failures: u32,
    /// The status that we wrote: newer than what the watch has told so far.
    written: Option<Written>,
    /// The Deployment, as the watch has it.
    glimpse: Option<Glimpse>,
}

impl Around {
    fn is_empty(&self) -> bool {
        let Self { failures, written, glimpse } = self;
        *failures == 0 && written.is_none() && glimpse.is_none()
    }
}

/// All queues.
pub struct Registry {
    /// Keys and values by pointers, since a map has up to twice as many places as entries, and a look takes all keys.
    queues: Mutex<Queues<Box<Tracked>>>,
    /// The places that queues have in common, each once.
    endpoints: Mutex<BTreeSet<EndpointKey>>,
    /// What is known of a queue whether it is served or not.
    around: Mutex<Queues<Box<Around>>>,
    /// The numbers of workers that are being written.
    pub rush: Rush,
    wake: mpsc::UnboundedSender<Key>,
}

impl Registry {
    /// An empty registry, and the stream of queues that want a visit of the controller.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Key>) {
        let (wake, woken) = mpsc::unbounded_channel();
        (
            Self {
                queues: Mutex::default(),
                endpoints: Mutex::default(),
                around: Mutex::default(),
                rush: Rush::default(),
                wake,
            },
            woken,
        )
    }

    fn lock(&self) -> MutexGuard<'_, Queues<Box<Tracked>>> {
        lock(&self.queues)
    }

    /// Reads or changes what is around a queue; what is left with nothing in it is dropped.
    fn around<T>(&self, key: &Key, use_it: impl FnOnce(&mut Around) -> T) -> T {
        let mut all = lock(&self.around);
        if let Some(around) = all.get_mut(key) {
            let result = use_it(around);
            if around.is_empty() {
                all.remove(key);
            }
            return result;
        }
        let mut around = Around::default();
        let result = use_it(&mut around);
        if !around.is_empty() {
            let known = self.lock().get_key_value(key).map(|(key, _)| key.clone());
            all.insert(known.unwrap_or_else(|| Arc::new(key.clone())), Box::new(around));
        }
        result
    }

    /// The queues whose status we wrote.
    fn written_for(&self) -> HashSet<Arc<Key>> {
        let all = lock(&self.around);
        all.iter().filter(|(_, around)| around.written.is_some()).map(|(key, _)| key.clone()).collect()
    }

    /// Takes a queue in, or its new spec.
    pub fn serve(&self, key: &Key, served: Served) {
        let Served {
            uid,
            endpoint,
            target,
            policy,
            calendar,
            budget,
            protect_busy,
            found,
            deployment,
            last_scale,
            has_database,
        } = served;
        let (endpoint, target) = (self.shared(endpoint), Arc::new(target));
        // The same key as around it. Where both are locked, that comes first.
        let known = lock(&self.around).get_key_value(key).map(|(key, _)| key.clone());
        let known = known.unwrap_or_else(|| Arc::new(key.clone()));
        let mut queues = self.lock();
        if queues.get(key).is_some_and(|tracked| tracked.uid != uid) {
            queues.remove(key);
        }
        let tracked = queues.entry(known).or_insert_with(|| {
            Box::new(Tracked {
                uid,
                write: Arc::default(),
                since: Instant::now(),
                endpoint: endpoint.clone(),
                target: target.clone(),
                policy: policy.clone(),
                calendar: Calendar::default(),
                budget: budget.clone(),
                deployment,
                current: found,
                ready: 0,
                demand: Demand::default(),
                memory: Memory::default(),
                seen: None,
                decision: None,
                last_scale: last_scale.map(Box::new),
                reach: Reach::Unknown,
                failures: 0,
                database: Reach::NotApplicable,
                misfit: None,
                idle: Idle::default(),
                protect_busy,
                failing: Failing::default(),
                evicts: None,
                asked: None,
                warned: None,
                scaling: false,
                refused: None,
                applied: None,
                applied_for: None,
                scaled: None,
                missing: None,
                held: None,
                told: None,
            })
        });
        if tracked.endpoint != endpoint {
            // Another place, or another password: what was known of the old one says nothing.
            tracked.failures = 0;
        }
        match (has_database, &tracked.database) {
            (true, Reach::NotApplicable) => tracked.database = Reach::Unknown,
            (false, _) => tracked.database = Reach::NotApplicable,
            (true, _) => {}
        }
        (tracked.endpoint, tracked.target) = (endpoint, target);
        (tracked.policy, tracked.calendar) = (policy, calendar);
        (tracked.budget, tracked.protect_busy) = (budget, protect_busy);
    }

    /// The same place, as the other queues have it.
    fn shared(&self, endpoint: EndpointKey) -> EndpointKey {
        let mut endpoints = lock(&self.endpoints);
        if let Some(known) = endpoints.get(&endpoint) {
            return known.clone();
        }
        endpoints.insert(endpoint.clone());
        endpoint
    }

    /// Drops a queue.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
        // The watch tells itself when the Deployment is gone.
        self.around(key, |around| (around.failures, around.written) = (0, None));
    }

    /// Drops the queues that `exists` does not know; answers which.
    pub fn retain(&self, exists: impl Fn(&Key) -> bool) -> Vec<Arc<Key>> {
        let mut known = self.written_for();
        known.extend(self.lock().keys().cloned());
        let gone: Vec<Arc<Key>> = known.into_iter().filter(|key| !exists(key)).collect();
        for key in &gone {
            self.forget(key);
        }
        gone
    }

    /// The status that we wrote last, if we did.
    pub fn written(&self, key: &Key) -> Option<Written> {
        lock(&self.around).get(key)?.written.clone()
    }

    /// Remembers a status that was written.
    pub fn note_written(&self, key: &Key, uid: Uid, status: JobQueueStatus) {
        let written = Written { uid, status: Some(Box::new(status)), at: Instant::now() };
        self.around(key, |around| around.written = Some(written));
    }

    /// The watch has the status that we wrote: no need to keep it twice.
    pub fn caught_up(&self, key: &Key) {
        self.around(key, |around| {
            if let Some(written) = &mut around.written {
                written.status = None;
            }
        });
    }

    /// Takes in what the watch tells of the Deployments.
    pub fn glimpse(&self, event: &Event<Deployment>) {
        match event {
            // What is not in the new list was deleted meanwhile; until it is told, visits ask for themselves.
            Event::Init => lock(&self.around).retain(|_, around| {
                around.glimpse = None;
                !around.is_empty()
            }),
            Event::InitDone => {}
            Event::Apply(deployment) | Event::InitApply(deployment) => {
                if let Some((key, glimpse)) = Glimpse::of(deployment) {
                    self.around(&key, |around| around.glimpse = Some(glimpse));
                }
            }
            Event::Delete(deployment) => {
                if let Some((key, _)) = Glimpse::of(deployment) {
                    self.around(&key, |around| around.glimpse = None);
                }
            }
        }
    }

    /// What the watch has of a queue's Deployment.
    pub fn glimpsed(&self, key: &Key) -> Option<Glimpse> {
        lock(&self.around).get(key)?.glimpse
    }

    /// Whether a queue is served.
    pub fn serves(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// How many queues there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True while there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads or changes one queue, with the connections that the other queues of the same budget have, or are about to have.
    pub fn with_shared<T>(&self, key: &Key, use_it: impl FnOnce(&mut Tracked, u32) -> T) -> Option<T> {
        let mut queues = self.lock();
        let tracked = queues.get_mut(key)?;
        let Some(budget) = tracked.budget.clone() else { return Some(use_it(tracked, 0)) };
        let others = queues.iter().filter(|(other, tracked)| {
            ***other != *key && other.namespace == key.namespace && tracked.budget.as_ref() == Some(&budget)
        });
        let used = others.map(|(_, tracked)| {
            let decided = tracked.decision.as_ref().map_or(0, |decision| decision.replicas);
            let per_worker = tracked.policy.connections.map_or(0, |connections| connections.per_worker);
            tracked.current.max(decided).saturating_mul(per_worker)
        });
        let taken = used.fold(0, u32::saturating_add);
        queues.get_mut(key).map(|tracked| use_it(tracked, taken))
    }

    /// Reads or changes one queue.
    pub fn with<T>(&self, key: &Key, use_it: impl FnOnce(&mut Tracked) -> T) -> Option<T> {
        self.lock().get_mut(key).map(|tracked| use_it(tracked))
    }

    /// The queues by the place where they are looked at.
    pub fn by_endpoint(&self) -> BTreeMap<EndpointKey, Vec<Question>> {
        let mut places: BTreeMap<EndpointKey, Vec<Question>> = BTreeMap::new();
        let now = Instant::now();
        for (key, tracked) in self.lock().iter() {
            let eviction = tracked.asked.is_none_or(|asked| now.duration_since(asked) >= EVICTION_EVERY);
            let question = Question { key: key.clone(), query: tracked.target.clone(), eviction };
            places.entry(tracked.endpoint.clone()).or_default().push(question);
        }
        // What is left of a place that nobody names any more may be a password.
        lock(&self.endpoints).retain(|endpoint| places.contains_key(endpoint));
        places
    }

    /// Reads every queue.
    pub fn each(&self, mut read: impl FnMut(&Key, &Tracked)) {
        for (key, tracked) in self.lock().iter() {
            read(key, tracked);
        }
    }

    /// Asks the controller to visit a queue.
    pub fn wake(&self, key: &Key) {
        // The controller is gone only when the process ends.
        let _ = self.wake.send(key.clone());
    }

    /// Counts a failed visit; answers how many failed in a row.
    pub fn failed_again(&self, key: &Key) -> u32 {
        self.around(key, |around| {
            around.failures = around.failures.saturating_add(1);
            around.failures
        })
    }

    /// Ends a row of failed visits.
    pub fn succeeded(&self, key: &Key) {
        self.around(key, |around| around.failures = 0);
    }
}

/// A panic elsewhere leaves plain data behind, not a broken invariant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_one_redis_share_what_is_known_of_it() {
        let (registry, _woken) = Registry::new();
        for (name, url) in [("a", "redis://r:6379/0"), ("b", "redis://r:6379/0"), ("c", "redis://other:6379/0")] {
            registry.serve(&Key::new(name), crate::tracked::served(url));
        }
        let places = registry.by_endpoint();
        assert_eq!(places.values().map(Vec::len).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(lock(&registry.endpoints).len(), 2);
        registry.forget(&Key::new("c"));
        let _ = registry.by_endpoint();
        assert_eq!(lock(&registry.endpoints).len(), 1, "a password that nobody uses is not kept");
    }
}
