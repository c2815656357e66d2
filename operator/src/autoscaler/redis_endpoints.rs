//! The Redis servers that are polled: one connection for all queues of a server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jobqueue_queue::{Connection, ConnectionUrl, Guard, QueueError, Timeouts, TlsOptions};

use crate::reconciler::secrets::Resolved;

/// One server and one login. Compares by everything that makes a connection; prints no password. Thousands of queues
/// share one: clones are cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointKey(Arc<EndpointConfig>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct EndpointConfig {
    url: String,
    /// The domain of short host names; `None` if the URL has none.
    domain: Option<String>,
    ca: Option<Vec<u8>>,
    client: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointKey")
    }
}

impl EndpointKey {
    /// The server that a queue's Secrets name. A short host name is one of `domain`, as it is for the queue's workers. A URL
    /// that cannot be understood is the error `Config`.
    pub(crate) fn new(resolved: &Resolved, domain: Option<&str>) -> Result<Self, QueueError> {
        let Resolved { redis_url, redis_ca, redis_client, .. } = resolved;
        let url = redis_url.parse::<ConnectionUrl>()?;
        let domain = domain.filter(|domain| url.clone().within(domain) != url).map(ToOwned::to_owned);
        let (ca, client) = (redis_ca.clone(), redis_client.clone());
        Ok(Self(Arc::new(EndpointConfig { url: redis_url.clone(), domain, ca, client })))
    }

    /// A connection to it, made when first used. A server that does not answer in two seconds counts as down: the next
    /// poll is a fraction of a second away.
    fn connection(&self, guard: &Guard) -> Result<Connection, QueueError> {
        let EndpointConfig { url, domain, ca, client } = &*self.0;
        let (client_cert, client_key) = client.clone().unzip();
        let tls = TlsOptions { ca: ca.clone(), client_cert, client_key };
        let limit = Duration::from_secs(2);
        let url: ConnectionUrl = url.parse()?;
        if url.socket().is_some() {
            // Neither admission nor the reading of Secrets lets one through: a JobQueue must not reach files of this machine.
            return Err(QueueError::Config("a JobQueue names a server, not a socket (unix://)".into()));
        }
        let url = match domain {
            Some(domain) => url.within(domain),
            None => url,
        };
        Connection::guarded(&url, &tls, Timeouts { connect: limit, response: limit }, guard.clone())
    }
}

/// Connections by server; those that are no longer used are closed.
pub(super) struct Endpoints {
    /// What all of them are held to: any tenant may name any server.
    guard: Guard,
    open: BTreeMap<EndpointKey, Arc<Connection>>,
}

impl Endpoints {
    /// None yet.
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard, open: BTreeMap::new() }
    }

    /// The connection to a server.
    pub(super) fn get(&mut self, key: &EndpointKey) -> Result<Arc<Connection>, QueueError> {
        if let Some(connection) = self.open.get(key) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(key.connection(&self.guard)?);
        self.open.insert(key.clone(), connection.clone());
        Ok(connection)
    }

    /// Closes those that `used` does not name.
    pub(super) fn retain(&mut self, used: &BTreeMap<EndpointKey, impl Sized>) {
        self.open.retain(|key, _| used.contains_key(key));
    }
}
