//! Writing a batch, whatever it takes: a database that is away is waited for within bounds, a job whose time limit
//! passes or that breaks every connection is isolated by halving, and only it fails.

use std::collections::VecDeque;
use std::time::Duration;

use jobqueue_ingest::{SinkError, Unit, UnitOutcome};
use jobqueue_queue::Delivery;
use tokio::time::Instant;

use crate::gate::Nudge;
use crate::hand::Fate;
use crate::verdict::{Done, Failure, Verdict};
use crate::worker::Worker;

/// How often a lone job may break the connection before it is held responsible, if each time others went through, or the
/// database took a trial write right after it.
const BLAME: u32 = 5;

/// The wait of such a job before its next attempt, which doubles.
const BLAMED_AGAIN: Duration = Duration::from_millis(125);

/// Jobs that are written together.
#[derive(Default)]
pub(crate) struct Part {
    deliveries: Vec<Delivery>,
    units: Vec<Unit>,
    /// How often the database went away when this was written.
    setbacks: u32,
    /// How often the database was seen to take writes between two of those: it is this part then, not the database.
    blame: u32,
    /// [`crate::gate::Gate::successes`] at the last setback.
    successes: u64,
}

/// What to do with a part after a setback.
enum AfterSetback {
    /// Try it again when the database is back.
    Again(Part),
    /// Try its halves: whatever breaks the connection ends up alone.
    Halves(Part, Part),
    /// Fail the one job that breaks the connection.
    Fail(Part),
}

impl Part {
    /// Jobs and their rows, in the same order.
    pub(crate) fn new(deliveries: Vec<Delivery>, units: Vec<Unit>) -> Self {
        Self { deliveries, units, ..Self::default() }
    }

    /// Judges a setback by what was written in between, and by whether it was this part that `broke` the connection.
    ///
    /// A database that is `unwritable` says so itself. If others still go through, on a disk that has room for small
    /// jobs only say, they are not kept waiting by this part; but no job fails for it.
    fn set_back(mut self, successes: u64, broke: bool, unwritable: bool) -> AfterSetback {
        let others_went_through = self.setbacks > 0 && successes > self.successes;
        if broke || others_went_through {
            self.blame += 1;
        } else if unwritable {
            self.blame = 0;
        }
        self.setbacks += 1;
        self.successes = successes;
        if self.units.len() == 1 && self.blame >= BLAME && !unwritable {
            return AfterSetback::Fail(self);
        }
        if self.setbacks < 2 {
            return AfterSetback::Again(self);
        }
        match halves(self) {
            Ok((first, second)) => AfterSetback::Halves(first, second),
            Err(alone) => AfterSetback::Again(alone),
        }
    }
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
pub(crate) async fn write(worker: &Worker, batch: Part) -> Vec<Done> {
    let mut done = Vec::with_capacity(batch.units.len());
    let mut parts = VecDeque::from([batch]);
    let mut holding: Option<(Instant, Nudge)> = None;
    while let Some(part) = parts.pop_front() {
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
                Ok((first, second)) => parts.extend([first, second]),
                Err(alone) => done.extend(judged(alone, |_| Verdict::Failed(Failure::timed_out(limit)))),
            },
            Attempt::Away(error) => {
                let alone = part.units.len() == 1 && matches!(error, SinkError::Disconnected { .. });
                if alone && !prove(worker, &mut holding).await {
                    parts.push_back(part);
                    break;
                }
                let mut blame = 0;
                let unwritable = matches!(error, SinkError::Unwritable { .. });
                match part.set_back(worker.gate.successes(), alone, unwritable) {
                    AfterSetback::Again(part) => {
                        blame = part.blame;
                        parts.push_back(part);
                    }
                    AfterSetback::Halves(first, second) => parts.extend([first, second]),
                    AfterSetback::Fail(alone) => {
                        done.extend(judged(alone, |_| Verdict::Failed(Failure::breaker(&error))));
                        continue;
                    }
                }
                if !keep(worker, &error, blame, &mut holding).await {
                    break;
                }
            }
            Attempt::Interrupted => parts.push_back(part),
            Attempt::Overdue => {
                parts.push_back(part);
                break;
            }
        }
    }
    for part in parts {
        done.extend(judged(part, |_| Verdict::Released));
    }
    done
}

/// Waits until the database takes a write without the job that was on the connection when that ended: the job broke it,
/// or an outage is over, which [`BLAME`] tells apart. False when the claims must be given back.
async fn prove(worker: &Worker, holding: &mut Option<(Instant, Nudge)>) -> bool {
    while let Err(error) = worker.probe().await {
        if !keep(worker, &error, 0, holding).await {
            return false;
        }
    }
    *holding = None;
    worker.gate.probe_succeeded();
    worker.metrics().database_up.set(1);
    true
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

/// Reports that the database is away and waits for the time to try again; false when the claims must be given back. A
/// part that is to blame itself does not keep the others from being claimed and written.
async fn keep(worker: &Worker, error: &SinkError, blame: u32, holding: &mut Option<(Instant, Nudge)>) -> bool {
    worker.metrics().database_failed(error);
    if blame > 0 {
        let given_back = async {
            match holding {
                Some((since, _)) => tokio::time::sleep_until(*since + worker.settings.hold).await,
                // The database is not away.
                None => std::future::pending().await,
            }
        };
        return tokio::select! {
            biased;
            () = worker.stop.draining() => false,
            () = given_back => false,
            () = tokio::time::sleep(BLAMED_AGAIN * (1 << blame.min(BLAME))) => true,
        };
    }
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
fn drop_unwanted(worker: &Worker, mut part: Part, done: &mut Vec<Done>) -> Part {
    let deliveries = std::mem::take(&mut part.deliveries);
    let units = std::mem::take(&mut part.units);
    let mut kept = part;
    for (delivery, unit) in deliveries.into_iter().zip(units) {
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
    let second =
        Part { deliveries: part.deliveries.split_off(middle), units: part.units.split_off(middle), ..Part::default() };
    let first = Part { deliveries: part.deliveries, units: part.units, ..Part::default() };
    Ok((first, second))
}

fn judged(part: Part, verdict: impl Fn(&Delivery) -> Verdict) -> impl Iterator<Item = Done> {
    part.deliveries.into_iter().map(move |delivery| Done { verdict: verdict(&delivery), delivery })
}
