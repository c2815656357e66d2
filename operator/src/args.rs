//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jobqueue_operator::{DNS_PORT, Scope, UnusableTemplate, WorkerDefaults};

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

    /// Pause between two polls of the queues, in milliseconds
    #[arg(
        long,
        env = "JOBQUEUE_POLL_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 250,
        value_parser = clap::value_parser!(u64).range(50..=60_000)
    )]
    pub(crate) poll_interval_ms: u64,

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
            Command::Run(args) => args,
            Command::Check(_) => panic!("not asked for"),
        }
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
