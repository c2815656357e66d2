//! What a collector that is away or slow does to a program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::trace::{Span, Tracer};
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prometheus_client::metrics::counter::Counter;

use super::Traces;
use super::export::{BoundedProcessor, ExportState};

/// A collector that refuses once, if it does, and then never answers.
#[derive(Debug)]
struct Collector {
    refuses: AtomicBool,
}

impl SpanExporter for Collector {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        if self.refuses.swap(false, Ordering::SeqCst) {
            return Err(OTelSdkError::InternalFailure("refused".into()));
        }
        std::future::pending().await
    }
}

fn sending_to_collector(refuses: bool, most: usize) -> (Traces, Counter) {
    let (dropped, collector) = (Counter::default(), Collector { refuses: refuses.into() });
    let processor = BoundedProcessor::new(&ExportState::new(most, dropped.clone()), collector);
    (Traces::to_processor(processor), dropped)
}

fn end_spans(traces: &Traces, number: usize) {
    for _ in 0..number {
        traces.tracer().start("span").end();
    }
}

#[tokio::test]
async fn a_collector_that_hangs_costs_a_bounded_queue_and_a_bounded_wait() {
    let (traces, dropped) = sending_to_collector(false, 10);
    end_spans(&traces, 25);
    assert_eq!(dropped.get(), 15, "ten wait, the others are counted");
    let began = Instant::now();
    traces.finish().await;
    assert!(began.elapsed() < super::LAST_FLUSH + Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_collector_that_refused_the_last_time_costs_no_time_at_the_end() {
    let (traces, dropped) = sending_to_collector(true, 100);
    end_spans(&traces, 5);
    let _ = traces.provider.force_flush();
    assert_eq!(dropped.get(), 5);
    end_spans(&traces, 5);
    let began = Instant::now();
    traces.finish().await;
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
}
