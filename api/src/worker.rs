//! The `worker` section: what one worker does at once.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one worker does at once, without its pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerSettings {
    /// Batches (or lone jobs) at once in a worker; also the number of its database connections. With 1, a worker writes jobs
    /// in the order in which it claims them.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 256)))]
    pub concurrency: u32,
    /// The most jobs claimed in one round trip and written in one transaction.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10_000)))]
    pub batch_size: u32,
    /// How long a worker that is told to stop may finish what it has claimed before it gives the rest back, in seconds.
    /// The termination grace period is 5 s longer.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 86400)))]
    pub drain_seconds: u32,
    /// Jobs after which a worker drains and ends; Kubernetes starts it again in the same pod. Omitted: no limit. Choose it so
    /// that a worker runs for more than ten minutes, or the kubelet takes the ends for crashes and waits before it starts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1_000_000_000_000_u64)))]
    pub max_jobs: Option<u64>,
    /// Seconds without a job after which the worker exits 0; `None`: no limit. For workers that somebody else starts: a
    /// manifest cannot say it, because the number of its workers is the scaling's to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub max_idle_seconds: Option<u64>,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self { concurrency: 4, batch_size: 200, drain_seconds: 60, max_jobs: None, max_idle_seconds: None }
    }
}
