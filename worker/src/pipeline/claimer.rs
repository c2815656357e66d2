//! Claiming: one slot at a time has the token, waits where there is nothing to claim, and leaves with jobs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jobqueue_queue::Claim;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::batch::{Claimed, SuspectPermit};
use super::quarantine::Quarantine;
use super::write_order::WriteOrder;
use crate::backoff::Backoff;
use crate::deps::Deps;
use crate::state::circuit_breaker::{Allowance, HALF_OPEN_JOBS};
use crate::state::fault::queue_fault;

/// The longest wait for work before the loop checks everything again.
const WAIT: Duration = Duration::from_secs(5);
/// How often a suspended worker asks whether it still is (as RQ's own).
const SUSPENDED: Duration = Duration::from_secs(1);
/// Waits after Redis failed.
const REDIS_AWAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Waits after a wake-up for nothing, so that a queue that others empty faster is no busy loop.
const WOKEN_FOR_NOTHING: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// How often a worker that has claimed all it may checks whether some of those jobs were released.
const ROOM_AGAIN: Duration = Duration::from_millis(20);
/// How many dropped jobs are named for each reason: ids may expire by the hundred thousand.
const NAMED: usize = 10;

/// The right to claim, which goes from slot to slot, and what the next claim has to know.
#[derive(Debug)]
pub(crate) struct ClaimToken {
    /// How many to claim while suspects are at the head of the queue; `None`: a full batch.
    pub(crate) careful: Option<usize>,
    redis: Backoff,
    for_nothing: Backoff,
    /// The order of the claims, for a worker that writes one batch at a time.
    pub(crate) write_order: WriteOrder,
    /// Since when nothing was claimed and nothing is in flight; `None` while the worker is busy.
    idle: Option<Instant>,
}

/// Takes jobs from the queue.
pub(crate) struct Claimer {
    deps: Arc<Deps>,
    quarantine: Arc<Quarantine>,
    token: Mutex<ClaimToken>,
}

/// How many jobs may be claimed of those that this worker does altogether.
enum Room {
    Jobs(usize),
    /// The jobs in flight may be all.
    Wait,
    End,
}

impl Claimer {
    pub(crate) fn new(deps: Arc<Deps>, quarantine: Arc<Quarantine>) -> Self {
        let token = ClaimToken {
            careful: None,
            write_order: WriteOrder::default(),
            redis: Backoff::new(REDIS_AWAY.0, REDIS_AWAY.1),
            for_nothing: Backoff::new(WOKEN_FOR_NOTHING.0, WOKEN_FOR_NOTHING.1),
            idle: None,
        };
        Self { deps, quarantine, token: Mutex::new(token) }
    }

    /// Waits for the right to claim; `None` once the worker drains.
    pub(crate) async fn token(&self) -> Option<MutexGuard<'_, ClaimToken>> {
        tokio::select! {
            biased;
            () = self.deps.shutdown().draining() => None,
            token = self.token.lock() => Some(token),
        }
    }

    /// Claims until there is at least one job; `None` once the worker drains.
    pub(crate) async fn claim(&self, token: &mut ClaimToken) -> Option<Claimed> {
        loop {
            let (allowance, permit) = tokio::select! {
                biased;
                () = self.deps.shutdown().draining() => return None,
                ready = self.ready(token) => ready,
            };
            let room = match self.room() {
                Room::Jobs(room) => room,
                Room::Wait => {
                    self.pause(ROOM_AGAIN).await;
                    continue;
                }
                Room::End => {
                    tracing::info!(jobs = self.deps.settings.max_jobs, "draining: so many jobs were asked for");
                    self.deps.shutdown().request_drain();
                    return None;
                }
            };
            let Some(claim) = self.ask_queue(token, self.size(token, allowance).min(room)).await else { continue };
            if claim.suspended {
                self.pause(SUSPENDED).await;
            } else if claim.deliveries.is_empty() {
                self.found_nothing(token, allowance).await?;
            } else {
                token.for_nothing.reset();
                token.idle = None;
                tracing::trace!(jobs = claim.deliveries.len(), "claimed");
                return Some(Claimed { deliveries: claim.deliveries, permit });
            }
        }
    }

    /// Waits until a claim makes sense. Where suspects are expected, that includes the right to work on them.
    async fn ready(&self, token: &ClaimToken) -> (Allowance, Option<SuspectPermit>) {
        let permit = self.quarantine.permit(token.careful.is_some()).await;
        (self.deps.circuit_breaker().claimable().await, permit)
    }

    /// How many jobs to ask for.
    fn size(&self, token: &ClaimToken, allowance: Allowance) -> usize {
        let full = self.deps.settings.batch_size.max(1);
        match allowance {
            Allowance::Full => token.careful.map_or(full, |careful| careful.min(full)),
            Allowance::HalfOpen => HALF_OPEN_JOBS.min(full),
        }
    }

    fn room(&self) -> Room {
        let Some(max) = self.deps.settings.max_jobs else { return Room::Jobs(usize::MAX) };
        // Read in this order: a job that ends in between counts twice, and the claim waits a little longer.
        let in_flight = self.deps.in_flight.len() as u64;
        let ended = self.deps.jobs_ended.load(Ordering::SeqCst);
        if ended >= max {
            return Room::End;
        }
        match max.saturating_sub(ended + in_flight) {
            0 => Room::Wait,
            room => Room::Jobs(usize::try_from(room).unwrap_or(usize::MAX)),
        }
    }

    /// One claim; `None` if Redis failed, after a wait. Never cancelled: a claim whose answer is dropped would come back
    /// only when its lease lapses.
    async fn ask_queue(&self, token: &mut ClaimToken, max: usize) -> Option<Claim> {
        let deps = &self.deps;
        let began = Instant::now();
        let answer = deps.backend.claim(max).await;
        deps.note_redis(answer.as_ref().err());
        deps.metrics().claim_seconds.observe(began.elapsed().as_secs_f64());
        deps.instruments.health.claimed(answer.as_ref().err().and_then(queue_fault));
        let Ok(claim) = answer else {
            self.pause(token.redis.next(rand::random())).await;
            return None;
        };
        token.redis.reset();
        deps.instruments.health.set_suspended(claim.suspended);
        deps.metrics().dropped(claim.dropped.len());
        log_dropped(&claim.dropped);
        Some(claim)
    }

    /// Waits until there may be work; `None` once the worker has been idle for as long as it may be.
    async fn found_nothing(&self, token: &mut ClaimToken, allowance: Allowance) -> Option<()> {
        token.careful = None;
        if allowance == Allowance::HalfOpen && self.deps.probe_database().await.is_ok() {
            // No job to try with: a write of our own tells as much, and an idle worker becomes ready again.
            self.deps.probe_succeeded();
        }
        if self.is_idle_for_long(token) {
            let seconds = self.deps.settings.max_idle.map(|idle| idle.as_secs());
            tracing::info!(seconds, "draining: idle for so long");
            self.deps.shutdown().request_drain();
            return None;
        }
        self.wait_for_work(token).await;
        Some(())
    }

    /// Notes that nothing was claimed. Returns true once that has been so for as long as a worker may be idle.
    fn is_idle_for_long(&self, token: &mut ClaimToken) -> bool {
        if !self.deps.in_flight.is_empty() {
            token.idle = None;
            return false;
        }
        let since = *token.idle.get_or_insert_with(Instant::now);
        self.deps.settings.max_idle.is_some_and(|longest| since.elapsed() >= longest)
    }

    async fn wait_for_work(&self, token: &mut ClaimToken) {
        let began = Instant::now();
        let longest = match (self.deps.settings.max_idle, token.idle) {
            (Some(idle), Some(since)) => WAIT.min(idle.saturating_sub(since.elapsed())).max(WOKEN_FOR_NOTHING.0),
            // Jobs are in flight; being idle begins when they end.
            (Some(idle), None) => WAIT.min(idle),
            (None, _) => WAIT,
        };
        let answer = tokio::select! {
            biased;
            () = self.deps.shutdown().draining() => return,
            answer = self.deps.backend.wait(longest) => answer,
        };
        self.deps.note_redis(answer.as_ref().err());
        if answer.is_err() {
            self.pause(token.redis.next(rand::random())).await;
        } else if began.elapsed() < WOKEN_FOR_NOTHING.0 {
            self.pause(token.for_nothing.next(rand::random())).await;
        }
    }

    async fn pause(&self, wait: Duration) {
        tokio::select! {
            () = self.deps.shutdown().draining() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn log_dropped(dropped: &[(String, String)]) {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (job, reason) in dropped {
        by_reason.entry(reason).or_default().push(job);
    }
    for (reason, jobs) in by_reason {
        let named = jobs[..jobs.len().min(NAMED)].join(", ");
        tracing::warn!(jobs = named, count = jobs.len(), reason, "taken off the queue without a run");
    }
}
