//! Traces for OpenTelemetry, for worker, operator and command: whether and where they go (`environment`), and a way there that
//! never holds up the program (`export`). Which spans there are, each program says itself.

mod environment;
mod export;
#[cfg(test)]
mod tests;

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, SpanProcessor};

/// How long a program that ends waits for a collector that takes its time.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// What a program says of itself in each of its traces.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `service.name`, which is also the name of its tracer.
    pub service: &'static str,
    /// `service.instance.id`: which of several.
    pub instance: String,
    /// Further attributes.
    pub attributes: Vec<(&'static str, String)>,
    /// Links that a span may have, if the environment does not say and the library's number is smaller.
    pub links: usize,
}

/// Where spans are made.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Hands each span that ends to `processor`, for tests.
    pub fn to_processor(processor: impl SpanProcessor + 'static) -> Self {
        Self::new(SdkTracerProvider::builder().with_span_processor(processor).build(), "test")
    }

    fn new(provider: SdkTracerProvider, service: &'static str) -> Self {
        let tracer = provider.tracer(service);
        Self { provider, tracer }
    }

    /// What begins spans.
    pub const fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Sends what is left, for [`LAST_FLUSH`] at most; not at all to a collector that did not answer lately.
    pub async fn finish(&self) {
        let provider = self.provider.clone();
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_FLUSH));
        if !matches!(tokio::time::timeout(LAST_FLUSH, flush).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}
