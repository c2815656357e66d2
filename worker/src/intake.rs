//! Claiming: one slot at a time has the turn, waits where there is nothing, and leaves with a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use jobqueue_queue::Delivery;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::gate::{Allowance, TRIAL};
use crate::hand::Grip;
use crate::triage::{self, Sorted};
use crate::trouble::refusal_of;
use crate::verdict::{Done, Verdict};
use crate::worker::Worker;

/// The longest wait for work before the loop looks around again.
const WAIT: Duration = Duration::from_secs(5);
/// How often a suspended worker asks whether it still is (as RQ's own).
const SUSPENDED: Duration = Duration::from_secs(1);
/// Waits after Redis failed.
const REDIS_AWAY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Waits after a wake-up for nothing, so that a queue that others empty faster is no busy loop.
const WOKEN_FOR_NOTHING: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));

/// What passes from slot to slot with the turn to claim.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How many to claim while suspects stand at the head of the queue; none: a full batch.
    careful: Option<usize>,
    redis: Backoff,
    for_nothing: Backoff,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            careful: None,
            redis: Backoff::new(REDIS_AWAY.0, REDIS_AWAY.1),
            for_nothing: Backoff::new(WOKEN_FOR_NOTHING.0, WOKEN_FOR_NOTHING.1),
        }
    }
}

/// Jobs of one claim that are written together.
#[derive(Debug)]
pub(crate) struct Share {
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) grip: Grip,
    /// Held while suspects are in hand.
    _suspects: Option<OwnedSemaphorePermit>,
}

/// The next jobs to work on, in the order of working; none once the worker drains.
pub(crate) async fn next(worker: &Worker) -> Option<Vec<Share>> {
    let mut turn = tokio::select! {
        biased;
        () = worker.stop.draining() => return None,
        turn = worker.turn.lock() => turn,
    };
    loop {
        let (allowance, suspects) = tokio::select! {
            biased;
            () = worker.stop.draining() => return None,
            ready = ready(worker, &turn) => ready,
        };
        let usual = worker.settings.batch_size.max(1);
        let max = match allowance {
            Allowance::Full => turn.careful.map_or(usual, |careful| careful.min(usual)),
            Allowance::Trial => TRIAL.min(usual),
        };
        // Never cancelled: a claim whose answer is dropped would come back only when its lease lapses.
        let began = Instant::now();
        let answer = worker.heard(worker.backend.claim(max).await);
        worker.metrics().claim_seconds.observe(began.elapsed().as_secs_f64());
        worker.health().claimed(answer.as_ref().err().and_then(refusal_of));
        let Ok(claim) = answer else {
            let wait = turn.redis.next(rand::random());
            pause(worker, wait).await;
            continue;
        };
        turn.redis.reset();
        worker.health().set_suspended(claim.suspended);
        report_dropped(worker, &claim.dropped);
        if claim.suspended {
            pause(worker, SUSPENDED).await;
        } else if claim.deliveries.is_empty() {
            turn.careful = None;
            if allowance == Allowance::Trial && worker.probe().await.is_ok() {
                // No job to try with: a write of our own tells as much, and an idle worker becomes ready again.
                worker.gate.probe_succeeded();
                worker.metrics().database_up.set(1);
            }
            wait_for_work(worker, &mut turn).await;
        } else {
            turn.for_nothing.reset();
            tracing::trace!(jobs = claim.deliveries.len(), "claimed");
            if let Some(shares) = share_out(worker, &mut turn, claim.deliveries, suspects).await {
                return Some(shares);
            }
        }
    }
}

/// Waits until a claim makes sense; takes the right to have suspects in hand, which a careful claim needs.
async fn ready(worker: &Worker, turn: &Turn) -> (Allowance, Option<OwnedSemaphorePermit>) {
    let semaphore = std::sync::Arc::clone(&worker.suspects);
    let suspects = if turn.careful.is_some() {
        Some(semaphore.acquire_owned().await.expect("the semaphore is never closed"))
    } else {
        semaphore.try_acquire_owned().ok()
    };
    (worker.gate.claimable().await, suspects)
}

async fn pause(worker: &Worker, wait: Duration) {
    tokio::select! {
        () = worker.stop.draining() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

async fn wait_for_work(worker: &Worker, turn: &mut Turn) {
    let began = Instant::now();
    let answer = tokio::select! {
        biased;
        () = worker.stop.draining() => return,
        answer = worker.backend.wait(WAIT) => worker.heard(answer),
    };
    if answer.is_err() {
        let wait = turn.redis.next(rand::random());
        pause(worker, wait).await;
    } else if began.elapsed() < WOKEN_FOR_NOTHING.0 {
        let wait = turn.for_nothing.next(rand::random());
        pause(worker, wait).await;
    }
}

/// Of each reason so many jobs are named: ids may expire by the hundred thousand.
const NAMED: usize = 10;

fn report_dropped(worker: &Worker, dropped: &[(String, String)]) {
    worker.metrics().dropped(dropped.len());
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (job, reason) in dropped {
        by_reason.entry(reason).or_default().push(job);
    }
    for (reason, jobs) in by_reason {
        let named = jobs[..jobs.len().min(NAMED)].join(", ");
        tracing::warn!(jobs = named, count = jobs.len(), reason, "taken off the queue without a run");
    }
}

/// Sorts a claim into shares and gives back what must not be in hand now. None if nothing is left.
async fn share_out(
    worker: &Worker,
    turn: &mut Turn,
    deliveries: Vec<Delivery>,
    permit: Option<OwnedSemaphorePermit>,
) -> Option<Vec<Share>> {
    let max_attempts = worker.settings.max_attempts;
    let sorted = triage::sort(deliveries, max_attempts, permit.is_some());
    turn.careful = sorted.next_claim(max_attempts);
    let Sorted { fresh, suspects, give_back } = sorted;
    let take = |deliveries: Vec<Delivery>, permit| {
        let grip = worker.hand.hold(deliveries.iter().map(|delivery| delivery.lease.clone()).collect());
        Share { deliveries, grip, _suspects: permit }
    };
    let mut shares = Vec::new();
    if !fresh.is_empty() {
        shares.push(take(fresh, None));
    }
    if !suspects.is_empty() {
        shares.push(take(suspects, permit));
    }
    if !give_back.is_empty() {
        let grip = worker.hand.hold(give_back.iter().map(|delivery| delivery.lease.clone()).collect());
        let released = give_back.into_iter().map(|delivery| Done { delivery, verdict: Verdict::Released });
        let now = chrono::Utc::now();
        crate::settle::settle(worker, released.collect(), now, now, grip).await;
    }
    if shares.is_empty() { None } else { Some(shares) }
}
