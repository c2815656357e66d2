//! `jobqueue failed show`.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use jobqueue_json::{Map, Value};
use jobqueue_queue::PayloadLimits;
use jobqueue_queue::admin::{Attempt, FailedJob};
use jobqueue_queue::payload::readable;
use serde::Serialize;

use super::Registry;
use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::output::Output;

/// Flags of `failed show`.
#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Job id
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: String,
    queue: String,
    status: String,
    function: Option<String>,
    args: Vec<Value>,
    kwargs: Map<String, Value>,
    payload_error: Option<String>,
    created_at: Option<DateTime<Utc>>,
    enqueued_at: Option<DateTime<Utc>>,
    failed_at: Option<DateTime<Utc>>,
    worker: String,
    error: String,
    attempts: Vec<Run>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    ended_at: Option<DateTime<Utc>>,
    worker: String,
    succeeded: bool,
    error: String,
}

/// Shows one job.
pub(super) async fn run(registries: &[Registry], args: &ShowArgs, output: Output) -> anyhow::Result<Exit> {
    for registry in registries {
        if !registry.jobs.contains(&args.id).await.map_err(queue_failure)? {
            continue;
        }
        let ids = std::slice::from_ref(&args.id);
        let mut jobs = registry.jobs.fetch(ids, &PayloadLimits::default()).await.map_err(queue_failure)?;
        let attempts = registry.jobs.attempts(&args.id).await.map_err(queue_failure)?;
        let shown = shown(jobs.pop().expect("one job for one id"), attempts);
        if output.is_machine() {
            output.document(&shown)?;
        } else {
            output.data(&described(&shown))?;
        }
        return Ok(Exit::Ok);
    }
    let queues: Vec<&str> = registries.iter().map(|registry| registry.queue.as_str()).collect();
    let message = format!("job {} is not among the failed jobs of {}", args.id, queues.join(", "));
    Err(Failure::new(Exit::NotFound, message).hint("`jobqueue failed list --each` shows the ids").into())
}

fn shown(job: FailedJob, attempts: Vec<Attempt>) -> Shown {
    let function = job.function().map(str::to_owned);
    let (args, kwargs, payload_error) = match job.call {
        Some(Ok(call)) => (
            call.args.into_iter().map(readable).collect(),
            call.kwargs.into_iter().map(|(name, value)| (name, readable(value))).collect(),
            None,
        ),
        Some(Err(error)) => (Vec::new(), Map::new(), Some(error.to_string())),
        None => (Vec::new(), Map::new(), Some("the record of this job is gone".to_owned())),
    };
    let run = |attempt: Attempt| Run {
        ended_at: attempt.ended_at,
        worker: attempt.worker,
        succeeded: attempt.succeeded,
        error: attempt.error,
    };
    Shown {
        id: job.id,
        queue: job.queue,
        status: job.status,
        function,
        args,
        kwargs,
        payload_error,
        created_at: job.created_at,
        enqueued_at: job.enqueued_at,
        failed_at: job.failed_at,
        worker: job.worker,
        error: job.error,
        attempts: attempts.into_iter().map(run).collect(),
    }
}

fn described(job: &Shown) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        writeln!(text, "{name:10} {value}").expect("a String takes any text");
    };
    line("Id:", &job.id);
    line("Queue:", &job.queue);
    line("Status:", &job.status);
    line("Function:", job.function.as_deref().unwrap_or("-"));
    line("Created:", &time(job.created_at));
    line("Queued:", &time(job.enqueued_at));
    line("Failed:", &time(job.failed_at));
    line("Worker:", if job.worker.is_empty() { "-" } else { &job.worker });
    for (index, value) in job.args.iter().enumerate() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line(&format!("Args[{index}]:"), &text);
    }
    for (name, value) in &job.kwargs {
        line(&format!("{name}:"), &value.to_string());
    }
    if let Some(error) = &job.payload_error {
        line("Payload:", error);
    }
    for run in &job.attempts {
        let by = if run.worker.is_empty() { String::new() } else { format!(" by {}", run.worker) };
        let how = if run.succeeded { "succeeded" } else { "failed" };
        line("Run:", &format!("{how} at {}{by}", time(run.ended_at)));
        for words in run.error.lines() {
            line("", words);
        }
    }
    if job.attempts.is_empty() {
        line("Error:", if job.error.is_empty() { "(no result is kept)" } else { &job.error });
    }
    text
}

fn time(moment: Option<DateTime<Utc>>) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}
