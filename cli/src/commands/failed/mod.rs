//! `jobqueue failed`: the jobs that failed, by cause; give them another chance, write their lines back, or remove them.

mod act;
mod filter;
mod list;
mod show;

use clap::{Args, Subcommand};
use jobqueue_queue::admin::FailedJobs;

use self::act::{ExportArgs, PurgeArgs, RequeueArgs};
use self::list::ListArgs;
use self::show::ShowArgs;
use crate::common::exit::{Exit, queue_failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::target::Target;

const HELP: &str = "\
Examples:
  jobqueue failed list --queue companies
  jobqueue failed show 43eaaa8a-6697-4702-b6d6-7b0d3a1d677d --queue companies
  jobqueue failed export errors.jsonl --queue companies --error 'not a date'
  jobqueue failed purge --queue companies --error 'not a date'
  jobqueue enqueue errors-mended.jsonl --queue companies -f jobqueue.yaml
  jobqueue failed requeue --queue companies --all";

/// Flags of `failed`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct FailedArgs {
    #[command(subcommand)]
    command: FailedCommand,
}

#[derive(Debug, Subcommand)]
enum FailedCommand {
    /// Failed jobs grouped by their error, or one by one
    List(ListArgs),
    /// Everything about one failed job
    Show(ShowArgs),
    /// Put failed jobs back on their queues, as `rq requeue` does
    Requeue(RequeueArgs),
    /// Write the records of failed jobs to a file, one a line, to be mended and enqueued again
    Export(ExportArgs),
    /// Remove failed jobs for good
    Purge(PurgeArgs),
}

/// Runs the command.
pub(crate) async fn run(global: &GlobalArgs, args: &FailedArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let registries = registries(&target)?;
    match &args.command {
        FailedCommand::List(args) => list::run(&registries, args, output).await,
        FailedCommand::Show(args) => show::run(&registries, args, output).await,
        FailedCommand::Requeue(args) => act::requeue(&registries, args, output).await,
        FailedCommand::Export(args) => act::export(&registries, args, output).await,
        FailedCommand::Purge(args) => act::purge(&registries, args, output).await,
    }
}

/// The failed registry of one queue, and its name.
struct Registry {
    queue: String,
    jobs: FailedJobs,
}

fn registries(target: &Target) -> anyhow::Result<Vec<Registry>> {
    let connection = target.redis()?;
    let registry = |queue: &String| {
        let (prefix, group) = (&target.key_prefix, &target.consumer_group);
        let jobs = FailedJobs::of(connection.clone(), target.protocol, prefix, group, queue).map_err(queue_failure)?;
        Ok(Registry { queue: queue.clone(), jobs })
    };
    target.some_queues()?.iter().map(registry).collect()
}
