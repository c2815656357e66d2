//! `jobqueue failed requeue`, `export` and `purge`: what changes something.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jobqueue_json::Value;
use jobqueue_queue::admin::{FailedJob, Requeued};
use jobqueue_queue::payload::bytes_in;
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
            match line(&job) {
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

/// The record as one line.
fn line(job: &FailedJob) -> Result<String, String> {
    let record = match &job.call {
        Some(Ok(_)) => job.record().ok_or("it has no argument, so there is no record to export")?,
        Some(Err(error)) => return Err(error.to_string()),
        None => return Err("its record is gone".to_owned()),
    };
    // A line of bytes is the line.
    let text = match bytes_in(record) {
        Some(bytes) => String::from_utf8(bytes).map(Value::String).map_err(|_| "its record is bytes, not text")?,
        None => record.clone(),
    };
    match &text {
        // A record that was read as a line may have kept its end.
        Value::String(text) if !text.trim_end_matches(['\n', '\r']).contains(['\n', '\r']) => {
            Ok(text.trim_end_matches(['\n', '\r']).to_owned())
        }
        Value::String(text) => match jobqueue_json::parse(text) {
            Ok(value) => Ok(value.to_string()),
            Err(_) => Err("its record has several lines and is not JSON; `failed show` prints it".to_owned()),
        },
        value => Ok(value.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use jobqueue_json::{Map, json};
    use jobqueue_queue::{Call, Serializer};

    use super::*;

    fn job(args: Vec<Value>) -> FailedJob {
        let call = Call { function: "f".into(), args, kwargs: Map::new(), serializer: Serializer::Pickle };
        FailedJob {
            id: "j".into(),
            queue: "q".into(),
            call: Some(Ok(call)),
            description: String::new(),
            status: "failed".into(),
            error: String::new(),
            created_at: None,
            enqueued_at: None,
            failed_at: None,
            worker: String::new(),
        }
    }

    #[test]
    fn a_record_is_exported_as_it_came() {
        assert_eq!(line(&job(vec![json!("{\"a\" : 1}")])), Ok("{\"a\" : 1}".to_owned()));
        assert_eq!(line(&job(vec![json!("{\"cut sho")])), Ok("{\"cut sho".to_owned()));
        assert_eq!(line(&job(vec![json!("{\"cut sho\r\n")])), Ok("{\"cut sho".to_owned()), "the end of its line");
    }

    #[test]
    fn what_is_not_one_line_becomes_one_or_is_told() {
        assert_eq!(line(&job(vec![json!("{\n \"a\": 1\n}")])), Ok("{\"a\":1}".to_owned()));
        assert_eq!(line(&job(vec![json!({"a": 1})])), Ok("{\"a\":1}".to_owned()));
        assert!(line(&job(vec![json!("two\nlines")])).is_err());
        assert!(line(&job(vec![])).is_err());
    }
}
