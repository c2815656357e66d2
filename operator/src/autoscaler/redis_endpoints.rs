//! The Redis servers that are polled: one connection for all queues of a server.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jobqueue_queue::{Connection, ConnectionUrl, QueueError, Timeouts, TlsOptions};

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
    /// Where the password is; `None` if it is in the URL, or there is none.
    password_file: Option<PathBuf>,
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
    /// that cannot be understood is the error `Config`, and so is a password in the URL and one in a file.
    pub(crate) fn new(
        resolved: &Resolved,
        domain: Option<&str>,
        password_file: Option<PathBuf>,
    ) -> Result<Self, QueueError> {
        let Resolved { redis_url, redis_ca, redis_client, .. } = resolved;
        let url = with_password(redis_url, password_file.as_deref())?;
        let domain = domain.filter(|domain| url.clone().within(domain) != url).map(ToOwned::to_owned);
        let (ca, client) = (redis_ca.clone(), redis_client.clone());
        Ok(Self(Arc::new(EndpointConfig { url: redis_url.clone(), domain, password_file, ca, client })))
    }

    /// A connection to it, made when first used. A server that does not answer in two seconds counts as down: the next
    /// poll is a fraction of a second away.
    fn connection(&self) -> Result<Connection, QueueError> {
        let EndpointConfig { url, domain, password_file, ca, client } = &*self.0;
        let (client_cert, client_key) = client.clone().unzip();
        let tls = TlsOptions { ca: ca.clone(), client_cert, client_key };
        let limit = Duration::from_secs(2);
        let url = with_password(url, password_file.as_deref())?;
        if url.socket().is_some() {
            // Neither admission nor the reading of Secrets lets one through: a JobQueue must not reach files of this machine.
            return Err(QueueError::Config("a JobQueue names a server, not a socket (unix://)".into()));
        }
        let url = match domain {
            Some(domain) => url.within(domain),
            None => url,
        };
        Connection::new(&url, &tls, Timeouts { connect: limit, response: limit })
    }
}

fn with_password(url: &str, file: Option<&Path>) -> Result<ConnectionUrl, QueueError> {
    let url: ConnectionUrl = url.parse()?;
    match file {
        Some(file) => url.with_password_file(file),
        None => Ok(url),
    }
}

/// Connections by server; those that are no longer used are closed.
#[derive(Default)]
pub(super) struct Endpoints {
    open: BTreeMap<EndpointKey, Arc<Connection>>,
}

impl Endpoints {
    /// The connection to a server.
    pub(super) fn get(&mut self, key: &EndpointKey) -> Result<Arc<Connection>, QueueError> {
        if let Some(connection) = self.open.get(key) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(key.connection()?);
        self.open.insert(key.clone(), connection.clone());
        Ok(connection)
    }

    /// Closes those that `used` does not name.
    pub(super) fn retain(&mut self, used: &BTreeMap<EndpointKey, impl Sized>) {
        self.open.retain(|key, _| used.contains_key(key));
    }
}
