//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
