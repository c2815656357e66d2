//! The spans of jobs that are enqueued: each job's trace begins with one. Off unless the environment names a collector.

use std::collections::HashMap;
use std::time::SystemTime;

use jobqueue_queue::Protocol;
use jobqueue_traces::{Identity, Traces};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::Span;
use prometheus_client::metrics::counter::Counter;

use crate::common::output::Output;

/// Where spans of enqueued jobs are made.
pub(super) struct ProducerTraces {
    traces: Traces,
    dropped: Counter,
    /// `messaging.system`.
    system: &'static str,
    queue: String,
}

/// The spans of a batch that is on its way, one for each job, whether it is sampled or not.
pub(super) struct BatchSpans(Vec<Span>);

impl ProducerTraces {
    /// As the environment says; `None` if it names no collector, or something that cannot be done, which is told. The
    /// elements of a list have no place for a trace context.
    pub(super) fn from_environment(protocol: Protocol, queue: &str, output: Output) -> Option<Self> {
        let system = match protocol {
            Protocol::Rq => "rq",
            Protocol::Stream => "redis",
            Protocol::List => return None,
        };
        let instance = uuid::Uuid::new_v4().to_string();
        let identity = Identity { service: "jobqueue-enqueue", instance, attributes: Vec::new(), links: 0 };
        let dropped = Counter::default();
        let traces = Traces::from_environment(&identity, &dropped)
            .inspect_err(|problem| output.warn(&format!("no traces are sent: {problem}")));
        Some(Self { traces: traces.ok()??, dropped, system, queue: queue.to_owned() })
    }

    /// Begins the spans of so many jobs; `ids` is empty where the server gives them.
    pub(super) fn begin(&self, jobs: usize, ids: &[String]) -> BatchSpans {
        let began = SystemTime::now();
        let spans = (0..jobs).map(|index| self.span(began, ids.get(index)));
        BatchSpans(spans.collect())
    }

    fn span(&self, began: SystemTime, id: Option<&String>) -> Span {
        let builder =
            SpanBuilder::from_name(format!("send {}", self.queue)).with_kind(SpanKind::Producer).with_start_time(began);
        // Each job has a trace of its own.
        let mut span = self.traces.tracer().build_with_context(builder, &Context::new());
        if span.is_recording() {
            span.set_attributes([
                KeyValue::new("messaging.system", self.system),
                KeyValue::new("messaging.operation.type", "send"),
                KeyValue::new("messaging.operation.name", "send"),
                KeyValue::new("messaging.destination.name", self.queue.clone()),
            ]);
            if let Some(id) = id {
                span.set_attribute(message_id(id));
            }
        }
        span
    }

    /// Sends what is left, within seconds, and tells how many spans nobody received.
    pub(super) async fn finish(self, output: Output) {
        self.traces.finish().await;
        let lost = self.dropped.get();
        if lost > 0 {
            output.warn(&format!(
                "{lost} span(s) of traces were dropped: the collector is away, or slower than the jobs \
                 (OTEL_TRACES_SAMPLER takes a part of them, OTEL_BSP_MAX_QUEUE_SIZE lets more wait)"
            ));
        }
    }
}

impl BatchSpans {
    /// What each job is given.
    pub(super) fn traceparents(&self) -> Vec<String> {
        self.0.iter().map(|span| traceparent(span.span_context())).collect()
    }

    /// Ends the spans, with the ids that the server gave; `problem` says why the batch is not in.
    pub(super) fn end(self, ids: &[String], problem: Option<&str>) {
        for (index, mut span) in self.0.into_iter().enumerate() {
            match problem {
                Some(problem) => span.set_status(Status::error(problem.to_owned())),
                None => ids.get(index).into_iter().for_each(|id| span.set_attribute(message_id(id))),
            }
            span.end();
        }
    }
}

fn message_id(id: &str) -> KeyValue {
    KeyValue::new("messaging.message.id", id.to_owned())
}

fn traceparent(span: &SpanContext) -> String {
    let mut fields = HashMap::new();
    let context = Context::new().with_remote_span_context(span.clone());
    TraceContextPropagator::new().inject_context(&context, &mut fields);
    fields.remove("traceparent").unwrap_or_default()
}
