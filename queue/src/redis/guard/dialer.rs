//! Opens connections to servers that are not trusted: the address is checked after the name is resolved, and what the server
//! answers is counted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::future::select_ok;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

use super::meter::{Meter, Metered};
use super::resolver::Resolver;
use super::{Guard, addresses, tls};
use crate::redis::connection::Timeouts;
use crate::redis::url::{Node, full_name};

/// Addresses of one name that are dialled, all at once: a name may have thousands.
const DIALLED: usize = 8;

/// Addresses of a name that nobody was reached at yet. Left so, the name is looked up anew the next time.
struct Doubt<'a> {
    resolver: &'a Resolver,
    name: Option<&'a str>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name {
            self.resolver.forget(name);
        }
    }
}

/// How to dial the nodes of one URL.
#[derive(Clone)]
pub(crate) struct Dialer {
    guard: Guard,
    /// Where short host names are looked up; `None`: as the system does.
    domain: Option<String>,
    /// `None` without TLS.
    tls: Option<Tls>,
    timeouts: Timeouts,
    resolver: Arc<Resolver>,
    /// What the answers of all nodes cost so far.
    answered: Arc<AtomicU64>,
}

/// What is between a node and the client.
pub(crate) enum Transport {
    /// Nothing.
    Plain,
    /// TLS, with certificates other than the system's or not.
    Tls(Option<TlsCertificates>),
}

#[derive(Clone)]
struct Tls {
    certificates: Option<TlsCertificates>,
    /// Made once, when first needed: thousands of certificates are read for it.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// One connection to a node.
#[derive(Clone)]
pub(crate) struct GuardedNode {
    connection: MultiplexedConnection,
    meter: Arc<Meter>,
    _driver: Arc<Driver>,
}

/// Ends the connection's task with the last of its clones.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for GuardedNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedNode").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Dials as `guard` says.
    pub(crate) fn new(guard: Guard, domain: Option<String>, transport: Transport, timeouts: Timeouts) -> Self {
        let tls = match transport {
            Transport::Plain => None,
            Transport::Tls(certificates) => Some(Tls { certificates, config: Arc::default() }),
        };
        Self { guard, domain, tls, timeouts, resolver: Resolver::system(), answered: Arc::default() }
    }

    /// Looks names up with a resolver of the test's own.
    #[cfg(test)]
    pub(super) fn with_resolver(self, resolver: &Arc<Resolver>) -> Self {
        Self { resolver: resolver.clone(), ..self }
    }

    /// What the answers of all nodes cost so far, in bytes of memory or so.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// A connection to `node`, logged in.
    pub(crate) async fn dial(&self, node: &Node, settings: &RedisConnectionInfo) -> RedisResult<GuardedNode> {
        let name = self.domain.as_deref().map_or_else(|| node.host.clone(), |domain| full_name(&node.host, domain));
        let addresses = self.addresses(&name, node.port).await?;
        let mut doubt = Doubt { resolver: &self.resolver, name: Some(&name) };
        let dialled = addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)));
        let (stream, _) = select_ok(dialled).await?;
        doubt.name = None;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.log_in(stream, settings).await,
            Some(tls) => {
                let name = ServerName::try_from(node.host.clone()).map_err(|error| {
                    RedisError::from((ErrorKind::InvalidClientConfig, "no name for TLS", error.to_string()))
                })?;
                let config = match tls.config.get() {
                    Some(config) => config.clone(),
                    None => tls.config.get_or_init(|| config_of(tls)).clone(),
                };
                self.log_in(TlsConnector::from(config).connect(name, stream).await?, settings).await
            }
        }
    }

    /// Those of a host's addresses that may be dialled.
    async fn addresses(&self, host: &str, port: u16) -> RedisResult<Vec<SocketAddr>> {
        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.resolver.lookup(host, port).await?,
        };
        let allowed = found.into_iter().filter(|found| self.guard.addresses.allows(found.ip()));
        let allowed: Vec<_> = allowed.take(DIALLED).collect();
        if allowed.is_empty() { Err(addresses::refused()) } else { Ok(allowed) }
    }

    async fn log_in<S>(&self, stream: S, settings: &RedisConnectionInfo) -> RedisResult<GuardedNode>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let meter = Meter::new(self.guard.limits, self.answered.clone());
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeouts.response));
        let stream = Metered::new(stream, meter.clone());
        let connected = {
            let _round_trip = meter.begin("the login");
            MultiplexedConnection::new_with_config(settings, stream, config).await
        };
        let (connection, driver) = connected.map_err(|error| explained(&meter, error))?;
        let driver = Driver(tokio::spawn(driver).abort_handle());
        Ok(GuardedNode { connection, meter, _driver: Arc::new(driver) })
    }
}

impl GuardedNode {
    /// Sends commands in one round trip.
    pub(crate) async fn send(&mut self, commands: &[&Cmd]) -> RedisResult<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command((*command).clone());
        }
        pipeline.ignore_errors();
        let round_trip = self.meter.begin(&commands.first().map(|command| name(command)).unwrap_or_default());
        let answers = self.connection.req_packed_commands(&pipeline, 0, commands.len()).await;
        let answers = answers.map_err(|error| explained(&self.meter, error));
        drop(round_trip);
        answers
    }

    /// Sends one command.
    pub(crate) async fn ask(&mut self, command: &Cmd) -> RedisResult<Value> {
        let answer = self.send(&[command]).await?.pop();
        answer.ok_or_else(|| RedisError::from((ErrorKind::UnexpectedReturnType, "no answer")))?.extract_error()
    }
}

/// The configuration of TLS; one without authorities, which trusts nobody, where the material is of no use: it was checked
/// before.
fn config_of(tls: &Tls) -> Arc<ClientConfig> {
    tls::config(tls.certificates.as_ref()).unwrap_or_else(|error| {
        tracing::warn!(%error, "no certificate authorities");
        let nobody = ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty());
        Arc::new(nobody.with_no_client_auth())
    })
}

/// What a person is told where the error is one of the connection only, and the cause is a limit.
fn explained(meter: &Meter, error: RedisError) -> RedisError {
    let excess = meter.excess();
    let large = meter.is_large() && error.is_timeout();
    let excess = excess.or_else(|| large.then(|| "answered much, and did not come to an end in time".to_owned()));
    excess.map_or(error, exceeded)
}

/// Marks an error that says that a limit was exceeded.
const EXCESS: &str = "a limit was exceeded";

/// The error that says what a server did.
pub(crate) fn exceeded(excess: String) -> RedisError {
    RedisError::from((ErrorKind::Extension, EXCESS, excess))
}

/// What a server did that exceeds a limit, if that is what the error says.
pub(crate) fn excess(error: &RedisError) -> Option<&str> {
    let is_excess = error.kind() == ErrorKind::Extension && error.to_string().starts_with(EXCESS);
    if is_excess { error.detail() } else { None }
}

/// The first word of a command.
fn name(command: &Cmd) -> String {
    command.args_iter().next().map_or_else(String::new, |first| match first {
        redis::Arg::Simple(name) => String::from_utf8_lossy(name).into_owned(),
        _ => String::new(),
    })
}
