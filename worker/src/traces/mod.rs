//! Traces of jobs: one span per job, from the claim to the recorded outcome, below the span of its producer. Off unless the
//! environment says where traces go; then nothing here runs, and jobs carry no span.
//!
//! Spans have the names of queues and tables' errors as a kind, never what a record holds: that stays in the failed registry.

mod spans;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jobqueue_queue::Protocol;
use prometheus_client::metrics::counter::Counter;

pub(crate) use spans::{JobSpan, Stage, StageSpan};

use crate::pipeline::batch::Batch;

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

/// Where spans of jobs are made.
#[derive(Debug)]
pub(crate) struct Traces {
    spans: jobqueue_traces::Traces,
    /// `messaging.system`.
    system: &'static str,
}

impl Traces {
    /// As the environment says; `None` if it names no collector, or something that cannot be done. Needs a runtime.
    pub(crate) fn from_environment(identity: &Identity, dropped: &Counter) -> Option<Self> {
        let Identity { name, worker, protocol, batch_size } = identity;
        let program = jobqueue_traces::Identity {
            service: "jobqueue-worker",
            instance: worker.clone(),
            attributes: vec![("jobqueue.name", name.clone())],
            links: *batch_size,
        };
        Some(Self::new(jobqueue_traces::Traces::logged_from_environment(&program, dropped)?, *protocol))
    }

    const fn new(spans: jobqueue_traces::Traces, protocol: Protocol) -> Self {
        let system = match protocol {
            Protocol::Rq => "rq",
            Protocol::List | Protocol::Stream => "redis",
        };
        Self { spans, system }
    }

    /// Begins the spans of a batch's jobs; those that are not sampled have none.
    pub(crate) fn begin(&self, batch: &mut Batch) {
        for item in &mut batch.items {
            item.span =
                JobSpan::begin(self.spans.tracer(), self.system, &item.delivery, batch.started_at).map(Arc::new);
        }
    }

    /// Sends what is left, within seconds.
    pub(crate) async fn finish(&self) {
        self.spans.finish().await;
    }
}
