//! One slot: claim, extract, write, complete, again. While one slot writes, the others claim, extract and complete.

use chrono::Utc;
use tokio::time::Instant;

use crate::deps::Deps;
use crate::pipeline::Pipeline;
use crate::pipeline::batch::Batch;
use crate::pipeline::quarantine::Admitted;

/// Works until the worker drains.
pub(crate) async fn run(deps: &Deps, pipeline: &Pipeline) {
    while let Some(batches) = next(pipeline).await {
        for batch in batches {
            work(deps, pipeline, batch).await;
        }
    }
}

/// The next batches, in the order in which they are to be worked on; `None` once the worker drains.
async fn next(pipeline: &Pipeline) -> Option<Vec<Batch>> {
    let mut token = pipeline.claimer.token().await?;
    loop {
        let claimed = pipeline.claimer.claim(&mut token).await?;
        let Admitted { batches, released } = pipeline.quarantine.admit(claimed, &mut token.careful);
        if let Some(batch) = released {
            pipeline.completer.complete(batch).await;
        }
        if !batches.is_empty() {
            return Some(batches);
        }
    }
}

/// From claimed jobs to settled ones.
async fn work(deps: &Deps, pipeline: &Pipeline, mut batch: Batch) {
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
    pipeline.writer.write(&mut batch).await;
    tracing::trace!(jobs, "written");
    pipeline.completer.complete(batch).await;
    metrics.in_flight.dec_by(i64::try_from(jobs).unwrap_or(i64::MAX));
}
