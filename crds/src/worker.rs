//! `spec.worker`: what one worker does at once, and how its pod looks.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::schema::rule;

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "!has(self.template) || !has(self.template.spec) || !has(self.template.spec.terminationGracePeriodSeconds) || self.drainSeconds < self.template.spec.terminationGracePeriodSeconds",
        "drainSeconds must be less than template.spec.terminationGracePeriodSeconds, or the kubelet kills workers that are still draining",
    ),
]))]
pub struct WorkerSpec {
    /// Container image. Omitted: the worker of this release.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Batches (or lone jobs) at once in a worker; also the number of its database connections.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// The most jobs claimed in one round trip and written in one transaction.
    #[schemars(range(min = 1, max = 10_000))]
    pub batch_size: u32,
    /// How long a worker that is told to stop may finish what it has claimed before it gives the rest back, in seconds.
    /// The termination grace period is 5 s longer.
    #[schemars(range(min = 1, max = 86400))]
    pub drain_seconds: u32,
    /// Jobs after which a worker drains and ends; Kubernetes starts it again in the same pod. Omitted: no limit. Choose it so
    /// that a worker runs for more than ten minutes, or the kubelet takes the ends for crashes and waits before it starts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub max_jobs: Option<u64>,
    /// A pod template merged over ours (strategic merge): resources, affinity, environment, or a whole other container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template_schema")]
    pub template: Option<Map<String, Value>>,
    /// A `NetworkPolicy` for the worker pods. Omitted: none. `{}`: nobody reaches a worker but for its metrics. It has an
    /// effect where the cluster's network enforces such policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<WorkerNetworkPolicy>,
}

/// What may reach the worker pods, and what they may reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerNetworkPolicy {
    /// Who may read the metrics: peers as in a `NetworkPolicy` (`podSelector`, `namespaceSelector`, `ipBlock`). Omitted: anybody. Every other
    /// port is closed; the kubelet's probes are always let in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules_schema")]
    pub metrics_from: Option<Vec<Map<String, Value>>>,
    /// What the workers may reach: egress rules as in a `NetworkPolicy` (`to`, `ports`), for Redis and the database; port 53 for names is
    /// added. Omitted: anything, because where Redis and the database are stands in Secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "rules_schema")]
    pub egress: Option<Vec<Map<String, Value>>>,
}

/// Objects of the Kubernetes API, which that checks.
fn rules_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
    })
}

impl Default for WorkerSpec {
    fn default() -> Self {
        Self {
            image: None,
            concurrency: 4,
            batch_size: 200,
            drain_seconds: 60,
            max_jobs: None,
            template: None,
            network_policy: None,
        }
    }
}

/// Any object; the one field that a rule looks at is typed.
fn template_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "properties": {
            "spec": {
                "description": "The pod's spec.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": true,
                "properties": {
                    "terminationGracePeriodSeconds": {
                        "description": "Must exceed drainSeconds. Omitted: drainSeconds + 5.",
                        "type": "integer",
                        "format": "int64"
                    }
                }
            }
        }
    })
}
