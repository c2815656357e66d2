//! Which queues are to be reconciled, and when: each once however often it is asked for, never twice at a time, and the one
//! that waits for the longest first. Those that were never reconciled, those that something happened to, and those that are
//! tried again leave room for each other: with thousands that change all the time a new one would be passed over, with its
//! jobs waiting; and with thousands that fail, one that a person has just changed.

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
/// Of these, for each [`Kind`] whatever the others need.
const KEPT: usize = 2;
/// Of these, for retries at most.
const RETRIES: usize = 4;
/// The shortest time between two retries, whatever queues they are of.
const BETWEEN_RETRIES: Duration = Duration::from_millis(15);

/// Why a queue is due. What is further up goes first where there is room for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A person changed it.
    Changed,
    /// It was never reconciled.
    New,
    /// Something else happened, or it has been a while.
    Known,
    /// The last reconcile failed, or somebody must repair something.
    Retry,
}

const KINDS: [Kind; 4] = [Kind::Changed, Kind::New, Kind::Known, Kind::Retry];

/// When a queue comes back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// After so long, or when something happens.
    After(Duration),
    /// The same, but among all that are tried again: somebody must repair something.
    Repair(Duration),
    /// Among all that are tried again, and only a change of the object brings it forward: the reconcile failed.
    Retry(Duration),
}

/// When a queue is due, and its number among those of the same moment.
type Due = (Instant, u64);

/// The queues that wait for a reconcile, and those that are being reconciled.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    entries: HashMap<Arc<Key>, Entry, foldhash::fast::RandomState>,
    /// Those that are due now or later and not being reconciled, by [`Kind`].
    waiting: [BTreeMap<Due, Arc<Key>>; KINDS.len()],
    /// How many of each [`Kind`] are being reconciled.
    running: [usize; KINDS.len()],
    /// No retry begins sooner; `None` before the first.
    next_retry: Option<Instant>,
    requests: u64,
}

/// One queue.
#[derive(Debug, Default)]
struct Entry {
    /// `None` until something asks for it. What asks for it during a reconcile waits for the end.
    due: Option<(Kind, Due)>,
    /// What it is being reconciled as.
    running: Option<Kind>,
    /// It was reconciled once.
    is_known: bool,
    /// The last reconcile failed.
    is_failed: bool,
}

impl WorkQueue {
    /// Something happened to a queue at `now`. One whose last reconcile failed waits for its retry; what happens during a
    /// reconcile may be news to it.
    pub(super) fn request(&mut self, key: &Arc<Key>, now: Instant) {
        if self.entries.get(key).is_some_and(|entry| entry.is_failed && entry.running.is_none()) {
            return;
        }
        self.schedule(key, now + DEBOUNCE, Kind::Known);
    }

    /// A person changed a queue at `now`.
    pub(super) fn request_changed(&mut self, key: &Arc<Key>, now: Instant) {
        self.schedule(key, now + DEBOUNCE, Kind::Changed);
    }

    /// The queue to reconcile at `now`; `None` if none is due, or enough are being reconciled.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Arc<Key>> {
        let kind = KINDS.into_iter().find(|kind| self.next_of(*kind).is_some_and(|due| due <= now))?;
        let (_, key) = self.waiting[kind as usize].pop_first()?;
        self.running[kind as usize] += 1;
        if kind == Kind::Retry {
            self.next_retry = Some(now + BETWEEN_RETRIES);
        }
        let entry = self.entries.entry(key.clone()).or_default();
        (entry.due, entry.running) = (None, Some(kind));
        Some(key)
    }

    /// A reconcile is over at `now`; the next one is due as `next` says, or when something happens.
    pub(super) fn finish(&mut self, key: &Arc<Key>, next: Option<Return>, now: Instant) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(kind) = entry.running.take() {
            self.running[kind as usize] = self.running[kind as usize].saturating_sub(1);
        }
        (entry.is_known, entry.is_failed) = (true, matches!(next, Some(Return::Retry(_))));
        if let Some((kind, due)) = entry.due {
            self.waiting[kind as usize].insert(due, key.clone());
        }
        match next {
            Some(Return::After(pause)) => self.schedule(key, now + pause, Kind::Known),
            Some(Return::Repair(pause) | Return::Retry(pause)) => self.schedule(key, now + pause, Kind::Retry),
            None => {}
        }
    }

    /// Drops what `exists` does not know; a reconcile that is under way ends by itself.
    pub(super) fn retain(&mut self, exists: impl Fn(&Key) -> bool) {
        let waiting = &mut self.waiting;
        self.entries.retain(|key, entry| {
            let stays = entry.running.is_some() || exists(key);
            if !stays && let Some((kind, due)) = entry.due {
                waiting[kind as usize].remove(&due);
            }
            stays
        });
    }

    /// When the next queue may be reconciled; `None` if only the end of a reconcile, or a request, makes one so.
    pub(super) fn next_due(&self) -> Option<Instant> {
        KINDS.into_iter().filter_map(|kind| self.next_of(kind)).min()
    }

    /// When the next of one kind may begin, if there is room for it.
    fn next_of(&self, kind: Kind) -> Option<Instant> {
        let others = KINDS.into_iter().filter(|other| *other != kind);
        let taken: usize = others.map(|other| self.running[other as usize].max(KEPT)).sum();
        let most = if kind == Kind::Retry { RETRIES } else { CONCURRENCY };
        if self.running[kind as usize] >= most.min(CONCURRENCY.saturating_sub(taken)) {
            return None;
        }
        let (first, _) = self.waiting[kind as usize].first_key_value()?.0;
        let pace = self.next_retry.filter(|_| kind == Kind::Retry);
        Some(pace.map_or(*first, |pace| pace.max(*first)))
    }

    /// What is due sooner stays, but nothing waits for what is further down.
    fn schedule(&mut self, key: &Arc<Key>, at: Instant, kind: Kind) {
        self.requests += 1;
        let entry = self.entries.entry(key.clone()).or_default();
        let is_new = !entry.is_known && entry.running.is_none();
        let kind = if is_new { Kind::New } else { kind };
        if entry.due.is_some_and(|(before, due)| before <= kind && due.0 <= at) {
            return;
        }
        let due = (at, self.requests);
        let before = entry.due.replace((kind, due));
        if entry.running.is_some() {
            return;
        }
        if let Some((kind, due)) = before {
            self.waiting[kind as usize].remove(&due);
        }
        self.waiting[kind as usize].insert(due, key.clone());
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
            queue.finish(&popped, None, now);
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
        let (later, pause) = (began + Duration::from_secs(300), Some(Return::After(Duration::from_secs(300))));
        queue.finish(&one, pause, began);
        assert_eq!(queue.next_due(), Some(began + 2 * DEBOUNCE), "sooner than it would have been by itself");
        assert!(queue.pop(began + 2 * DEBOUNCE).is_some());
        queue.finish(&one, pause, began);
        assert_eq!(queue.next_due(), Some(later));
        queue.request(&one, began + 3 * DEBOUNCE);
        assert_eq!(queue.next_due(), Some(began + 4 * DEBOUNCE), "a request does not wait for that");
        assert!(queue.pop(began + 4 * DEBOUNCE).is_some());
        queue.finish(&one, None, later);
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
        assert_eq!(busy.len(), CONCURRENCY - 3 * KEPT);
        assert_eq!(queue.next_due(), None, "there is no room for what is due");
        for name in 100..200 {
            queue.request(&key(&name), began);
        }
        let new = all(&mut queue, later);
        assert_eq!(names(new.iter().cloned()), ["100", "101"], "what is kept for them");
        queue.finish(&busy[0], None, later);
        assert_eq!(names(queue.pop(later)), ["102"], "new ones go first");
        for key in busy.iter().skip(1).chain(&new) {
            queue.finish(key, None, later);
        }
        let next = all(&mut queue, later);
        let new = next.iter().filter(|key| key.name.parse::<usize>().is_ok_and(|name| name >= 100)).count();
        let all_but_kept = CONCURRENCY - 2 * KEPT;
        assert_eq!((new, next.len()), (all_but_kept - KEPT - 1, all_but_kept - 1), "and take not all of it");
        queue.request_changed(&key(&99), began);
        assert_eq!(names(queue.pop(later)), ["99"], "what a person changed has room, too");
    }

    /// Known queues, of which the last reconcile failed, and that are due again at `now`.
    fn failed(queue: &mut WorkQueue, names: impl IntoIterator<Item = usize>, now: Instant) -> Vec<Arc<Key>> {
        let keys = known(queue, names, now);
        for key in &keys {
            queue.request(key, now);
            let popped = queue.pop(now + DEBOUNCE).expect("due");
            queue.finish(&popped, Some(Return::Repair(Duration::ZERO)), now);
        }
        keys
    }

    #[test]
    fn what_happened_to_a_queue_does_not_wait_for_retries_not_even_for_its_own() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        let keys = failed(&mut queue, 0..1_000, began);
        queue.request(&keys[999], began);
        let later = began + DEBOUNCE;
        assert_eq!(names(queue.pop(later)), ["999"]);
        assert_eq!(names(all(&mut queue, later)), ["0"], "retries have a pace");
        assert_eq!(queue.next_due(), Some(later + BETWEEN_RETRIES));
        let busy = (1..100).map(|step| names(queue.pop(later + step * BETWEEN_RETRIES)));
        assert_eq!(busy.flatten().collect::<Vec<_>>(), ["1", "2", "3"], "and few places");
    }

    #[test]
    fn a_wake_brings_no_failed_reconcile_forward_but_one_during_a_reconcile_is_kept() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        let one = known(&mut queue, [1], began).remove(0);
        queue.request(&one, began);
        assert!(queue.pop(began + DEBOUNCE).is_some());
        let (retry, second) = (Some(Return::Retry(Duration::from_secs(60))), Duration::from_secs(1));
        queue.finish(&one, retry, began);
        queue.request(&one, began + second);
        assert_eq!(queue.next_due(), Some(began + 60 * second), "whatever woke it");
        assert!(queue.pop(began + 60 * second).is_some());
        queue.request(&one, began + 60 * second);
        queue.finish(&one, None, began + 61 * second);
        assert_eq!(queue.next_due(), Some(began + 60 * second + DEBOUNCE), "it may have come after what was read");
        assert!(queue.pop(began + 61 * second).is_some());
        queue.finish(&one, retry, began + 61 * second);
        queue.request_changed(&one, began + 62 * second);
        assert_eq!(queue.next_due(), Some(began + 62 * second + DEBOUNCE), "a person may have repaired it");
    }

    #[test]
    fn retries_have_places_that_nothing_else_takes() {
        let (mut queue, began) = (WorkQueue::default(), Instant::now());
        let later = began + Duration::from_secs(1);
        failed(&mut queue, [0], began);
        for key in known(&mut queue, 1..100, later - DEBOUNCE) {
            queue.request(&key, began);
        }
        for name in 100..200 {
            queue.request(&key(&name), began);
        }
        let busy = names(all(&mut queue, later));
        assert_eq!(busy.len(), CONCURRENCY - KEPT - (KEPT - 1), "and another retry could begin");
        assert_eq!(busy.last().map(String::as_str), Some("0"));
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
        queue.finish(&runs, Some(Return::After(Duration::ZERO)), began);
        queue.retain(|_| false);
        assert!(queue.entries.is_empty() && queue.waiting.iter().all(BTreeMap::is_empty), "{queue:?}");
        assert_eq!(queue.running, [0; KINDS.len()]);
    }
}
