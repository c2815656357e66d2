//! What a queue is, as a worker or a scaler is told: protocol, names, lease, retry and limits.

use std::time::Duration;

use jobqueue_api::{Order, PayloadLimits, Protocol, QueueSettings, RetrySpec};

/// A queue (or several) on one Redis.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// The wire format.
    pub protocol: Protocol,
    /// RQ queue names, or Redis keys for `List` and `Stream`.
    pub names: Vec<String>,
    /// Which of them is served first.
    pub order: Order,
    /// RQ's key prefix (`rq` unless the producers set `RQ_KEY_PREFIX`).
    pub key_prefix: String,
    /// How long a claim stays ours without a heartbeat. Heartbeats go out every third of it.
    pub lease: Duration,
    /// What happens to a job that failed, or whose worker died, when the producer said nothing about retries.
    pub retry: RetryPolicy,
    /// Bounds on what a payload may make us allocate.
    pub limits: PayloadLimits,
    /// Lifetime of a finished job's record when the producer set none (RQ's default is 500 s).
    pub result_ttl: Duration,
    /// Lifetime of a failed job's record when the producer set none (RQ's default is one year).
    pub failure_ttl: Duration,
    /// Unique per start of the worker process: pod (or host) name plus a suffix.
    pub worker_name: String,
    /// Jobs (or batches) this worker runs at once; written into its record for whoever scales it.
    pub concurrency: u32,
    /// `Stream` only: the consumer group.
    pub consumer_group: String,
    /// Whether a claim looks for the producer's [`crate::TraceContext`] in each job.
    pub with_trace_context: bool,
}

impl QueueConfig {
    /// The defaults for `names` served by `worker_name`.
    pub fn new(protocol: Protocol, names: Vec<String>, worker_name: impl Into<String>) -> Self {
        Self::from_settings(QueueSettings::new(protocol, names), RetrySpec::default(), worker_name)
    }

    /// A queue as a worker's config file describes it, served by `worker_name`.
    pub fn from_settings(settings: QueueSettings, retry: RetrySpec, worker_name: impl Into<String>) -> Self {
        Self {
            protocol: settings.protocol,
            names: settings.names,
            order: settings.order,
            key_prefix: settings.key_prefix,
            lease: seconds(settings.lease_seconds),
            retry: retry.into(),
            limits: settings.limits,
            result_ttl: seconds(settings.result_ttl_seconds),
            failure_ttl: seconds(settings.failure_ttl_seconds),
            worker_name: worker_name.into(),
            concurrency: 1,
            consumer_group: settings.consumer_group,
            with_trace_context: false,
        }
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.into())
}

/// Exponential backoff with jitter: the n-th retry waits `backoff * 2^(n-1)`, at most `max_backoff`, times a random
/// factor in [0.5, 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Runs of a job altogether before it goes to the failed registry; a crash of its worker counts as one.
    pub max_attempts: u32,
    /// Wait before the first retry.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// The wait after attempt number `attempt` (from 1) failed; `random` is from [0, 1).
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let doubled = self.backoff.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        doubled.min(self.max_backoff).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

impl From<RetrySpec> for RetryPolicy {
    fn from(spec: RetrySpec) -> Self {
        Self {
            max_attempts: spec.max_attempts,
            backoff: seconds(spec.backoff_seconds),
            max_backoff: seconds(spec.max_backoff_seconds),
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetrySpec::default().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let policy =
            RetryPolicy { max_attempts: 5, backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(5) };
        let waits = [1, 2, 3, 4, 400].map(|attempt| policy.delay(attempt, 1.0).as_secs());
        assert_eq!(waits, [1, 2, 4, 5, 5]);
        assert_eq!(policy.delay(2, 0.0), Duration::from_secs(1));
    }
}
