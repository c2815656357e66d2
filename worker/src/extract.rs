//! From deliveries to rows, on all cores, with every failure (a panic too) kept to its own job.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use jobqueue_ingest::{JobInput, LedgerKey, Recipe, Unit};
use jobqueue_queue::{Delivery, Payload};
use serde_json::{Map, Value};

use crate::verdict::{Done, Failure, FailureKind, Verdict};

/// Fewer jobs than this are not worth a thread of their own.
const SMALLEST_SHARE: usize = 32;

/// A batch after extraction: what can be written, and what failed already.
#[derive(Debug, Default)]
pub struct Extracted {
    /// Deliveries with rows; `units` has theirs at the same index.
    pub deliveries: Vec<Delivery>,
    /// Their rows and ledger keys.
    pub units: Vec<Unit>,
    /// The jobs whose payload or record is at fault.
    pub failed: Vec<Done>,
}

/// What turns one delivery into its effect: [`unit_of`] with a recipe, or a stand-in in tests.
pub type Extractor = Arc<dyn Fn(&Delivery, DateTime<Utc>) -> Result<Unit, Failure> + Send + Sync>;

/// The extractor of a recipe.
pub fn by_recipe(recipe: Arc<Recipe>) -> Extractor {
    Arc::new(move |delivery, now| unit_of(&recipe, delivery, now))
}

/// Extracts the rows of a batch, spread over at most `threads` blocking threads.
pub async fn extract(
    extractor: &Extractor,
    deliveries: Vec<Delivery>,
    now: DateTime<Utc>,
    threads: usize,
) -> Extracted {
    let share = deliveries.len().div_ceil(threads.max(1)).max(SMALLEST_SHARE);
    let mut rest = deliveries;
    let mut running = Vec::new();
    while !rest.is_empty() {
        let part = rest.split_off(rest.len().saturating_sub(share));
        let extractor = Arc::clone(extractor);
        running.push(tokio::task::spawn_blocking(move || extract_part(&extractor, part, now)));
    }
    let mut all = Extracted::default();
    for task in running.into_iter().rev() {
        let part = task.await.expect("a panic is caught within each job, and blocking tasks are not aborted");
        all.deliveries.extend(part.deliveries);
        all.units.extend(part.units);
        all.failed.extend(part.failed);
    }
    all
}

fn extract_part(extractor: &Extractor, deliveries: Vec<Delivery>, now: DateTime<Utc>) -> Extracted {
    let mut part = Extracted::default();
    for delivery in deliveries {
        let caught = catch_unwind(AssertUnwindSafe(|| extractor(&delivery, now)));
        match caught.unwrap_or_else(|panic| Err(panicked(&*panic))) {
            Ok(unit) => {
                part.units.push(unit);
                part.deliveries.push(delivery);
            }
            Err(failure) => part.failed.push(Done { delivery, verdict: Verdict::Failed(failure) }),
        }
    }
    part
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let message = format!("the worker panicked on this job: {}", words.unwrap_or("no message"));
    Failure::final_one(FailureKind::Panic, message)
}

/// The effect of one job.
pub fn unit_of(recipe: &Recipe, delivery: &Delivery, now: DateTime<Utc>) -> Result<Unit, Failure> {
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
    let rows = recipe.rows(&job, now).map_err(|error| Failure::final_one(FailureKind::Record, error.to_string()))?;
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_entry_holds_its_record_in_one_of_three_ways() {
        let record = |fields: Value| record_of(fields.as_object().unwrap());
        assert_eq!(record(json!({"data": "{}", "source": "x"})), json!("{}"));
        assert_eq!(record(json!({"record": "1", "data": "2"})), json!("1"));
        assert_eq!(record(json!({"line": "3"})), json!("3"));
        assert_eq!(record(json!({"Name": "a", "No": "1"})), json!({"Name": "a", "No": "1"}));
    }

    #[test]
    fn a_panic_keeps_its_words() {
        let panic = catch_unwind(|| panic!("index {} out of bounds", 7)).unwrap_err();
        let failure = panicked(&*panic);
        assert_eq!(failure.kind, FailureKind::Panic);
        assert!(failure.message.ends_with("index 7 out of bounds"), "{}", failure.message);
    }
}
