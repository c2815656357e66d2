//! Writing a batch in one transaction, whatever it takes: a database that is away is waited for within bounds, a job whose
//! time limit passes or that breaks every connection is isolated by halving, and only it fails.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jobqueue_ingest::{SinkError, Unit, UnitOutcome};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::batch::{Batch, BatchItem};
use super::isolation::{FailureHistory, NextStep, WriteFailure};
use super::outage::{Outage, Waited};
use super::outcome::{Failure, JobOutcome};
use crate::deps::Deps;
use crate::state::in_flight::LeaseState;
use crate::state::metrics::class_of;
use crate::traces::{Stage, StageSpan};

/// Writes batches, so many at once.
pub(crate) struct Writer {
    deps: Arc<Deps>,
    concurrency: usize,
    /// One permit per write that may run.
    permits: Semaphore,
}

/// Why an attempt to write failed.
enum NotWritten {
    /// The smallest time limit among the jobs passed, and the database answers.
    TimedOut(Duration),
    Away(SinkError),
    /// The drain is overdue.
    Overdue,
    /// A person stopped one of the jobs; the others are to be written without it.
    Interrupted,
}

impl NotWritten {
    /// What a trace says of it.
    fn class_and_cause(&self) -> (&'static str, String) {
        match self {
            Self::TimedOut(limit) => ("timeout", Failure::timed_out(*limit).message),
            Self::Away(error) => (class_of(error), error.to_string()),
            Self::Overdue => ("overdue", "the worker has to end".into()),
            Self::Interrupted => ("stopped", "one of the jobs was stopped; the others are written without it".into()),
        }
    }
}

/// Jobs that are written together, each with its rows.
struct Part {
    items: Vec<BatchItem>,
    history: FailureHistory,
}

/// One batch on its way into the database.
struct BatchWrite<'a> {
    writer: &'a Writer,
    /// What is to be written.
    parts: VecDeque<Part>,
    /// Jobs whose outcome is known.
    done: Vec<BatchItem>,
    outage: Outage<'a>,
}

impl Writer {
    pub(crate) fn new(deps: Arc<Deps>) -> Self {
        let concurrency = deps.settings.concurrency.max(1);
        Self { deps, concurrency, permits: Semaphore::new(concurrency) }
    }

    /// True while a write runs.
    pub(crate) fn is_writing(&self) -> bool {
        self.permits.available_permits() < self.concurrency
    }

    /// Writes the jobs of a batch that have rows, and gives them their outcome. Jobs that could not be written stay
    /// [`JobOutcome::Released`].
    pub(crate) async fn write(&self, batch: &mut Batch) {
        let items = std::mem::take(&mut batch.items);
        let mut write = BatchWrite {
            writer: self,
            done: Vec::with_capacity(items.len()),
            parts: VecDeque::from([Part::new(items)]),
            outage: Outage::new(&self.deps),
        };
        write.run().await;
        batch.items = write.done;
        batch.items.extend(write.parts.into_iter().flat_map(|part| part.items));
    }

    /// One attempt to write a part; its jobs have their outcome if it is `Ok`.
    async fn attempt(&self, part: &mut Part) -> Result<(), NotWritten> {
        let units = part.take_units();
        match self.send(part, &units).await {
            Ok(outcomes) => {
                self.deps.circuit_breaker().write_succeeded();
                self.deps.metrics().database_up.set(1);
                for (item, outcome) in part.items.iter_mut().zip(outcomes) {
                    item.outcome = outcome.into();
                }
                Ok(())
            }
            Err(reason) => {
                part.put_back(units);
                Err(reason)
            }
        }
    }

    async fn send(&self, part: &Part, units: &[Unit]) -> Result<Vec<UnitOutcome>, NotWritten> {
        let deps = &self.deps;
        let permit = tokio::select! {
            biased;
            () = deps.shutdown().overdue() => return Err(NotWritten::Overdue),
            permit = self.permits.acquire() => permit.expect("the semaphore is never closed"),
        };
        deps.metrics().batch_jobs.observe(units.len() as f64);
        let span = StageSpan::begin(Stage::Write, &part.items);
        let answer = self.send_now(part, units).await;
        drop(permit);
        if let Some(span) = span {
            span.end(answer.as_ref().err().map(NotWritten::class_and_cause));
        }
        answer
    }

    async fn send_now(&self, part: &Part, units: &[Unit]) -> Result<Vec<UnitOutcome>, NotWritten> {
        let deps = &self.deps;
        let deliveries = part.items.iter().map(|item| &item.delivery);
        let limit = deliveries.clone().filter_map(|delivery| delivery.timeout).min();
        let began = Instant::now();
        let writing = deps.sink.write(&deps.recipe, units);
        let answer = tokio::select! {
            biased;
            () = deps.shutdown().overdue() => return Err(NotWritten::Overdue),
            // What was committed in this very moment stays, and the ledger knows it: the others are not written twice.
            () = deps.in_flight.any_stopped(deliveries.map(|delivery| &delivery.lease)) => {
                return Err(NotWritten::Interrupted);
            }
            answer = within(limit, writing) => answer,
        };
        deps.metrics().write_seconds.observe(began.elapsed().as_secs_f64());
        match answer {
            Ok(outcomes) => outcomes.map_err(NotWritten::Away),
            // A database that is silent altogether is away; then the limit says nothing about the job.
            Err(limit) => {
                Err(deps.ping_database().await.map_or_else(NotWritten::Away, |()| NotWritten::TimedOut(limit)))
            }
        }
    }
}

impl BatchWrite<'_> {
    /// Ends when everything is written, or when what is left must be released.
    async fn run(&mut self) {
        while let Some(mut part) = self.parts.pop_front() {
            self.set_aside(&mut part);
            if part.items.is_empty() {
                continue;
            }
            match self.writer.attempt(&mut part).await {
                Ok(()) => self.done.append(&mut part.items),
                Err(NotWritten::TimedOut(_)) if part.items.len() > 1 => self.parts.extend(part.halves()),
                Err(NotWritten::TimedOut(limit)) => {
                    self.done.extend(part.ended(&JobOutcome::Failed(Failure::timed_out(limit))));
                }
                Err(NotWritten::Away(error)) => {
                    if self.failed(part, &error).await.is_break() {
                        return;
                    }
                }
                Err(NotWritten::Interrupted) => self.parts.push_back(part),
                Err(NotWritten::Overdue) => return self.parts.push_back(part),
            }
        }
    }

    /// Moves the jobs that have nothing to write, went to another worker or are to be stopped to those that are done.
    fn set_aside(&mut self, part: &mut Part) {
        let in_flight = &self.writer.deps.in_flight;
        self.done.extend(part.items.extract_if(.., |item| {
            if item.unit.is_none() {
                return true;
            }
            match in_flight.state_of(&item.delivery.lease) {
                LeaseState::Ours => return false,
                LeaseState::Lost => item.outcome = JobOutcome::LeaseLost,
                LeaseState::Stopped => item.outcome = JobOutcome::Stopped,
            }
            true
        }));
    }

    /// The database went away under a part: waits until the next attempt. `Break`: what is left must be released.
    async fn failed(&mut self, mut part: Part, error: &SinkError) -> ControlFlow<()> {
        let alone = part.items.len() == 1 && matches!(error, SinkError::Disconnected { .. });
        if alone && self.outage.wait_for_trial_write().await == Waited::Release {
            self.parts.push_back(part);
            return ControlFlow::Break(());
        }
        let failure = WriteFailure {
            jobs: part.items.len(),
            successes: self.writer.deps.circuit_breaker().successes(),
            broke_connection: alone,
            unwritable: matches!(error, SinkError::Unwritable { .. }),
        };
        let waited = match part.history.after(&failure) {
            NextStep::Retry => {
                self.parts.push_back(part);
                self.outage.wait_for_database(error).await
            }
            NextStep::RetryAlone { breaks } => {
                self.parts.push_back(part);
                self.outage.wait_alone(error, breaks).await
            }
            NextStep::Halve => {
                self.parts.extend(part.halves());
                self.outage.wait_for_database(error).await
            }
            NextStep::Fail => {
                self.done.extend(part.ended(&JobOutcome::Failed(Failure::broke_connection(error))));
                Waited::Retry
            }
        };
        match waited {
            Waited::Retry => ControlFlow::Continue(()),
            Waited::Release => ControlFlow::Break(()),
        }
    }
}

impl Part {
    fn new(items: Vec<BatchItem>) -> Self {
        Self { items, history: FailureHistory::default() }
    }

    /// Takes the rows out, for the sink; [`Part::put_back`] is for what it did not write.
    fn take_units(&mut self) -> Vec<Unit> {
        let mut units = Vec::with_capacity(self.items.len());
        units.extend(self.items.iter_mut().filter_map(|item| item.unit.take()));
        units
    }

    /// Undoes [`Part::take_units`].
    fn put_back(&mut self, units: Vec<Unit>) {
        for (item, unit) in self.items.iter_mut().zip(units) {
            item.unit = Some(unit);
        }
    }

    /// Two parts without a history.
    fn halves(mut self) -> [Self; 2] {
        let second = self.items.split_off(self.items.len() / 2);
        [Self::new(self.items), Self::new(second)]
    }

    /// Its jobs, each with this outcome.
    fn ended(self, outcome: &JobOutcome) -> impl Iterator<Item = BatchItem> {
        self.items.into_iter().map(move |item| BatchItem { outcome: outcome.clone(), ..item })
    }
}

/// The answer of `future`, or `Err(limit)` if it takes longer than that.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        None => Ok(future.await),
        Some(limit) => tokio::time::timeout(limit, future).await.map_err(|_| limit),
    }
}
