//! `jobqueue enqueue`: a file of records becomes jobs, one a line.

mod feed;
mod inline;
mod meter;
mod to_queue;
mod traces;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use jobqueue_queue::producer::ProducerRetry;
use serde::Serialize;

use self::feed::BatchSize;
use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::lines::{InvalidUtf8, LineError, Lines};
use crate::common::output::Output;
use crate::common::target::Target;

const HELP: &str = "\
Examples:
  jobqueue enqueue companies.jsonl -f jobqueue.yaml --queue companies
  jobqueue enqueue companies.jsonl --queue companies --function ParseCompany.parse_company --quiet
  jobqueue enqueue companies.jsonl --queue companies --resume -f jobqueue.yaml    # after an interruption
  zcat records.gz | jobqueue enqueue - --protocol list --queue records

The jobs go to --queue, or to the last queue of the manifest (the earlier ones are for what is more urgent).
Each line is printed as `line : job id` once it is in. Progress is kept in Redis, in the same step as the jobs, so that
--resume goes on exactly where an earlier run stopped, however it ended.

With OTEL_EXPORTER_OTLP_ENDPOINT in the environment, each RQ job and stream entry begins a trace for OpenTelemetry.";

/// Flags of `enqueue`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct EnqueueArgs {
    /// File with one record a line, or `-` for standard input; empty lines are skipped
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// RQ function of the jobs [default: the first that the manifest's recipes serve]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Write RQ jobs for `rq.serializers.JSONSerializer` instead of pickle
    #[arg(long)]
    json_serializer: bool,
    /// Put the jobs at the head of the queue (the last line then comes first)
    #[arg(long)]
    at_front: bool,
    /// RQ's own retries, with the seconds before each: `3`, `3:60` or `3:10,30,60` [default: the worker's policy]
    #[arg(long, value_name = "MAX[:SECONDS,...]", value_parser = parse_retry)]
    retry: Option<ProducerRetry>,
    /// Seconds that a job may run; -1 for any time
    #[arg(long, value_name = "SECONDS", default_value_t = 180, allow_negative_numbers = true)]
    timeout: i64,
    /// Seconds that a finished job is kept; -1 for ever [default: the worker's]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    result_ttl: Option<i64>,
    /// Seconds that a failed job is kept; -1 for ever [default: the worker's]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    failure_ttl: Option<i64>,
    /// Go on where an earlier, interrupted run over this file stopped
    #[arg(long, conflicts_with = "inline")]
    resume: bool,
    /// Run the manifest's recipe at once instead, without a queue; needs a database
    #[arg(long)]
    inline: bool,
    /// With --inline: write the lines that failed to this file
    #[arg(long, value_name = "FILE", requires = "inline")]
    errors: Option<PathBuf>,
    /// Print no job ids; on a terminal show a progress bar instead
    #[arg(short, long)]
    quiet: bool,
    /// What to do with a line that is not UTF-8
    #[arg(long, value_enum, default_value_t, value_name = "POLICY")]
    invalid_utf8: InvalidUtf8,
    /// Jobs in one round trip
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch: u16,
}

/// What a run did, for `-o json` and for the closing line.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    queue: String,
    jobs: u64,
    resumed_after_line: u64,
    failed: u64,
    skipped_lines: u64,
    seconds: f64,
}

impl EnqueueArgs {
    fn batch_size(&self) -> BatchSize {
        BatchSize { lines: usize::from(self.batch), bytes: 4 << 20 }
    }

    fn is_stdin(&self) -> bool {
        self.input == Path::new("-")
    }

    fn shown(&self) -> String {
        if self.is_stdin() { "standard input".to_owned() } else { self.input.display().to_string() }
    }

    fn open(&self) -> anyhow::Result<Lines<Box<dyn std::io::BufRead + Send>>> {
        Lines::open(&self.input, self.invalid_utf8).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            let exit = if missing { Exit::NotFound } else { Exit::Failure };
            Failure::new(exit, format!("cannot read {}: {error}", self.shown())).into()
        })
    }

    fn length(&self) -> Option<u64> {
        std::fs::metadata(&self.input).ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
    }
}

/// Runs the command.
pub(crate) async fn run(global: &GlobalArgs, args: &EnqueueArgs, output: Output) -> anyhow::Result<Exit> {
    if args.resume && args.is_stdin() {
        return Err(Failure::new(Exit::Usage, "standard input cannot be resumed: what was read of it is gone")
            .hint("write it to a file first, and enqueue that")
            .into());
    }
    let target = Target::from_args(global)?;
    let began = Instant::now();
    let (mut summary, exit) = if args.inline {
        inline::run(&target, args, output).await?
    } else {
        to_queue::run(&target, args, output).await?
    };
    summary.seconds = began.elapsed().as_secs_f64();
    if output.is_machine() {
        output.document(&summary)?;
    }
    output.say(&closing(&summary, args));
    Ok(exit)
}

fn closing(summary: &Summary, args: &EnqueueArgs) -> String {
    let rate = if summary.seconds > 0.0 { summary.jobs as f64 / summary.seconds } else { 0.0 };
    let did = if args.inline { "wrote" } else { "enqueued" };
    let place = if args.inline { String::new() } else { format!(" to {}", summary.queue) };
    let mut parts = vec![format!("{did} {} job(s){place} in {:.1} s ({rate:.0}/s)", summary.jobs, summary.seconds)];
    if summary.resumed_after_line > 0 {
        parts.push(format!("line(s) up to {} were in already", summary.resumed_after_line));
    }
    if summary.failed > 0 {
        parts.push(format!("{} failed", summary.failed));
    }
    if summary.skipped_lines > 0 {
        parts.push(format!("{} line(s) skipped, not UTF-8", summary.skipped_lines));
    }
    parts.join("; ")
}

fn input_failure(args: &EnqueueArgs, error: &LineError) -> Failure {
    let failure = Failure::new(Exit::Failure, format!("{}: {error}; the lines before it are in", args.shown()));
    match error {
        LineError::Invalid { .. } if args.inline => {
            failure.hint("--invalid-utf8 replace or skip deals with such lines")
        }
        LineError::Invalid { .. } => failure.hint("go on with --resume --invalid-utf8 replace (or skip)"),
        LineError::TooLong { .. } => failure.hint("is it one JSON document a line?"),
        LineError::Read { .. } => failure,
    }
}

fn parse_retry(text: &str) -> Result<ProducerRetry, String> {
    let (max, intervals) = text.split_once(':').map_or((text, None), |(max, rest)| (max, Some(rest)));
    let max = match max.parse() {
        Ok(0) | Err(_) => return Err(format!("`{max}` is not a number of retries (1 or more)")),
        Ok(max) => max,
    };
    let seconds = |part: &str| part.trim().parse().map_err(|_| format!("`{part}` is not a number of seconds"));
    let intervals = intervals.map_or(Ok(Vec::new()), |rest| rest.split(',').map(seconds).collect())?;
    Ok(ProducerRetry { max, intervals })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_read_with_and_without_intervals() {
        assert_eq!(parse_retry("3"), Ok(ProducerRetry { max: 3, intervals: vec![] }));
        assert_eq!(parse_retry("2:10,30"), Ok(ProducerRetry { max: 2, intervals: vec![10, 30] }));
        for wrong in ["", "0", "x", "3:", "3:1,,2", "-1"] {
            assert!(parse_retry(wrong).is_err(), "{wrong}");
        }
    }
}
