//! `spec.worker`: what one worker does at once, and how its pod looks.

use jobqueue_api::{WorkerSettings, rule};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// What the worker is told of it.
    #[serde(flatten)]
    pub settings: WorkerSettings,
    /// A pod template merged over ours (strategic merge): resources, affinity, environment, or a whole other container.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "template_schema")]
    pub template: Option<Map<String, Value>>,
    /// A `NetworkPolicy` for the worker pods. Omitted: none. `{}`: nobody reaches a worker but for its metrics. It has an
    /// effect where the cluster's network enforces such policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<WorkerNetworkPolicy>,
    /// The `PodDisruptionBudget` of the worker pods. Omitted: one by which a node drain evicts a quarter of them at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_disruption_budget: Option<WorkerDisruptionBudget>,
}

/// The `PodDisruptionBudget` of the worker pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkerDisruptionBudget {
    /// false: the queue has none, for instance because a policy of the cluster makes one.
    pub enabled: bool,
}

impl Default for WorkerDisruptionBudget {
    fn default() -> Self {
        Self { enabled: true }
    }
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
    /// What the workers may reach: egress rules as in a `NetworkPolicy` (`to`, `ports`), for Redis and the database; the ports of DNS are
    /// added (53, or those that the operator is told). Omitted: anything, because where Redis and the database are stands in Secrets.
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
