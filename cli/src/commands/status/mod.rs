//! `jobqueue status`: what waits, runs and failed, and who works on it.

mod watch;

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;
use jobqueue_queue::{Connection, Protocol, QueueError, QueueStats, StatsQuery, WorkerStats, admin, stats};
use serde::Serialize;

use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::{Format, Output, columns, span};
use crate::common::target::Target;

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --queue and -f, all RQ queues are shown. RUNNING counts the jobs of dead workers too, \
    until they are given to others.\n\n\
    With --watch a terminal shows the tables until Ctrl-C, each second anew. A pipe or a file gets them whenever something \
    changed, after the time; with -o json one document a line, with -o yaml a document each. The age of heartbeats and of \
    waiting jobs alone is no change. See also `jobqueue top`."
)]
pub(crate) struct StatusArgs {
    /// Go on, and show what changes
    #[arg(short, long)]
    watch: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    observed_at: Option<DateTime<Utc>>,
    queues: Vec<QueueRow>,
    workers: Vec<WorkerRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct QueueRow {
    name: String,
    waiting: u64,
    running: u64,
    scheduled: u64,
    due: u64,
    failed: u64,
    oldest_wait_seconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct WorkerRow {
    name: String,
    hostname: String,
    state: String,
    concurrency: u32,
    running: u64,
    succeeded: u64,
    failed: u64,
    busy_seconds: f64,
    heartbeat_age_seconds: Option<u64>,
    job_age_seconds: Option<u64>,
}

/// Shows the state.
pub(crate) async fn run(global: &GlobalArgs, args: &StatusArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let connection = target.redis()?;
    if args.watch {
        return watch::watch(&target, &connection, output).await;
    }
    let (report, unreadable) = read(&target, &connection).await?;
    print(&report, output)?;
    match unreadable.as_slice() {
        [] => Ok(Exit::Ok),
        [(name, error), ..] => Err(Failure::new(Exit::from(error), unread(name, error)).hint_if(error.remedy()).into()),
    }
}

/// Asks Redis for the state, and says which queues cannot be read.
async fn read(target: &Target, connection: &Connection) -> anyhow::Result<(Report, Vec<(String, QueueError)>)> {
    let names = if target.queues.is_empty() && target.protocol == Protocol::Rq {
        admin::queue_names(connection, &target.key_prefix).await.map_err(queue_failure)?
    } else {
        target.some_queues()?.to_vec()
    };
    // The last one is about all queues together, since a worker may serve several.
    let mut queries: Vec<StatsQuery> = names.iter().map(|name| target.stats_query(vec![name.clone()])).collect();
    queries.push(target.stats_query(names.clone()));
    let mut answers = stats(connection, &queries).await.map_err(queue_failure)?;
    let together = answers.pop().expect("one answer for each query");
    Ok(report(names, answers, together))
}

fn unread(name: &str, error: &QueueError) -> String {
    format!("queue {name} cannot be read: {error}")
}

type Answer = Result<QueueStats, QueueError>;

fn report(names: Vec<String>, answers: Vec<Answer>, together: Answer) -> (Report, Vec<(String, QueueError)>) {
    let mut report = Report { observed_at: None, queues: Vec::new(), workers: Vec::new() };
    let mut unreadable = Vec::new();
    let mut members: Vec<WorkerStats> = Vec::new();
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(stats) => {
                report.observed_at = Some(stats.observed_at);
                // For where the sum over all queues cannot be had.
                members.extend(
                    stats.workers.iter().filter(|worker| is_new(&members, worker)).cloned().collect::<Vec<_>>(),
                );
                report.queues.push(queue_row(name, &stats));
            }
            Err(error) => unreadable.push((name, error)),
        }
    }
    report.workers = together.map_or(members, |stats| stats.workers).into_iter().map(worker_row).collect();
    (report, unreadable)
}

fn is_new(members: &[WorkerStats], worker: &WorkerStats) -> bool {
    members.iter().all(|known| known.name != worker.name)
}

fn queue_row(name: String, stats: &QueueStats) -> QueueRow {
    QueueRow {
        name,
        waiting: stats.waiting,
        running: stats.running,
        scheduled: stats.scheduled,
        due: stats.due,
        failed: stats.failed,
        oldest_wait_seconds: stats.oldest_wait.map(|wait| wait.as_secs()),
    }
}

fn worker_row(worker: WorkerStats) -> WorkerRow {
    WorkerRow {
        name: worker.name,
        hostname: worker.hostname,
        state: worker.state,
        concurrency: worker.concurrency,
        running: worker.running,
        succeeded: worker.succeeded,
        failed: worker.failed,
        busy_seconds: worker.busy_seconds,
        heartbeat_age_seconds: Some(worker.silent_for).filter(|age| *age < Duration::MAX).map(|age| age.as_secs()),
        job_age_seconds: worker.job_age.map(|age| age.as_secs()),
    }
}

fn print(report: &Report, output: Output) -> anyhow::Result<()> {
    if output.is_machine() {
        return output.document(report);
    }
    if report.queues.is_empty() {
        output.say("no queues");
        return Ok(());
    }
    output.data(&tables(report, output))?;
    if report.workers.is_empty() {
        output.say("no workers");
    }
    Ok(())
}

/// The queues and, where there are any, the workers.
fn tables(report: &Report, output: Output) -> String {
    let wide = output.format == Format::Wide;
    let mut text = queue_table(report, wide);
    if !report.workers.is_empty() {
        text.push('\n');
        text.push_str(&worker_table(report, wide));
    }
    text
}

fn queue_table(report: &Report, wide: bool) -> String {
    let rows = report.queues.iter().map(|queue| {
        let oldest = length(queue.oldest_wait_seconds);
        let mut row = vec![queue.name.clone()];
        row.extend([queue.waiting, queue.running, queue.scheduled].map(|count| count.to_string()));
        if wide {
            row.push(queue.due.to_string());
        }
        row.extend([queue.failed.to_string(), oldest]);
        row
    });
    let header: &[&str] = if wide {
        &["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "DUE", "FAILED", "OLDEST"]
    } else {
        &["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "FAILED", "OLDEST"]
    };
    columns(header, &[1, 2, 3, 4, 5, 6], rows.collect())
}

fn worker_table(report: &Report, wide: bool) -> String {
    let rows = report.workers.iter().map(|worker| {
        let mut row = vec![worker.name.clone(), worker.state.clone()];
        row.extend([worker.running, worker.succeeded, worker.failed].map(|count| count.to_string()));
        row.push(length(worker.heartbeat_age_seconds));
        if wide {
            row.extend([worker.concurrency.to_string(), format!("{:.1}s", worker.busy_seconds)]);
            row.push(worker.hostname.clone());
        }
        row
    });
    let header: &[&str] = if wide {
        &["WORKER", "STATE", "RUNNING", "DONE", "FAILED", "HEARTBEAT", "SLOTS", "BUSY", "HOST"]
    } else {
        &["WORKER", "STATE", "RUNNING", "DONE", "FAILED", "HEARTBEAT"]
    };
    columns(header, &[2, 3, 4, 5, 6, 7], rows.collect())
}

fn length(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| span(i64::try_from(seconds).unwrap_or(i64::MAX)))
}
