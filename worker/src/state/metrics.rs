//! The numbers of a worker for Prometheus, all under `jobqueue_worker_`.

use std::fmt;
use std::sync::atomic::Ordering;

use jobqueue_ingest::SinkError;
use jobqueue_queue::{Maintenance, QueueError, Settled};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// The label `outcome`, from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// The label `class`, from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

/// The label `action`, from a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ActionLabel {
    action: &'static str,
}

/// All metrics, and the registry that prints them.
pub(crate) struct Metrics {
    registry: Registry,
    jobs: Family<OutcomeLabel, Counter>,
    failures: Family<ClassLabel, Counter>,
    already_applied: Counter,
    dropped: Counter,
    rows: Counter,
    /// Jobs that are being worked on.
    pub(crate) in_flight: Gauge,
    /// From the claim to the end of the write, each job's share of its batch.
    pub(crate) job_seconds: Histogram,
    /// From the producer's enqueue to the claim.
    pub(crate) queue_wait_seconds: Histogram,
    /// Jobs per write.
    pub(crate) batch_jobs: Histogram,
    /// One claim, of however many jobs.
    pub(crate) claim_seconds: Histogram,
    /// One extraction of a batch.
    pub(crate) extract_seconds: Histogram,
    /// One write of a batch.
    pub(crate) write_seconds: Histogram,
    /// One settlement of a batch.
    pub(crate) settle_seconds: Histogram,
    /// 1 while the database takes rows.
    pub(crate) database_up: Gauge,
    database_errors: Family<ClassLabel, Counter>,
    redis_errors: Family<ClassLabel, Counter>,
    maintained: Family<ActionLabel, Counter>,
    ledger_pruned: Counter,
    callbacks_skipped: Counter,
    /// Spans that no collector got.
    pub(crate) spans_dropped: Counter,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 18))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("jobqueue_worker"),
            jobs: Family::default(),
            failures: Family::default(),
            already_applied: Counter::default(),
            dropped: Counter::default(),
            rows: Counter::default(),
            in_flight: Gauge::default(),
            job_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 22)),
            queue_wait_seconds: Histogram::new(exponential_buckets(0.001, 3.0, 16)),
            batch_jobs: Histogram::new([1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0]),
            claim_seconds: seconds(),
            extract_seconds: seconds(),
            write_seconds: seconds(),
            settle_seconds: seconds(),
            database_up: Gauge::default(),
            database_errors: Family::default(),
            redis_errors: Family::default(),
            maintained: Family::default(),
            ledger_pruned: Counter::default(),
            callbacks_skipped: Counter::default(),
            spans_dropped: Counter::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.database_up.set(1);
        let to = &mut self.registry;
        to.register("build", "The version that runs", build);
        to.register("jobs", "Jobs by what the queue recorded for them", self.jobs.clone());
        to.register("job_failures", "Failed runs by the kind of failure", self.failures.clone());
        let help = "Jobs whose rows an earlier run had committed: the ledger prevented a second effect";
        to.register("jobs_already_applied", help, self.already_applied.clone());
        let help = "Ids taken from the queue whose record was gone or not runnable";
        to.register("jobs_dropped", help, self.dropped.clone());
        to.register("rows_written", "Rows committed, children included", self.rows.clone());
        to.register("jobs_in_flight", "Jobs in flight: claimed and not settled", self.in_flight.clone());
        let help = "Time from claim to commit, each job's share of its batch";
        to.register_with_unit("job_duration", help, Unit::Seconds, self.job_seconds.clone());
        let help = "Time from enqueue to claim, where the protocol says when a job was queued";
        to.register_with_unit("queue_wait", help, Unit::Seconds, self.queue_wait_seconds.clone());
        to.register("batch_jobs", "Jobs per write to the database", self.batch_jobs.clone());
        to.register_with_unit("claim", "Duration of a claim", Unit::Seconds, self.claim_seconds.clone());
        let help = "Duration of turning a batch into rows";
        to.register_with_unit("extract", help, Unit::Seconds, self.extract_seconds.clone());
        let help = "Duration of writing a batch to the database";
        to.register_with_unit("write", help, Unit::Seconds, self.write_seconds.clone());
        let help = "Duration of recording a batch's outcomes in Redis";
        to.register_with_unit("settle", help, Unit::Seconds, self.settle_seconds.clone());
        to.register("database_up", "1 while the database takes rows", self.database_up.clone());
        let help = "Failures of the database as a whole, by class";
        to.register("database_errors", help, self.database_errors.clone());
        to.register("redis_errors", "Failed operations on Redis, by class", self.redis_errors.clone());
        let help = "What this worker's maintenance did to the queues, by action";
        to.register("maintained_jobs", help, self.maintained.clone());
        to.register("ledger_entries_pruned", "Old ledger entries removed", self.ledger_pruned.clone());
        let help = "Callbacks of jobs that were skipped because they are code in another language";
        to.register("callbacks_skipped", help, self.callbacks_skipped.clone());
        let help = "Spans of traces that were dropped: the collector was away, or too slow";
        to.register("spans_dropped", help, self.spans_dropped.clone());
    }

    /// Counts what the queue recorded for a job.
    pub(crate) fn settled(&self, settled: Settled) {
        let outcome = match settled {
            Settled::Finished => "finished",
            Settled::Retried => "retried",
            Settled::Failed => "failed",
            Settled::Released => "released",
            Settled::Stopped => "stopped",
            Settled::NotOwned => "not_owned",
        };
        self.count(outcome, 1);
    }

    /// Counts jobs that were lost to another worker before they were written.
    pub(crate) fn lost(&self, jobs: usize) {
        self.count("lost", jobs as u64);
    }

    fn count(&self, outcome: &'static str, jobs: u64) {
        self.jobs.get_or_create(&OutcomeLabel { outcome }).inc_by(jobs);
    }

    /// Counts a failed run by the kind of its failure.
    pub(crate) fn failed(&self, kind: &'static str) {
        self.failures.get_or_create(&ClassLabel { class: kind }).inc();
    }

    /// Counts committed rows.
    pub(crate) fn applied(&self, rows: u64) {
        self.rows.inc_by(rows);
    }

    /// Counts a run that found its effect committed.
    pub(crate) fn already_applied(&self) {
        self.already_applied.inc();
    }

    /// Counts ids that the claim dropped.
    pub(crate) fn dropped(&self, ids: usize) {
        self.dropped.inc_by(ids as u64);
    }

    /// Counts a failure of the database.
    pub(crate) fn database_failed(&self, error: &SinkError) {
        self.database_errors.get_or_create(&ClassLabel { class: class_of(error) }).inc();
    }

    /// Counts a failed operation on Redis.
    pub(crate) fn redis_failed(&self, error: &QueueError) {
        let class = match error {
            QueueError::Unavailable { .. } => "unavailable",
            QueueError::Denied { .. } => "denied",
            QueueError::Data(_) => "data",
            QueueError::Config(_) => "config",
        };
        self.redis_errors.get_or_create(&ClassLabel { class }).inc();
    }

    /// Counts what maintenance did.
    pub(crate) fn maintained(&self, maintenance: Maintenance) {
        let Maintenance { reclaimed, abandoned, due, expired } = maintenance;
        let actions = [("reclaimed", reclaimed), ("abandoned", abandoned), ("due", due), ("expired", expired)];
        for (action, jobs) in actions {
            self.maintained.get_or_create(&ActionLabel { action }).inc_by(jobs);
        }
    }

    /// Counts pruned ledger entries.
    pub(crate) fn pruned(&self, entries: u64) {
        self.ledger_pruned.inc_by(entries);
    }

    /// Brings the count of skipped callbacks up to `total`.
    pub(crate) fn callbacks_skipped(&self, total: u64) {
        self.callbacks_skipped.inner().store(total, Ordering::Relaxed);
    }

    /// The text of `/metrics`.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

/// The label of a failure of the database.
pub(crate) const fn class_of(error: &SinkError) -> &'static str {
    match error {
        SinkError::Unavailable { .. } => "unavailable",
        SinkError::Unwritable { .. } => "unwritable",
        SinkError::Disconnected { .. } => "disconnected",
        SinkError::Denied { .. } => "denied",
        SinkError::SchemaMismatch { .. } => "misfit",
        SinkError::Config(_) => "config",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_prefix_and_help() {
        let metrics = Metrics::new();
        metrics.settled(Settled::Finished);
        metrics.failed("record");
        metrics.claim_seconds.observe(0.01);
        let text = metrics.text();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(line.starts_with("jobqueue_worker_"), "{line}");
        }
        assert!(text.contains("jobqueue_worker_jobs_total{outcome=\"finished\"} 1"), "{text}");
        assert!(text.contains("jobqueue_worker_claim_seconds_bucket"), "{text}");
        assert!(text.contains("jobqueue_worker_build_info{version="), "{text}");
        let types = text.lines().filter(|line| line.starts_with("# TYPE")).count();
        let helps = text.lines().filter(|line| line.starts_with("# HELP")).count();
        assert_eq!(types, helps);
    }
}
