//! Telling the queue how jobs ended: after the commit, never before. Redis being away is waited for; the claims stay
//! ours as long as heartbeats get through, and a claim that went elsewhere meanwhile finds the ledger.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_queue::{Completion, Outcome, QueueError, Settled};
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::hand::Grip;
use crate::verdict::{Done, Verdict, book};
use crate::worker::{LAST_WORDS, Worker};

/// Waits between attempts while Redis is away.
const REDIS_AWAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Settles a batch that was worked on from `began` to `ended`; the grip is let go at the end.
pub(crate) async fn settle(worker: &Worker, done: Vec<Done>, began: DateTime<Utc>, ended: DateTime<Utc>, grip: Grip) {
    count(worker, &done);
    let completions = book(done, began, ended);
    if !completions.is_empty() {
        let clock = Instant::now();
        tell(worker, &completions).await;
        worker.metrics().settle_seconds.observe(clock.elapsed().as_secs_f64());
    }
    drop(grip);
}

fn count(worker: &Worker, done: &[Done]) {
    let metrics = worker.metrics();
    let ended = |done: &&Done| !matches!(done.verdict, Verdict::Lost | Verdict::LeftToLapse | Verdict::Released);
    worker.ended.fetch_add(done.iter().filter(ended).count() as u64, Ordering::SeqCst);
    let mut lost = 0;
    for done in done {
        match &done.verdict {
            Verdict::Applied { rows } => metrics.applied(*rows),
            Verdict::AlreadyApplied => metrics.already_applied(),
            Verdict::Failed(failure) => metrics.failed(failure.kind),
            Verdict::Lost => lost += 1,
            Verdict::LeftToLapse => {
                let (job, queue) = (&done.delivery.id, &done.delivery.queue);
                tracing::warn!(job, queue, "its extraction did not end in time for the stop: its lease will lapse");
            }
            Verdict::Released | Verdict::Stopped => {}
        }
    }
    if lost > 0 {
        metrics.lost(lost);
        tracing::warn!(jobs = lost, "leases lapsed before the write: these jobs run elsewhere");
    }
}

/// Repeats until Redis took it, or until the drain is over.
async fn tell(worker: &Worker, completions: &[Completion]) {
    let mut backoff = Backoff::new(REDIS_AWAY.0, REDIS_AWAY.1);
    loop {
        let answer = tokio::select! {
            biased;
            answer = worker.backend.settle(completions) => worker.heard(answer),
            () = out_of_time(worker) => return gave_up(completions.len()),
        };
        match answer {
            Ok(settled) => return report(worker, completions, &settled),
            Err(error @ (QueueError::Data(_) | QueueError::Config(_))) => {
                return one_by_one(worker, completions, &error).await;
            }
            Err(QueueError::Unavailable { .. } | QueueError::Denied { .. }) => {
                tokio::select! {
                    () = tokio::time::sleep(backoff.next(rand::random())) => {}
                    () = out_of_time(worker) => return gave_up(completions.len()),
                }
            }
        }
    }
}

async fn out_of_time(worker: &Worker) {
    worker.stop.overdue().await;
    tokio::time::sleep(LAST_WORDS / 2).await;
}

fn gave_up(jobs: usize) {
    tracing::warn!(jobs, "Redis did not take the outcomes before the end; their leases lapse and the ledger is found");
}

/// Something in Redis is not as expected: find the job it concerns, and let its lease lapse.
async fn one_by_one(worker: &Worker, completions: &[Completion], error: &QueueError) {
    if let [alone] = completions {
        tracing::error!(job = alone.delivery.id, queue = alone.delivery.queue, %error, "the outcome cannot be recorded");
        return;
    }
    for completion in completions {
        Box::pin(tell(worker, std::slice::from_ref(completion))).await;
    }
}

fn report(worker: &Worker, completions: &[Completion], settled: &[Settled]) {
    let metrics = worker.metrics();
    for (completion, settled) in completions.iter().zip(settled) {
        metrics.settled(*settled);
        metrics.job_seconds.observe((completion.ended_at - completion.started_at).as_seconds_f64());
        let (job, queue) = (&completion.delivery.id, &completion.delivery.queue);
        match (&completion.outcome, settled) {
            (Outcome::Failed { error, .. }, settled) => {
                let error = error.lines().next().unwrap_or_default();
                let (attempt, outcome) = (completion.delivery.attempt, settled);
                tracing::warn!(job, queue, attempt, ?outcome, error, "job failed");
            }
            (_, Settled::NotOwned) => tracing::debug!(job, queue, "the claim was no longer ours"),
            _ => {}
        }
    }
    let first = completions.first().map(|completion| completion.delivery.id.as_str());
    tracing::debug!(jobs = completions.len(), first, "batch settled");
}
