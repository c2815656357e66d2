//! What the worker shows of itself: shared by its tasks, which write here, and by the HTTP server, which reads.

use std::sync::Arc;

use crate::drain::Stop;
use crate::gate::Gate;
use crate::health::{Health, NotReady};
use crate::metrics::Metrics;

/// One set per process; clones show the same.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// Alive, registered, Redis there.
    pub health: Arc<Health>,
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// Whether the database takes rows.
    pub gate: Arc<Gate>,
    /// Whether the worker was asked to stop.
    pub stop: Stop,
}

impl Instruments {
    /// Nothing is known yet.
    pub fn new(health: Health, stop: Stop) -> Self {
        Self { health: Arc::new(health), metrics: Arc::default(), gate: Arc::default(), stop }
    }

    /// Nothing while the worker can work, else the first reason why it cannot.
    pub fn not_ready(&self) -> Option<NotReady> {
        self.health.not_ready(self.gate.is_open(), self.stop.is_draining())
    }
}
