//! The command line: flags that every command knows, and the commands.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::acl::AclArgs;
use crate::completion::CompletionArgs;
use crate::enqueue::EnqueueArgs;
use crate::exit::{EXIT_HELP, Exit, Failure};
use crate::explain::ExplainArgs;
use crate::failed::FailedArgs;
use crate::local::LocalArgs;
use crate::output::Format;
use crate::schema::SchemaArgs;
use crate::simulate::SimulateArgs;
use crate::status::StatusArgs;
use crate::stop::StopArgs;
use crate::tls::TlsFiles;
use crate::trial::TryArgs;

/// Turn a backlog in Redis into rows in your database, and see how it is doing.
#[derive(Parser)]
#[command(name = "jobqueue", version, long_version = BUILD.as_str(), after_help = EXIT_HELP, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Flags that every command knows.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the queue is, and how to print. Without Debug: the URLs may hold passwords.
#[derive(Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// How data is printed on stdout
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Manifest that names the queues, the protocol and the URLs; flags win over it. `simulate` compares several
    #[arg(short, long, global = true, value_name = "MANIFEST")]
    pub(crate) filename: Vec<PathBuf>,
    /// Redis: `redis://`, `rediss://`, `redis+sentinel://h1,h2/MASTER/DB`, `redis+cluster://h1,h2`, `unix:///SOCKET`
    #[arg(long, global = true, env = "JOBQUEUE_REDIS_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) redis: Option<String>,
    #[command(flatten)]
    pub(crate) tls: TlsFiles,
    /// Database: `postgres://`, `mysql://`, `sqlite:PATH`
    #[arg(long, global = true, env = "JOBQUEUE_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub(crate) database: Option<String>,
    /// Queue name, or the Redis key of a list or stream; may be repeated where several make sense
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) queue: Vec<String>,
    /// The wire format of the queue [default: RQ, or the manifest's]
    #[arg(long, global = true, value_enum, ignore_case = true)]
    pub(crate) protocol: Option<ProtocolArg>,
    /// RQ's key prefix, if the producers set `RQ_KEY_PREFIX` [default: rq, or the manifest's]
    #[arg(long, global = true, value_name = "PREFIX")]
    pub(crate) key_prefix: Option<String>,
}

impl GlobalArgs {
    /// The manifest, if one is given, where no more than one makes sense.
    pub(crate) fn manifest(&self) -> Result<Option<&Path>, Failure> {
        match self.filename.as_slice() {
            [] => Ok(None),
            [path] => Ok(Some(path)),
            _ => Err(Failure::new(Exit::Usage, "several manifests are given").hint("give one with -f FILE")),
        }
    }
}

/// The wire formats, as flags spell them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtocolArg {
    /// Python RQ jobs.
    Rq,
    /// Elements of a Redis list.
    List,
    /// Entries of a Redis stream.
    Stream,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a manifest on this machine: worker processes, scaled with the backlog
    Local(LocalArgs),
    /// Turn a file of records into jobs, one a line
    Enqueue(EnqueueArgs),
    /// Show what waits, runs and failed, and who works on it
    Status(StatusArgs),
    /// Say why a queue in a cluster has as many workers as it has, and what to do next
    Explain(ExplainArgs),
    /// List, show, requeue, export or remove failed jobs
    Failed(FailedArgs),
    /// Stop running jobs: they end in the failed registry
    Stop(StopArgs),
    /// Show the rows that a record would become; writes nothing
    Try(TryArgs),
    /// Show what a manifest's scaling would do with a load, beside KEDA's and other rules
    Simulate(SimulateArgs),
    /// Print the table that makes effects exactly once, for accounts that may not create it
    Schema(SchemaArgs),
    /// Print what a Redis account needs for a queue
    Acl(AclArgs),
    /// Print a completion script for your shell
    Completion(CompletionArgs),
}

/// Version, commit (where the build was told one), profile and platform.
static BUILD: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("JOBQUEUE_COMMIT").unwrap_or("unknown");
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    format!("{}\ncommit: {commit}\nbuild: {profile}, {arch}-{os}", env!("CARGO_PKG_VERSION"))
});
