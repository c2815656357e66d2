//! `spec.database`: where the rows go, and how many connections that may take.

use jobqueue_api::{DatabaseSettings, rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{no_link_local, rule_at};
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
    /// A file with the password, in the worker's container: absolute, and read for each connection, so that a sidecar or a
    /// projected token may renew it. The URL has a user and no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024), regex(pattern = "^/"))]
    pub password_file: Option<String>,
    /// Certificates for TLS, from Secrets. The server's certificate is checked in full, unless the URL says how
    /// (`sslmode`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
    /// JobQueues of a namespace that name the same budget share its connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub budget: Option<String>,
    /// What a worker is told of it.
    #[serde(flatten)]
    pub settings: DatabaseSettings,
}

/// A password may stand in the URL: only its presence is shown.
impl std::fmt::Debug for DatabaseSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseSpec")
            .field("url", &self.url.as_ref().map(|_| "(redacted)"))
            .field("url_secret_key_ref", &self.url_secret_key_ref)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .field("budget", &self.budget)
            .field("settings", &self.settings)
            .finish()
    }
}
