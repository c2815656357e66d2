//! `spec.queue`: the backlog and its Redis.

use jobqueue_api::QueueSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Connection;
use crate::schema::rule_at;

/// The backlog that the workers serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule_at(".names", "self.names.all(n, self.names.exists_one(m, m == n))", "each name may appear once"),
]))]
pub struct QueueSpec {
    /// What a worker is told of it.
    #[serde(flatten)]
    pub settings: QueueSettings,
    /// The Redis that holds the queue.
    pub redis: Connection,
}
