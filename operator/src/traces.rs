//! Traces of what the operator does: each change of a number of workers with the numbers that it follows from, and each
//! reconcile. Off unless the environment names a collector. Spans are made when all is over, so that none is carried along.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use jobqueue_traces::Identity;
use opentelemetry::{
    Context, KeyValue,
    trace::{Span as _, SpanBuilder, SpanKind, Status, TraceContextExt, Tracer},
};
use tokio::time::Instant;

use crate::{
    metrics::Metrics,
    state::{key::Key, observed::QueueSnapshot},
};

/// Where spans are made; `None` inside while traces are off.
#[derive(Debug, Clone, Default)]
pub struct Traces(Option<Arc<jobqueue_traces::Traces>>);

/// A change of a number of workers.
pub(crate) struct Scale<'a> {
    /// Of which queue.
    pub(crate) key: &'a Key,
    /// The number before.
    pub(crate) from: u32,
    /// The number that was written.
    pub(crate) to: u32,
    /// Why, as the metrics have it.
    pub(crate) reason: &'a str,
    /// Why, as `lastScale` has it.
    pub(crate) message: &'a str,
    /// What the poll found.
    pub(crate) seen: Option<QueueSnapshot>,
    /// When the poll began.
    pub(crate) polled_at: Instant,
    /// When the number was decided on.
    pub(crate) decided_at: Instant,
    /// Why the API server did not take it; `None` if it did.
    pub(crate) problem: Option<String>,
}

impl Traces {
    /// As the environment says. Needs a runtime.
    pub fn from_environment(identity: &str, metrics: &Metrics) -> Self {
        let identity =
            Identity { service: "jobqueue-operator", instance: identity.to_owned(), attributes: Vec::new(), links: 0 };
        Self(jobqueue_traces::Traces::logged_from_environment(&identity, &metrics.spans_dropped).map(Arc::new))
    }

    /// Sends what is left, within seconds.
    pub async fn finish(&self) {
        if let Some(traces) = &self.0 {
            traces.finish().await;
        }
    }

    /// Whether anything is to be told.
    pub(crate) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a change that is over, from the poll to the answer of the API server, with one for each part.
    pub(crate) fn scaled(&self, scale: &Scale<'_>) {
        let Some(tracer) = self.0.as_ref().map(|traces| traces.tracer()) else { return };
        let Scale { key, from, to, reason, message, .. } = scale;
        let (polled, decided, ended) = (wall(scale.polled_at), wall(scale.decided_at), SystemTime::now());
        let mut attributes = of_queue(key).to_vec();
        attributes.extend([
            KeyValue::new("jobqueue.workers.from", i64::from(*from)),
            KeyValue::new("jobqueue.workers.to", i64::from(*to)),
            KeyValue::new("jobqueue.reason", (*reason).to_owned()),
            KeyValue::new("jobqueue.message", (*message).to_owned()),
        ]);
        attributes.extend(scale.seen.iter().flat_map(numbers));
        let builder = SpanBuilder::from_name("scale").with_start_time(polled).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &Context::new());
        if !span.is_recording() {
            return;
        }
        let context = Context::new().with_span(span);
        let part = |name, began| {
            let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Client).with_start_time(began);
            tracer.build_with_context(builder, &context)
        };
        part("poll", polled).end_with_timestamp(decided);
        let mut write = part("write", decided);
        if let Some(problem) = &scale.problem {
            write.set_status(Status::error(problem.clone()));
            context.span().set_status(Status::error(problem.clone()));
        }
        write.end_with_timestamp(ended);
        context.span().end_with_timestamp(ended);
    }

    /// The span of a reconcile that is over; `failure` is its category and its words.
    pub(crate) fn reconciled(&self, key: &Key, began: Instant, failure: Option<(&'static str, String)>) {
        let Some(traces) = &self.0 else { return };
        let builder = SpanBuilder::from_name("reconcile").with_start_time(wall(began)).with_attributes(of_queue(key));
        let mut span = traces.tracer().build_with_context(builder, &Context::new());
        if let Some((category, words)) = failure {
            span.set_attribute(KeyValue::new("error.type", category));
            span.set_status(Status::error(words));
        }
        span.end();
    }
}

/// The moment by the clock of the wall.
fn wall(moment: Instant) -> SystemTime {
    let ago: Duration = moment.elapsed();
    SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn of_queue(key: &Key) -> [KeyValue; 2] {
    let namespace = key.namespace.clone().unwrap_or_default();
    [KeyValue::new("k8s.namespace.name", namespace), KeyValue::new("jobqueue.name", key.name.clone())]
}

/// What the decision goes by.
fn numbers(seen: &QueueSnapshot) -> Vec<KeyValue> {
    let count = |name, number: u64| KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX));
    let measured = [
        ("jobqueue.oldest_wait_seconds", seen.backlog.oldest_wait_seconds),
        ("jobqueue.arrivals_per_second", seen.arrivals_per_second),
        ("jobqueue.completions_per_second", seen.completions_per_second),
    ];
    let mut numbers = vec![
        count("jobqueue.waiting", seen.backlog.waiting),
        count("jobqueue.running", seen.backlog.running),
        count("jobqueue.failed", seen.failed),
    ];
    numbers.extend(measured.into_iter().filter_map(|(name, number)| Some(KeyValue::new(name, number?))));
    numbers
}
