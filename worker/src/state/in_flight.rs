//! The jobs in flight: the leases that the heartbeat renews, and what became known about them meanwhile (lost to another
//! worker, or to be stopped). A [`LeaseGroup`] keeps the leases of a batch here; dropping it ends their heartbeats.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jobqueue_queue::Lease;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long a stop is remembered for a job that is not in flight: the answer to its claim may be on its way.
const EARLY_STOP_KEPT: Duration = Duration::from_secs(2);

/// What is known about a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseState {
    /// Ours, as far as the last heartbeat could tell.
    Ours,
    /// Gone to another worker, which writes and settles the job.
    Lost,
    /// A person asked for it to be stopped.
    Stopped,
}

/// All leases of this worker, shared by the slots, the heartbeat and the commands.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    held: Mutex<HashMap<Lease, LeaseState>>,
    /// Jobs that are to be stopped and were not in flight when that was asked.
    early_stops: Mutex<Vec<EarlyStop>>,
    stopped: Notify,
}

#[derive(Debug)]
struct EarlyStop {
    /// `None`: the job of this id in any queue.
    queue: Option<String>,
    job: String,
    asked: Instant,
}

fn is_meant(queue: Option<&str>, job: &str, lease: &Lease) -> bool {
    lease.job == job && queue.is_none_or(|queue| lease.queue == queue)
}

/// Keeps the leases of a batch in [`InFlight`] until dropped.
#[derive(Debug)]
pub(crate) struct LeaseGroup {
    in_flight: Arc<InFlight>,
    leases: Vec<Lease>,
}

impl InFlight {
    /// Adds `leases`, until the returned group is dropped.
    pub(crate) fn hold(self: &Arc<Self>, leases: Vec<Lease>) -> LeaseGroup {
        let mut held = self.lock();
        let mut early = self.early_stops.lock().expect("no code panics while it holds this lock");
        early.retain(|stop| stop.asked.elapsed() < EARLY_STOP_KEPT);
        for lease in &leases {
            let stopped = early.iter().any(|stop| is_meant(stop.queue.as_deref(), &stop.job, lease));
            held.insert(lease.clone(), if stopped { LeaseState::Stopped } else { LeaseState::Ours });
        }
        drop((held, early));
        LeaseGroup { in_flight: Arc::clone(self), leases }
    }

    /// The leases to renew: all but the lost ones.
    pub(crate) fn leases(&self) -> Vec<Lease> {
        self.lock().iter().filter(|(_, state)| **state != LeaseState::Lost).map(|(lease, _)| lease.clone()).collect()
    }

    /// How many jobs are in flight.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// True when no job is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known about `lease`; a lease that is not here counts as lost.
    pub(crate) fn state_of(&self, lease: &Lease) -> LeaseState {
        self.lock().get(lease).copied().unwrap_or(LeaseState::Lost)
    }

    /// Notes that `leases` went to other workers.
    pub(crate) fn mark_lost(&self, leases: &[Lease]) {
        let mut held = self.lock();
        for lease in leases {
            if let Some(state) = held.get_mut(lease) {
                *state = LeaseState::Lost;
            }
        }
    }

    /// Notes that the job `id` of `queue` (`None`: of any queue) is to be stopped. Returns false if it is not in flight;
    /// should it be claimed within [`EARLY_STOP_KEPT`], it is stopped then.
    pub(crate) fn mark_stopped(&self, queue: Option<&str>, id: &str) -> bool {
        let meant = |lease: &Lease| is_meant(queue, id, lease);
        let mut found = false;
        let mut held = self.lock();
        for (lease, state) in held.iter_mut() {
            if meant(lease) && *state == LeaseState::Ours {
                *state = LeaseState::Stopped;
                found = true;
            }
        }
        if found {
            self.stopped.notify_waiters();
        } else if !held.keys().any(meant) {
            let mut early = self.early_stops.lock().expect("no code panics while it holds this lock");
            early.retain(|stop| stop.asked.elapsed() < EARLY_STOP_KEPT);
            early.push(EarlyStop { queue: queue.map(str::to_owned), job: id.to_owned(), asked: Instant::now() });
        }
        found
    }

    /// Returns once one of `leases` is to be stopped.
    pub(crate) async fn any_stopped(&self, leases: impl Iterator<Item = &Lease> + Clone) {
        loop {
            // Listens before it looks, so that nothing falls in between.
            let news = self.stopped.notified();
            if leases.clone().any(|lease| self.state_of(lease) == LeaseState::Stopped) {
                return;
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lease, LeaseState>> {
        self.held.lock().expect("no code panics while it holds this lock")
    }
}

impl Drop for LeaseGroup {
    fn drop(&mut self) {
        let mut held = self.in_flight.lock();
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
    fn a_dropped_group_ends_the_heartbeats() {
        let in_flight = Arc::new(InFlight::default());
        let first = in_flight.hold(vec![lease("a"), lease("b")]);
        let _second = in_flight.hold(vec![lease("c")]);
        assert_eq!(in_flight.len(), 3);
        drop(first);
        assert_eq!(in_flight.leases(), [lease("c")]);
        assert_eq!(in_flight.state_of(&lease("a")), LeaseState::Lost);
    }

    #[test]
    fn lost_leases_are_not_renewed_and_cannot_be_stopped() {
        let in_flight = Arc::new(InFlight::default());
        let _group = in_flight.hold(vec![lease("a"), lease("b")]);
        in_flight.mark_lost(&[lease("a")]);
        assert_eq!(in_flight.leases(), [lease("b")]);
        assert!(!in_flight.mark_stopped(None, "a"));
        assert!(in_flight.mark_stopped(None, "b"));
        assert_eq!(in_flight.state_of(&lease("b")), LeaseState::Stopped);
        assert!(!in_flight.mark_stopped(None, "z"));
        assert!(!in_flight.mark_stopped(Some("another"), "b"), "of another queue");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_may_come_before_the_answer_to_the_claim() {
        let in_flight = Arc::new(InFlight::default());
        assert!(!in_flight.mark_stopped(None, "a"));
        let first = in_flight.hold(vec![lease("a"), lease("b")]);
        assert_eq!(
            (in_flight.state_of(&lease("a")), in_flight.state_of(&lease("b"))),
            (LeaseState::Stopped, LeaseState::Ours)
        );
        drop(first);
        tokio::time::advance(EARLY_STOP_KEPT).await;
        let _later = in_flight.hold(vec![lease("a")]);
        assert_eq!(in_flight.state_of(&lease("a")), LeaseState::Ours, "another run is not meant");
    }

    #[tokio::test]
    async fn a_stop_is_heard_by_the_holder_of_the_job_only() {
        let in_flight = Arc::new(InFlight::default());
        let _group = in_flight.hold(vec![lease("a"), lease("b")]);
        let (mine, other) = ([lease("a")], [lease("b")]);
        let mut heard = std::pin::pin!(in_flight.any_stopped(mine.iter()));
        let mut unheard = std::pin::pin!(in_flight.any_stopped(other.iter()));
        assert!(futures::poll!(heard.as_mut()).is_pending());
        assert!(futures::poll!(unheard.as_mut()).is_pending());
        in_flight.mark_stopped(None, "a");
        heard.await;
        assert!(futures::poll!(unheard.as_mut()).is_pending());
        in_flight.any_stopped(mine.iter()).await;
    }
}
