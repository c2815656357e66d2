//! `jobqueue-dashboard`: the page for browsers as a Deployment in a cluster. On a person's machine it is `jobqueue dashboard`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgAction, Parser};
use jobqueue_dashboard::{Dashboard, Prometheus, Settings};
use jobqueue_inspect::source::{ClusterSettings, ClusterSource, RedisReach};
use jobqueue_queue::{AddressPolicy, Guard, Network};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Serves a page for browsers: the JobQueues of this cluster, for accounts that log in with a token.
#[derive(Debug, Parser)]
#[command(name = "jobqueue-dashboard", version, max_term_width = 120)]
struct Args {
    /// Where to listen, without TLS
    #[arg(long, env = "JOBQUEUE_LISTEN", value_name = "ADDRESS", default_value = "[::]:8080")]
    listen: SocketAddr,
    /// Show the JobQueues of this namespace only; several by commas, or the flag several times; omitted or empty: of all
    #[arg(long, env = "JOBQUEUE_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    namespace: Vec<String>,
    /// Requeue and purge failed jobs, for accounts that may `update` the JobQueue
    #[arg(long, env = "JOBQUEUE_ALLOW_ACTIONS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1,
        require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    allow_actions: bool,
    /// Connect to the Redis of queues in this namespace, for workers and failed jobs; several by commas, or the flag several
    /// times; omitted: to none
    #[arg(long, env = "JOBQUEUE_REDIS_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',')]
    redis_namespace: Vec<String>,
    /// Ranges to connect to although they are loopback, link-local or the API server
    #[arg(long, env = "JOBQUEUE_REDIS_ALLOWED_ADDRESSES", value_name = "RANGE", value_delimiter = ',')]
    redis_allowed_addresses: Vec<Network>,
    /// Ranges not to connect to, whatever a JobQueue says
    #[arg(long, env = "JOBQUEUE_REDIS_DENIED_ADDRESSES", value_name = "RANGE", value_delimiter = ',')]
    redis_denied_addresses: Vec<Network>,
    /// Prometheus that scrapes the operator: charts show six hours instead of what was watched
    #[arg(long, env = "JOBQUEUE_PROMETHEUS", value_name = "URL")]
    prometheus: Option<String>,
    /// File with the secret of a proxy that logs people in: with it in the header X-JobQueue-Proxy-Secret, X-Remote-User and
    /// X-Remote-Group are believed
    #[arg(long, env = "JOBQUEUE_PROXY_SECRET_FILE", value_name = "FILE")]
    proxy_secret_file: Option<PathBuf>,
    /// What to log: a level, or directives like `info,jobqueue_dashboard=debug`
    #[arg(long, env = "JOBQUEUE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // The resolver warns of each answer that it does not take: whoever sends those would fill the log.
    let filter = format!("hickory_net=error,hickory_resolver=error,{}", args.log);
    let filter = EnvFilter::try_new(filter).context("--log")?;
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(std::io::stderr).init();
    let prometheus = args.prometheus.as_deref().filter(|url| !url.is_empty()).map(Prometheus::new).transpose();
    let prometheus = prometheus.map_err(anyhow::Error::msg)?;
    let proxy_secret = proxy_secret(&args)?;
    let settings = Settings { port: 0, read_only: !args.allow_actions, prometheus };
    let source = ClusterSource::start(cluster(&args)).await.context("cannot show the JobQueues of this cluster")?;
    let listening = format!("cannot listen on {}", args.listen);
    let dashboard = Dashboard::bind_in_cluster(args.listen, settings, source, proxy_secret).context(listening)?;
    tracing::info!(address = %args.listen, "serves");
    let mut terminated = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::select! {
        served = dashboard.serve() => served.context("the dashboard cannot go on")?,
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated.recv() => {}
    }
    Ok(())
}

fn cluster(args: &Args) -> ClusterSettings {
    let some = |names: &[String]| names.iter().filter(|name| !name.is_empty()).cloned().collect::<Vec<_>>();
    let namespaces = some(&args.namespace);
    let api_server = std::env::var("KUBERNETES_SERVICE_HOST").ok().and_then(|host| host.parse().ok());
    let denied = args.redis_denied_addresses.iter().copied().chain(api_server.map(Network::of)).collect();
    let allowed = args.redis_allowed_addresses.clone();
    let addresses = AddressPolicy { deny_loopback: true, denied, allowed };
    let guard = Guard { addresses: addresses.into(), ..Guard::default() };
    let reach = RedisReach::Namespaces { names: some(&args.redis_namespace).into_iter().collect(), guard };
    ClusterSettings { all_namespaces: namespaces.is_empty(), namespaces, reach, ..ClusterSettings::default() }
}

/// The secret that a proxy shows.
fn proxy_secret(args: &Args) -> anyhow::Result<Option<String>> {
    let Some(path) = args.proxy_secret_file.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("the proxy's secret in {}", path.display()))?;
    let text = text.trim();
    anyhow::ensure!(text.len() >= 16, "the proxy's secret in {} is shorter than 16 characters", path.display());
    Ok(Some(text.to_owned()))
}
