//! `status`: what the operator saw and did.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator saw and did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobQueueStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The states of the queue; all types are always present.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Label selector of the worker pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Worker pods that exist.
    #[serde(default)]
    pub replicas: i32,
    /// Worker pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Worker pods that the last decision asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// The backlog as last seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// The last change of the number of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale: Option<LastScale>,
    /// How the number of workers was decided last; `jobqueue explain` shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
}

/// How the number of workers was decided.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence with its numbers, and what keeps it from being another number.
    pub message: String,
    /// Workers that the work takes, before any limit.
    pub wanted: i32,
    /// What each target and each floor asks for by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub candidates: Vec<CandidateStatus>,
    /// What was in the way, the one that binds last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub limits: Vec<LimitStatus>,
}

/// What one target or floor asks for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// Which.
    pub reason: String,
    /// How many workers.
    pub workers: i32,
    /// In one sentence.
    pub message: String,
}

/// A limit that applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LimitStatus {
    /// Which.
    pub reason: String,
    /// In one sentence.
    pub message: String,
    /// What would have been decided without it, all others being in force.
    pub without: i32,
}

/// The backlog as last seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueueStatus {
    /// Jobs that wait.
    #[serde(default)]
    pub waiting: i64,
    /// Jobs that run.
    #[serde(default)]
    pub running: i64,
    /// Jobs in the failed registry.
    #[serde(default)]
    pub failed: i64,
    /// Jobs that come due later, retries included.
    #[serde(default)]
    pub scheduled: i64,
    /// How long the oldest waiting job has waited, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_wait_seconds: Option<i64>,
    /// Jobs that arrive, per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrivals_per_second: Option<f64>,
    /// Jobs that finish, per second, all workers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions_per_second: Option<f64>,
    /// When the backlog will be cleared at the present rates, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain_eta_seconds: Option<i64>,
    /// When these numbers were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// A change of the number of workers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastScale {
    /// When.
    pub time: Time,
    /// Workers before.
    pub from: i32,
    /// Workers after.
    pub to: i32,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence with its numbers.
    pub message: String,
}
