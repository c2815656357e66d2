//! The `queue` and `retry` sections: the backlog, its wire format, and what happens to a job that fails.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use crate::rule;

/// The backlog, without its Redis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct QueueSettings {
    /// The wire format that the producers speak: RQ (Python RQ), List (a Redis list, each element one record) or Stream
    /// (a Redis stream, read through a consumer group). It cannot be changed later: make a new JobQueue instead.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = [
        rule("self == oldSelf", "protocol is immutable: make a new JobQueue instead"),
    ])))]
    pub protocol: Protocol,
    /// RQ queue names, or Redis keys for List and Stream. Which is served first says order; their backlogs add up.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 32), inner(length(min = 1, max = 512))))]
    pub names: Vec<String>,
    /// Which of several names a worker asks first at each claim of up to worker.batchSize jobs: Strict (the earlier name, as
    /// long as it has jobs), `RoundRobin` (the one behind the one that gave the last job) or Random.
    #[serde(default)]
    pub order: Order,
    /// RQ only: the prefix of all keys, as the producers set it with `RQ_KEY_PREFIX`.
    #[serde(default = "default_key_prefix")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 253)))]
    pub key_prefix: String,
    /// How long a claimed job stays with a worker that sends no heartbeat, in seconds. A crashed worker's jobs run
    /// again after this time.
    #[serde(default = "default_lease")]
    #[cfg_attr(feature = "schema", schemars(range(min = 3, max = 86400)))]
    pub lease_seconds: u32,
    /// How long a finished job's record is kept if the producer did not say, in seconds (RQ only).
    #[serde(default = "default_result_ttl")]
    pub result_ttl_seconds: u32,
    /// How long a failed job's record is kept if the producer did not say, in seconds.
    #[serde(default = "default_failure_ttl")]
    pub failure_ttl_seconds: u32,
    /// Stream only: the consumer group.
    #[serde(default = "default_consumer_group")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 253)))]
    pub consumer_group: String,
    /// Bounds on a payload, so that a hostile one cannot take a worker down.
    #[serde(default)]
    pub limits: PayloadLimits,
}

impl QueueSettings {
    /// These queues, and the defaults for everything else.
    pub fn new(protocol: Protocol, names: Vec<String>) -> Self {
        Self {
            protocol,
            names,
            order: Order::default(),
            key_prefix: default_key_prefix(),
            lease_seconds: default_lease(),
            result_ttl_seconds: default_result_ttl(),
            failure_ttl_seconds: default_failure_ttl(),
            consumer_group: default_consumer_group(),
            limits: PayloadLimits::default(),
        }
    }
}

/// The wire format that the producers speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum Protocol {
    /// Python RQ, 2.x and 3.0.
    #[default]
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
#[cfg_attr(feature = "schema", derive(JsonSchema))]
pub enum Order {
    /// The earlier name, as long as it has jobs.
    #[default]
    Strict,
    /// The one behind the one that gave the last job.
    RoundRobin,
    /// Any.
    Random,
}

/// Bounds on a payload; a job over a limit fails with a message that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct PayloadLimits {
    /// Bytes as stored in Redis.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 536_870_912)))]
    pub max_bytes: usize,
    /// Bytes after inflating.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 2_147_483_648_u64)))]
    pub max_inflated_bytes: usize,
    /// Nesting of lists and objects.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1024)))]
    pub max_depth: usize,
}

impl Default for PayloadLimits {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_inflated_bytes: 64 << 20, max_depth: 128 }
    }
}

/// What happens to a job that fails, or whose worker dies, when its producer said nothing about retries: exponential
/// backoff with jitter, then the failed registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
#[cfg_attr(feature = "schema", schemars(extend("x-kubernetes-validations" = [
    rule("self.backoffSeconds <= self.maxBackoffSeconds", "backoffSeconds may not exceed maxBackoffSeconds"),
])))]
pub struct RetrySpec {
    /// Runs of a job altogether; a crash of its worker counts as one.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub max_attempts: u32,
    /// The wait before the first retry, in seconds; it doubles with each.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 86400)))]
    pub backoff_seconds: u32,
    /// The longest wait, in seconds.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 604_800)))]
    pub max_backoff_seconds: u32,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self { max_attempts: 5, backoff_seconds: 1, max_backoff_seconds: 300 }
    }
}

fn default_key_prefix() -> String {
    "rq".into()
}

fn default_lease() -> u32 {
    30
}

/// RQ's own default.
fn default_result_ttl() -> u32 {
    500
}

/// RQ's own default: one year.
fn default_failure_ttl() -> u32 {
    31_536_000
}

fn default_consumer_group() -> String {
    "jobqueue".into()
}
