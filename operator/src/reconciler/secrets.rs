//! Connection URLs and certificates from Secrets: read by name, never listed, never watched, never printed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jobqueue_crds::{
    Connection, JobQueue, Reason, SecretKeyRef, SecretRef, TlsSpec, database_url_problem, redis_url_problem,
};
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, ResourceExt};

use tokio::time::Instant;

use crate::{
    digest::{Digest, digest},
    kube_client::words,
    state::endpoint_key::RedisLogin,
};

/// What the Secrets of one queue say. Prints no value.
#[derive(Clone)]
pub(crate) struct Resolved {
    /// The Redis of the queue.
    pub(crate) redis: RedisLogin,
    /// Digest of everything that the workers read from Secrets. Only for this process: it is not to be written anywhere.
    pub(crate) hash: Digest,
    /// Digest of the Secrets' resource versions.
    pub(crate) version: Digest,
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved").field("version", &self.version).finish_non_exhaustive()
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
    #[error("{field}: Secret {name} cannot be read: {}", words(source))]
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
type Recent = Arc<tokio::sync::Mutex<Known>>;

/// What is known of one Secret.
#[derive(Default)]
struct Known {
    /// The keys that queues name: the values of others are not kept.
    named: BTreeSet<String>,
    /// When it was read, with values for the keys that were named then; `None` if it is to be read.
    read: Option<(Instant, Arc<Secret>)>,
}

/// Keys of one Secret that are kept, by name at least.
const MOST_KEYS: usize = 64;
/// A longer URL is none.
const LONGEST_URL: usize = 8 << 10;

/// Drops what no queue named. Of other keys the names are left, for the sentence that says what there is.
fn trim(secret: &mut Secret, named: &BTreeSet<String>) {
    let (uid, version) = (secret.metadata.uid.take(), secret.metadata.resource_version.take());
    secret.metadata = ObjectMeta { uid, resource_version: version, ..ObjectMeta::default() };
    secret.string_data = None;
    if let Some(data) = &mut secret.data {
        let mut others = 0;
        data.retain(|key, value| {
            if named.contains(key) {
                return true;
            }
            *value = ByteString::default();
            others += 1;
            others <= MOST_KEYS
        });
    }
}

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
            Ok(recent) => recent.read.as_ref().is_some_and(|(at, _)| at.elapsed() < FORGOTTEN_AFTER),
            // It is being asked for at this moment.
            Err(_) => true,
        });
    }

    /// What was read is of no use: it is asked anew next time.
    fn forget(&self, namespace: &str, name: &str) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The Secret with the values of `keys`, at most `max_age` old; `None` if it does not exist, which is always asked anew.
    async fn get(
        &self,
        api: &Api<Secret>,
        (namespace, name): (&str, &str),
        keys: &BTreeSet<String>,
        max_age: Duration,
    ) -> kube::Result<Option<Arc<Secret>>> {
        let recent = self.of(namespace, name);
        let mut known = recent.lock().await;
        if known.named.is_superset(keys)
            && let Some((at, secret)) = &known.read
            && at.elapsed() < max_age
        {
            return Ok(Some(secret.clone()));
        }
        if known.named.len() >= MOST_KEYS {
            known.named.clear();
        }
        known.named.extend(keys.iter().cloned());
        // As old as the question, not as the answer.
        let asked = Instant::now();
        let mut found = api.get_opt(name).await?;
        if let Some(secret) = &mut found {
            trim(secret, &known.named);
        }
        let found = found.map(Arc::new);
        known.read = found.clone().map(|secret| (asked, secret));
        Ok(found)
    }
}

/// Reads one Secret at most once per reconcile.
struct Reader<'a> {
    api: Api<Secret>,
    recent: &'a RecentSecrets,
    max_age: Duration,
    namespace: String,
    /// The keys that the queue names, by Secret.
    named: BTreeMap<String, BTreeSet<String>>,
    read: BTreeMap<String, Arc<Secret>>,
    parts: Vec<Vec<u8>>,
}

/// The keys that a queue names, by Secret.
fn named(queue: &JobQueue) -> BTreeMap<String, BTreeSet<String>> {
    let database = queue.spec.database.as_ref();
    let redis = &queue.spec.queue.redis;
    let tls = [redis.tls.as_ref(), database.and_then(|database| database.tls.as_ref())].into_iter().flatten();
    let urls = [redis.url_secret_key_ref.as_ref(), database.and_then(|database| database.url_secret_key_ref.as_ref())];
    let mut references: Vec<(String, String)> = Vec::new();
    references.extend(urls.into_iter().flatten().map(|SecretKeyRef { name, key }| (name.clone(), key.clone())));
    for TlsSpec { ca_secret_key_ref, client_certificate_secret_ref } in tls {
        references.extend(ca_secret_key_ref.iter().map(|SecretKeyRef { name, key }| (name.clone(), key.clone())));
        if let Some(SecretRef { name }) = client_certificate_secret_ref {
            references.extend(["tls.crt", "tls.key"].map(|key| (name.clone(), key.to_owned())));
        }
    }
    let mut named = BTreeMap::<String, BTreeSet<String>>::new();
    for (name, key) in references {
        named.entry(name).or_default().insert(key);
    }
    named
}

impl Reader<'_> {
    async fn value(&mut self, field: &'static str, name: &str, key: &str) -> Result<Vec<u8>, SecretError> {
        if !self.read.contains_key(name) {
            let keys = self.named.get(name).cloned().unwrap_or_default();
            let found = self.recent.get(&self.api, (&self.namespace, name), &keys, self.max_age).await;
            let found =
                found.map_err(|source| SecretError::Api { field, name: name.into(), source: Box::new(source) })?;
            let namespace = self.namespace.clone();
            let secret = found.ok_or_else(|| SecretError::NotFound { field, name: name.into(), namespace })?;
            self.read.insert(name.into(), secret);
        }
        let data = self.read.get(name).and_then(|secret| secret.data.as_ref());
        let value = data.and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
        let value = value.ok_or_else(|| {
            let keys: Vec<&str> = data.into_iter().flatten().map(|(key, _)| key.as_str()).take(20).collect();
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
        if url.len() > LONGEST_URL {
            return Err(SecretError::Unfit { field, problem: "it is longer than 8 KiB" });
        }
        problem(&url).map_or(Ok(url), |problem| Err(SecretError::Unfit { field, problem }))
    }

    async fn all(&mut self, queue: &JobQueue) -> Result<Resolved, SecretError> {
        let Connection { url, url_secret_key_ref, tls, .. } = &queue.spec.queue.redis;
        let redis_url =
            self.url("spec.queue.redis", url.as_ref(), url_secret_key_ref.as_ref(), redis_url_problem).await?;
        let fields = ["spec.queue.redis.tls.caSecretKeyRef", "spec.queue.redis.tls.clientCertificateSecretRef"];
        let (ca, client) = self.certificates(fields, tls.as_ref()).await?;
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
        Ok(Resolved { redis: RedisLogin { url: redis_url, ca, client }, hash, version })
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
    let named = named(queue);
    let mut reader = Reader { api, recent, max_age, namespace, named, read: BTreeMap::new(), parts: Vec::new() };
    let resolved = reader.all(queue).await;
    if resolved.is_err() {
        reader.read.keys().for_each(|name| recent.forget(&reader.namespace, name));
    }
    resolved
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_large_secret_only_what_is_named_is_kept() {
        let bytes = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
        let mut data = serde_json::Map::new();
        data.insert("url".into(), bytes("redis://r"));
        (0..1_000).for_each(|number| _ = data.insert(format!("other-{number:04}"), bytes(&"x".repeat(1_000))));
        let annotations = json!({"note": "y".repeat(100_000)});
        let metadata = json!({"name": "s", "uid": "u", "resourceVersion": "7", "annotations": annotations});
        let mut secret: Secret = serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap();
        trim(&mut secret, &BTreeSet::from(["url".to_owned()]));
        let size = serde_json::to_vec(&secret).unwrap().len();
        assert!(size < 5_000, "{size} bytes");
        let data = secret.data.unwrap();
        assert_eq!(data["url"].0, b"redis://r");
        assert!(data.contains_key("other-0000"), "the name, for a sentence about a key that is missing");
        assert_eq!(
            (secret.metadata.uid.as_deref(), secret.metadata.resource_version.as_deref()),
            (Some("u"), Some("7"))
        );
    }

    /// A client of an API server with one Secret: a URL, and what else somebody put there.
    fn client(url: &str) -> Client {
        let bytes = |text: &str| json!(ByteString(text.as_bytes().to_vec()));
        let data = json!({"url": bytes(url), "other": bytes(&"x".repeat(1_000_000))});
        let secret = json!({"metadata": {"name": "s", "namespace": "n", "uid": "u"}, "data": data}).to_string();
        let answer = move |_: http::Request<kube::client::Body>| {
            let answer = http::Response::new(kube::client::Body::from(secret.clone().into_bytes()));
            std::future::ready(Ok::<_, std::convert::Infallible>(answer))
        };
        Client::new(tower::service_fn(answer), "n")
    }

    fn queue() -> JobQueue {
        let redis = json!({"urlSecretKeyRef": {"name": "s", "key": "url"}});
        serde_json::from_value(json!({
            "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "metadata": {"name": "q", "namespace": "n"},
            "spec": {"queue": {"names": ["q"], "redis": redis}},
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_between_reconciles_is_trimmed() {
        let (client, recent) = (client("redis://r"), RecentSecrets::default());
        let resolved = resolve(&client, &queue(), &recent, Duration::ZERO).await.unwrap();
        assert_eq!(resolved.redis.url, "redis://r");
        let known = recent.of("n", "s");
        let known = known.lock().await;
        let (_, secret) = known.read.as_ref().unwrap();
        assert_eq!(secret.data.as_ref().unwrap()["other"].0.len(), 0);
    }

    #[tokio::test]
    async fn a_very_long_url_is_refused() {
        for (length, fits) in [(LONGEST_URL, true), (LONGEST_URL + 1, false)] {
            let url = format!("{:x<length$}", "redis://r/");
            let resolved = resolve(&client(&url), &queue(), &RecentSecrets::default(), Duration::ZERO).await;
            let refused = matches!(resolved, Err(SecretError::Unfit { problem, .. }) if problem.contains("8 KiB"));
            assert_eq!(!refused, fits, "{length} bytes");
        }
    }
}
