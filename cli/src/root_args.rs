//! The command line as a whole: the flags that every command knows, and the commands.

use std::sync::LazyLock;

use clap::{Parser, Subcommand};

use crate::commands::acl::AclArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::dashboard::DashboardArgs;
use crate::commands::enqueue::EnqueueArgs;
use crate::commands::explain::ExplainArgs;
use crate::commands::failed::FailedArgs;
use crate::commands::local::LocalArgs;
use crate::commands::schema::SchemaArgs;
use crate::commands::simulate::SimulateArgs;
use crate::commands::status::StatusArgs;
use crate::commands::stop::StopArgs;
use crate::commands::top::TopArgs;
use crate::commands::try_recipe::TryArgs;
use crate::common::exit::EXIT_HELP;
use crate::common::global_args::GlobalArgs;

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
    /// Serve a page for the browser: queues, workers and failed jobs, here or in a cluster
    Dashboard(DashboardArgs),
    /// Watch queues, workers and failed jobs in the terminal, here or in a cluster
    Top(TopArgs),
    /// List, show, requeue, export or remove failed jobs
    Failed(FailedArgs),
    /// Stop running jobs: they end in the failed registry
    Stop(StopArgs),
    /// Show the rows that a record would become; writes nothing
    Try(TryArgs),
    /// Simulate a manifest's scaling with a load, and compare it with KEDA and other rules
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
