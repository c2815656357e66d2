//! How a manifest names a server: a URL, or a key of a Secret that holds one.

use jobqueue_api::rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::{no_link_local, rule_at};

/// Where a server is: exactly one of `url` and `urlSecretKeyRef`.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule("has(self.url) != has(self.urlSecretKeyRef)", "give exactly one of url and urlSecretKeyRef"),
    rule_at(
        ".url",
        "!has(self.url) || self.url.matches('^(?i)rediss?([+](sentinel|cluster))?://')",
        "a Redis URL starts with redis://, rediss://, redis+sentinel:// or redis+cluster://",
    ),
    no_link_local(),
]))]
pub struct Connection {
    /// Connection URL: `redis://`, `rediss://`, `redis+sentinel://[user:pass@]h1,h2/MASTER/DB`, `redis+cluster://h1,h2`.
    /// Use urlSecretKeyRef for a URL with a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub url: Option<String>,
    /// The key of a Secret in the same namespace whose value is the connection URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_secret_key_ref: Option<SecretKeyRef>,
    /// A file with the password, in the worker's container: absolute, and read for each connection, so that a sidecar or a
    /// projected token may renew it. The URL has a user and no
    /// password. The operator reads the file of this name in the folder of the namespace in its `--password-directory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 1024), regex(pattern = "^/"))]
    pub password_file: Option<String>,
    /// Certificates for TLS. Without it the public authorities are trusted and no client certificate is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsSpec>,
}

/// A password may stand in the URL: only its presence is shown.
impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("url", &self.url.as_ref().map(|_| "(redacted)"))
            .field("url_secret_key_ref", &self.url_secret_key_ref)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .finish()
    }
}

/// One key of a Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Certificates for TLS, from Secrets in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// The certificate authority (PEM) that signed the server's certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_secret_key_ref: Option<SecretKeyRef>,
    /// A Secret of type `kubernetes.io/tls` with the client's certificate (`tls.crt`, `tls.key`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<SecretRef>,
}

/// A Secret in the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
