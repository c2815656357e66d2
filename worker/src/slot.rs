//! One slot: claim, extract, write, settle, again. While one slot writes, the others claim, extract and settle.

use chrono::Utc;
use tokio::time::Instant;

use crate::extract::{self, Extracted};
use crate::intake::{self, Share};
use crate::settle;
use crate::worker::Worker;
use crate::writing::{Part, write};

/// Works until the worker drains.
pub(crate) async fn run(worker: &Worker) {
    while let Some(shares) = intake::next(worker).await {
        for share in shares {
            work(worker, share).await;
        }
    }
}

async fn work(worker: &Worker, share: Share) {
    let began = Utc::now();
    let Share { deliveries, grip, .. } = share;
    let metrics = worker.metrics();
    metrics.in_flight.inc_by(i64::try_from(deliveries.len()).unwrap_or(i64::MAX));
    let in_flight = deliveries.len();
    for delivery in &deliveries {
        if let Some(enqueued) = delivery.enqueued_at {
            metrics.queue_wait_seconds.observe((began - enqueued).as_seconds_f64().max(0.0));
        }
    }
    let clock = Instant::now();
    let extracted = extract::extract(worker, deliveries, began).await;
    metrics.extract_seconds.observe(clock.elapsed().as_secs_f64());
    tracing::trace!(jobs = in_flight, "extracted");
    let Extracted { deliveries, units, failed } = extracted;
    let mut done = write(worker, Part::new(deliveries, units)).await;
    done.extend(failed);
    tracing::trace!(jobs = in_flight, "written");
    settle::settle(worker, done, began, Utc::now(), grip).await;
    metrics.in_flight.dec_by(i64::try_from(in_flight).unwrap_or(i64::MAX));
}
