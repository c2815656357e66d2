//! Spans as a collector would get them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::{Delivery, Protocol, TraceContext};
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanProcessor};

use super::{JobSpan, Stage, StageSpan, Traces};
use crate::pipeline::batch::BatchItem;
use crate::pipeline::outcome::tests::delivery;
use crate::pipeline::outcome::{Failure, FailureKind, JobOutcome};

/// Keeps what it gets.
#[derive(Debug, Clone, Default)]
struct SpanRecorder(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for SpanRecorder {
    fn on_start(&self, _: &mut opentelemetry_sdk::trace::Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl SpanRecorder {
    fn named(&self, name: &str) -> Vec<SpanData> {
        self.0.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }
}

fn traces() -> (Traces, SpanRecorder) {
    let recorder = SpanRecorder::default();
    (Traces::new(jobqueue_traces::Traces::to_processor(recorder.clone()), Protocol::Rq), recorder)
}

fn job(id: &str, traceparent: Option<&str>) -> Delivery {
    let trace_context = traceparent
        .map(|traceparent| Box::new(TraceContext { traceparent: traceparent.into(), tracestate: "vendor=x".into() }));
    let enqueued_at = Some(Utc::now() - chrono::Duration::seconds(7));
    Delivery { id: id.into(), trace_context, enqueued_at, ..delivery() }
}

fn item(traces: &Traces, delivery: Delivery) -> BatchItem {
    let span = JobSpan::begin(traces.spans.tracer(), traces.system, &delivery, Utc::now()).map(Arc::new);
    BatchItem { delivery, unit: None, outcome: JobOutcome::Released, span }
}

fn text(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
}

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn parent(span: &str, flags: &str) -> String {
    format!("00-{TRACE}-{span}-{flags}")
}

#[test]
fn a_job_goes_on_in_the_trace_of_its_producer() {
    let (traces, recorder) = traces();
    let item = item(&traces, job("j1", Some(&parent("b7ad6b7169203331", "01"))));
    let span = item.span.unwrap();
    span.extract().end(None);
    span.note(&JobOutcome::Applied { rows: 3 });
    span.end();
    let [job] = recorder.named("process companies").try_into().unwrap();
    assert_eq!(job.span_context.trace_id(), TraceId::from_hex(TRACE).unwrap());
    assert_eq!(job.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(job.span_context.trace_state().header(), "vendor=x");
    assert_eq!(job.span_kind, SpanKind::Consumer);
    assert_eq!(job.status, Status::Unset);
    let expected = [
        ("messaging.system", "rq"),
        ("messaging.destination.name", "companies"),
        ("messaging.message.id", "j1"),
        ("messaging.operation.type", "process"),
        ("jobqueue.attempt", "2"),
        ("jobqueue.rows", "3"),
        ("jobqueue.outcome", "applied"),
    ];
    for (key, value) in expected {
        assert_eq!(text(&job, key), value, "{key}");
    }
    let waited: f64 = text(&job, "jobqueue.wait_seconds").parse().unwrap();
    assert!((7.0..60.0).contains(&waited), "{waited}");
    let [extract] = recorder.named("extract").try_into().unwrap();
    assert_eq!(extract.parent_span_id, job.span_context.span_id());
}

#[test]
fn the_producer_decides_whether_its_job_is_traced() {
    let (traces, recorder) = traces();
    let quiet = item(&traces, job("j1", Some(&parent("b7ad6b7169203331", "00"))));
    assert!(quiet.span.is_none());
    assert!(StageSpan::begin(Stage::Write, &[quiet]).is_none());
    let alone = item(&traces, job("j2", None));
    alone.span.unwrap().end();
    let [root] = recorder.named("process companies").try_into().unwrap();
    assert_eq!(root.parent_span_id, SpanId::INVALID);
}

#[test]
fn a_failure_is_told_without_what_the_record_holds() {
    let (traces, recorder) = traces();
    let failure = Failure::permanent(FailureKind::Record, "table t, column d: \"secret 42\" is no date");
    let span = item(&traces, job("j1", None)).span.unwrap();
    span.extract().end(Some(&failure));
    span.note(&JobOutcome::Failed(failure));
    span.end();
    for name in ["process companies", "extract"] {
        let [span] = recorder.named(name).try_into().unwrap();
        assert_eq!(text(&span, "error.type"), "record");
        let told = "the recipe does not fit the record; the failed registry has the details";
        assert_eq!(span.status, Status::error(told));
        assert!(!format!("{span:?}").contains("secret"), "{span:?}");
    }
}

#[test]
fn a_write_links_to_all_its_jobs_and_they_to_it() {
    let (traces, recorder) = traces();
    let parents = ["00000000000000a1", "00000000000000a2"].map(|span| parent(span, "01"));
    let mut items: Vec<BatchItem> = parents.iter().map(|parent| item(&traces, job("j", Some(parent)))).collect();
    items.push(item(&traces, job("quiet", Some(&parent("00000000000000a3", "00")))));
    let write = StageSpan::begin(Stage::Write, &items).unwrap();
    write.end(Some(("unavailable", "PostgreSQL at db is not available: refused".into())));
    for span in items.iter().filter_map(|item| item.span.as_deref()) {
        span.end();
    }
    let [write] = recorder.named("write").try_into().unwrap();
    let jobs = recorder.named("process companies");
    let ids: Vec<SpanId> = jobs.iter().map(|job| job.span_context.span_id()).collect();
    let linked: Vec<SpanId> = write.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, ids);
    assert_eq!(write.parent_span_id, ids[0]);
    assert_eq!(text(&write, "messaging.batch.message_count"), "3");
    assert_eq!(write.status, Status::error("PostgreSQL at db is not available: refused"));
    assert_eq!(jobs[0].links.len(), 0, "it has the write below it");
    assert_eq!(jobs[1].links[0].span_context.span_id(), write.span_context.span_id());
    let events: Vec<&str> = jobs[1].events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["write began", "write ended"]);
}
