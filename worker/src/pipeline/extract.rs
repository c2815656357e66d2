//! From deliveries to rows, on all cores, with every failure (a panic too, and taking too long) kept to its own job.
//!
//! A chunk of the batch is computed by one blocking thread, one job after the other, and watched from here: a job whose time
//! is over is cut off, and another thread goes on with those behind it. The abandoned thread ends by itself as soon as the
//! recipe looks at its [`Interrupt`]; one that never does holds a processor until the process ends, so a worker with
//! [`MOST_ABANDONED`] of them ends too.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_ingest::{Interrupt, JobInput, LedgerKey, Recipe, Unit};
use jobqueue_json::{Map, Value};
use jobqueue_queue::{Delivery, Payload};
use tokio::time::Instant;

use super::batch::{Batch, BatchItem};
use super::outcome::{Failure, FailureKind, JobOutcome};
use crate::deps::Deps;
use crate::state::in_flight::LeaseState;
use crate::traces::JobSpan;

/// Fewer jobs than this are not worth a thread of their own.
const SMALLEST_CHUNK: usize = 32;
/// How often a chunk that takes its time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A job that computes for longer than this when the worker must end is not released but left to its lease, which counts the
/// attempt: the next worker would fare no better.
const SUSPICIOUS: Duration = Duration::from_secs(5);
/// With so many threads that cannot be interrupted the worker ends, to be started anew.
const MOST_ABANDONED: usize = 4;

/// What turns one delivery into its effect: a recipe, or a stand-in in tests.
pub type Extractor = Arc<dyn Fn(&Interrupt, &Delivery, DateTime<Utc>) -> Result<Unit, Failure> + Send + Sync>;

/// The extractor of a recipe.
pub fn by_recipe(recipe: Arc<Recipe>) -> Extractor {
    Arc::new(move |interrupt, delivery, now| unit_of(&recipe, interrupt, delivery, now))
}

/// Makes rows of jobs.
pub(crate) struct Extraction {
    deps: Arc<Deps>,
    extractor: Extractor,
    /// How many threads were abandoned and have not ended.
    abandoned: Arc<AtomicUsize>,
}

impl Extraction {
    pub(crate) fn new(deps: Arc<Deps>, extractor: Extractor) -> Self {
        Self { deps, extractor, abandoned: Arc::default() }
    }

    /// Whether the process has to start anew.
    pub(crate) fn has_too_many_abandoned_threads(&self) -> bool {
        self.abandoned.load(Ordering::SeqCst) >= MOST_ABANDONED
    }

    /// Gives each job of a batch its rows or, if its payload or record is at fault, the outcome that says so. Spread over at
    /// most as many blocking threads as the settings say.
    pub(crate) async fn extract(&self, batch: &mut Batch) {
        let size = batch.items.len().div_ceil(self.deps.settings.threads.max(1)).max(SMALLEST_CHUNK);
        let mut rest = std::mem::take(&mut batch.items);
        let mut chunks = Vec::new();
        while rest.len() > size {
            chunks.push(rest.split_off(rest.len() - size));
        }
        chunks.push(rest);
        let running = chunks.into_iter().rev().map(|chunk| self.extract_chunk(chunk, batch.started_at));
        let mut chunks = futures::future::join_all(running).await.into_iter();
        batch.items = chunks.next().unwrap_or_default();
        batch.items.extend(chunks.flatten());
    }

    /// One chunk, with as many threads one after the other as it takes.
    async fn extract_chunk(&self, mut items: Vec<BatchItem>, now: DateTime<Utc>) -> Vec<BatchItem> {
        let mut first = 0;
        while first < items.len() {
            let run = Arc::new(Run::new(items, first));
            let thread = tokio::task::spawn_blocking({
                let (run, extractor) = (Arc::clone(&run), Arc::clone(&self.extractor));
                move || run.work(&extractor, now)
            });
            let cut = tokio::select! {
                biased;
                ended = thread => {
                    ended.expect("a panic is caught within each job, and blocking tasks are not aborted");
                    None
                }
                cut = self.watch(&run) => Some(cut),
            };
            let results = run.stop();
            if cut.is_some() {
                self.abandon(&run);
            }
            items = Arc::try_unwrap(run).map_or_else(|shared| shared.items.clone(), |run| run.items);
            first = record(&mut items, first, results, cut.as_ref());
            if cut.is_none_or(|cut| cut.overdue) {
                break;
            }
        }
        items
    }

    /// Returns once the job that is being computed must be cut off.
    async fn watch(&self, run: &Run) -> Cut {
        let default_limit = self.deps.settings.extract_limit;
        loop {
            let overdue = tokio::select! {
                biased;
                () = self.deps.shutdown().overdue() => true,
                () = tokio::time::sleep(run.next_look(default_limit)) => false,
            };
            let Some((index, since)) = run.current() else {
                // Between two jobs, or at the end of the last: it is over in a moment, whatever the time.
                if overdue {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                continue;
            };
            let delivery = &run.items[index].delivery;
            let (limit, took) = (delivery.timeout.or(default_limit), since.elapsed());
            let outcome = match self.deps.in_flight.state_of(&delivery.lease) {
                LeaseState::Lost => Some(JobOutcome::LeaseLost),
                LeaseState::Stopped => Some(JobOutcome::Stopped),
                LeaseState::Ours => {
                    limit.filter(|limit| *limit <= took).map(|limit| JobOutcome::Failed(Failure::timed_out(limit)))
                }
            };
            match outcome {
                Some(outcome) => return Cut { index, outcome, overdue },
                None if overdue && took >= SUSPICIOUS => {
                    return Cut { index, outcome: JobOutcome::LeftToLapse, overdue };
                }
                None if overdue => return Cut { index, outcome: JobOutcome::Released, overdue },
                None => {}
            }
        }
    }

    /// Counts the thread until it ends. Too many of them end the worker.
    fn abandon(&self, run: &Run) {
        {
            let mut progress = run.lock();
            if progress.ended {
                return;
            }
            self.abandoned.fetch_add(1, Ordering::SeqCst);
            progress.abandoned = Some(Arc::clone(&self.abandoned));
        }
        if self.has_too_many_abandoned_threads() && !self.deps.shutdown().is_draining() {
            tracing::error!(
                threads = MOST_ABANDONED,
                "as many records as this cannot be interrupted and each holds a processor: stopping, to be started anew"
            );
            self.deps.shutdown().request_drain();
        }
    }
}

/// Why a chunk was ended before its end.
struct Cut {
    /// The job that was being computed.
    index: usize,
    /// How that job ended.
    outcome: JobOutcome,
    /// The worker must end: the jobs behind it are not tried either.
    overdue: bool,
}

/// Gives the jobs from `first` on their results, and the job that was cut off its outcome. Returns the index of the next job
/// to compute.
fn record(items: &mut [BatchItem], first: usize, results: Vec<Result<Unit, Failure>>, cut: Option<&Cut>) -> usize {
    let next = first + results.len();
    for (item, result) in items[first..].iter_mut().zip(results) {
        match result {
            Ok(unit) => item.unit = Some(unit),
            Err(failure) => item.outcome = JobOutcome::Failed(failure),
        }
    }
    match cut {
        Some(Cut { index, outcome, .. }) if *index == next => {
            items[next].outcome = outcome.clone();
            next + 1
        }
        // Its result came at the last moment: the job behind it is not the one that is meant.
        _ => next,
    }
}

/// What one thread computes, and how far it has come.
struct Run {
    items: Vec<BatchItem>,
    /// The index of the first job to compute.
    first: usize,
    interrupt: Interrupt,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Of the jobs from the first on.
    results: Vec<Result<Unit, Failure>>,
    /// Since when the job behind the last result is being computed; `None` between two jobs.
    since: Option<Instant>,
    /// No further results are wanted.
    stopped: bool,
    /// The thread is done.
    ended: bool,
    /// Where this thread is counted as abandoned; `None` if it is not.
    abandoned: Option<Arc<AtomicUsize>>,
}

impl Run {
    fn new(items: Vec<BatchItem>, first: usize) -> Self {
        let progress = Progress { results: Vec::with_capacity(items.len() - first), ..Progress::default() };
        Self { items, first, interrupt: Interrupt::default(), progress: Mutex::new(progress) }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's side: all jobs in order, or until stopped.
    fn work(&self, extractor: &Extractor, now: DateTime<Utc>) {
        for BatchItem { delivery, span, .. } in &self.items[self.first..] {
            {
                let mut progress = self.lock();
                if progress.stopped {
                    break;
                }
                progress.since = Some(Instant::now());
            }
            let span = span.as_deref().map(JobSpan::extract);
            let caught = catch_unwind(AssertUnwindSafe(|| extractor(&self.interrupt, delivery, now)));
            let result = caught.unwrap_or_else(|panic| Err(panicked(&*panic)));
            if let Some(span) = span {
                span.end(result.as_ref().err());
            }
            let mut progress = self.lock();
            progress.since = None;
            if progress.stopped {
                break;
            }
            progress.results.push(result);
        }
        let mut progress = self.lock();
        progress.ended = true;
        if let Some(abandoned) = progress.abandoned.take() {
            abandoned.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Ends the thread, and takes the results so far.
    fn stop(&self) -> Vec<Result<Unit, Failure>> {
        self.interrupt.set();
        let mut progress = self.lock();
        progress.stopped = true;
        std::mem::take(&mut progress.results)
    }

    /// The index of the job that is being computed, and since when; `None` between two jobs.
    fn current(&self) -> Option<(usize, Instant)> {
        let progress = self.lock();
        Some((self.first + progress.results.len(), progress.since?))
    }

    /// How long nothing can be due.
    fn next_look(&self, default_limit: Option<Duration>) -> Duration {
        let due = self.current().and_then(|(index, since)| {
            let limit = self.items[index].delivery.timeout.or(default_limit)?;
            Some((limit, since))
        });
        due.map_or(LOOK_EVERY, |(limit, since)| limit.saturating_sub(since.elapsed()).min(LOOK_EVERY))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the worker panicked on this job: {}", words.unwrap_or("no message"));
    Failure::permanent(FailureKind::Panic, message)
}

/// The effect of one job.
fn unit_of(recipe: &Recipe, interrupt: &Interrupt, delivery: &Delivery, now: DateTime<Utc>) -> Result<Unit, Failure> {
    let payload =
        delivery.payload.as_ref().map_err(|error| Failure::permanent(FailureKind::Payload, error.to_string()))?;
    let nothing = Map::new();
    let first: [Value; 1];
    let mut job = JobInput {
        id: &delivery.id,
        queue: &delivery.queue,
        function: None,
        args: &[],
        kwargs: &nothing,
        fields: &nothing,
        attempt: delivery.attempt,
        enqueued_at: delivery.enqueued_at,
    };
    match payload {
        Payload::Call(call) => {
            job.function = Some(&call.function);
            job.args = &call.args;
            job.kwargs = &call.kwargs;
        }
        Payload::Record(text) => {
            first = [Value::String(text.clone())];
            job.args = &first;
        }
        Payload::Fields(fields) => {
            first = [record_of(fields)];
            job.args = &first;
            job.fields = fields;
        }
    }
    let rows = recipe
        .rows_unless(interrupt, &job, now)
        .map_err(|error| Failure::permanent(FailureKind::Record, error.to_string()))?;
    let key = LedgerKey {
        queue: delivery.queue.clone(),
        job_id: delivery.id.clone(),
        created_at: delivery.created_at.clone(),
        generation: delivery.generation,
        run: delivery.run.clone(),
    };
    Ok(Unit { key, rows })
}

/// The record in a stream entry: its `record` or `data` field, its only field, or else all of its fields.
fn record_of(fields: &Map<String, Value>) -> Value {
    let named = fields.get("record").or_else(|| fields.get("data"));
    let only = || fields.values().next().filter(|_| fields.len() == 1);
    named.or_else(only).cloned().unwrap_or_else(|| Value::Object(fields.clone()))
}

#[cfg(test)]
mod tests {
    use jobqueue_ingest::SqlValue;
    use jobqueue_json::json;

    use super::*;

    #[test]
    fn a_stream_entry_holds_its_record_in_one_of_three_ways() {
        let record = |fields: Value| record_of(fields.as_object().unwrap());
        assert_eq!(record(json!({"data": "{}", "source": "x"})), json!("{}"));
        assert_eq!(record(json!({"record": "1", "data": "2"})), json!("1"));
        assert_eq!(record(json!({"line": "3"})), json!("3"));
        assert_eq!(record(json!({"Name": "a", "No": "1"})), json!({"Name": "a", "No": "1"}));
    }

    /// What the payload makes of Python's bytes is what recipes read as bytes.
    #[test]
    fn bytes_arrive_as_bytes_whatever_they_hold() {
        // pickle.dumps(("m.f", None, (), {"a": bytes.fromhex("deadbeef"), "b": bytes.fromhex("c3a9c3a9"),
        // "c": bytearray(b"x"), "d": "\u{e9}"}), 5)
        let data = b"\x80\x05\x95>\x00\x00\x00\x00\x00\x00\x00(\x8c\x03m.f\x94N)}\x94(\x8c\x01a\x94C\x04\xde\xad\xbe\xef\x94\x8c\x01b\x94C\x04\xc3\xa9\xc3\xa9\x94\x8c\x01c\x94\x96\x01\x00\x00\x00\x00\x00\x00\x00x\x94\x8c\x01d\x94\x8c\x02\xc3\xa9\x94ut\x94.";
        let call = jobqueue_queue::payload::decode(data, &jobqueue_queue::PayloadLimits::default()).unwrap();
        let columns =
            json!({"a": "record.a", "b": "record.b", "c": "record.c", "d": "record.d", "e": "text(record.b)"});
        let specs = serde_json::json!([{"record": "job.kwargs", "tables": [{"table": "t", "columns": columns}]}]);
        let recipe =
            Recipe::compile(&serde_json::from_value::<Vec<jobqueue_ingest::IngestSpec>>(specs).unwrap()).unwrap();
        let lease = jobqueue_queue::Lease { queue: "q".into(), job: "j".into(), execution: String::new() };
        let delivery = Delivery {
            queue: "q".into(),
            id: "j".into(),
            created_at: String::new(),
            run: None,
            generation: 0,
            attempt: 1,
            crashes: 0,
            enqueued_at: None,
            timeout: None,
            trace_context: None,
            payload: Ok(Payload::Call(call)),
            lease,
        };
        let unit = unit_of(&recipe, &Interrupt::default(), &delivery, Utc::now()).unwrap();
        let bytes = |bytes: &[u8]| SqlValue::Bytes(bytes.to_vec());
        assert_eq!(
            unit.rows.rows[0].values,
            [
                bytes(&[0xde, 0xad, 0xbe, 0xef]),
                bytes("éé".as_bytes()),
                bytes(b"x"),
                SqlValue::Text("é".into()),
                SqlValue::Text("éé".into())
            ]
        );
    }

    #[test]
    fn a_result_at_the_last_moment_counts_and_the_job_behind_it_is_not_cut_off() {
        let delivery = super::super::outcome::tests::delivery;
        let item = || BatchItem { delivery: delivery(), unit: None, outcome: JobOutcome::Released, span: None };
        let cut = Cut { index: 0, outcome: JobOutcome::Stopped, overdue: false };
        let mut items = [item(), item()];
        let failure = Failure::permanent(FailureKind::Record, "no date");
        assert_eq!(record(&mut items, 0, vec![Err(failure.clone())], Some(&cut)), 1);
        assert_eq!((&items[0].outcome, &items[1].outcome), (&JobOutcome::Failed(failure), &JobOutcome::Released));
        let mut items = [item(), item()];
        assert_eq!(record(&mut items, 0, Vec::new(), Some(&cut)), 1);
        assert_eq!((&items[0].outcome, &items[1].outcome), (&JobOutcome::Stopped, &JobOutcome::Released));
    }

    #[test]
    fn a_panic_keeps_its_words() {
        let panic = catch_unwind(|| panic!("index {} out of bounds", 7)).unwrap_err();
        let failure = panicked(&*panic);
        assert_eq!(failure.kind, FailureKind::Panic);
        assert!(failure.message.ends_with("index 7 out of bounds"), "{}", failure.message);
    }
}
