//! Opens connections: to one server, to the master Sentinel names, or to a cluster; plain or with (mutual) TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::PubSub;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::io::AsyncDNSResolver;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    ProtocolVersion, RedisConnectionInfo, RedisError, RedisFuture, RedisResult, TlsCertificates, TlsMode,
};

use crate::QueueError;
use crate::redis::connection::{Live, Timeouts, TlsOptions};
use crate::redis::error::queue_error;
use crate::redis::guard::Guard;
use crate::redis::guard::cluster::GuardedCluster;
use crate::redis::guard::dialer::{Dialer, GuardedNode, Transport};
use crate::redis::password_file::{self, PasswordFile};
use crate::redis::url::{ConnectionUrl, Login, Node, Topology, full_name};

/// Unanswered data or silence for this long ends a TCP connection, so that a vanished peer is noticed even by a
/// subscriber that never sends.
const PEER_GONE: Duration = Duration::from_secs(30);

/// Everything needed to open a connection again.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Arc<Target>,
    /// How to dial a server that is not trusted; `None`: the client library dials.
    dialer: Option<Dialer>,
}

struct Target {
    url: ConnectionUrl,
    endpoint: String,
    tls: Option<TlsCertificates>,
}

impl Connector {
    pub(crate) fn new(url: &ConnectionUrl, tls: &TlsOptions) -> Result<Self, QueueError> {
        let endpoint = url.to_string();
        let certificates = certificates(url, tls)?;
        if url.tls {
            // Both binaries and tests reach TLS through here; another default installed earlier is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let at = |url: ConnectionUrl| {
            let target = Target { url, endpoint: endpoint.clone(), tls: certificates.clone() };
            Self { target: Arc::new(target), dialer: None }
        };
        // Reads the certificates once, so that a mistake in them is told before the first connection. A password file may
        // come later.
        at(ConnectionUrl { password_file: None, ..url.clone() }).check().map_err(|error| {
            match queue_error(&endpoint, &error, &[]) {
                QueueError::Config(message) => QueueError::Config(message),
                _ => QueueError::Config(format!("the TLS material for Redis at {endpoint}: {error}")),
            }
        })?;
        Ok(at(url.clone()))
    }

    /// The same, held to `guard`.
    ///
    /// # Errors
    /// `Config` for a socket, which no rule about addresses covers.
    pub(crate) fn guarded(mut self, guard: Guard, timeouts: Timeouts) -> Result<Self, QueueError> {
        let Target { url, tls, .. } = &*self.target;
        if url.socket().is_some() {
            return Err(QueueError::Config("a JobQueue names a server, not a socket (unix://)".into()));
        }
        let transport = if url.tls { Transport::Tls(tls.clone()) } else { Transport::Plain };
        self.dialer = Some(Dialer::new(guard, url.domain.clone(), transport, timeouts));
        Ok(self)
    }

    /// Dials in a test's own way.
    #[cfg(test)]
    pub(crate) fn dialling_with(self, change: impl FnOnce(Dialer) -> Dialer) -> Self {
        Self { dialer: self.dialer.map(change), ..self }
    }

    /// What the answers of servers that are not trusted cost so far.
    pub(crate) fn answered(&self) -> u64 {
        self.dialer.as_ref().map_or(0, Dialer::answered)
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.dialer.is_some()
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.target.endpoint
    }

    /// What an error means to a caller, without the passwords that were sent.
    pub(crate) fn explained(&self, error: &RedisError) -> QueueError {
        let sentinel = match &self.target.url.topology {
            Topology::Sentinel { login, .. } => login.password.clone(),
            _ => None,
        };
        // A file that cannot be read is what the error says.
        let own = self.login().ok().and_then(|login| login.password);
        queue_error(self.endpoint(), error, &own.into_iter().chain(sentinel).collect::<Vec<_>>())
    }

    pub(crate) fn is_cluster(&self) -> bool {
        self.target.url.is_cluster()
    }

    pub(crate) async fn connect(&self, timeouts: Timeouts) -> RedisResult<Live> {
        if let Some(dialer) = &self.dialer {
            return self.connect_guarded(dialer).await;
        }
        if let Topology::Cluster(nodes) = &self.target.url.topology {
            return Ok(Live::Cluster(self.cluster(nodes, timeouts)?.get_async_connection().await?));
        }
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response));
        if let Some(domain) = &self.target.url.domain {
            config = config.set_dns_resolver(Within(domain.clone()));
        }
        let client = self.client().await?;
        Ok(Live::Single(client.get_multiplexed_async_connection_with_config(&config).await?))
    }

    async fn connect_guarded(&self, dialer: &Dialer) -> RedisResult<Live> {
        let settings = self.settings(self.target.url.db)?;
        Ok(match &self.target.url.topology {
            Topology::Standalone(node) => Live::GuardedSingle(dialer.dial(node, &settings).await?),
            Topology::Sentinel { sentinels, master, login } => {
                Live::GuardedSingle(self.guarded_master(dialer, sentinels, master, login).await?)
            }
            Topology::Cluster(nodes) => {
                let (connector, db) = (self.clone(), self.target.url.db);
                let settings = Arc::new(move || connector.settings(db));
                Live::GuardedCluster(GuardedCluster::connect(dialer.clone(), settings, nodes).await?)
            }
            Topology::Socket(_) => return Err(RedisError::from((ErrorKind::InvalidClientConfig, "a socket"))),
        })
    }

    /// The master that the first of the Sentinels names that answers; it is dialled like any other server.
    async fn guarded_master(
        &self,
        dialer: &Dialer,
        sentinels: &[Node],
        master: &str,
        login: &Login,
    ) -> RedisResult<GuardedNode> {
        let unknown = (ErrorKind::MasterNameNotFoundBySentinel, "the master is not known", master.to_owned());
        let mut last = RedisError::from(unknown);
        for sentinel in sentinels {
            let mut answer = ask_sentinel(dialer, sentinel, login, master).await;
            if matches!(&answer, Err(error) if is_denied(error)) && *login == Login::default() {
                answer = ask_sentinel(dialer, sentinel, &self.login()?, master).await;
            }
            match answer {
                Ok(Some((host, port))) => {
                    let mut node = dialer.dial(&Node { host, port }, &self.settings(self.target.url.db)?).await?;
                    return is_master(&mut node).await.map(|()| node);
                }
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    pub(crate) async fn pubsub(&self) -> RedisResult<PubSub> {
        self.client().await?.get_async_pubsub().await
    }

    fn check(&self) -> RedisResult<()> {
        match &self.target.url.topology {
            Topology::Standalone(node) => self.single(node).map(drop),
            Topology::Sentinel { sentinels, master, login } => self.sentinel(sentinels, master, login).map(drop),
            Topology::Cluster(nodes) => self.cluster(nodes, Timeouts::default()).map(drop),
            Topology::Socket(path) => self.at(ConnectionAddr::Unix(path.clone())).map(drop),
        }
    }

    /// A client of one server: the master of today, or any reachable node of a cluster (messages reach all of them).
    async fn client(&self) -> RedisResult<Client> {
        match &self.target.url.topology {
            Topology::Standalone(node) => self.single(node),
            Topology::Sentinel { sentinels, master, login } => self.master(sentinels, master, login).await,
            Topology::Cluster(nodes) => self.any_node(nodes).await,
            Topology::Socket(path) => self.at(ConnectionAddr::Unix(path.clone())),
        }
    }

    fn single(&self, node: &Node) -> RedisResult<Client> {
        self.at(self.address(node))
    }

    fn at(&self, address: ConnectionAddr) -> RedisResult<Client> {
        let info = address
            .into_connection_info()?
            .set_redis_settings(self.settings(self.target.url.db)?)
            .set_tcp_settings(tcp_settings());
        match &self.target.tls {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        }
    }

    async fn any_node(&self, nodes: &[Node]) -> RedisResult<Client> {
        let mut last = None;
        for node in nodes {
            let client = self.single(node)?;
            match client.get_multiplexed_async_connection().await {
                Ok(_) => return Ok(client),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("the URL parser lets no empty list of nodes through"))
    }

    /// Asks the Sentinels for the master. Many installations protect them with the data nodes' password, so that is
    /// tried too where the URL says nothing else.
    async fn master(&self, sentinels: &[Node], master: &str, login: &Login) -> RedisResult<Client> {
        let first = self.sentinel(sentinels, master, login)?.async_get_client().await;
        match first {
            Err(error) if is_denied(&error) && *login == Login::default() => {
                self.sentinel(sentinels, master, &self.login()?)?.async_get_client().await
            }
            other => other,
        }
    }

    fn sentinel(
        &self,
        sentinels: &[Node],
        master: &str,
        login: &Login,
    ) -> RedisResult<redis::sentinel::SentinelClient> {
        let ours = self.login()?;
        let addresses: Vec<ConnectionAddr> = sentinels.iter().map(|node| self.address(node)).collect();
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)?
            .set_client_to_redis_db(self.target.url.db)
            .set_client_to_redis_protocol(self.protocol())
            .set_client_to_sentinel_protocol(ProtocolVersion::RESP2)
            .set_client_to_redis_tcp_settings(tcp_settings())
            .set_client_to_sentinel_tcp_settings(tcp_settings());
        if let Some(username) = &ours.username {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = &ours.password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(username) = &login.username {
            builder = builder.set_client_to_sentinel_username(username);
        }
        if let Some(password) = &login.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if self.target.url.tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if let Some(certificates) = &self.target.tls {
            builder = builder
                .set_client_to_redis_certificates(certificates.clone())
                .set_client_to_sentinel_certificates(certificates.clone());
        }
        builder.build()
    }

    fn cluster(&self, nodes: &[Node], timeouts: Timeouts) -> RedisResult<ClusterClient> {
        // A file that cannot be read is told in its own words.
        let login = self.login()?;
        let addresses: Vec<ConnectionInfo> = nodes
            .iter()
            .map(|node| Ok(self.address(node).into_connection_info()?.set_redis_settings(self.settings(0)?)))
            .collect::<RedisResult<_>>()?;
        let mut builder = ClusterClientBuilder::new(addresses)
            .connection_timeout(timeouts.connect)
            .response_timeout(timeouts.response)
            // It would follow a redirection to a node that has only a part of the keys yet. `Connection` asks again where
            // that is right.
            .retries(0)
            .use_protocol(self.protocol())
            .tcp_settings(tcp_settings());
        if let Some(username) = &login.username {
            builder = builder.username(username);
        }
        if let Some(password) = &login.password {
            builder = builder.password(password);
        }
        if let Some(file) = PasswordFile::of(&self.target.url) {
            builder = builder.set_credentials_provider(file);
        }
        if let Some(domain) = &self.target.url.domain {
            builder = builder.async_dns_resolver(Within(domain.clone()));
        }
        if self.target.url.tls {
            builder = builder.tls(TlsMode::Secure);
        }
        if let Some(certificates) = &self.target.tls {
            builder = builder.certs(certificates.clone());
        }
        builder.build()
    }

    fn protocol(&self) -> ProtocolVersion {
        if self.target.url.resp3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 }
    }

    /// User and password as they are now.
    fn login(&self) -> RedisResult<Login> {
        password_file::login(&self.target.url)
    }

    fn settings(&self, db: i64) -> RedisResult<RedisConnectionInfo> {
        let settings = RedisConnectionInfo::default().set_db(db).set_protocol(self.protocol());
        Ok(with_login(settings, &self.login()?))
    }

    fn address(&self, node: &Node) -> ConnectionAddr {
        if self.target.url.tls {
            ConnectionAddr::TcpTls { host: node.host.clone(), port: node.port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(node.host.clone(), node.port)
        }
    }
}

/// Where a Sentinel says that the master is; `None` if it does not know it.
async fn ask_sentinel(
    dialer: &Dialer,
    sentinel: &Node,
    login: &Login,
    master: &str,
) -> RedisResult<Option<(String, u16)>> {
    let settings = with_login(RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2), login);
    let mut sentinel = dialer.dial(sentinel, &settings).await?;
    let question = redis::cmd("SENTINEL").arg("get-master-addr-by-name").arg(master).to_owned();
    Ok(redis::from_redis_value(sentinel.ask(&question).await?)?)
}

/// Right after a failover a Sentinel may still name the old master. A server that may not be asked is taken as it is.
async fn is_master(node: &mut GuardedNode) -> RedisResult<()> {
    let role = match node.ask(&redis::cmd("ROLE")).await {
        Ok(redis::Value::Array(role)) => role,
        Ok(_) => return Ok(()),
        Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => return Ok(()),
        Err(error) => return Err(error),
    };
    match role.first() {
        Some(redis::Value::BulkString(role)) if role != b"master" => {
            Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "Sentinel names a server that is no master")
                .into())
        }
        _ => Ok(()),
    }
}

fn with_login(mut settings: RedisConnectionInfo, login: &Login) -> RedisConnectionInfo {
    if let Some(username) = &login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &login.password {
        settings = settings.set_password(password);
    }
    settings
}

/// Looks short host names up in a domain. The name itself stays what it is, for the server's certificate.
struct Within(String);

impl AsyncDNSResolver for Within {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((full_name(host, &self.0), port)).await?.collect();
            Ok(Box::new(addresses.into_iter()) as Box<dyn Iterator<Item = SocketAddr> + Send + 'a>)
        })
    }
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(PEER_GONE / 2).with_interval(PEER_GONE / 6);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    // Elsewhere the keepalive alone notices that a peer is gone.
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(PEER_GONE);
    settings
}

fn certificates(url: &ConnectionUrl, tls: &TlsOptions) -> Result<Option<TlsCertificates>, QueueError> {
    let client_tls = match (&tls.client_cert, &tls.client_key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig { client_cert: cert.clone(), client_key: key.clone() }),
        (None, None) => None,
        _ => {
            return Err(QueueError::Config(
                "a TLS client certificate and its key are given together or not at all".into(),
            ));
        }
    };
    if client_tls.is_none() && tls.ca.is_none() {
        return Ok(None);
    }
    if !url.tls {
        return Err(QueueError::Config(format!("TLS certificates are given, and {url} is not a TLS URL (rediss://)")));
    }
    Ok(Some(TlsCertificates { client_tls, root_cert: tls.ca.clone() }))
}

fn is_denied(error: &RedisError) -> bool {
    matches!(queue_error("", error, &[]), QueueError::Denied { .. })
}
