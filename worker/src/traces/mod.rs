//! Traces for OpenTelemetry: one span per job, from the claim to the recorded outcome, below the span of its producer. Off
//! unless the environment says where traces go (`environment`); then nothing here runs, and jobs carry no span.
//!
//! Spans have the names of queues and tables' errors as a kind, never what a record holds: that stays in the failed registry.

mod environment;
mod export;
mod spans;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jobqueue_queue::Protocol;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

pub(crate) use spans::{JobSpan, Stage, StageSpan};

use crate::pipeline::batch::Batch;

/// How long a worker that ends waits for a collector that takes its time.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// What a worker says of itself in each of its traces.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name of the config, which is that of the JobQueue.
    pub name: String,
    /// The unique name of this worker.
    pub worker: String,
    /// What its jobs come from.
    pub protocol: Protocol,
    /// Jobs of one write at most.
    pub batch_size: usize,
}

/// Where spans are made.
#[derive(Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    /// `messaging.system`.
    system: &'static str,
}

impl Traces {
    fn new(provider: SdkTracerProvider, protocol: Protocol) -> Self {
        let tracer = provider.tracer("jobqueue-worker");
        let system = match protocol {
            Protocol::Rq => "rq",
            Protocol::List | Protocol::Stream => "redis",
        };
        Self { provider, tracer, system }
    }

    /// Begins the spans of a batch's jobs; those that are not sampled have none.
    pub(crate) fn begin(&self, batch: &mut Batch) {
        for item in &mut batch.items {
            item.span = JobSpan::begin(&self.tracer, self.system, &item.delivery, batch.started_at).map(Arc::new);
        }
    }

    /// Sends what is left, for [`LAST_FLUSH`] at most; not at all to a collector that did not answer lately.
    pub(crate) async fn finish(&self) {
        let provider = self.provider.clone();
        let flush = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(LAST_FLUSH));
        if !matches!(tokio::time::timeout(LAST_FLUSH, flush).await, Ok(Ok(Ok(())))) {
            tracing::warn!("the collector did not take the last spans in time");
        }
    }
}
