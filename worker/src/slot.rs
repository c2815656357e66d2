//! One slot: claim, extract, write, settle, again. While one slot writes, the others claim, extract and settle.

use std::time::Duration;

use chrono::Utc;
use jobqueue_ingest::{SinkError, Unit, UnitOutcome};
use jobqueue_queue::Delivery;
use tokio::time::Instant;

use crate::extract::{self, Extracted};
use crate::gate::Nudge;
use crate::hand::Fate;
use crate::intake::{self, Share};
use crate::settle;
use crate::verdict::{Done, Failure, Verdict};
use crate::worker::Worker;

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
    let extracted = extract::extract(&worker.extractor, deliveries, began, worker.settings.threads).await;
    metrics.extract_seconds.observe(clock.elapsed().as_secs_f64());
    tracing::trace!(jobs = in_flight, "extracted");
    let Extracted { deliveries, units, failed } = extracted;
    let mut done = write(worker, Part { deliveries, units }).await;
    done.extend(failed);
    tracing::trace!(jobs = in_flight, "written");
    settle::settle(worker, done, began, Utc::now(), grip).await;
    metrics.in_flight.dec_by(i64::try_from(in_flight).unwrap_or(i64::MAX));
}

/// Jobs that are written together.
struct Part {
    deliveries: Vec<Delivery>,
    units: Vec<Unit>,
}

/// How one attempt to write ended.
enum Attempt {
    Written(Vec<UnitOutcome>),
    /// The smallest time limit among the jobs passed, and the database is alive.
    TimedOut(Duration),
    Away(SinkError),
    /// The drain is overdue.
    Overdue,
    /// A person stopped one of the jobs; the others are to be written without it.
    Interrupted,
}

/// Writes a batch, whatever it takes: a database that is away is waited for, within bounds.
async fn write(worker: &Worker, batch: Part) -> Vec<Done> {
    let mut done = Vec::with_capacity(batch.units.len());
    let mut parts = vec![batch];
    let mut holding: Option<(Instant, Nudge)> = None;
    while let Some(part) = parts.pop() {
        let part = drop_unwanted(worker, part, &mut done);
        if part.units.is_empty() {
            continue;
        }
        match attempt(worker, &part).await {
            Attempt::Written(outcomes) => {
                worker.gate.write_succeeded();
                worker.metrics().database_up.set(1);
                let pairs = part.deliveries.into_iter().zip(outcomes);
                done.extend(pairs.map(|(delivery, outcome)| Done { delivery, verdict: outcome.into() }));
            }
            Attempt::TimedOut(limit) => match halves(part) {
                Ok((first, second)) => parts.extend([second, first]),
                Err(alone) => done.extend(judged(alone, |_| Verdict::Failed(Failure::timed_out(limit)))),
            },
            Attempt::Away(error) => {
                parts.push(part);
                if !keep(worker, &error, &mut holding).await {
                    break;
                }
            }
            Attempt::Interrupted => parts.push(part),
            Attempt::Overdue => {
                parts.push(part);
                break;
            }
        }
    }
    for part in parts {
        done.extend(judged(part, |_| Verdict::Released));
    }
    done
}

async fn attempt(worker: &Worker, part: &Part) -> Attempt {
    let permit = tokio::select! {
        biased;
        () = worker.stop.overdue() => return Attempt::Overdue,
        permit = worker.writes.acquire() => permit.expect("the semaphore is never closed"),
    };
    let metrics = worker.metrics();
    metrics.batch_jobs.observe(part.units.len() as f64);
    let limit = part.deliveries.iter().filter_map(|delivery| delivery.timeout).min();
    let began = Instant::now();
    let writing = worker.sink.write(&worker.recipe, &part.units);
    let answer = tokio::select! {
        biased;
        () = worker.stop.overdue() => return Attempt::Overdue,
        // What was committed in this very moment stays, and the ledger knows it: the others are not written twice.
        () = worker.hand.any_stopped(part.deliveries.iter().map(|delivery| &delivery.lease)) => return Attempt::Interrupted,
        answer = within(limit, writing) => answer,
    };
    drop(permit);
    metrics.write_seconds.observe(began.elapsed().as_secs_f64());
    match answer {
        Ok(Ok(outcomes)) => Attempt::Written(outcomes),
        Ok(Err(error)) => Attempt::Away(error),
        // A database that is silent altogether is away; then the limit says nothing about the job.
        Err(limit) => worker.ping().await.map_or_else(Attempt::Away, |()| Attempt::TimedOut(limit)),
    }
}

async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        None => Ok(future.await),
        Some(limit) => tokio::time::timeout(limit, future).await.map_err(|_| limit),
    }
}

/// Reports that the database is away and waits for the time to try again; false when the claims must be given back.
async fn keep(worker: &Worker, error: &SinkError, holding: &mut Option<(Instant, Nudge)>) -> bool {
    worker.metrics().database_failed(error);
    worker.metrics().database_up.set(0);
    let (since, nudge) = holding.get_or_insert_with(|| (Instant::now(), worker.gate.nudge()));
    nudge.forget();
    worker.gate.failed(error);
    tokio::select! {
        biased;
        () = worker.stop.draining() => false,
        () = tokio::time::sleep_until(*since + worker.settings.hold) => false,
        () = nudge.received() => true,
    }
}

/// Takes out what went to another worker or is to be stopped since it was claimed.
fn drop_unwanted(worker: &Worker, part: Part, done: &mut Vec<Done>) -> Part {
    let mut kept =
        Part { deliveries: Vec::with_capacity(part.units.len()), units: Vec::with_capacity(part.units.len()) };
    for (delivery, unit) in part.deliveries.into_iter().zip(part.units) {
        match worker.hand.fate(&delivery.lease) {
            Fate::Ours => {
                kept.deliveries.push(delivery);
                kept.units.push(unit);
            }
            Fate::Lost => done.push(Done { delivery, verdict: Verdict::Lost }),
            Fate::Stopped => done.push(Done { delivery, verdict: Verdict::Stopped }),
        }
    }
    kept
}

fn halves(mut part: Part) -> Result<(Part, Part), Part> {
    if part.units.len() < 2 {
        return Err(part);
    }
    let middle = part.units.len() / 2;
    let second = Part { deliveries: part.deliveries.split_off(middle), units: part.units.split_off(middle) };
    Ok((part, second))
}

fn judged(part: Part, verdict: impl Fn(&Delivery) -> Verdict) -> impl Iterator<Item = Done> {
    part.deliveries.into_iter().map(move |delivery| Done { verdict: verdict(&delivery), delivery })
}
