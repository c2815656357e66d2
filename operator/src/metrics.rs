//! Prometheus metrics of the operator. Labels are closed sets, or the name of a queue.

use std::{
    fmt,
    io::Write as _,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use flate2::{Compression, write::GzEncoder};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use crate::state::{
    health::Reachability, key::Key, observed::QueueSnapshot, queue_state::QueueState, registry::Registry as Queues,
};

/// The outcome of a reconcile: `ok`, or the category of its error.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OutcomeLabels {
    /// A closed set, see `reconciler::error::Error::category`.
    pub(crate) outcome: &'static str,
}

/// A write to the API server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ApiLabels {
    /// `create`, `patch`, `update` or `delete`.
    pub(crate) method: &'static str,
    /// The resource, with its subresource.
    pub(crate) resource: String,
    /// The HTTP status of the answer; 0 without one.
    pub(crate) code: u16,
}

/// A change of the number of workers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DecisionLabels {
    /// Why: the decision's reason.
    pub(crate) reason: String,
    /// `up` or `down`.
    pub(crate) direction: &'static str,
}

/// The numbers of the queues, read from the registry at each scrape: kept beside it, they would cost a kilobyte of memory a
/// queue, and a write in every poll.
#[derive(Debug, Clone, Default)]
struct OfQueues(Arc<Mutex<Weak<Queues>>>);

/// The value of one gauge for a queue; `None` while it is not known.
type Read = fn(&QueueState) -> Option<f64>;

/// One of the gauges that every queue has.
type Registered = (&'static str, &'static str, Option<Unit>, Read);

fn gauges() -> [Registered; 8] {
    fn register(name: &'static str, help: &'static str, read: Read) -> Registered {
        (name, help, None, read)
    }
    fn register_with_unit(name: &'static str, help: &'static str, unit: Unit, read: Read) -> Registered {
        (name, help, Some(unit), read)
    }
    // None before the first poll.
    fn seen(queue: &QueueState, read: impl Fn(&QueueSnapshot) -> f64) -> Option<f64> {
        queue.observed.snapshot.as_ref().map(read)
    }
    let reachable: Read = |queue| {
        let is_reachable = queue.observed.queue == Reachability::Reachable;
        queue.scaling.decision.as_ref().map(|_| f64::from(u8::from(is_reachable)))
    };
    let waiting: Read = |queue| seen(queue, |snapshot| snapshot.backlog.waiting as f64);
    let running: Read = |queue| seen(queue, |snapshot| snapshot.backlog.running as f64);
    let failed: Read = |queue| seen(queue, |snapshot| snapshot.failed as f64);
    let oldest: Read = |queue| seen(queue, |snapshot| snapshot.backlog.oldest_wait_seconds.unwrap_or(0.0));
    let arrivals: Read = |queue| queue.observed.snapshot.as_ref()?.arrivals_per_second;
    let completions: Read = |queue| queue.observed.snapshot.as_ref()?.completions_per_second;
    let desired: Read = |queue| queue.scaling.decision.as_ref().map(|decision| f64::from(decision.replicas));
    [
        register("queue_reachable", "1 while the Redis of the queue answers", reachable),
        register("queue_waiting", "Jobs that wait", waiting),
        register("queue_running", "Jobs that run", running),
        register("queue_failed", "Jobs in the failed registry", failed),
        register_with_unit("queue_oldest_wait", "How long the oldest job has waited", Unit::Seconds, oldest),
        register("queue_arrivals_per_second", "Jobs that arrive, per second", arrivals),
        register("queue_completions_per_second", "Jobs that end, per second", completions),
        register("queue_desired_workers", "Workers asked for", desired),
    ]
}

impl OfQueues {
    /// The conditions. They are copied first: a hundred thousand lines are written without the registry's lock.
    fn encode_conditions(encoder: &mut DescriptorEncoder, queues: Option<&Queues>) -> std::fmt::Result {
        let help = "1 while the condition of the JobQueue is True, 0 while it is False, for this reason";
        let mut family = encoder.encode_descriptor("queue_condition", help, None, MetricType::Gauge)?;
        for (key, conditions) in queues.map(Queues::reported_conditions).unwrap_or_default() {
            let namespace = key.namespace.as_deref().unwrap_or_default();
            for (kind, holds, reason) in conditions.iter() {
                let (kind, reason): (&str, &str) = (kind.into(), reason.into());
                let name = key.name.as_str();
                let labels = [("namespace", namespace), ("jobqueue", name), ("condition", kind), ("reason", reason)];
                ConstGauge::new(f64::from(u8::from(holds))).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

impl Collector for OfQueues {
    fn encode(&self, mut encoder: DescriptorEncoder) -> std::fmt::Result {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        Self::encode_conditions(&mut encoder, queues.as_deref())?;
        for (name, help, unit, read) in gauges() {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            let mut outcome = Ok(());
            let mut encode = |key: &Key, queue: &QueueState| {
                if let (Some(value), Ok(())) = (read(queue), outcome) {
                    let namespace = key.namespace.as_deref().unwrap_or_default();
                    let labels = [("namespace", namespace), ("jobqueue", key.name.as_str())];
                    outcome = family.encode_family(&labels).and_then(|gauge| ConstGauge::new(value).encode(gauge));
                }
            };
            if let Some(queues) = &queues {
                queues.each(&mut encode);
            }
            outcome?;
        }
        Ok(())
    }
}

/// All metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by outcome.
    pub(crate) reconciles: Family<OutcomeLabels, Counter>,
    /// Seconds of one reconcile.
    pub(crate) reconcile_seconds: Histogram,
    /// Writes to the API server.
    pub(crate) api_writes: Family<ApiLabels, Counter>,
    /// Seconds of one poll of all queues of one Redis.
    pub(crate) sweep_seconds: Histogram,
    /// Seconds from the poll that saw a need to the API server's acknowledgement of the new number.
    pub(crate) reaction_seconds: Histogram,
    /// Changes of numbers of workers, by reason and direction.
    pub(crate) scalings: Family<DecisionLabels, Counter>,
    /// 1 while this operator leads.
    pub(crate) leading: Gauge,
    /// Spans of traces that no collector received.
    pub(crate) spans_dropped: Counter,
    of_queues: OfQueues,
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
            spans_dropped: Counter::default(),
            of_queues: OfQueues::default(),
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
        let help = "Duration of one poll of all queues of one Redis";
        registry.register_with_unit("sweep", help, unit(), self.sweep_seconds.clone());
        let help = "From the poll that saw a need to the acknowledged change of the number of workers";
        registry.register_with_unit("reaction", help, unit(), self.reaction_seconds.clone());
        registry.register("scalings", "Changes of the number of workers by reason", self.scalings.clone());
        registry.register("leading", "1 while this operator leads", self.leading.clone());
        let help = "Spans of traces that were dropped: the collector was away, or too slow";
        registry.register("spans_dropped", help, self.spans_dropped.clone());
        registry.register_collector(Box::new(self.of_queues.clone()));
    }

    /// Shows these queues from now on, as long as they are served.
    pub(crate) fn follow(&self, queues: &Arc<Queues>) {
        *self.of_queues.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(queues);
    }

    /// Shows no queue any more: another operator leads now.
    pub(crate) fn forget_queues(&self) {
        *self.of_queues.0.lock().unwrap_or_else(PoisonError::into_inner) = Weak::new();
    }

    /// The text that Prometheus scrapes.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a String does not fail");
        text
    }

    /// The same, compressed while it is written: of ten thousand queues the text alone would take ten megabytes.
    pub(crate) fn gzip(&self) -> Vec<u8> {
        let mut writer = Gzip(GzEncoder::new(Vec::new(), Compression::fast()));
        encode(&mut writer, &self.registry).expect("writing to memory does not fail");
        writer.0.finish().expect("writing to memory does not fail")
    }
}

struct Gzip(GzEncoder<Vec<u8>>);

impl fmt::Write for Gzip {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::state::{
        key::Uid,
        owners::Owners,
        spec::Initial,
        testing::{condition, snapshot, spec},
    };

    #[test]
    fn queues_are_shown_while_they_are_followed() {
        let metrics = Metrics::new();
        let Owners { reconciler, autoscaler, registry, .. } = Owners::new();
        metrics.follow(&registry);
        let key = Key::new("b").within("a");
        reconciler.serve(&key, Uid::default(), spec("redis://r:6379/0"), Initial::default());
        assert!(!metrics.text().contains("jobqueue=\"b\""), "not polled yet");
        autoscaler.update(&key, |queue| queue.observed.snapshot = Some(snapshot(3)));
        assert!(metrics.text().contains(r#"jobqueue_operator_queue_waiting{namespace="a",jobqueue="b"} 3"#));
        reconciler.forget(&key);
        assert!(!metrics.text().contains("jobqueue=\"b\""));
    }

    #[test]
    fn each_known_condition_has_a_series_with_its_reason() {
        let metrics = Metrics::new();
        let Owners { reconciler, status, registry, .. } = Owners::new();
        metrics.follow(&registry);
        let key = Key::new("b").within("a");
        status.record_conditions(&key, &[condition("Stalled", "True", "SecretNotFound")]);
        let series = r#"jobqueue_operator_queue_condition{namespace="a",jobqueue="b",condition="Stalled",reason="#;
        assert!(metrics.text().contains(&format!("{series}\"SecretNotFound\"}} 1")), "also of one that is not served");
        status.record_conditions(&key, &[condition("Stalled", "False", "AsSpecified")]);
        let text = metrics.text();
        assert!(text.contains(&format!("{series}\"AsSpecified\"}} 0")) && text.matches(series).count() == 1, "{text}");
        let gone = reconciler.retain(|_| false);
        assert_eq!(gone.len(), 1);
        assert!(!metrics.text().contains(series));
    }

    #[test]
    fn compressed_it_says_the_same() {
        let metrics = Metrics::new();
        metrics.leading.set(1);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&*metrics.gzip()).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, metrics.text());
    }
}
