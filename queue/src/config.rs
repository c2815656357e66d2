//! What a queue is, as a worker or a scaler is told: protocol, names, lease, retry and limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The wire format the producers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
pub enum Protocol {
    /// Python RQ, 2.x and 3.0.
    #[serde(rename = "RQ")]
    #[strum(serialize = "RQ")]
    Rq,
    /// A Redis list; each element is one record. Producers `RPUSH`, workers take from the left.
    List,
    /// A Redis stream read through a consumer group.
    Stream,
}

/// Which of several queues a claim asks first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// The earlier name, as long as it has jobs.
    #[default]
    Strict,
    /// The one behind the one that gave the last job.
    RoundRobin,
    /// Any.
    Random,
}

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
}

impl QueueConfig {
    /// The defaults for `names` served by `worker_name`.
    pub fn new(protocol: Protocol, names: Vec<String>, worker_name: impl Into<String>) -> Self {
        Self {
            protocol,
            names,
            order: Order::default(),
            key_prefix: "rq".into(),
            lease: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            limits: PayloadLimits::default(),
            result_ttl: Duration::from_secs(500),
            failure_ttl: Duration::from_secs(31_536_000),
            worker_name: worker_name.into(),
            concurrency: 1,
            consumer_group: "jobqueue".into(),
        }
    }
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

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_attempts: 5, backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(300) }
    }
}

/// Bounds on a payload, so that one hostile job cannot take the worker down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadLimits {
    /// Bytes as stored in Redis.
    pub max_bytes: usize,
    /// Bytes after inflating.
    pub max_inflated_bytes: usize,
    /// Nesting of containers.
    pub max_depth: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_inflated_bytes: 64 << 20, max_depth: 128 }
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
