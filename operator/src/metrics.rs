//! Prometheus metrics of the operator. Labels are closed sets, or the name of a queue.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::registry::Key;

/// One queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct QueueLabels {
    /// Namespace of the JobQueue.
    pub namespace: String,
    /// Its name.
    pub jobqueue: String,
}

impl QueueLabels {
    /// Of a queue.
    pub fn of(key: &Key) -> Self {
        Self { namespace: key.namespace.clone().unwrap_or_default(), jobqueue: key.name.clone() }
    }
}

/// The outcome of a reconcile: `ok`, or the category of its error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabels {
    /// A closed set, see `controller::Error::category`.
    pub outcome: &'static str,
}

/// A write to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ApiLabels {
    /// `create`, `patch`, `update` or `delete`.
    pub method: &'static str,
    /// The resource, with its subresource.
    pub resource: String,
    /// The HTTP status of the answer; 0 without one.
    pub code: u16,
}

/// A change of the number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabels {
    /// Why: the decision's reason.
    pub reason: String,
    /// `up` or `down`.
    pub direction: &'static str,
}

type QueueGauge = Family<QueueLabels, Gauge<f64, AtomicU64>>;

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by outcome.
    pub reconciles: Family<OutcomeLabels, Counter>,
    /// Seconds of one reconcile.
    pub reconcile_seconds: Histogram,
    /// Writes to the API server.
    pub api_writes: Family<ApiLabels, Counter>,
    /// Seconds of one look at all queues of one Redis.
    pub sweep_seconds: Histogram,
    /// Seconds from the sweep that saw a need to the API server's acknowledgement of the new number.
    pub reaction_seconds: Histogram,
    /// Changes of numbers of workers, by reason and direction.
    pub scalings: Family<DecisionLabels, Counter>,
    /// 1 while this operator leads.
    pub leading: Gauge,
    /// 1 while the queue's Redis answers.
    pub reachable: QueueGauge,
    /// Jobs waiting.
    pub waiting: QueueGauge,
    /// Jobs running.
    pub running: QueueGauge,
    /// Jobs in the failed registry.
    pub failed: QueueGauge,
    /// Seconds that the oldest job has waited.
    pub oldest_wait: QueueGauge,
    /// Workers asked for.
    pub desired: QueueGauge,
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Arc<Self> {
        let seconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let mut metrics = Self {
            registry: Registry::with_prefix("jobqueue_operator"),
            reconciles: Family::default(),
            reconcile_seconds: seconds(),
            api_writes: Family::default(),
            sweep_seconds: seconds(),
            reaction_seconds: seconds(),
            scalings: Family::default(),
            leading: Gauge::default(),
            reachable: Family::default(),
            waiting: Family::default(),
            running: Family::default(),
            failed: Family::default(),
            oldest_wait: Family::default(),
            desired: Family::default(),
        };
        metrics.register();
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("reconciles", "Reconciles by outcome", self.reconciles.clone());
        let unit = || Unit::Seconds;
        registry.register_with_unit("reconcile", "Duration of a reconcile", unit(), self.reconcile_seconds.clone());
        registry.register("api_writes", "Writes to the API server by resource and answer", self.api_writes.clone());
        let help = "Duration of one look at all queues of one Redis";
        registry.register_with_unit("sweep", help, unit(), self.sweep_seconds.clone());
        let help = "From the sweep that saw a need to the acknowledged change of the number of workers";
        registry.register_with_unit("reaction", help, unit(), self.reaction_seconds.clone());
        registry.register("scalings", "Changes of the number of workers by reason", self.scalings.clone());
        registry.register("leading", "1 while this operator leads", self.leading.clone());
        registry.register("queue_reachable", "1 while the Redis of the queue answers", self.reachable.clone());
        registry.register("queue_waiting", "Jobs that wait", self.waiting.clone());
        registry.register("queue_running", "Jobs that run", self.running.clone());
        registry.register("queue_failed", "Jobs in the failed registry", self.failed.clone());
        let help = "How long the oldest job has waited";
        registry.register_with_unit("queue_oldest_wait", help, unit(), self.oldest_wait.clone());
        registry.register("queue_desired_workers", "Workers asked for", self.desired.clone());
    }

    fn of_queues(&self) -> [&QueueGauge; 6] {
        [&self.reachable, &self.waiting, &self.running, &self.failed, &self.oldest_wait, &self.desired]
    }

    /// Drops the gauges of a queue that is gone.
    pub fn forget(&self, labels: &QueueLabels) {
        for family in self.of_queues() {
            family.remove(labels);
        }
    }

    /// Drops the gauges of all queues: another operator leads now.
    pub fn forget_all(&self) {
        for family in self.of_queues() {
            family.clear();
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_gone_leaves_no_gauge() {
        let metrics = Metrics::new();
        let labels = QueueLabels { namespace: "a".into(), jobqueue: "b".into() };
        metrics.waiting.get_or_create(&labels).set(3.0);
        assert!(metrics.text().contains(r#"jobqueue_operator_queue_waiting{namespace="a",jobqueue="b"} 3"#));
        metrics.forget(&labels);
        assert!(!metrics.text().contains("jobqueue=\"b\""));
    }
}
