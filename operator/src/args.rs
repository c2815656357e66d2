//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jobqueue_queue::{AddressPolicy, Guard, Network};

/// Applies JobQueues: their workers, and how many of them.
#[derive(Debug, Parser)]
#[command(name = "jobqueue-operator", version, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the operator, in a cluster or beside it (with the kubeconfig)
    Run(RunArgs),
    /// Check an installation: are JobQueues served, and does an operator lead?
    Check(CheckArgs),
}

/// What an operator serves, and how it and its replicas agree on which of them does.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Serve the JobQueues of this namespace only; omitted or empty: of all
    #[arg(long, env = "JOBQUEUE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Name of the Lease that the operator's replicas compete for
    #[arg(long, env = "JOBQUEUE_LEASE_NAME", value_name = "NAME", default_value = "jobqueue-operator")]
    pub(crate) lease_name: String,

    /// Namespace of the Lease [default: `POD_NAMESPACE`, else the kubeconfig's]
    #[arg(long, env = "JOBQUEUE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// Namespace of this pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
}

impl ScopeArgs {
    /// The namespace to serve; `None` for all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|name| !name.is_empty())
    }

    /// The namespace of the Lease; `default` is the kubeconfig's.
    pub(crate) fn lease_namespace<'a>(&'a self, default: &'a str) -> &'a str {
        let given = self.lease_namespace.as_deref().filter(|name| !name.is_empty());
        given.or(self.pod_namespace.as_deref()).unwrap_or(default)
    }
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    /// How long to wait for a leader, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(crate) within: u64,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    /// Image of workers whose JobQueue names none
    #[arg(
        long,
        env = "JOBQUEUE_WORKER_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("jobqueue/worker:", env!("CARGO_PKG_VERSION"))
    )]
    pub(crate) worker_image: String,

    /// Replace the workers of at most so many queues at once when the operator changes (its default image), not their JobQueue
    #[arg(
        long = "rollout-max-unavailable-queues",
        env = "JOBQUEUE_ROLLOUT_MAX_UNAVAILABLE_QUEUES",
        value_name = "NUMBER",
        default_value_t = 10,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) max_rollouts: u16,

    /// Pause between two polls of the queues, in milliseconds
    #[arg(
        long,
        env = "JOBQUEUE_POLL_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 250,
        value_parser = clap::value_parser!(u64).range(50..=60_000)
    )]
    pub(crate) poll_interval_ms: u64,

    /// Networks with Redis servers that a JobQueue may name although they are local: a list of ranges like 127.0.0.0/8
    ///
    /// The operator does not connect to link-local and multicast addresses, to the metadata services of clouds, and, in a
    /// cluster, to itself and the API server. Names are checked after they are resolved.
    #[arg(long, env = "JOBQUEUE_REDIS_ALLOWED_ADDRESSES", value_name = "NETWORKS", value_parser = networks, default_value = "")]
    pub(crate) redis_allowed_addresses: Networks,

    /// More networks to which the operator does not connect, whatever a JobQueue says: a list of ranges like 10.0.0.0/8
    #[arg(long, env = "JOBQUEUE_REDIS_DENIED_ADDRESSES", value_name = "NETWORKS", value_parser = networks, default_value = "")]
    pub(crate) redis_denied_addresses: Networks,

    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "JOBQUEUE_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    pub(crate) listen: SocketAddr,

    /// Name of this operator in the election: unique among replicas [default: the host's name and the process id]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub(crate) identity: Option<String>,

    /// What to log: a level, or directives like `info,jobqueue_operator=debug`
    #[arg(long, env = "JOBQUEUE_LOG", value_name = "FILTER", default_value = "info")]
    pub(crate) log: String,

    /// How to log, on stderr
    #[arg(long, env = "JOBQUEUE_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    pub(crate) log_format: LogFormat,
}

/// Ranges of addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Networks(pub(crate) Vec<Network>);

/// Reads ranges with commas or spaces between them.
fn networks(text: &str) -> Result<Networks, String> {
    let each = text.split([',', ' ']).filter(|one| !one.is_empty());
    each.map(str::parse).collect::<Result<_, _>>().map(Networks)
}

impl RunArgs {
    /// What the Redis servers that JobQueues name are held to. `api_server` is where the API server of this pod is; `None`
    /// outside of a cluster, where the machine's own servers may be meant.
    pub(crate) fn guard(&self, api_server: Option<&str>) -> Guard {
        let mut denied = self.redis_denied_addresses.0.clone();
        denied.extend(api_server.and_then(|host| host.parse().ok()).map(Network::of));
        let allowed = self.redis_allowed_addresses.0.clone();
        let addresses = AddressPolicy { deny_loopback: api_server.is_some(), denied, allowed };
        Guard { addresses: addresses.into(), ..Guard::default() }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object per line
    Json,
    /// For people
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(args: &[&str], api_server: Option<&str>) -> Guard {
        let args = ["jobqueue-operator", "run"].iter().chain(args);
        match Cli::try_parse_from(args).expect("arguments").command {
            Command::Run(args) => args.guard(api_server),
            Command::Check(_) => unreachable!("it runs"),
        }
    }

    #[test]
    fn in_a_cluster_the_operator_and_the_api_server_are_no_redis() {
        let allows = |guard: &Guard, address: &str| guard.addresses.allows(address.parse().expect("an address"));
        let inside = guard(&["--redis-denied-addresses", "10.7.0.0/16 fd01::/16"], Some("10.96.0.1"));
        for denied in ["127.0.0.1", "10.96.0.1", "10.7.1.1", "fd01::1"] {
            assert!(!allows(&inside, denied), "{denied}");
        }
        assert!(allows(&inside, "10.96.0.2"));
        assert!(allows(&guard(&["--redis-allowed-addresses=127.0.0.0/8"], Some("10.96.0.1")), "127.0.0.1"));
        assert!(allows(&guard(&[], None), "127.0.0.1"), "beside a cluster it may be meant");
        assert!(Cli::try_parse_from(["jobqueue-operator", "run", "--redis-denied-addresses", "there"]).is_err());
    }
}
