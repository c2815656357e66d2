//! What the spans are called, how they hang together, and what they say. The names of the attributes are those of
//! OpenTelemetry's conventions for messaging; our own begin with `jobqueue.`.

use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use jobqueue_queue::{Delivery, TraceContext};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Link, Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span};

use crate::pipeline::batch::BatchItem;
use crate::pipeline::outcome::{Failure, JobOutcome};

/// The span of one run of a job, from the claim until its outcome is recorded.
#[derive(Debug)]
pub(crate) struct JobSpan {
    context: Context,
    tracer: SdkTracer,
}

/// A step that many jobs take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The transaction.
    Write,
    /// The record of the outcomes in the queue.
    Complete,
}

/// The span of a step that many jobs take together. It is in the trace of the first of them that is traced, and links to
/// the spans of all; those of the others link to it.
#[derive(Debug)]
pub(crate) struct StageSpan {
    stage: Stage,
    span: Span,
    began: SystemTime,
    jobs: Vec<Arc<JobSpan>>,
}

/// The span of the computation of one job's rows.
#[derive(Debug)]
pub(crate) struct ExtractSpan(Span);

impl JobSpan {
    /// Begins the span of a job; `None` if it is not sampled.
    pub(super) fn begin(
        tracer: &SdkTracer,
        system: &'static str,
        delivery: &Delivery,
        began: DateTime<Utc>,
    ) -> Option<Self> {
        let parent = delivery.trace_context.as_deref().map(parent_of).unwrap_or_default();
        let builder = SpanBuilder::from_name(format!("process {}", delivery.queue))
            .with_kind(SpanKind::Consumer)
            .with_start_time(began);
        let mut span = tracer.build_with_context(builder, &parent);
        if !span.is_recording() {
            return None;
        }
        span.set_attributes([
            KeyValue::new("messaging.system", system),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.destination.name", delivery.queue.clone()),
            KeyValue::new("messaging.message.id", delivery.id.clone()),
            KeyValue::new("jobqueue.attempt", i64::from(delivery.attempt)),
        ]);
        if let Some(enqueued_at) = delivery.enqueued_at {
            let waited = (began - enqueued_at).as_seconds_f64().max(0.0);
            span.set_attribute(KeyValue::new("jobqueue.wait_seconds", waited));
        }
        Some(Self { context: Context::new().with_span(span), tracer: tracer.clone() })
    }

    /// Begins the span of the computation of its rows.
    pub(crate) fn extract(&self) -> ExtractSpan {
        ExtractSpan(self.tracer.build_with_context(SpanBuilder::from_name("extract"), &self.context))
    }

    /// Notes how the job ended.
    pub(crate) fn note(&self, outcome: &JobOutcome) {
        let span = self.context.span();
        let name = match outcome {
            JobOutcome::Applied { rows } => {
                span.set_attribute(KeyValue::new("jobqueue.rows", i64::try_from(*rows).unwrap_or(i64::MAX)));
                "applied"
            }
            JobOutcome::AlreadyApplied => "already_applied",
            JobOutcome::Failed(failure) => {
                span.set_attribute(error_type(failure.kind.into()));
                span.set_status(status_of(failure));
                "failed"
            }
            JobOutcome::Released => "released",
            JobOutcome::Stopped => "stopped",
            JobOutcome::LeaseLost => "lease_lost",
            JobOutcome::LeftToLapse => {
                span.set_attribute(error_type("overdue"));
                span.set_status(Status::error("its extraction did not end in time for the stop of the worker"));
                "left_to_lapse"
            }
        };
        span.set_attribute(KeyValue::new("jobqueue.outcome", name));
    }

    /// Ends the span.
    pub(crate) fn end(&self) {
        self.context.span().end();
    }

    fn span_context(&self) -> SpanContext {
        self.context.span().span_context().clone()
    }
}

impl ExtractSpan {
    /// Ends the span.
    pub(crate) fn end(mut self, failure: Option<&Failure>) {
        if let Some(failure) = failure {
            self.0.set_attribute(error_type(failure.kind.into()));
            self.0.set_status(status_of(failure));
        }
        self.0.end();
    }
}

impl Stage {
    /// The name of its span, and those of the events in the spans of its jobs.
    const fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Write => ("write", "write began", "write ended"),
            Self::Complete => ("complete", "complete began", "complete ended"),
        }
    }
}

impl StageSpan {
    /// Begins the span of a step of these jobs; `None` if none of them is traced.
    pub(crate) fn begin(stage: Stage, items: &[BatchItem]) -> Option<Self> {
        let jobs: Vec<Arc<JobSpan>> = items.iter().filter_map(|item| item.span.clone()).collect();
        let first = jobs.first()?;
        let began = SystemTime::now();
        let builder = SpanBuilder::from_name(stage.names().0)
            .with_kind(SpanKind::Client)
            .with_start_time(began)
            .with_links(jobs.iter().map(|job| Link::with_context(job.span_context())).collect())
            .with_attributes([KeyValue::new(
                "messaging.batch.message_count",
                i64::try_from(items.len()).unwrap_or(i64::MAX),
            )]);
        let span = first.tracer.build_with_context(builder, &first.context);
        Some(Self { stage, span, began, jobs })
    }

    /// Ends the span; `error` is its class and its cause.
    pub(crate) fn end(mut self, error: Option<(&'static str, String)>) {
        if let Some((class, cause)) = error {
            self.span.set_attribute(error_type(class));
            self.span.set_status(Status::error(cause));
        }
        let ended = SystemTime::now();
        let (_, begins, ends) = self.stage.names();
        // The first has the span itself below its own.
        for job in self.jobs.iter().skip(1) {
            let span = job.context.span();
            span.add_link(self.span.span_context().clone(), Vec::new());
            span.add_event_with_timestamp(begins, self.began, Vec::new());
            span.add_event_with_timestamp(ends, ended, Vec::new());
        }
        self.span.end_with_timestamp(ended);
    }
}

fn error_type(class: &'static str) -> KeyValue {
    KeyValue::new("error.type", class)
}

/// The kind of a failure. Its message stays in the failed registry: it quotes the record.
fn status_of(failure: &Failure) -> Status {
    Status::error(format!("{}; the failed registry has the details", failure.kind.meaning()))
}

/// Where a producer's trace goes on.
fn parent_of(trace: &TraceContext) -> Context {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(trace))
}

struct Carrier<'a>(&'a TraceContext);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(&self.0.traceparent),
            "tracestate" => Some(&self.0.tracestate).filter(|state| !state.is_empty()).map(String::as_str),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
