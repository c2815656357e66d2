//! `jobqueue failed list`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use clap::Args;
use jobqueue_queue::admin::FailedJob;
use serde::Serialize;

use super::Registry;
use super::filter::Filters;
use crate::common::exit::Exit;
use crate::common::output::{Format, Output, age, columns};
use jobqueue_queue::admin::error_groups;

/// Flags of `failed list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    filters: Filters,
    /// One line for each job instead of one for each kind of error
    #[arg(long)]
    each: bool,
}

/// Failures that read the same but for numbers, quoted values and ids.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    /// The error of `example`, as it was written.
    error: String,
    /// What the errors have in common.
    pattern: String,
    count: u64,
    queue: String,
    functions: Vec<String>,
    first: Option<DateTime<Utc>>,
    last: Option<DateTime<Utc>>,
    example: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    id: String,
    queue: String,
    function: Option<String>,
    status: String,
    failed_at: Option<DateTime<Utc>>,
    worker: String,
    error: String,
}

/// Lists.
pub(super) async fn run(registries: &[Registry], args: &ListArgs, output: Output) -> anyhow::Result<Exit> {
    if args.each { each(registries, args, output).await } else { grouped(registries, args, output).await }
}

async fn grouped(registries: &[Registry], args: &ListArgs, output: Output) -> anyhow::Result<Exit> {
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    let count = args
        .filters
        .select(registries, |registry, job| {
            add(&mut groups, &registry.queue, &job);
            Ok(())
        })
        .await?;
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_by(|one, other| {
        let frequency = other.count.cmp(&one.count);
        frequency.then_with(|| other.last.cmp(&one.last)).then_with(|| one.pattern.cmp(&other.pattern))
    });
    let now = Utc::now();
    match output.format {
        Format::Json | Format::Yaml => output.document(&groups)?,
        Format::Text if !groups.is_empty() => {
            let rows = groups.iter().map(|group| {
                vec![group.count.to_string(), age(group.last, now), group.example.clone(), readable(group)]
            });
            output.data(&columns(&["COUNT", "LAST", "EXAMPLE", "ERROR"], &[0], rows.collect()))?;
        }
        Format::Wide if !groups.is_empty() => {
            let rows = groups.iter().map(|group| {
                let (first, last) = (age(group.first, now), age(group.last, now));
                let functions = group.functions.join(",");
                let (queue, example, error) = (group.queue.clone(), group.example.clone(), readable(group));
                vec![group.count.to_string(), queue, functions, first, last, example, error]
            });
            let header = ["COUNT", "QUEUE", "FUNCTION", "FIRST", "LAST", "EXAMPLE", "ERROR"];
            output.data(&columns(&header, &[0], rows.collect()))?;
        }
        Format::Text | Format::Wide => {}
    }
    output.say(&total(count, groups.len(), registries));
    Ok(Exit::Ok)
}

fn readable(group: &Group) -> String {
    error_groups::shortened(&group.error).into_owned()
}

/// The cause in an error, for a person.
fn short(error: &str) -> String {
    error_groups::shortened(error_groups::cause(error)).into_owned()
}

fn add(groups: &mut BTreeMap<(String, String), Group>, queue: &str, job: &FailedJob) {
    let pattern = error_groups::normalised(&job.error);
    let group = groups.entry((queue.to_owned(), pattern.clone())).or_insert_with(|| Group {
        error: error_groups::cause(&job.error).to_owned(),
        pattern,
        count: 0,
        queue: queue.to_owned(),
        functions: Vec::new(),
        first: job.failed_at,
        last: None,
        example: job.id.clone(),
    });
    group.count += 1;
    group.first = [group.first, job.failed_at].into_iter().flatten().min();
    group.last = group.last.max(job.failed_at);
    if let Some(function) = job.function()
        && !group.functions.iter().any(|known| known == function)
    {
        group.functions.push(function.to_owned());
    }
}

fn total(count: u64, kinds: usize, registries: &[Registry]) -> String {
    let queues: Vec<&str> = registries.iter().map(|registry| registry.queue.as_str()).collect();
    let queues = queues.join(", ");
    match count {
        0 => format!("no failed jobs in {queues}"),
        _ => format!("{count} failed job(s) of {kinds} kind(s) in {queues}"),
    }
}

async fn each(registries: &[Registry], args: &ListArgs, output: Output) -> anyhow::Result<Exit> {
    let mut entries = Vec::new();
    let wide = output.format == Format::Wide;
    args.filters
        .select(registries, |registry, job| {
            entries.push(Entry {
                function: job.function().map(str::to_owned),
                queue: registry.queue.clone(),
                error: if output.is_machine() { job.error } else { short(&job.error) },
                id: job.id,
                status: job.status,
                failed_at: job.failed_at,
                worker: job.worker,
            });
            Ok(())
        })
        .await?;
    if output.is_machine() {
        output.document(&entries)?;
        return Ok(Exit::Ok);
    }
    if entries.is_empty() {
        output.say(&total(0, 0, registries));
        return Ok(Exit::Ok);
    }
    let now = Utc::now();
    let rows = entries.into_iter().map(|entry| {
        let function = entry.function.unwrap_or_default();
        let mut row = vec![entry.id, function, age(entry.failed_at, now)];
        if wide {
            row.extend([entry.queue, entry.status, entry.worker]);
        }
        row.push(entry.error);
        row
    });
    let header: &[&str] = if wide {
        &["ID", "FUNCTION", "FAILED", "QUEUE", "STATUS", "WORKER", "ERROR"]
    } else {
        &["ID", "FUNCTION", "FAILED", "ERROR"]
    };
    output.data(&columns(header, &[], rows.collect()))?;
    Ok(Exit::Ok)
}
