//! Recording in the queue how jobs ended: after the commit, never before. While Redis is away this waits; the leases are kept
//! as long as heartbeats get through, and a job that went to another worker meanwhile finds its ledger entry.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_queue::{Completion, Outcome, QueueError, Settled};
use tokio::time::Instant;

use super::batch::{Batch, BatchItem};
use super::outcome::JobOutcome;
use crate::backoff::Backoff;
use crate::deps::{Deps, LAST_MESSAGES};
use crate::traces::{JobSpan, Stage, StageSpan};

/// Waits between attempts while Redis is away.
const REDIS_AWAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What a trace says of outcomes that Redis did not take.
const NOT_RECORDED: &str = "Redis did not take every outcome; the log of the worker has the cause";

/// Settles jobs.
pub(crate) struct Completer {
    deps: Arc<Deps>,
}

impl Completer {
    pub(crate) const fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }

    /// Settles a batch, with the outcomes that its jobs have now; then its leases end.
    pub(crate) async fn complete(&self, batch: Batch) {
        let Batch { items, started_at, leases, permit } = batch;
        let ended_at = Utc::now();
        self.count(&items);
        let traced = traced(&items);
        let stage = StageSpan::begin(Stage::Complete, &items);
        let completions = completions(items, started_at, ended_at);
        if !completions.is_empty() {
            let began = Instant::now();
            let recorded = self.settle(&completions).await;
            self.deps.metrics().settle_seconds.observe(began.elapsed().as_secs_f64());
            if let Some(stage) = stage {
                stage.end(recorded.is_break().then(|| ("not_recorded", NOT_RECORDED.to_owned())));
            }
        }
        drop((leases, permit));
        for span in traced {
            span.end();
        }
    }

    fn count(&self, items: &[BatchItem]) {
        let metrics = self.deps.metrics();
        let (mut ended, mut lost) = (0, 0);
        for item in items {
            match &item.outcome {
                JobOutcome::Applied { rows } => metrics.applied(*rows),
                JobOutcome::AlreadyApplied => metrics.already_applied(),
                JobOutcome::Failed(failure) => metrics.failed(failure.kind.into()),
                JobOutcome::Stopped => {}
                JobOutcome::Released => continue,
                JobOutcome::LeaseLost => {
                    lost += 1;
                    continue;
                }
                JobOutcome::LeftToLapse => {
                    let (job, queue) = (&item.delivery.id, &item.delivery.queue);
                    tracing::warn!(job, queue, "its extraction did not end in time for the stop: its lease will lapse");
                    continue;
                }
            }
            ended += 1;
        }
        self.deps.jobs_ended.fetch_add(ended, Ordering::SeqCst);
        if lost > 0 {
            metrics.lost(lost);
            tracing::warn!(jobs = lost, "leases lapsed before the write: these jobs run elsewhere");
        }
    }

    /// Repeats until Redis took it, or until the drain is over. `Break` if an outcome is not recorded.
    async fn settle(&self, completions: &[Completion]) -> ControlFlow<()> {
        let mut backoff = Backoff::new(REDIS_AWAY.0, REDIS_AWAY.1);
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.deps.backend.settle(completions) => answer,
                () = self.out_of_time() => return log_given_up(completions.len()),
            };
            self.deps.note_redis(answer.as_ref().err());
            match answer {
                Ok(settled) => {
                    self.report(completions, &settled);
                    return ControlFlow::Continue(());
                }
                Err(error @ (QueueError::Data(_) | QueueError::Config(_))) => {
                    return self.settle_one_by_one(completions, &error).await;
                }
                Err(QueueError::Unavailable { .. } | QueueError::Denied { .. }) => {
                    tokio::select! {
                        () = tokio::time::sleep(backoff.next(rand::random())) => {}
                        () = self.out_of_time() => return log_given_up(completions.len()),
                    }
                }
            }
        }
    }

    async fn out_of_time(&self) {
        self.deps.shutdown().overdue().await;
        tokio::time::sleep(LAST_MESSAGES / 2).await;
    }

    /// Something in Redis is not as expected: finds the job it concerns, and lets its lease lapse.
    async fn settle_one_by_one(&self, completions: &[Completion], error: &QueueError) -> ControlFlow<()> {
        if let [alone] = completions {
            let (job, queue) = (&alone.delivery.id, &alone.delivery.queue);
            tracing::error!(job, queue, %error, "the outcome cannot be recorded");
            return ControlFlow::Break(());
        }
        let mut recorded = ControlFlow::Continue(());
        for completion in completions {
            if Box::pin(self.settle(std::slice::from_ref(completion))).await.is_break() {
                recorded = ControlFlow::Break(());
            }
        }
        recorded
    }

    /// Counts and logs what the queue recorded.
    fn report(&self, completions: &[Completion], settled: &[Settled]) {
        let metrics = self.deps.metrics();
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
}

fn log_given_up(jobs: usize) -> ControlFlow<()> {
    tracing::warn!(jobs, "Redis did not take the outcomes before the end; their leases lapse and the ledger is found");
    ControlFlow::Break(())
}

/// The spans of jobs that are traced, which now know how their jobs ended.
fn traced(items: &[BatchItem]) -> Vec<Arc<JobSpan>> {
    let noted = |item: &BatchItem| {
        let span = item.span.clone()?;
        span.note(&item.outcome);
        Some(span)
    };
    items.iter().filter_map(noted).collect()
}

/// What to record for a batch that ran from `started_at` to `ended_at`. Each job gets its share of that time, one after the
/// other, so that the working times in the queue add up to the time that was worked, however large the batches are.
fn completions(items: Vec<BatchItem>, started_at: DateTime<Utc>, ended_at: DateTime<Utc>) -> Vec<Completion> {
    let jobs = i32::try_from(items.len()).unwrap_or(i32::MAX).max(1);
    let share = (ended_at - started_at).max(chrono::Duration::zero()) / jobs;
    let mut started_at = started_at;
    let mut completions = Vec::with_capacity(items.len());
    for BatchItem { delivery, outcome, .. } in items {
        if let Some(outcome) = outcome.for_queue(&delivery) {
            let ended_at = started_at + share;
            completions.push(Completion { delivery, outcome, started_at, ended_at });
            started_at = ended_at;
        }
    }
    completions
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::delivery;
    use super::*;

    fn items(size: usize, outcome: &JobOutcome) -> Vec<BatchItem> {
        (0..size)
            .map(|_| BatchItem { delivery: delivery(), unit: None, outcome: outcome.clone(), span: None })
            .collect()
    }

    #[test]
    fn the_time_of_a_batch_is_shared_among_its_jobs() {
        let began = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let batch = |size: usize| items(size, &JobOutcome::Applied { rows: 1 });
        let ended = began + chrono::Duration::milliseconds(100);
        let booked = completions(batch(4), began, ended);
        assert_eq!(booked[0].started_at, began);
        assert_eq!(booked[3].ended_at, ended);
        assert_eq!(booked[1].started_at, booked[0].ended_at);
        assert_eq!(completions(batch(2), ended, began)[1].ended_at, ended, "a clock set back gives no negative time");
    }

    #[test]
    fn a_lost_lease_is_not_settled() {
        let now = Utc::now();
        assert!(completions(items(1, &JobOutcome::LeaseLost), now, now).is_empty());
    }
}
