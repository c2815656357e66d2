//! `spec.database`: where the rows go, and how many connections that may take.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{no_link_local, rule, rule_at};
use crate::{SecretKeyRef, TlsSpec};

/// The database that takes the rows: exactly one of `url` and `urlSecretKeyRef`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.url) != has(self.urlSecretKeyRef)", "give exactly one of url and urlSecretKeyRef"),
    rule_at(
        ".url",
        "!has(self.url) || self.url.matches('^(?i)((postgres(ql)?|mysql|mariadb)://|sqlite:)')",
        "a database URL starts with postgres://, mysql://, mariadb:// or sqlite:",
    ),
    no_link_local(),
    rule("!has(self.budget) || has(self.maxConnections)", "a budget needs maxConnections"),
]))]
pub struct DatabaseSpec {
    /// Connection URL: `postgres://`, `mysql://` (MariaDB too) or `sqlite:path`. Use urlSecretKeyRef for a URL with a
    /// password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// The key of a Secret in the same namespace whose value is the connection URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret_key_ref: Option<SecretKeyRef>,
    /// Certificates for TLS, from Secrets. The server's certificate is checked in full, unless the URL says how
    /// (`sslmode`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// Connections that all workers of this queue together may hold. A worker holds `worker.concurrency` of them, so
    /// this caps the number of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_connections: Option<u32>,
    /// JobQueues of a namespace that name the same budget share its connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub budget: Option<String>,
    /// How long a worker keeps its jobs while the database is away, in seconds, before it gives them back.
    #[serde(default = "default_hold")]
    #[schemars(range(min = 0, max = 86400))]
    pub hold_seconds: u32,
    /// Days after which entries of `jobqueue_ledger` are removed: longer than any retry of any job.
    #[serde(default = "default_ledger_retention")]
    #[schemars(range(min = 1, max = 3650))]
    pub ledger_retention_days: u32,
    /// The time zone in which the database is used: an IANA name such as Asia/Shanghai, an offset such as +08:00, or
    /// Server, which leaves what the server, the database or the role has. It governs the database's own defaults
    /// (`CURRENT_TIMESTAMP`), and text without an offset where an instant is wanted. UTC without it. SQLite knows none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        regex(pattern = "^([A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*|[+-](0[0-9]|1[0-4]):[0-5][0-9])$")
    )]
    pub time_zone: Option<String>,
}

fn default_hold() -> u32 {
    60
}

fn default_ledger_retention() -> u32 {
    7
}

/// A password may stand in the URL: only its presence is shown.
impl std::fmt::Debug for DatabaseSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSpec")
            .field("url", &self.url.as_ref().map(|_| "(redacted)"))
            .field("url_secret_key_ref", &self.url_secret_key_ref)
            .field("tls", &self.tls)
            .field("max_connections", &self.max_connections)
            .field("budget", &self.budget)
            .field("hold_seconds", &self.hold_seconds)
            .field("ledger_retention_days", &self.ledger_retention_days)
            .field("time_zone", &self.time_zone)
            .finish()
    }
}
