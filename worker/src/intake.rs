//! Claiming: one slot at a time has the turn, waits where there is nothing, and leaves with a batch.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
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

/// How often a worker that has claimed all it may looks whether some of it came to nothing.
const ROOM_AGAIN: Duration = Duration::from_millis(20);

/// What passes from slot to slot with the turn to claim.
#[derive(Debug)]
pub(crate) struct Turn {
    /// How many to claim while suspects stand at the head of the queue; none: a full batch.
    careful: Option<usize>,
    redis: Backoff,
    for_nothing: Backoff,
    /// Since when nothing was claimed and nothing is in hand.
    idle: Option<Instant>,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            careful: None,
            redis: Backoff::new(REDIS_AWAY.0, REDIS_AWAY.1),
            for_nothing: Backoff::new(WOKEN_FOR_NOTHING.0, WOKEN_FOR_NOTHING.1),
            idle: None,
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
        let room = match room(worker) {
            Room::Jobs(room) => room,
            Room::Wait => {
                pause(worker, ROOM_AGAIN).await;
                continue;
            }
            Room::End => {
                tracing::info!(jobs = worker.settings.max_jobs, "draining: so many jobs were asked for");
                worker.stop.request_drain();
                return None;
            }
        };
        let usual = worker.settings.batch_size.max(1).min(room);
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
            if idle_for_long(worker, &mut turn) {
                tracing::info!(
                    seconds = worker.settings.max_idle.map(|idle| idle.as_secs()),
                    "draining: idle for so long"
                );
                worker.stop.request_drain();
                return None;
            }
            wait_for_work(worker, &mut turn).await;
        } else {
            turn.for_nothing.reset();
            turn.idle = None;
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

/// How many jobs may be claimed of those that this worker does altogether.
enum Room {
    Jobs(usize),
    /// What is in hand may be all.
    Wait,
    End,
}

fn room(worker: &Worker) -> Room {
    let Some(max) = worker.settings.max_jobs else { return Room::Jobs(usize::MAX) };
    // Looked at in this order: a job that ends in between counts twice, and waits for the next look.
    let in_hand = worker.hand.len() as u64;
    let ended = worker.ended.load(Ordering::SeqCst);
    if ended >= max {
        return Room::End;
    }
    match max.saturating_sub(ended + in_hand) {
        0 => Room::Wait,
        room => Room::Jobs(usize::try_from(room).unwrap_or(usize::MAX)),
    }
}

/// Notes that nothing was claimed; true once that has been so for as long as an idle worker is to live.
fn idle_for_long(worker: &Worker, turn: &mut Turn) -> bool {
    if !worker.hand.is_empty() {
        turn.idle = None;
        return false;
    }
    let since = *turn.idle.get_or_insert_with(Instant::now);
    worker.settings.max_idle.is_some_and(|longest| since.elapsed() >= longest)
}

async fn wait_for_work(worker: &Worker, turn: &mut Turn) {
    let began = Instant::now();
    let longest = match (worker.settings.max_idle, turn.idle) {
        (Some(idle), Some(since)) => WAIT.min(idle.saturating_sub(since.elapsed())).max(WOKEN_FOR_NOTHING.0),
        // Something is in hand, and being idle begins when it ends.
        (Some(idle), None) => WAIT.min(idle),
        (None, _) => WAIT,
    };
    let answer = tokio::select! {
        biased;
        () = worker.stop.draining() => return,
        answer = worker.backend.wait(longest) => worker.heard(answer),
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
