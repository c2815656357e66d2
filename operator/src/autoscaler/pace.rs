//! How often a server is polled that answers much: as often as its share of the operator's time allows. Servers that answer
//! what is usual are polled at each turn, whatever others do.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::Instant;

use crate::state::endpoint_key::EndpointKey;

/// What an answer may cost for each queue that is asked about: some workers with their names. In bytes, as the connection
/// counts them ([`jobqueue_queue::Connection::answered`]).
const USUAL: u64 = 16 << 10;

/// What all answers beyond that may cost in a second: a fraction of a processor's time.
const PER_SECOND: u64 = 24 << 20;

/// No server waits longer for its next poll.
const LONGEST: Duration = Duration::from_secs(10);

/// The servers that are being polled, and those that answered more than usual.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace(Arc<Mutex<BTreeMap<EndpointKey, PollState>>>);

#[derive(Debug, Clone, Copy)]
enum PollState {
    /// A poll is under way: a slow server is asked again when it has answered.
    Busy { excess: u64 },
    /// The last poll answered so much more than usual, and the next may begin at this moment.
    Waits { excess: u64, until: Instant },
}

impl Pace {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<EndpointKey, PollState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets the servers that `used` does not name.
    pub(super) fn retain(&self, used: &BTreeMap<EndpointKey, impl Sized>) {
        self.lock().retain(|endpoint, turn| matches!(turn, PollState::Busy { .. }) || used.contains_key(endpoint));
    }

    /// Whether a poll may begin; it counts as under way then.
    pub(super) fn begin(&self, endpoint: &EndpointKey) -> bool {
        let mut turns = self.lock();
        let excess = match turns.get(endpoint) {
            Some(PollState::Busy { .. }) => return false,
            Some(PollState::Waits { until, .. }) if *until > Instant::now() => return false,
            Some(PollState::Waits { excess, .. }) => *excess,
            None => 0,
        };
        turns.insert(endpoint.clone(), PollState::Busy { excess });
        true
    }

    /// A poll that began at `began`, and asked about so many `queues`, is over; its answers cost so much.
    pub(super) fn end(&self, endpoint: &EndpointKey, began: Instant, queues: usize, cost: u64) {
        let mut turns = self.lock();
        let usual = u64::try_from(queues).unwrap_or(u64::MAX).saturating_mul(USUAL);
        let excess = cost.saturating_sub(usual);
        if excess == 0 {
            turns.remove(endpoint);
            return;
        }
        let others = turns.iter().filter(|(other, _)| *other != endpoint);
        let heavy = 1 + others.filter(|(_, turn)| turn.excess() > 0).count();
        turns.insert(endpoint.clone(), PollState::Waits { excess, until: began + pause(excess, heavy) });
    }
}

/// A poll of a server that may begin, about so many queues.
pub(super) struct OneTurn {
    pub(super) pace: Pace,
    pub(super) endpoint: EndpointKey,
    pub(super) queues: usize,
}

impl OneTurn {
    /// Polls; `answered` tells what the server's answers cost so far. A panic costs this poll, and no other: the server has its
    /// next turn.
    pub(super) async fn take(self, answered: impl Fn() -> u64, poll: impl Future<Output = ()>) {
        let Self { pace, endpoint, queues } = self;
        let (began, before) = (Instant::now(), answered());
        if AssertUnwindSafe(poll).catch_unwind().await.is_err() {
            tracing::error!("a poll panicked; its Redis is asked again");
        }
        pace.end(&endpoint, began, queues, answered().saturating_sub(before));
    }
}

impl PollState {
    fn excess(&self) -> u64 {
        let (Self::Busy { excess } | Self::Waits { excess, .. }) = self;
        *excess
    }
}

/// From the beginning of a poll to that of the next, if `heavy` servers answer more than usual and share the time equally.
fn pause(excess: u64, heavy: usize) -> Duration {
    let share = PER_SECOND / u64::try_from(heavy).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(excess.saturating_mul(1000) / share.max(1)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::testing::spec;

    fn server(number: usize) -> EndpointKey {
        spec(&format!("redis://r{number}:6379/0")).endpoint
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_much_is_polled_less_often_the_more_there_are_and_others_are_not() {
        let pace = Pace::default();
        let poll = |number, cost| {
            assert!(pace.begin(&server(number)), "{number}");
            assert!(!pace.begin(&server(number)), "one poll at a time");
            pace.end(&server(number), Instant::now(), 1, cost);
        };
        // What one answers alone is no matter: a thousand workers, four times a second.
        poll(0, 1 << 20);
        tokio::time::advance(Duration::from_millis(250)).await;
        for number in 0..50 {
            poll(number, 5 << 20);
        }
        poll(50, USUAL);
        for _ in 0..4 {
            tokio::time::advance(Duration::from_millis(250)).await;
            assert!(!pace.begin(&server(49)), "it waits");
            poll(50, USUAL);
        }
        tokio::time::advance(LONGEST).await;
        poll(49, 5 << 20);
        // They are gone.
        pace.retain(&BTreeMap::from([(server(49), "its queues")]));
        tokio::time::advance(LONGEST).await;
        poll(49, 5 << 20);
        tokio::time::advance(Duration::from_millis(250)).await;
        poll(49, 5 << 20);
    }

    #[tokio::test]
    async fn a_panic_costs_the_poll_of_one_server() {
        let (pace, polled) = (Pace::default(), std::sync::atomic::AtomicUsize::new(0));
        for round in 1..=3 {
            let turns = [0, 1, 2].map(|number| {
                assert!(pace.begin(&server(number)), "{number} in round {round}");
                let turn = OneTurn { pace: pace.clone(), endpoint: server(number), queues: 1 };
                let polled = &polled;
                turn.take(|| 0, async move {
                    tokio::task::yield_now().await;
                    assert!(number != 1, "a panic on purpose");
                    polled.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                })
            });
            futures::future::join_all(turns).await;
            assert_eq!(polled.load(std::sync::atomic::Ordering::SeqCst), 2 * round, "the others go on");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_of_many_queues_may_answer_about_all_of_them() {
        let pace = Pace::default();
        assert!(pace.begin(&server(1)));
        pace.end(&server(1), Instant::now(), 10_000, 20 << 20);
        assert!(pace.begin(&server(1)));
    }
}
