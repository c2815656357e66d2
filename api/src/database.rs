//! The `database` section: how the database is used.

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the database is used, without where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct DatabaseSettings {
    /// Connections that all workers of this queue together may hold. A worker holds `worker.concurrency` of them, so
    /// this caps the number of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 100_000)))]
    pub max_connections: Option<u32>,
    /// How long a worker keeps its jobs while the database is away, in seconds, before it gives them back.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 86400)))]
    pub hold_seconds: u32,
    /// Days after which entries of `jobqueue_ledger` are removed: longer than any retry of any job.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 3650)))]
    pub ledger_retention_days: u32,
    /// The time zone in which the database is used: an IANA name such as Asia/Shanghai, an offset such as +08:00, or
    /// Server, which leaves what the server, the database or the role has. It governs the database's own defaults
    /// (`CURRENT_TIMESTAMP`), and text without an offset where an instant is wanted. UTC without it. SQLite knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "schema",
        schemars(
            length(max = 64),
            regex(pattern = "^([A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*|[+-](0[0-9]|1[0-4]):[0-5][0-9])$")
        )
    )]
    pub time_zone: Option<String>,
}

impl Default for DatabaseSettings {
    fn default() -> Self {
        Self { max_connections: None, hold_seconds: 60, ledger_retention_days: 7, time_zone: None }
    }
}
