//! The root type.
#![expect(clippy::duplicated_attributes, reason = "every printcolumn has a type_ and a priority")]

use jobqueue_api::{IngestSpec, RetrySpec, rule};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::rule_at;
use crate::{DatabaseSpec, JobQueueStatus, QueueSpec, ScalingSpec, WorkerSpec};

/// A backlog in Redis that becomes rows in a database, by as many workers as it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, CustomResource, JsonSchema)]
#[kube(
    group = "jobqueue.dev",
    version = "v1alpha1",
    kind = "JobQueue",
    plural = "jobqueues",
    shortname = "jobq",
    category = "jobqueue",
    namespaced,
    status = "JobQueueStatus",
    derive = "PartialEq",
    doc = "A backlog in Redis that becomes rows in a database, by as many workers as it takes.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the queue is served as specified"
    ),
    printcolumn(
        name = "Mode",
        type_ = "string",
        json_path = ".spec.scaling.mode",
        description = "Who decides the number of workers"
    ),
    printcolumn(
        name = "Workers",
        type_ = "integer",
        json_path = ".status.readyReplicas",
        description = "Workers that are ready"
    ),
    printcolumn(
        name = "Desired",
        type_ = "integer",
        json_path = ".status.desiredReplicas",
        description = "Workers that the last decision asked for"
    ),
    printcolumn(
        name = "Waiting",
        type_ = "integer",
        json_path = ".status.queue.waiting",
        description = "Jobs that wait"
    ),
    printcolumn(
        name = "Running",
        type_ = "integer",
        json_path = ".status.queue.running",
        description = "Jobs that run"
    ),
    printcolumn(
        name = "Oldest",
        type_ = "integer",
        json_path = ".status.queue.oldestWaitSeconds",
        description = "Seconds that the oldest job has waited"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not"
    ),
    printcolumn(
        name = "Failed",
        type_ = "integer",
        json_path = ".status.queue.failed",
        description = "Jobs in the failed registry",
        priority = 1
    ),
    printcolumn(
        name = "ETA",
        type_ = "integer",
        json_path = ".status.queue.drainEtaSeconds",
        description = "Seconds until the backlog is cleared",
        priority = 1
    ),
    printcolumn(
        name = "Limited",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ScalingLimited\")].reason",
        description = "What keeps the number of workers down",
        priority = 1
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".spec.worker.image",
        description = "The workers' image, if not this release's",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("!has(self.ingest) || has(self.database)", "ingest needs database"),
    rule(
        "has(self.ingest) || !has(self.database)",
        "database is used by ingest only: give ingest too, or remove database",
    ),
    rule(
        "self.queue.protocol == 'RQ' || !has(self.ingest) || self.ingest.all(i, !has(i.functions) || size(i.functions) == 0)",
        "ingest[].functions are RQ function names: remove them, or use protocol: RQ",
    ),
    rule_at(
        ".replicas",
        "self.scaling.mode == 'Manual' || self.scaling.mode != oldSelf.scaling.mode || self.replicas == oldSelf.replicas || self.replicas == 1",
        "replicas can be changed in scaling.mode: Manual only: change the mode too, or leave replicas out",
    ),
    rule_at(
        ".database.maxConnections",
        "!has(self.database) || !has(self.database.maxConnections) || self.database.maxConnections >= self.worker.concurrency",
        "database.maxConnections allows no worker: it must be at least worker.concurrency",
    ),
]))]
pub struct JobQueueSpec {
    /// The backlog: its wire format, its names and its Redis.
    pub queue: QueueSpec,
    /// The database that takes the rows. Required with ingest, forbidden without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseSpec>,
    /// The recipes, from a record to rows. Omit it and bring your own worker image: the operator then only scales.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub ingest: Option<Vec<IngestSpec>>,
    /// What happens to a job that fails, when its producer said nothing about retries.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How many workers there should be.
    #[serde(default)]
    pub scaling: ScalingSpec,
    /// The number of workers in `scaling.mode: Manual`, where `kubectl scale` changes it. In the other modes it is not
    /// used, and is changed together with the mode only, or by leaving it out.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 10_000))]
    pub replicas: i32,
    /// One worker: its image, concurrency, batches and pod.
    #[serde(default)]
    pub worker: WorkerSpec,
}

/// `replicas` of a manifest without it.
pub(crate) fn default_replicas() -> i32 {
    1
}
