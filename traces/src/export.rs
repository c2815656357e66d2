//! The way of spans to the collector: a bounded queue, a thread that sends them, and a count of those that are lost. A
//! collector that is away, or slow, holds up nothing else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::Context;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;

/// What is known of the way to the collector.
#[derive(Debug)]
pub(super) struct ExportState {
    /// Spans that ended and are not sent.
    waiting: AtomicUsize,
    most: usize,
    /// The last attempt to send failed.
    away: AtomicBool,
    dropped: Counter,
    /// Why the last attempt failed, where the network was the reason.
    cause: Mutex<String>,
}

impl ExportState {
    /// For at most `most` spans that wait; `dropped` counts those that are lost.
    pub(super) fn new(most: usize, dropped: Counter) -> Arc<Self> {
        let (waiting, away) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Self { waiting, most, away, dropped, cause: Mutex::default() })
    }

    /// Whether there is room for one more, which then waits.
    fn enter(&self) -> bool {
        let room = |waiting: usize| (waiting < self.most).then_some(waiting + 1);
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).is_ok();
        if !entered {
            self.dropped.inc();
        }
        entered
    }

    /// Notes that so many were sent, or lost.
    fn leave(&self, spans: usize, result: &OTelSdkResult) {
        self.waiting.fetch_sub(spans, Ordering::AcqRel);
        let was_away = self.away.swap(result.is_err(), Ordering::AcqRel);
        match result {
            Ok(()) if was_away => tracing::info!("the collector takes traces again"),
            Ok(()) => {}
            Err(error) => {
                self.dropped.inc_by(spans as u64);
                if !was_away {
                    let cause = std::mem::take(&mut *self.cause());
                    tracing::warn!(%error, cause, "the collector does not take traces: spans are dropped, all else goes on");
                }
            }
        }
    }

    fn cause(&self) -> std::sync::MutexGuard<'_, String> {
        self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue of spans, which drops what does not fit and counts it.
#[derive(Debug)]
pub(super) struct BoundedProcessor {
    state: Arc<ExportState>,
    inner: BatchSpanProcessor,
}

impl BoundedProcessor {
    /// Sends with `exporter`, from a thread of its own.
    pub(super) fn new(state: &Arc<ExportState>, exporter: impl SpanExporter + 'static) -> Self {
        let exporter = Counted { state: Arc::clone(state), inner: exporter };
        // The queue of the library never overflows: ours counts what is in it, and is not longer.
        let config = BatchConfigBuilder::default().with_max_queue_size(state.most).build();
        let inner = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        Self { state: Arc::clone(state), inner }
    }
}

impl SpanProcessor for BoundedProcessor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.state.enter() {
            self.inner.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    /// Sends what waits, unless the collector did not answer the last time.
    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        if self.state.away.load(Ordering::Acquire) {
            return Ok(());
        }
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// An exporter that notes what became of each batch.
#[derive(Debug)]
struct Counted<E> {
    state: Arc<ExportState>,
    inner: E,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.state.leave(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The HTTP client for the thread that sends spans: it runs where all other I/O of the program does.
#[derive(Debug)]
pub(super) struct OnRuntime {
    pub(super) runtime: Handle,
    pub(super) client: reqwest::Client,
    pub(super) state: Arc<ExportState>,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let answer = self.runtime.spawn(async move { client.send_bytes(request).await }).await?;
        if let Err(error) = &answer {
            *self.state.cause() = cause_of(&**error);
        }
        answer
    }
}

/// The innermost cause. Not the error itself, which has the URL of the collector in it: that may hold a password.
fn cause_of(error: &(dyn std::error::Error + 'static)) -> String {
    let innermost = std::iter::successors(error.source(), |error| error.source()).last();
    innermost.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
