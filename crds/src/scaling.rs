//! `spec.scaling`: how many workers, and how fast that number may move.

use jobqueue_api::rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    rule(
        "!has(self.schedules) || self.schedules.all(s, !has(s.minReplicas) || s.minReplicas <= self.maxReplicas)",
        "minReplicas of a schedule may not exceed maxReplicas",
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
    /// What the number of workers must achieve; the largest answer wins. Without any, every job begins within two starts
    /// of a worker, as measured.
    pub targets: TargetsSpec,
    /// How long the queue must be empty and the workers idle before `minReplicas: 0` is reached, in seconds. Omitted: as long
    /// as starting a worker takes, which is measured, or no time where that has shown to be cheaper.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub idle_seconds: Option<u32>,
    /// Limits on growing.
    pub scale_up: ScaleUpSpec,
    /// Limits on shrinking.
    pub scale_down: ScaleDownSpec,
    /// Floors and ceilings by time of day, in addition to minReplicas and maxReplicas: of those in force the highest floor
    /// and the lowest ceiling count, and a ceiling wins over a floor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub schedules: Vec<ScheduleSpec>,
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
            idle_seconds: None,
            scale_up: ScaleUpSpec::default(),
            scale_down: ScaleDownSpec::default(),
            schedules: Vec::new(),
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
    /// Jobs waiting and running, per worker; no more workers than have work for as long as a start takes, once that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub jobs_per_worker: Option<u32>,
    /// Every job has ended so many seconds after it came, at the measured rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 604_800))]
    pub drain_seconds: Option<u32>,
    /// Every job has begun so many seconds after it came.
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleDownSpec {
    /// The most workers removed at once. Omitted: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_step: Option<u32>,
    /// A need for fewer workers must last so many seconds before it is followed. Omitted: as long as starting a worker takes,
    /// which is measured: a worker without work is kept for about what it costs to start it again, or for no time where that
    /// has shown to be cheaper.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: Option<u32>,
    /// Remove idle workers only, in every mode; the number waits for busy ones to become idle. For long jobs; one that comes
    /// to a worker as it is removed still has worker.drainSeconds.
    pub protect_busy: bool,
}

/// A floor, a ceiling or both, from each `start` to the next `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.minReplicas) || has(self.maxReplicas)", "a schedule needs minReplicas, maxReplicas or both"),
    rule(
        "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
        "minReplicas of a schedule may not exceed its maxReplicas",
    ),
    rule("self.start != self.end", "a schedule starts and ends at different times"),
]))]
pub struct ScheduleSpec {
    /// What reasons and messages call it. Unique in the queue.
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$"))]
    pub name: String,
    /// When it starts: a cron expression of five fields (minute, hour, day of the month, month, day of the week).
    #[schemars(length(max = 100), regex(pattern = "^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$"))]
    pub start: String,
    /// When it ends: a cron expression of five fields.
    #[schemars(length(max = 100), regex(pattern = "^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$"))]
    pub end: String,
    /// The time zone of start and end, by its IANA name, such as Europe/Berlin.
    #[serde(default = "utc")]
    #[schemars(length(max = 64), regex(pattern = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"))]
    pub time_zone: String,
    /// The fewest workers meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub min_replicas: Option<u32>,
    /// The most workers meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub max_replicas: Option<u32>,
}

fn utc() -> String {
    "UTC".to_owned()
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
