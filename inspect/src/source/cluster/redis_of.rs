//! The Redis of a JobQueue, as this machine reaches it: what a flag says, else what the manifest says, with its Secrets read
//! under the person's own rights.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jobqueue_crds::{Connection as Named, JobQueue, SecretKeyRef, SecretRef};
use jobqueue_queue::{Connection, ConnectionUrl, Guard, StatsQuery, Timeouts, TlsOptions};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::forward::Forward;
use super::refusal;
use crate::source::{Backlog, Problem, QueueKey};

/// A server that this machine reaches takes a connection within this time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections that are kept.
const MOST: usize = 64;

/// To which Redis a dashboard connects.
#[derive(Debug, Clone, Default)]
pub enum RedisReach {
    /// To what a JobQueue names, by way of the API server where this machine does not reach it: the person's own rights decide.
    #[default]
    Person,
    /// Of the queues of these namespaces, as far as `guard` lets it: whoever writes a JobQueue names a server, and is not
    /// trusted.
    Namespaces {
        /// Which.
        names: BTreeSet<String>,
        /// Where a connection may lead.
        guard: Guard,
    },
}

/// The connections that were made.
pub(super) struct Connections {
    client: Client,
    given: Option<String>,
    tls: TlsOptions,
    reach: RedisReach,
    made: Mutex<HashMap<QueueKey, Made>>,
}

struct Made {
    /// What it was made from.
    named: Named,
    connection: Connection,
    /// Serves as long as this value lives.
    _forward: Option<Arc<Forward>>,
}

impl Connections {
    pub(super) fn new(client: Client, given: Option<String>, tls: TlsOptions, reach: RedisReach) -> Self {
        Self { client, given, tls, reach, made: Mutex::default() }
    }

    /// The Redis of this queue.
    pub(super) async fn of(&self, key: &QueueKey, queue: &JobQueue) -> Result<Backlog, Problem> {
        self.check(&key.namespace)?;
        let query = StatsQuery::from(&queue.spec.queue.settings);
        let named = &queue.spec.queue.redis;
        let mut made = self.made.lock().await;
        if let Some(known) = made.get(key).filter(|known| known.named == *named) {
            return Ok(Backlog { connection: known.connection.clone(), query });
        }
        let (connection, forward) = self.connect(&key.namespace, named).await?;
        if made.len() >= MOST {
            made.clear();
        }
        let known = Made { named: named.clone(), connection: connection.clone(), _forward: forward };
        made.insert(key.clone(), known);
        Ok(Backlog { connection, query })
    }

    /// Whether queues of this namespace may have a connection.
    fn check(&self, namespace: &str) -> Result<(), Problem> {
        match &self.reach {
            RedisReach::Namespaces { names, .. } if !names.contains(namespace) => Err(Problem::Unavailable(format!(
                "This dashboard does not connect to the Redis of namespace {namespace}: workers and failed jobs are not shown. \
                     The chart's value dashboard.redis.namespaces lists the namespaces in which it does."
            ))),
            RedisReach::Namespaces { .. } | RedisReach::Person => Ok(()),
        }
    }

    async fn connect(&self, namespace: &str, named: &Named) -> Result<(Connection, Option<Arc<Forward>>), Problem> {
        if let Some(given) = &self.given {
            return Ok((connection(given, &self.tls)?, None));
        }
        if named.password_file.is_some() {
            let text = "The password of this queue's Redis is in a file of the workers, which is not read here: pass --redis URL.";
            return Err(Problem::Unavailable(text.to_owned()));
        }
        let text = match (&named.url, &named.url_secret_key_ref) {
            (Some(url), _) => url.clone(),
            (None, Some(secret)) => text(self.key(namespace, secret).await?)?,
            (None, None) => return Err(Problem::Unavailable("The manifest names no Redis.".to_owned())),
        };
        let tls = self.tls(namespace, named).await?;
        if let RedisReach::Namespaces { guard, .. } = &self.reach {
            // The pod's own resolver would complete a short name with the dashboard's namespace.
            return Ok((guarded(&text, &tls, namespace, guard.clone())?, None));
        }
        match self.forwarded(namespace, &text).await? {
            Some((url, forward)) => Ok((connection(&url, &tls)?, Some(forward))),
            None => Ok((connection(&text, &tls)?, None)),
        }
    }

    /// The URL by way of the API server, where this machine does not reach the host and the host is a Service.
    async fn forwarded(&self, namespace: &str, text: &str) -> Result<Option<(String, Arc<Forward>)>, Problem> {
        // Sentinel and Cluster name further hosts, which no single forward reaches.
        let Ok(mut url) = url::Url::parse(text) else { return Ok(None) };
        if !matches!(url.scheme(), "redis" | "rediss") {
            return Ok(None);
        }
        let (Some(host), port) = (url.host_str().map(str::to_owned), url.port().unwrap_or(6379)) else {
            return Ok(None);
        };
        let reached = tokio::time::timeout(PATIENCE, TcpStream::connect((host.as_str(), port))).await;
        if matches!(reached, Ok(Ok(_))) {
            return Ok(None);
        }
        let Some((service, service_namespace)) = service_of(&host, namespace) else { return Ok(None) };
        if url.scheme() == "rediss" {
            let text = format!(
                "Service {service} is not reached from here, and TLS to it cannot be forwarded, since its certificate is for \
                 another name: make it reachable, or pass --redis URL."
            );
            return Err(Problem::Unavailable(text));
        }
        let forward = Forward::start(self.client.clone(), service_namespace, service, port).await?;
        let replaced = url.set_host(Some("127.0.0.1")).is_ok() && url.set_port(Some(forward.port())).is_ok();
        if !replaced {
            return Err(Problem::Unavailable("The URL of Redis has no host.".to_owned()));
        }
        Ok(Some((url.to_string(), Arc::new(forward))))
    }

    async fn tls(&self, namespace: &str, named: &Named) -> Result<TlsOptions, Problem> {
        let Some(tls) = &named.tls else { return Ok(TlsOptions::default()) };
        let mut options = TlsOptions::default();
        if let Some(authority) = &tls.ca_secret_key_ref {
            options.ca = Some(self.key(namespace, authority).await?);
        }
        if let Some(SecretRef { name }) = &tls.client_certificate_secret_ref {
            let key = |key: &str| SecretKeyRef { name: name.clone(), key: key.to_owned() };
            options.client_cert = Some(self.key(namespace, &key("tls.crt")).await?);
            options.client_key = Some(self.key(namespace, &key("tls.key")).await?);
        }
        Ok(options)
    }

    /// One key of a Secret.
    async fn key(&self, namespace: &str, wanted: &SecretKeyRef) -> Result<Vec<u8>, Problem> {
        let SecretKeyRef { name, key } = wanted;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let secret = api.get(name).await.map_err(|error| {
            let problem = refusal(&error, "get", "secrets", &format!("Secret {name}"), namespace);
            Problem::Unavailable(format!("{problem} The Redis of this queue needs it; --redis URL does without."))
        })?;
        let value = secret.data.and_then(|mut data| data.remove(key)).map(|value| value.0);
        value.ok_or_else(|| Problem::Unavailable(format!("Secret {name} in namespace {namespace} has no key {key}.")))
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Problem> {
    let text = String::from_utf8(bytes)
        .map_err(|_| Problem::Unavailable("The Secret's URL of Redis is not text.".to_owned()))?;
    Ok(text.trim().to_owned())
}

/// A connection to a server that nobody vouches for.
fn guarded(text: &str, tls: &TlsOptions, namespace: &str, guard: Guard) -> Result<Connection, Problem> {
    let url: ConnectionUrl =
        text.parse().map_err(|error| Problem::Unavailable(format!("The URL of Redis: {error}")))?;
    let url = url.within(&format!("{namespace}.svc"));
    Connection::guarded(&url, tls, Timeouts::default(), guard).map_err(Problem::from)
}

fn connection(text: &str, tls: &TlsOptions) -> Result<Connection, Problem> {
    let url: ConnectionUrl =
        text.parse().map_err(|error| Problem::Unavailable(format!("The URL of Redis: {error}")))?;
    Connection::new(&url, tls, Timeouts::default()).map_err(Problem::from)
}

/// The Service that a host names, and its namespace: `redis`, `redis.shop`, `redis.shop.svc`, `redis.shop.svc.cluster.local`.
fn service_of<'a>(host: &'a str, namespace: &'a str) -> Option<(&'a str, &'a str)> {
    let parts: Vec<&str> = host.trim_end_matches('.').split('.').collect();
    if host.parse::<std::net::IpAddr>().is_ok() || host.starts_with('[') || host == "localhost" {
        return None;
    }
    match parts.as_slice() {
        [service] => Some((service, namespace)),
        [service, other] | [service, other, "svc", ..] => Some((service, other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_name_a_service() {
        for host in ["redis", "redis.shop", "redis.shop.svc", "redis.shop.svc.cluster.local."] {
            assert_eq!(service_of(host, "shop"), Some(("redis", "shop")), "{host}");
        }
        for host in ["10.0.0.1", "localhost", "redis.example.com", "[::1]"] {
            assert_eq!(service_of(host, "shop"), None, "{host}");
        }
    }
}
