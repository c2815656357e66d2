//! Connection URLs and certificates from Secrets: read by name, never listed, never watched, never printed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jobqueue_crds::{
    Connection, JobQueue, Reason, SecretKeyRef, SecretRef, TlsSpec, database_url_problem, redis_url_problem,
};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};

use tokio::time::Instant;

use crate::digest::{Digest, digest};

/// What the Secrets of one queue say. Prints no value.
#[derive(Clone)]
pub(crate) struct Resolved {
    /// The Redis URL, password included.
    pub(crate) redis_url: String,
    /// PEM of the certificate authority for Redis; `None` without one.
    pub(crate) redis_ca: Option<Vec<u8>>,
    /// PEM of the client certificate and its key for Redis; `None` without one.
    pub(crate) redis_client: Option<(Vec<u8>, Vec<u8>)>,
    /// Digest of everything that the workers read from Secrets.
    pub(crate) hash: Digest,
    /// Digest of the Secrets' resource versions.
    pub(crate) version: Digest,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// Why a connection cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The Secret does not exist.
    #[error("{field}: Secret {name} does not exist in namespace {namespace}; create it, or correct the name")]
    NotFound {
        /// The field of the spec.
        field: &'static str,
        /// The Secret.
        name: String,
        /// Where it was looked for.
        namespace: String,
    },
    /// It lacks the key.
    #[error("{field}: Secret {name} has no key {key}; it has: {present}")]
    KeyNotFound {
        /// The field of the spec.
        field: &'static str,
        /// The Secret.
        name: String,
        /// The key.
        key: String,
        /// The keys that are there (names only).
        present: String,
    },
    /// The value is not text.
    #[error("{field}: key {key} of Secret {name} is not UTF-8 text")]
    NotText {
        /// The field of the spec.
        field: &'static str,
        /// The Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// The value is a URL that workers could not use, or should not.
    #[error("{field}: the URL in the Secret cannot be used: {problem}")]
    Unfit {
        /// The field of the spec.
        field: &'static str,
        /// What is wrong with it; without the URL, which may hold a password.
        problem: &'static str,
    },
    /// The API server did not answer, or forbids it.
    #[error("{field}: Secret {name} cannot be read: {source}")]
    Api {
        /// The field of the spec.
        field: &'static str,
        /// The Secret.
        name: String,
        /// Its answer.
        source: Box<kube::Error>,
    },
}

impl SecretError {
    /// The condition's reason; `None` if it is only to be tried again.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::NotFound { .. } => Some(Reason::SecretNotFound),
            Self::KeyNotFound { .. } | Self::NotText { .. } => Some(Reason::SecretKeyNotFound),
            Self::Unfit { .. } => Some(Reason::InvalidUrl),
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) if status.code == 403 => Some(Reason::Denied),
                _ => None,
            },
        }
    }

    /// True if the next attempt may succeed without a person's help.
    pub(crate) fn may_pass(&self) -> bool {
        self.reason().is_none()
    }
}

/// Secrets that were read lately, for the queues that share them. Prints nothing of them.
#[derive(Default)]
pub(crate) struct RecentSecrets {
    read: Mutex<HashMap<(String, String), Recent>>,
}

/// One Secret, and the lock that makes those that ask for it at the same time share one answer.
type Recent = Arc<tokio::sync::Mutex<Option<(Instant, Arc<Secret>)>>>;

/// A Secret that was not asked for in this time is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

impl RecentSecrets {
    fn of(&self, namespace: &str, name: &str) -> Recent {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.entry((namespace.to_owned(), name.to_owned())).or_default().clone()
    }

    /// Forgets what was not read for a while.
    pub(crate) fn tidy(&self) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|_, recent| match recent.try_lock() {
            Ok(recent) => recent.as_ref().is_some_and(|(at, _)| at.elapsed() < FORGOTTEN_AFTER),
            // It is being asked for at this moment.
            Err(_) => true,
        });
    }

    /// What was read is of no use: it is asked anew next time.
    fn forget(&self, namespace: &str, name: &str) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The Secret, at most `max_age` old; `None` if it does not exist, which is always asked anew.
    async fn get(
        &self,
        api: &Api<Secret>,
        namespace: &str,
        name: &str,
        max_age: Duration,
    ) -> kube::Result<Option<Arc<Secret>>> {
        let recent = self.of(namespace, name);
        let mut known = recent.lock().await;
        if let Some((at, secret)) = &*known
            && at.elapsed() < max_age
        {
            return Ok(Some(secret.clone()));
        }
        // As old as the question, not as the answer.
        let asked = Instant::now();
        let mut found = api.get_opt(name).await?;
        if let Some(secret) = &mut found {
            secret.metadata.managed_fields = None;
        }
        let found = found.map(Arc::new);
        *known = found.clone().map(|secret| (asked, secret));
        Ok(found)
    }
}

/// Reads one Secret at most once per reconcile.
struct Reader<'a> {
    api: Api<Secret>,
    recent: &'a RecentSecrets,
    max_age: Duration,
    namespace: String,
    read: BTreeMap<String, Arc<Secret>>,
    parts: Vec<Vec<u8>>,
}

impl Reader<'_> {
    async fn value(&mut self, field: &'static str, name: &str, key: &str) -> Result<Vec<u8>, SecretError> {
        if !self.read.contains_key(name) {
            let found = self.recent.get(&self.api, &self.namespace, name, self.max_age).await;
            let found =
                found.map_err(|source| SecretError::Api { field, name: name.into(), source: Box::new(source) })?;
            let namespace = self.namespace.clone();
            let secret = found.ok_or_else(|| SecretError::NotFound { field, name: name.into(), namespace })?;
            self.read.insert(name.into(), secret);
        }
        let data = self.read.get(name).and_then(|secret| secret.data.as_ref());
        let value = data.and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
        let value = value.ok_or_else(|| {
            let keys: Vec<&str> = data.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            let present = if keys.is_empty() { "none".into() } else { keys.join(", ") };
            SecretError::KeyNotFound { field, name: name.into(), key: key.into(), present }
        })?;
        self.parts.push(value.clone());
        Ok(value)
    }

    async fn text(&mut self, field: &'static str, reference: &SecretKeyRef) -> Result<String, SecretError> {
        let SecretKeyRef { name, key } = reference;
        let bytes = self.value(field, name, key).await?;
        // A trailing line break is what `echo` and editors leave in Secrets.
        let text = String::from_utf8(bytes).map(|text| text.trim().to_owned());
        text.map_err(|_| SecretError::NotText { field, name: name.clone(), key: key.clone() })
    }

    /// The authority, and the client's certificate with its key.
    async fn certificates(
        &mut self,
        [authority_field, client_field]: [&'static str; 2],
        tls: Option<&TlsSpec>,
    ) -> Result<(Option<Vec<u8>>, Option<(Vec<u8>, Vec<u8>)>), SecretError> {
        let Some(TlsSpec { ca_secret_key_ref, client_certificate_secret_ref }) = tls else { return Ok((None, None)) };
        let authority = match ca_secret_key_ref {
            Some(SecretKeyRef { name, key }) => Some(self.value(authority_field, name, key).await?),
            None => None,
        };
        let client = match client_certificate_secret_ref {
            Some(SecretRef { name }) => {
                let certificate = self.value(client_field, name, "tls.crt").await?;
                Some((certificate, self.value(client_field, name, "tls.key").await?))
            }
            None => None,
        };
        Ok((authority, client))
    }

    async fn url(
        &mut self,
        field: &'static str,
        url: Option<&String>,
        secret: Option<&SecretKeyRef>,
        problem: fn(&str) -> Option<&'static str>,
    ) -> Result<String, SecretError> {
        // A URL in the spec has passed admission, which knows the same rules.
        let Some(reference) = secret else { return Ok(url.cloned().unwrap_or_default()) };
        let url = self.text(field, reference).await?;
        problem(&url).map_or(Ok(url), |problem| Err(SecretError::Unfit { field, problem }))
    }

    async fn all(&mut self, queue: &JobQueue) -> Result<Resolved, SecretError> {
        let Connection { url, url_secret_key_ref, tls, .. } = &queue.spec.queue.redis;
        let redis_url =
            self.url("spec.queue.redis", url.as_ref(), url_secret_key_ref.as_ref(), redis_url_problem).await?;
        let fields = ["spec.queue.redis.tls.caSecretKeyRef", "spec.queue.redis.tls.clientCertificateSecretRef"];
        let (redis_ca, redis_client) = self.certificates(fields, tls.as_ref()).await?;
        if let Some(database) = &queue.spec.database {
            let secret = database.url_secret_key_ref.as_ref();
            // Only the workers use them: here they are checked, and their changes followed.
            self.url("spec.database", database.url.as_ref(), secret, database_url_problem).await?;
            let fields = ["spec.database.tls.caSecretKeyRef", "spec.database.tls.clientCertificateSecretRef"];
            self.certificates(fields, database.tls.as_ref()).await?;
        }
        let hash = digest(self.parts.iter().map(Vec::as_slice));
        let versions: Vec<String> = self.read.values().filter_map(|secret| secret.resource_version()).collect();
        let version = digest(versions.iter().map(String::as_bytes));
        Ok(Resolved { redis_url, redis_ca, redis_client, hash, version })
    }
}

/// Reads what the queue refers to. What was read within `max_age` is not read again, unless it was of no use.
pub(crate) async fn resolve(
    client: &Client,
    queue: &JobQueue,
    recent: &RecentSecrets,
    max_age: Duration,
) -> Result<Resolved, SecretError> {
    let namespace = queue.namespace().unwrap_or_default();
    let api = Api::namespaced(client.clone(), &namespace);
    let mut reader = Reader { api, recent, max_age, namespace, read: BTreeMap::new(), parts: Vec::new() };
    let resolved = reader.all(queue).await;
    if resolved.is_err() {
        reader.read.keys().for_each(|name| recent.forget(&reader.namespace, name));
    }
    resolved
}
