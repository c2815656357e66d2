//! `jobqueue failed requeue`, `export` and `purge`: what changes something.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jobqueue_queue::admin::Requeued;
use serde_json::json;

use super::Registry;
use super::filter::Filters;
use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::output::{Output, printable};

/// Flags of `failed requeue`.
#[derive(Debug, Args)]
pub(super) struct RequeueArgs {
    #[command(flatten)]
    filters: Filters,
    /// All failed jobs
    #[arg(long)]
    all: bool,
    /// To the head of the queue
    #[arg(long)]
    at_front: bool,
}

/// Flags of `failed export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// File to write, or `-` for standard output
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    filters: Filters,
    /// Write over the file if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Flags of `failed purge`.
#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    filters: Filters,
    /// All failed jobs
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// The ids that are meant, by registry. Says which of the named ones are nowhere.
async fn chosen(registries: &[Registry], filters: &Filters) -> anyhow::Result<BTreeMap<usize, Vec<String>>> {
    if let [missing, ..] = filters.missing(registries).await?.as_slice() {
        return Err(Failure::new(Exit::NotFound, format!("job {missing} is not among the failed jobs"))
            .hint("`jobqueue failed list --each` shows the ids")
            .into());
    }
    let mut ids: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    filters
        .select(registries, |registry, job| {
            let index = registries.iter().position(|known| known.queue == registry.queue);
            ids.entry(index.expect("the registry is one of these")).or_default().push(job.id);
            Ok(())
        })
        .await?;
    Ok(ids)
}

fn require_choice(filters: &Filters, all: bool) -> anyhow::Result<()> {
    if all || filters.are_given() {
        return Ok(());
    }
    let hint = "choose with --id, --error, --function, --since or --limit, or say --all";
    Err(Failure::new(Exit::Usage, "which failed jobs?").hint(hint).into())
}

/// Puts jobs back on their queues.
pub(super) async fn requeue(registries: &[Registry], args: &RequeueArgs, output: Output) -> anyhow::Result<Exit> {
    require_choice(&args.filters, args.all)?;
    let (mut queued, mut gone, mut elsewhere) = (0_u64, 0_u64, 0_u64);
    for (index, ids) in chosen(registries, &args.filters).await? {
        let outcomes = registries[index].jobs.requeue(&ids, args.at_front).await.map_err(queue_failure)?;
        for outcome in outcomes {
            match outcome {
                Requeued::Queued => queued += 1,
                Requeued::Gone => gone += 1,
                Requeued::NotFailed => elsewhere += 1,
            }
        }
    }
    if output.is_machine() {
        output.document(&json!({"requeued": queued, "gone": gone, "notFailed": elsewhere}))?;
    }
    output.say(&format!("requeued {queued} job(s)"));
    if gone > 0 {
        output.warn(&format!("{gone} job(s) had no record any more, and are forgotten now"));
    }
    if elsewhere > 0 {
        output.warn(&format!("{elsewhere} job(s) were dealt with by somebody else meanwhile"));
    }
    Ok(if gone > 0 { Exit::Records } else { Exit::Ok })
}

/// Writes records to a file.
pub(super) async fn export(registries: &[Registry], args: &ExportArgs, output: Output) -> anyhow::Result<Exit> {
    let mut file = open(args)?;
    let seen = args.file == Path::new("-") && io::stdout().is_terminal();
    let (mut written, mut without) = (0_u64, 0_u64);
    args.filters
        .select(registries, |_, job| {
            match job.line() {
                Ok(line) => {
                    writeln!(file, "{}", if seen { printable(&line) } else { line.as_str().into() })?;
                    written += 1;
                }
                Err(reason) => {
                    without += 1;
                    output.warn(&format!("job {}: {reason}", job.id));
                }
            }
            Ok(())
        })
        .await?;
    file.flush()?;
    output.say(&format!("exported {written} record(s)"));
    Ok(if without > 0 { Exit::Records } else { Exit::Ok })
}

fn open(args: &ExportArgs) -> anyhow::Result<Box<dyn Write>> {
    if args.file == Path::new("-") {
        return Ok(Box::new(BufWriter::new(io::stdout())));
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).create_new(!args.overwrite);
    let file = options.open(&args.file).map_err(|error| {
        let failure = Failure::new(Exit::Failure, format!("cannot write {}: {error}", args.file.display()));
        if error.kind() == io::ErrorKind::AlreadyExists { failure.hint("--overwrite replaces it") } else { failure }
    })?;
    Ok(Box::new(BufWriter::new(file)))
}

/// Removes jobs for good.
pub(super) async fn purge(registries: &[Registry], args: &PurgeArgs, output: Output) -> anyhow::Result<Exit> {
    require_choice(&args.filters, args.all)?;
    let chosen = chosen(registries, &args.filters).await?;
    let count: usize = chosen.values().map(Vec::len).sum();
    if count == 0 {
        output.say("no failed job matches; nothing was removed");
        return Ok(Exit::Ok);
    }
    if !args.yes && !confirmed(count, output)? {
        output.say("nothing was removed");
        return Ok(Exit::Failure);
    }
    let mut removed = 0;
    for (index, ids) in chosen {
        removed += registries[index].jobs.purge(&ids).await.map_err(queue_failure)?;
    }
    if output.is_machine() {
        output.document(&json!({"purged": removed}))?;
    }
    output.say(&format!("removed {removed} failed job(s)"));
    Ok(Exit::Ok)
}

fn confirmed(count: usize, output: Output) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(Exit::Usage, format!("{count} failed job(s) would be removed for good"))
            .hint("say --yes where nobody can be asked; `failed export` keeps their records")
            .into());
    }
    output.ask(&format!("Remove {count} failed job(s) and their records for good? [y/N] "));
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
