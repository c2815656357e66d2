//! What this worker has in hand: the leases to renew, and what became known about them meanwhile (lost to another
//! worker, or to be stopped). A [`Grip`] holds a claim here; dropping it ends the heartbeats, whatever the reason.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jobqueue_queue::Lease;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a stop is remembered for a job that is not in hand: the answer to its claim may be on its way.
const ON_ITS_WAY: Duration = Duration::from_secs(2);

/// What is known about a lease in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Ours, as far as the last heartbeat could tell.
    Ours,
    /// No longer ours: its effect and its bookkeeping are another worker's business.
    Lost,
    /// A person asked for it to be stopped.
    Stopped,
}

/// All leases in hand, shared by the slots, the heartbeat and the command listener.
#[derive(Debug, Default)]
pub struct Hand {
    held: Mutex<HashMap<Lease, Fate>>,
    /// Jobs to be stopped that were not in hand, and when that was said.
    early_stops: Mutex<Vec<EarlyStop>>,
    stopped: Notify,
}

#[derive(Debug)]
struct EarlyStop {
    /// None: whichever.
    queue: Option<String>,
    job: String,
    said: Instant,
}

fn is_meant(queue: Option<&str>, job: &str, lease: &Lease) -> bool {
    lease.job == job && queue.is_none_or(|queue| lease.queue == queue)
}

/// Keeps some leases in the [`Hand`] until dropped.
#[derive(Debug)]
pub struct Grip {
    hand: Arc<Hand>,
    leases: Vec<Lease>,
}

impl Hand {
    /// Takes `leases` in hand.
    pub fn hold(self: &Arc<Self>, leases: Vec<Lease>) -> Grip {
        let mut held = self.lock();
        let mut early = self.early_stops.lock().expect("no code panics while it holds this lock");
        early.retain(|stop| stop.said.elapsed() < ON_ITS_WAY);
        for lease in &leases {
            let stopped = early.iter().any(|stop| is_meant(stop.queue.as_deref(), &stop.job, lease));
            held.insert(lease.clone(), if stopped { Fate::Stopped } else { Fate::Ours });
        }
        drop((held, early));
        Grip { hand: Arc::clone(self), leases }
    }

    /// The leases to renew: everything in hand but what is lost.
    pub fn leases(&self) -> Vec<Lease> {
        self.lock().iter().filter(|(_, fate)| **fate != Fate::Lost).map(|(lease, _)| lease.clone()).collect()
    }

    /// How many jobs are in hand.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when nothing is in hand.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known about `lease`; a lease that is not in hand counts as lost.
    pub fn fate(&self, lease: &Lease) -> Fate {
        self.lock().get(lease).copied().unwrap_or(Fate::Lost)
    }

    /// Notes that `leases` went to somebody else.
    pub fn mark_lost(&self, leases: &[Lease]) {
        let mut held = self.lock();
        for lease in leases {
            if let Some(fate) = held.get_mut(lease) {
                *fate = Fate::Lost;
            }
        }
    }

    /// Notes that the job `id` is to be stopped; false if it is not in hand, where it is stopped if it comes within moments.
    pub fn mark_stopped(&self, id: &str) -> bool {
        self.mark_stopped_of(None, id)
    }

    /// The same where ids are of one queue only.
    pub fn mark_stopped_of(&self, queue: Option<&str>, id: &str) -> bool {
        let meant = |lease: &Lease| is_meant(queue, id, lease);
        let mut found = false;
        let mut held = self.lock();
        for (lease, fate) in held.iter_mut() {
            if meant(lease) && *fate == Fate::Ours {
                *fate = Fate::Stopped;
                found = true;
            }
        }
        if found {
            self.stopped.notify_waiters();
        } else if !held.keys().any(meant) {
            let mut early = self.early_stops.lock().expect("no code panics while it holds this lock");
            early.retain(|stop| stop.said.elapsed() < ON_ITS_WAY);
            early.push(EarlyStop { queue: queue.map(str::to_owned), job: id.to_owned(), said: Instant::now() });
        }
        found
    }

    /// Returns once one of `leases` is to be stopped.
    pub async fn any_stopped(&self, leases: impl Iterator<Item = &Lease> + Clone) {
        loop {
            // Listens before it looks, so that nothing falls in between.
            let news = self.stopped.notified();
            if leases.clone().any(|lease| self.fate(lease) == Fate::Stopped) {
                return;
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, Fate>> {
        self.held.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for Grip {
    fn drop(&mut self) {
        let mut held = self.hand.lock();
        for lease in &self.leases {
            held.remove(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(job: &str) -> Lease {
        Lease { queue: "q".into(), job: job.into(), execution: format!("{job}-run") }
    }

    #[test]
    fn a_dropped_grip_ends_the_heartbeats() {
        let hand = Arc::new(Hand::default());
        let first = hand.hold(vec![lease("a"), lease("b")]);
        let _second = hand.hold(vec![lease("c")]);
        assert_eq!(hand.len(), 3);
        drop(first);
        assert_eq!(hand.leases(), [lease("c")]);
        assert_eq!(hand.fate(&lease("a")), Fate::Lost);
    }

    #[test]
    fn lost_leases_are_not_renewed_and_cannot_be_stopped() {
        let hand = Arc::new(Hand::default());
        let _grip = hand.hold(vec![lease("a"), lease("b")]);
        hand.mark_lost(&[lease("a")]);
        assert_eq!(hand.leases(), [lease("b")]);
        assert!(!hand.mark_stopped("a"));
        assert!(hand.mark_stopped("b"));
        assert_eq!(hand.fate(&lease("b")), Fate::Stopped);
        assert!(!hand.mark_stopped("z"));
        assert!(!hand.mark_stopped_of(Some("another"), "b"), "of another queue");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_may_come_before_the_answer_to_the_claim() {
        let hand = Arc::new(Hand::default());
        assert!(!hand.mark_stopped("a"));
        let first = hand.hold(vec![lease("a"), lease("b")]);
        assert_eq!((hand.fate(&lease("a")), hand.fate(&lease("b"))), (Fate::Stopped, Fate::Ours));
        drop(first);
        tokio::time::advance(ON_ITS_WAY).await;
        let _later = hand.hold(vec![lease("a")]);
        assert_eq!(hand.fate(&lease("a")), Fate::Ours, "another run is not meant");
    }

    #[tokio::test]
    async fn a_stop_is_heard_by_whoever_holds_the_job_and_nobody_else() {
        let hand = Arc::new(Hand::default());
        let _grip = hand.hold(vec![lease("a"), lease("b")]);
        let (mine, other) = ([lease("a")], [lease("b")]);
        let mut heard = std::pin::pin!(hand.any_stopped(mine.iter()));
        let mut unheard = std::pin::pin!(hand.any_stopped(other.iter()));
        assert!(futures::poll!(heard.as_mut()).is_pending());
        assert!(futures::poll!(unheard.as_mut()).is_pending());
        hand.mark_stopped("a");
        heard.await;
        assert!(futures::poll!(unheard.as_mut()).is_pending());
        hand.any_stopped(mine.iter()).await;
    }
}
