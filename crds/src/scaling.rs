//! `spec.scaling`: how many workers, and how fast that number may move.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::rule;

/// How many workers there should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule("self.minReplicas <= self.maxReplicas", "minReplicas may not exceed maxReplicas"),
    rule(
        "(self.onQueueFailure == 'Static') == has(self.staticReplicas)",
        "staticReplicas goes with onQueueFailure: Static, and only with it",
    ),
    rule(
        "!has(self.staticReplicas) || (self.staticReplicas >= self.minReplicas && self.staticReplicas <= self.maxReplicas)",
        "staticReplicas must lie between minReplicas and maxReplicas",
    ),
]))]
pub struct ScalingSpec {
    /// Auto: the backlog decides. Manual: `spec.replicas` (and so `kubectl scale`) decides. Paused: the number of
    /// workers stays as it is.
    pub mode: ScalingMode,
    /// The fewest workers. 0: none while there is nothing to do.
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: u32,
    /// The most workers.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: u32,
    /// What the number of workers must achieve; the largest answer wins. Without any: jobsPerWorker 100.
    pub targets: TargetsSpec,
    /// How long the queue must be empty and the workers idle before `minReplicas: 0` is reached, in seconds.
    #[schemars(range(min = 0, max = 86400))]
    pub idle_seconds: u32,
    /// Limits on growing.
    pub scale_up: ScaleUpSpec,
    /// Limits on shrinking.
    pub scale_down: ScaleDownSpec,
    /// While Redis cannot be read: Hold keeps the number of workers, Static takes `staticReplicas`.
    pub on_queue_failure: OnQueueFailure,
    /// The number of workers while Redis cannot be read, with `onQueueFailure: Static`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub static_replicas: Option<u32>,
}

impl Default for ScalingSpec {
    fn default() -> Self {
        Self {
            mode: ScalingMode::Auto,
            min_replicas: 0,
            max_replicas: 10,
            targets: TargetsSpec::default(),
            idle_seconds: 120,
            scale_up: ScaleUpSpec::default(),
            scale_down: ScaleDownSpec::default(),
            on_queue_failure: OnQueueFailure::Hold,
            static_replicas: None,
        }
    }
}

/// Who decides the number of workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, strum::Display)]
pub enum ScalingMode {
    /// The backlog.
    #[default]
    Auto,
    /// A person, with `kubectl scale`.
    Manual,
    /// Nobody: the number stays.
    Paused,
}

/// What the number of workers must achieve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetsSpec {
    /// Jobs waiting and running, per worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub jobs_per_worker: Option<u32>,
    /// Clear today's backlog within so many seconds, at the measured rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub drain_seconds: Option<u32>,
    /// No job waits longer than so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub max_wait_seconds: Option<u32>,
}

/// Limits on growing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleUpSpec {
    /// The most workers added at once. Omitted: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_step: Option<u32>,
    /// A need for more workers must last so many seconds before it is followed. 0: at once.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: u32,
}

/// Limits on shrinking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDownSpec {
    /// The most workers removed at once. Omitted: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_step: Option<u32>,
    /// A need for fewer workers must last so many seconds before it is followed.
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: u32,
    /// Remove idle workers only, in every mode; the number waits for busy ones to become idle. For long jobs.
    pub protect_busy: bool,
}

impl Default for ScaleDownSpec {
    fn default() -> Self {
        Self { max_step: None, stabilization_seconds: 60, protect_busy: false }
    }
}

/// What happens while Redis cannot be read. Never to zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnQueueFailure {
    /// The number of workers stays.
    #[default]
    Hold,
    /// `staticReplicas` workers.
    Static,
}
