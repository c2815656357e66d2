//! What the worker shows of itself: its tasks write here, the HTTP server and the status reporter read.

use std::sync::Arc;

use jobqueue_queue::WorkerFault;

use super::circuit_breaker::CircuitBreaker;
use super::health::{Health, NotReady};
use super::metrics::Metrics;
use super::shutdown::Shutdown;
use crate::traces::{Identity, Traces};

/// One set per process; clones share it.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// Alive, registered, Redis there.
    pub health: Arc<Health>,
    /// The numbers.
    pub(crate) metrics: Arc<Metrics>,
    /// Whether the database takes rows.
    pub circuit_breaker: Arc<CircuitBreaker>,
    /// Whether the worker was asked to end.
    pub(crate) shutdown: Shutdown,
    /// `None` unless jobs are traced.
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Instruments {
    /// Nothing is known yet.
    pub fn new(health: Health, shutdown: Shutdown) -> Self {
        let health = Arc::new(health);
        Self { health, metrics: Arc::default(), circuit_breaker: Arc::default(), shutdown, traces: None }
    }

    /// Traces jobs if the environment names a collector. Needs a runtime.
    #[must_use]
    pub fn with_traces_of_environment(self, identity: &Identity) -> Self {
        let traces = Traces::from_environment(identity, &self.metrics.spans_dropped).map(Arc::new);
        Self { traces, ..self }
    }

    /// Whether jobs are traced.
    pub const fn has_traces(&self) -> bool {
        self.traces.is_some()
    }

    /// Sends the spans that are left, within seconds.
    pub async fn finish_traces(&self) {
        if let Some(traces) = &self.traces {
            traces.finish().await;
        }
    }

    /// The first reason why the worker cannot work; `None` while it can.
    pub(crate) fn not_ready(&self) -> Option<NotReady> {
        self.health.not_ready(self.circuit_breaker.is_closed(), self.shutdown.is_draining())
    }

    /// What keeps the worker from its work: the database first, then Redis. `None` if nothing does.
    pub(crate) fn fault(&self) -> Option<WorkerFault> {
        self.circuit_breaker.fault().or_else(|| self.health.refusal())
    }
}
