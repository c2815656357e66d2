//! Which Redis a queue is polled at.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jobqueue_queue::{Connection, ConnectionUrl, Guard, QueueError, Timeouts, TlsOptions};

/// One server and one login. Compares by everything that makes a connection; prints no password. Thousands of queues
/// share one: clones are cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct EndpointKey(Arc<EndpointConfig>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct EndpointConfig {
    login: RedisLogin,
    /// The domain of short host names; `None` if the URL has none.
    domain: Option<String>,
    /// Where the password is; `None` if it is in the URL, or there is none.
    password_file: Option<PathBuf>,
}

/// What a queue's Secrets say of its Redis. It has secrets in it, and is not printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RedisLogin {
    /// The URL, password included.
    pub(crate) url: String,
    /// PEM of the certificate authority; `None` without one.
    pub(crate) ca: Option<Vec<u8>>,
    /// PEM of the client certificate and its key; `None` without one.
    pub(crate) client: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EndpointKey")
    }
}

impl EndpointKey {
    /// The server at `login.url`. A short host name is one of `domain`, as it is for the queue's workers. A URL that cannot be
    /// understood is the error `Config`, and so is a password in the URL and one in a file.
    pub(crate) fn new(
        login: RedisLogin,
        domain: Option<&str>,
        password_file: Option<PathBuf>,
    ) -> Result<Self, QueueError> {
        let url = with_password(&login.url, password_file.as_deref())?;
        let domain = domain.filter(|domain| url.clone().within(domain) != url).map(ToOwned::to_owned);
        Ok(Self(Arc::new(EndpointConfig { login, domain, password_file })))
    }

    /// A connection to it, made when first used. A server that does not answer in two seconds counts as down: the next
    /// poll is a fraction of a second away. It is held to what `guard` says.
    pub(crate) fn connection(&self, guard: &Guard) -> Result<Connection, QueueError> {
        let EndpointConfig { login: RedisLogin { url, ca, client }, domain, password_file } = &*self.0;
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
        Connection::guarded(&url, &tls, Timeouts { connect: limit, response: limit }, guard.clone())
    }
}

fn with_password(url: &str, file: Option<&Path>) -> Result<ConnectionUrl, QueueError> {
    let url: ConnectionUrl = url.parse()?;
    match file {
        Some(file) => url.with_password_file(file),
        None => Ok(url),
    }
}
