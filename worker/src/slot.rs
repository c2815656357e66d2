//! One slot: claim, extract, write, complete, again. While one slot writes, the others claim, extract and complete.

use std::collections::VecDeque;

use chrono::Utc;
use tokio::time::Instant;

use crate::deps::Deps;
use crate::pipeline::Pipeline;
use crate::pipeline::batch::Batch;
use crate::pipeline::quarantine::Admitted;
use crate::pipeline::write_order::WriteTicket;

/// Works until the worker drains.
pub(crate) async fn run(deps: &Deps, pipeline: &Pipeline) {
    while let Some((batches, mut ticket)) = next(deps, pipeline).await {
        let mut batches = VecDeque::from(batches);
        while let Some(batch) = batches.pop_front() {
            let is_last = batches.is_empty();
            let batch = write(deps, pipeline, batch, ticket.as_mut()).await;
            if is_last {
                ticket = None;
            }
            settle(deps, pipeline, batch).await;
        }
    }
}

/// The next batches, in the order in which they are to be worked on, and their ticket if they are to be written in that
/// order; `None` once the worker drains.
async fn next(deps: &Deps, pipeline: &Pipeline) -> Option<(Vec<Batch>, Option<WriteTicket>)> {
    let mut token = pipeline.claimer.token().await?;
    loop {
        let claimed = pipeline.claimer.claim(&mut token).await?;
        let Admitted { batches, released } = pipeline.quarantine.admit(claimed, &mut token.careful);
        if let Some(batch) = released {
            pipeline.completer.complete(batch).await;
        }
        if !batches.is_empty() {
            return Some((batches, (deps.settings.concurrency == 1).then(|| token.write_order.ticket())));
        }
    }
}

/// From claimed jobs to rows in the database.
async fn write(deps: &Deps, pipeline: &Pipeline, mut batch: Batch, ticket: Option<&mut WriteTicket>) -> Batch {
    let (metrics, jobs) = (deps.metrics(), batch.items.len());
    metrics.in_flight.inc_by(i64::try_from(jobs).unwrap_or(i64::MAX));
    batch.started_at = Utc::now();
    if let Some(traces) = &deps.instruments.traces {
        traces.begin(&mut batch);
    }
    for enqueued_at in batch.items.iter().filter_map(|item| item.delivery.enqueued_at) {
        metrics.queue_wait_seconds.observe((batch.started_at - enqueued_at).as_seconds_f64().max(0.0));
    }
    let began = Instant::now();
    pipeline.extraction.extract(&mut batch).await;
    metrics.extract_seconds.observe(began.elapsed().as_secs_f64());
    tracing::trace!(jobs, "extracted");
    if let Some(ticket) = ticket {
        ticket.admitted().await;
    }
    pipeline.writer.write(&mut batch).await;
    tracing::trace!(jobs, "written");
    batch
}

/// Records how the jobs of a batch ended.
async fn settle(deps: &Deps, pipeline: &Pipeline, batch: Batch) {
    let jobs = batch.items.len();
    pipeline.completer.complete(batch).await;
    deps.metrics().in_flight.dec_by(i64::try_from(jobs).unwrap_or(i64::MAX));
}
