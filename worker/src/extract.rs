//! From deliveries to rows, on all cores, with every failure (a panic too, and taking too long) kept to its own job.
//!
//! A share of the batch is computed by one blocking thread, one job after the other, and watched from here: a job whose time
//! is over is cut out, and another thread goes on with those behind it. The thread that is left behind ends by itself as soon
//! as the recipe looks at its [`Interrupt`]; one that never does holds a processor until the process ends, so a worker with
//! [`MOST_LEFT_BEHIND`] of them ends too.

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

use crate::hand::Fate;
use crate::verdict::{Done, Failure, FailureKind, Verdict};
use crate::worker::Worker;

/// Fewer jobs than this are not worth a thread of their own.
const SMALLEST_SHARE: usize = 32;
/// How often a share that takes its time is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A job that computes for longer when the worker must end is not given back but left to its lease, which counts the attempt:
/// the next worker would fare no better.
const SUSPICIOUS: Duration = Duration::from_secs(5);
/// With so many threads that cannot be interrupted the worker ends, to be started anew.
const MOST_LEFT_BEHIND: usize = 4;

/// A batch after extraction: what can be written, and what failed already.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Deliveries with rows; `units` has theirs at the same index.
    pub deliveries: Vec<Delivery>,
    /// Their rows and ledger keys.
    pub units: Vec<Unit>,
    /// The jobs whose payload or record is at fault, and those that were not got to.
    pub failed: Vec<Done>,
}

/// What turns one delivery into its effect: [`unit_of`] with a recipe, or a stand-in in tests.
pub type Extractor = Arc<dyn Fn(&Interrupt, &Delivery, DateTime<Utc>) -> Result<Unit, Failure> + Send + Sync>;

/// The extractor of a recipe.
pub fn by_recipe(recipe: Arc<Recipe>) -> Extractor {
    Arc::new(move |interrupt, delivery, now| unit_of(&recipe, interrupt, delivery, now))
}

/// Threads that were left behind and have not ended yet. Clones count the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct LeftBehind(Arc<AtomicUsize>);

impl LeftBehind {
    /// Whether the process had better start anew.
    pub(crate) fn too_many(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= MOST_LEFT_BEHIND
    }
}

/// Extracts the rows of a batch, spread over at most `threads` blocking threads.
pub(crate) async fn extract(worker: &Worker, deliveries: Vec<Delivery>, now: DateTime<Utc>) -> Extracted {
    let share = deliveries.len().div_ceil(worker.settings.threads.max(1)).max(SMALLEST_SHARE);
    let mut rest = deliveries;
    let mut shares = Vec::new();
    while !rest.is_empty() {
        shares.push(rest.split_off(rest.len().saturating_sub(share)));
    }
    let running = shares.into_iter().rev().map(|share| extract_share(worker, share, now));
    let mut all = Extracted::default();
    for part in futures::future::join_all(running).await {
        all.deliveries.extend(part.deliveries);
        all.units.extend(part.units);
        all.failed.extend(part.failed);
    }
    all
}

/// One share, with as many threads one after the other as it takes.
async fn extract_share(worker: &Worker, deliveries: Vec<Delivery>, now: DateTime<Utc>) -> Extracted {
    let mut all = Extracted::default();
    let mut rest = deliveries;
    while !rest.is_empty() {
        let run = Arc::new(Run::new(std::mem::take(&mut rest)));
        let thread = tokio::task::spawn_blocking({
            let (run, extractor) = (Arc::clone(&run), Arc::clone(&worker.extractor));
            move || run.work(&extractor, now)
        });
        let cut = tokio::select! {
            biased;
            ended = thread => {
                ended.expect("a panic is caught within each job, and blocking tasks are not aborted");
                None
            }
            cut = watch(worker, &run) => Some(cut),
        };
        let results = run.stop();
        if cut.is_some() {
            leave_behind(worker, &run);
        }
        let deliveries = Arc::try_unwrap(run).map_or_else(|shared| shared.deliveries.clone(), |run| run.deliveries);
        let mut deliveries = deliveries.into_iter();
        for (delivery, result) in deliveries.by_ref().take(results.len()).zip(results) {
            match result {
                Ok(unit) => {
                    all.units.push(unit);
                    all.deliveries.push(delivery);
                }
                Err(failure) => all.failed.push(Done { delivery, verdict: Verdict::Failed(failure) }),
            }
        }
        let Some(Cut { verdict, overdue }) = cut else { break };
        all.failed.extend(deliveries.next().map(|delivery| Done { delivery, verdict }));
        if overdue {
            all.failed.extend(deliveries.by_ref().map(|delivery| Done { delivery, verdict: Verdict::Released }));
        }
        rest = deliveries.collect();
    }
    all
}

/// Why a share was ended before its end.
struct Cut {
    /// What becomes of the job that was being computed.
    verdict: Verdict,
    /// The worker must end: those behind it are not tried either.
    overdue: bool,
}

/// Returns once the job that is being computed must be cut out.
async fn watch(worker: &Worker, run: &Run) -> Cut {
    loop {
        let overdue = tokio::select! {
            biased;
            () = worker.stop.overdue() => true,
            () = tokio::time::sleep(run.next_look(worker.settings.extract_limit)) => false,
        };
        let Some((delivery, since)) = run.current() else {
            // Between two jobs, or at the end of the last: it is over in a moment, whatever the time.
            if overdue {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            continue;
        };
        let (limit, took) = (delivery.timeout.or(worker.settings.extract_limit), since.elapsed());
        let verdict = match worker.hand.fate(&delivery.lease) {
            Fate::Lost => Some(Verdict::Lost),
            Fate::Stopped => Some(Verdict::Stopped),
            Fate::Ours => limit.filter(|limit| *limit <= took).map(|limit| Verdict::Failed(Failure::timed_out(limit))),
        };
        match verdict {
            Some(verdict) => return Cut { verdict, overdue },
            None if overdue && took >= SUSPICIOUS => return Cut { verdict: Verdict::LeftToLapse, overdue },
            None if overdue => return Cut { verdict: Verdict::Released, overdue },
            None => {}
        }
    }
}

/// Counts the thread until it ends. Too many of them end the worker.
fn leave_behind(worker: &Worker, run: &Arc<Run>) {
    {
        let mut progress = run.lock();
        if progress.ended {
            return;
        }
        let LeftBehind(count) = &worker.left_behind;
        count.fetch_add(1, Ordering::SeqCst);
        progress.counted = Some(worker.left_behind.clone());
    }
    if worker.left_behind.too_many() && !worker.stop.is_draining() {
        tracing::error!(
            threads = MOST_LEFT_BEHIND,
            "as many records as this cannot be interrupted and each holds a processor: stopping, to be started anew"
        );
        worker.stop.request_drain();
    }
}

/// What one thread computes, and how far it has come.
struct Run {
    deliveries: Vec<Delivery>,
    interrupt: Interrupt,
    progress: Mutex<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Of the jobs from the first on.
    results: Vec<Result<Unit, Failure>>,
    /// Since when the job behind the last result is being computed.
    since: Option<Instant>,
    /// Nobody waits for further results.
    stopped: bool,
    /// The thread is done.
    ended: bool,
    /// Where this thread is counted as left behind.
    counted: Option<LeftBehind>,
}

impl Run {
    fn new(deliveries: Vec<Delivery>) -> Self {
        let progress = Progress { results: Vec::with_capacity(deliveries.len()), ..Progress::default() };
        Self { deliveries, interrupt: Interrupt::default(), progress: Mutex::new(progress) }
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread's side: all jobs in order, or until stopped.
    fn work(&self, extractor: &Extractor, now: DateTime<Utc>) {
        for delivery in &self.deliveries {
            {
                let mut progress = self.lock();
                if progress.stopped {
                    break;
                }
                progress.since = Some(Instant::now());
            }
            let caught = catch_unwind(AssertUnwindSafe(|| extractor(&self.interrupt, delivery, now)));
            let result = caught.unwrap_or_else(|panic| Err(panicked(&*panic)));
            let mut progress = self.lock();
            progress.since = None;
            if progress.stopped {
                break;
            }
            progress.results.push(result);
        }
        let mut progress = self.lock();
        progress.ended = true;
        if let Some(LeftBehind(count)) = progress.counted.take() {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Ends it, and takes what is there.
    fn stop(&self) -> Vec<Result<Unit, Failure>> {
        self.interrupt.set();
        let mut progress = self.lock();
        progress.stopped = true;
        std::mem::take(&mut progress.results)
    }

    fn current(&self) -> Option<(&Delivery, Instant)> {
        let progress = self.lock();
        Some((self.deliveries.get(progress.results.len())?, progress.since?))
    }

    /// How long nothing can be due.
    fn next_look(&self, default: Option<Duration>) -> Duration {
        let due = self.current().and_then(|(delivery, since)| Some((delivery.timeout.or(default)?, since)));
        due.map_or(LOOK_EVERY, |(limit, since)| limit.saturating_sub(since.elapsed()).min(LOOK_EVERY))
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the worker panicked on this job: {}", words.unwrap_or("no message"));
    Failure::final_one(FailureKind::Panic, message)
}

/// The effect of one job.
pub fn unit_of(
    recipe: &Recipe,
    interrupt: &Interrupt,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> Result<Unit, Failure> {
    let payload =
        delivery.payload.as_ref().map_err(|error| Failure::final_one(FailureKind::Payload, error.to_string()))?;
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
        .map_err(|error| Failure::final_one(FailureKind::Record, error.to_string()))?;
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
    fn a_panic_keeps_its_words() {
        let panic = catch_unwind(|| panic!("index {} out of bounds", 7)).unwrap_err();
        let failure = panicked(&*panic);
        assert_eq!(failure.kind, FailureKind::Panic);
        assert!(failure.message.ends_with("index 7 out of bounds"), "{}", failure.message);
    }
}
