//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jobqueue_operator::{DNS_PORT, Scope, UnusableTemplate, WorkerDefaults};
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
    Run(Box<RunArgs>),
    /// Check an installation: are JobQueues served, and does an operator lead?
    Check(CheckArgs),
}

/// What an operator serves, and how it and its replicas agree on which of them does.
#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Serve the JobQueues of this namespace only; several by commas, or the flag several times; omitted or empty: of all
    #[arg(long, env = "JOBQUEUE_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    namespace: Vec<String>,

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
    /// The namespaces to serve.
    pub(crate) fn scope(&self) -> Scope {
        Scope::of(self.namespace.iter().map(String::as_str))
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

/// What is the same for the workers of all queues.
#[derive(Debug, Args)]
pub(crate) struct WorkerArgs {
    /// Image of workers whose JobQueue names none
    #[arg(
        long,
        env = "JOBQUEUE_WORKER_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("jobqueue/worker:", env!("CARGO_PKG_VERSION"))
    )]
    worker_image: String,

    /// Pod template (JSON) merged under `spec.worker.template` of every JobQueue, which wins; a change rolls all workers
    #[arg(long, env = "JOBQUEUE_WORKER_TEMPLATE", value_name = "JSON", default_value = "", hide_default_value = true)]
    worker_template: String,

    /// Leave runAsUser and runAsGroup out of worker pods, where the platform sets the user of every pod
    #[arg(long, env = "JOBQUEUE_WORKER_PLATFORM_USER", default_value_t = false, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    worker_platform_user: bool,

    /// Ports of DNS servers that workers with `networkPolicy.egress` may reach (5353 on some platforms); by commas, or the flag
    /// several times
    #[arg(long, env = "JOBQUEUE_DNS_PORTS", value_name = "PORT", value_delimiter = ',', default_values_t = [DNS_PORT])]
    dns_port: Vec<u16>,
}

impl WorkerArgs {
    pub(crate) fn defaults(self) -> Result<WorkerDefaults, UnusableTemplate> {
        let mut workers = WorkerDefaults::new(self.worker_image).with_template(&self.worker_template)?;
        (workers.platform_user, workers.dns_ports) = (self.worker_platform_user, self.dns_port);
        Ok(workers)
    }
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,

    #[command(flatten)]
    pub(crate) workers: WorkerArgs,

    /// Directory with the passwords of JobQueues with `queue.redis.passwordFile`: DIRECTORY/NAMESPACE/FILE, where FILE is the
    /// last part of that path; read for each connection
    #[arg(long, env = "JOBQUEUE_PASSWORD_DIRECTORY", value_name = "DIRECTORY")]
    pub(crate) password_directory: Option<PathBuf>,

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

    /// Address of /healthz, /readyz and /metrics; `[::]` takes IPv4 too, and is 0.0.0.0 where there is no IPv6
    #[arg(long, env = "JOBQUEUE_LISTEN", value_name = "ADDRESS", default_value = "[::]:9090")]
    pub(crate) listen: SocketAddr,

    /// Answer /metrics only for clients with a token of the cluster that may `get` the path /metrics; the API server is asked
    #[arg(long, env = "JOBQUEUE_METRICS_AUTHENTICATION", default_value_t = false, action = clap::ArgAction::Set,
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) metrics_authentication: bool,

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

    fn run(flags: &[&str]) -> RunArgs {
        let words = ["jobqueue-operator", "run"].iter().chain(flags);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Run(args) => *args,
            Command::Check(_) => panic!("not asked for"),
        }
    }

    fn guard(flags: &[&str], api_server: Option<&str>) -> Guard {
        run(flags).guard(api_server)
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

    fn scope(flags: &[&str]) -> Scope {
        run(flags).scope.scope()
    }

    #[test]
    fn a_platform_has_its_own_users_and_dns() {
        let workers = |flags: &[&str]| run(flags).workers.defaults().unwrap();
        let plain = workers(&["--worker-image=worker:1"]);
        assert_eq!(plain, WorkerDefaults::new("worker:1"));
        let openshift = workers(&["--worker-platform-user", "--dns-port=53,5353"]);
        assert!(openshift.platform_user);
        assert_eq!(openshift.dns_ports, [53, 5353]);
        assert!(run(&["--worker-template={]"]).workers.defaults().is_err());
    }

    #[test]
    fn namespaces_are_a_list() {
        assert_eq!(scope(&[]), Scope::default());
        assert_eq!(scope(&["--namespace="]), Scope::default());
        assert_eq!(scope(&["--namespace=a,b"]), Scope::of(["a", "b"]));
        assert_eq!(scope(&["--namespace=b", "--namespace=a"]), Scope::of(["a", "b"]));
    }
}
