//! Which queues are to be reconciled, and when: each once however often it is asked for, never twice at a time, and the one
//! that waits for the longest first. Those that were never reconciled and the others leave room for each other: with thousands
//! that change all the time a new one would be passed over, with its jobs waiting.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::state::key::Key;

/// Requests within this time make one reconcile: pods become ready in swarms.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Reconciles at once.
const CONCURRENCY: usize = 20;
/// Of these, for queues of one kind at most.
const OF_ONE_KIND: usize = 16;

/// When a queue is due, and its number among those of the same moment.
type Due = (Instant, u64);

/// The queues that wait for a reconcile, and those that are being reconciled.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    entries: HashMap<Arc<Key>, Entry, foldhash::fast::RandomState>,
    /// Those that are due now or later and not being reconciled: new ones, and others.
    waiting: [BTreeMap<Due, Arc<Key>>; 2],
    /// How many of either kind are being reconciled.
    running: [usize; 2],
    requests: u64,
}

/// One queue.
#[derive(Debug, Default)]
struct Entry {
    /// `None` until something asks for it.
    due: Option<Due>,
    /// It is being reconciled; what asks for it meanwhile waits.
    is_running: bool,
    /// It was reconciled once.
    is_known: bool,
}

impl WorkQueue {
    /// Something happened to a queue at `now`.
    pub(super) fn request(&mut self, key: &Arc<Key>, now: Instant) {
        self.schedule(key, now + DEBOUNCE);
    }

    /// The queue to reconcile at `now`; `None` if none is due, or enough are being reconciled.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Key>> {
        let kind = (0..2).find(|kind| self.next_of(*kind).is_some_and(|due| due <= now))?;
        let (_, key) = self.waiting[kind].pop_first()?;
        self.running[kind] += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        (entry.due, entry.is_running) = (None, true);
        Some(key)
    }

    /// A reconcile is over; the next one is due at `next`, or when something happens.
    pub(super) fn finish(&mut self, key: &Arc<Key>, next: Option<Instant>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let kind = usize::from(entry.is_known);
        self.running[kind] = self.running[kind].saturating_sub(1);
        (entry.is_running, entry.is_known) = (false, true);
        if let Some(due) = entry.due {
            self.waiting[1].insert(due, key.clone());
        }
        if let Some(next) = next {
            self.schedule(key, next);
        }
    }

    /// Drops what `exists` does not know; a reconcile that is under way ends by itself.
    pub(super) fn retain(&mut self, exists: impl Fn(&Key) -> bool) {
        let waiting = &mut self.waiting;
        self.entries.retain(|key, entry| {
            let stays = entry.is_running || exists(key);
            if !stays && let Some(due) = entry.due {
                waiting[usize::from(entry.is_known)].remove(&due);
            }
            stays
        });
    }

    /// When the next queue may be reconciled; `None` if only the end of a reconcile, or a request, makes one so.
    pub(super) fn next_due(&self) -> Option<Instant> {
        (0..2).filter_map(|kind| self.next_of(kind)).min()
    }

    /// When the next of one kind is due, if there is room for it.
    fn next_of(&self, kind: usize) -> Option<Instant> {
        let has_room = self.running[kind] < OF_ONE_KIND && self.running.iter().sum::<usize>() < CONCURRENCY;
        let first = self.waiting[kind].first_key_value().map(|((at, _), _)| *at);
        first.filter(|_| has_room)
    }

    /// What is due sooner stays.
    fn schedule(&mut self, key: &Arc<Key>, at: Instant) {
        self.requests += 1;
        let due = (at, self.requests);
        let entry = self.entries.entry(key.clone()).or_default();
        if entry.due.is_some_and(|before| before.0 <= at) {
            return;
        }
        let before = entry.due.replace(due);
        if entry.is_running {
            return;
        }
        let waiting = &mut self.waiting[usize::from(entry.is_known)];
        if let Some(before) = before {
            waiting.remove(&before);
        }
        waiting.insert(due, key.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &impl ToString) -> Arc<Key> {
        Arc::new(Key::new(&name.to_string()).within("shop"))
    }

    fn names(keys: impl IntoIterator<Item = Arc<Key>>) -> Vec<String> {
        keys.into_iter().map(|key| key.name.clone()).collect()
    }

    fn all(queue: &mut WorkQueue, now: Instant) -> Vec<Arc<Key>> {
        std::iter::from_fn(|| queue.pop(now)).collect()
    }

    /// Queues that were reconciled once.
    fn known(queue: &mut WorkQueue, names: impl IntoIterator<Item = usize>, now: Instant) -> Vec<Arc<Key>> {
        let keys: Vec<_> = names.into_iter().map(|name| key(&name)).collect();
        for key in &keys {
            queue.request(key, now);
            let popped = queue.pop(now + DEBOUNCE).expect("due");
            queue.finish(&popped, None);
        }
        keys
    }

    #[test]
    fn many_requests_make_one_reconcile_and_the_one_that_waits_longest_is_first() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        for (at, name) in [(0, "b"), (10, "a"), (20, "b"), (49, "a")] {
            queue.request(&key(&name), began + Duration::from_millis(at));
        }
        assert_eq!(queue.next_due(), Some(began + DEBOUNCE));
        assert_eq!(queue.pop(began + DEBOUNCE / 2), None, "not yet");
        assert_eq!(names(all(&mut queue, began + 2 * DEBOUNCE)), ["b", "a"]);
        assert_eq!(queue.next_due(), None);
    }

    #[test]
    fn what_happens_during_a_reconcile_makes_another_after_it() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        let one = key(&"one");
        queue.request(&one, began);
        assert!(queue.pop(began + DEBOUNCE).is_some());
        queue.request(&one, began + DEBOUNCE);
        assert_eq!((queue.pop(began + 9 * DEBOUNCE), queue.next_due()), (None, None), "never twice at a time");
        let later = began + Duration::from_secs(300);
        queue.finish(&one, Some(later));
        assert_eq!(queue.next_due(), Some(began + 2 * DEBOUNCE), "sooner than it would have been by itself");
        assert!(queue.pop(began + 2 * DEBOUNCE).is_some());
        queue.finish(&one, Some(later));
        assert_eq!(queue.next_due(), Some(later));
        queue.request(&one, began + 3 * DEBOUNCE);
        assert_eq!(queue.next_due(), Some(began + 4 * DEBOUNCE), "a request does not wait for that");
        assert!(queue.pop(began + 4 * DEBOUNCE).is_some());
        queue.finish(&one, None);
        assert_eq!(queue.next_due(), None, "nothing is left of what was scheduled before");
    }

    #[test]
    fn new_queues_and_known_ones_leave_room_for_each_other() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        for key in known(&mut queue, 0..100, began) {
            queue.request(&key, began);
        }
        let later = began + 2 * DEBOUNCE;
        let busy = all(&mut queue, later);
        assert_eq!(busy.len(), OF_ONE_KIND);
        assert_eq!(queue.next_due(), None, "there is no room for what is due");
        for name in 100..200 {
            queue.request(&key(&name), began);
        }
        let new = all(&mut queue, later);
        assert_eq!(new.len(), CONCURRENCY - OF_ONE_KIND);
        assert!(new.iter().all(|key| key.name.parse::<usize>().is_ok_and(|name| name >= 100)));
        queue.finish(&busy[0], None);
        assert_eq!(names(queue.pop(later)), ["104"], "new ones go first");
        for key in busy.iter().skip(1).chain(&new) {
            queue.finish(key, None);
        }
        let next = all(&mut queue, later);
        let new = next.iter().filter(|key| key.name.parse::<usize>().is_ok_and(|name| name >= 100)).count();
        assert_eq!((new, next.len()), (OF_ONE_KIND - 1, CONCURRENCY - 1), "and take not all of it");
    }

    #[test]
    fn nothing_is_left_of_a_queue_that_was_deleted() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        let (waits, runs) = (key(&"waits"), key(&"runs"));
        queue.request(&runs, began);
        assert!(queue.pop(began + DEBOUNCE).is_some());
        queue.request(&waits, began);
        queue.request(&runs, began);
        queue.retain(|_| false);
        assert_eq!(queue.next_due(), None);
        queue.finish(&runs, Some(began));
        queue.retain(|_| false);
        assert!(queue.entries.is_empty() && queue.waiting.iter().all(BTreeMap::is_empty), "{queue:?}");
        assert_eq!(queue.running, [0, 0]);
    }
}
