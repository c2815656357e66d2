//! Lines become jobs on a queue, each once, whatever happens in between.

use std::time::Duration;

use chrono::Utc;
use jobqueue_queue::producer::{Batch, Destination, JobOptions, ProduceError, Producer, Progress, Run, Shape};
use jobqueue_queue::{Protocol, QueueError, Serializer};

use super::feed::{Feed, Gathered, Then};
use super::meter::Meter;
use super::traces::{BatchSpans, ProducerTraces};
use super::{EnqueueArgs, Summary, input_failure};
use crate::common::exit::{Exit, Failure, queue_failure};
use crate::common::interruption::interruption;
use crate::common::lines::Lines;
use crate::common::output::Output;
use crate::common::target::Target;

/// Waits between attempts to reach a Redis that went away; half a minute in all.
const PATIENCE: [Duration; 7] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(10),
];

/// Enqueues the input.
pub(super) async fn run(target: &Target, args: &EnqueueArgs, output: Output) -> anyhow::Result<(Summary, Exit)> {
    let destination = destination(target, args)?;
    let mut lines = args.open()?;
    let mut summary = Summary { queue: destination.queue.clone(), ..Summary::default() };
    let producer = Producer::new(target.redis()?, destination);
    let source = source(args)?;
    let from = starting_point(&producer, source.as_deref(), args, output).await?;
    let Some(from) = from else { return Ok((summary, Exit::Ok)) };
    if from.bytes > 0 {
        pass_over(&mut lines, &from, args)?;
        summary.resumed_after_line = from.lines;
    }
    let run = producer.begin(source.as_deref(), &from).await.map_err(queue_failure)?;
    let traces = ProducerTraces::from_environment(target.protocol, &summary.queue, output);
    let mut sending =
        Sending { producer: &producer, run: &run, progress: from, meter: Meter::new(args, output), traces };
    let sent = send_all(&mut sending, lines, args, &mut summary).await;
    if let Some(traces) = sending.traces {
        traces.finish(output).await;
    }
    sent?;
    producer.finish(&run).await.map_err(queue_failure)?;
    let exit = if summary.skipped_lines > 0 { Exit::Records } else { Exit::Ok };
    Ok((summary, exit))
}

/// Sends the lines until they end, one cannot be read, or a person interrupts.
async fn send_all(
    sending: &mut Sending<'_>,
    lines: Lines<Box<dyn std::io::BufRead + Send>>,
    args: &EnqueueArgs,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let mut feed = Feed::start(lines, args.batch_size());
    // The batch under way is finished, then the run stops.
    let interrupted = interruption();
    tokio::pin!(interrupted);
    loop {
        let gathered = tokio::select! {
            biased;
            () = &mut interrupted => return Err(stopped(&sending.progress, args)),
            gathered = feed.next() => gathered,
        };
        summary.jobs += gathered.lines.len() as u64;
        sending.send(&gathered, args).await?;
        if let Then::End(end) = gathered.then {
            summary.skipped_lines = end.skipped;
            return end.error.map_or(Ok(()), |error| Err(input_failure(args, &error).into()));
        }
    }
}

fn destination(target: &Target, args: &EnqueueArgs) -> anyhow::Result<Destination> {
    let shape = match target.protocol {
        Protocol::Rq => Shape::Job(job_options(target, args)?),
        Protocol::List => Shape::Element,
        Protocol::Stream if args.at_front => {
            let message = "a stream has no front: entries are read in the order in which they were added";
            return Err(Failure::new(Exit::Usage, message).hint("leave out --at-front").into());
        }
        Protocol::Stream => Shape::Entry,
    };
    if !matches!(shape, Shape::Job(_)) {
        refuse_rq_flags(target.protocol, args)?;
    }
    Ok(Destination {
        queue: target.ordinary_queue()?.to_owned(),
        key_prefix: target.key_prefix.clone(),
        shape,
        at_front: args.at_front,
    })
}

fn refuse_rq_flags(protocol: Protocol, args: &EnqueueArgs) -> anyhow::Result<()> {
    let given = [
        ("--function", args.function.is_some()),
        ("--json-serializer", args.json_serializer),
        ("--retry", args.retry.is_some()),
        ("--result-ttl", args.result_ttl.is_some()),
        ("--failure-ttl", args.failure_ttl.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((flag, _)) => {
            let message = format!("{flag} is for RQ jobs, and the protocol is {protocol}");
            Err(Failure::new(Exit::Usage, message).hint(format!("leave out {flag}")).into())
        }
        None => Ok(()),
    }
}

fn job_options(target: &Target, args: &EnqueueArgs) -> anyhow::Result<JobOptions> {
    let Some(function) = args.function.clone().or_else(|| target.first_function()) else {
        return Err(Failure::new(Exit::Usage, "an RQ job needs a function")
            .hint("name it with --function MODULE.NAME, or give a manifest whose recipe lists functions")
            .into());
    };
    Ok(JobOptions {
        function,
        serializer: if args.json_serializer { Serializer::Json } else { Serializer::Pickle },
        timeout: args.timeout,
        result_ttl: args.result_ttl,
        failure_ttl: args.failure_ttl,
        retry: args.retry.clone(),
    })
}

/// What progress is kept under: the file's real path. Standard input has none.
fn source(args: &EnqueueArgs) -> anyhow::Result<Option<String>> {
    if args.is_stdin() {
        return Ok(None);
    }
    let path = args.input.canonicalize()?;
    Ok(Some(path.to_string_lossy().into_owned()))
}

/// Where to begin; nowhere if all is in.
async fn starting_point(
    producer: &Producer,
    source: Option<&str>,
    args: &EnqueueArgs,
    output: Output,
) -> anyhow::Result<Option<Progress>> {
    let Some(source) = source else { return Ok(Some(Progress::default())) };
    let earlier = producer.progress(source).await.map_err(queue_failure)?;
    match earlier {
        Some(earlier) if args.resume && earlier.done && args.length() == Some(earlier.bytes) => {
            output.say(&format!("all {} line(s) of {} were enqueued already", earlier.lines, args.shown()));
            Ok(None)
        }
        Some(earlier) if args.resume => Ok(Some(earlier)),
        Some(earlier) if !earlier.done && earlier.lines > 0 => {
            output.warn(&format!(
                "an earlier run over {} stopped after line {}; this one starts again at line 1 (--resume would go on)",
                args.shown(),
                earlier.lines
            ));
            Ok(Some(Progress::default()))
        }
        Some(_) => Ok(Some(Progress::default())),
        None => {
            if args.resume {
                output.say(&format!("no earlier run over {} is known: starting at line 1", args.shown()));
            }
            Ok(Some(Progress::default()))
        }
    }
}

fn pass_over<R: std::io::BufRead>(lines: &mut Lines<R>, from: &Progress, args: &EnqueueArgs) -> anyhow::Result<()> {
    lines.resume(from).map_err(|error| {
        let message = format!("cannot resume {} after line {}: {error}", args.shown(), from.lines);
        Failure::new(Exit::Failure, message)
            .hint("enqueue the lines that are missing from a file of their own, or start again without --resume")
            .into()
    })
}

struct Sending<'a> {
    producer: &'a Producer,
    run: &'a Run,
    progress: Progress,
    meter: Meter,
    traces: Option<ProducerTraces>,
}

impl Sending<'_> {
    async fn send(&mut self, gathered: &Gathered, args: &EnqueueArgs) -> anyhow::Result<()> {
        let Some(last) = gathered.lines.last() else { return Ok(()) };
        let after = Progress {
            bytes: last.bytes,
            lines: last.number,
            jobs: self.progress.jobs + gathered.lines.len() as u64,
            crc32: last.crc32,
            done: false,
        };
        let records: Vec<&str> = gathered.lines.iter().map(|line| line.text.as_str()).collect();
        let batch = self.producer.batch(&records);
        let spans = self.traces.as_ref().map(|traces| traces.begin(records.len(), batch.ids()));
        let traceparents = spans.as_ref().map(BatchSpans::traceparents).unwrap_or_default();
        let batch = batch.with_traceparents(traceparents);
        let sent = self.insist(&batch, &after).await;
        if let Some(spans) = spans {
            let problem = sent.as_ref().err().map(ToString::to_string);
            spans.end(sent.as_deref().unwrap_or_default(), problem.as_deref());
        }
        let ids = sent.map_err(|error| self.failed(error, args))?;
        self.progress = after;
        self.meter.advance(&gathered.lines, &ids, self.progress.jobs)?;
        Ok(())
    }

    /// Sends the batch, again where Redis did not answer: a batch that is in already is not doubled.
    async fn insist(&self, batch: &Batch<'_>, after: &Progress) -> Result<Vec<String>, ProduceError> {
        let mut waits = PATIENCE.iter();
        loop {
            match self.producer.enqueue(self.run, batch, self.progress.bytes, after, Utc::now()).await {
                Err(ProduceError::Queue(error @ QueueError::Unavailable { .. })) => {
                    let Some(wait) = waits.next() else { return Err(error.into()) };
                    self.meter.say(&format!("{error}; trying again"));
                    tokio::time::sleep(*wait).await;
                }
                answer => return answer,
            }
        }
    }

    fn failed(&self, error: ProduceError, args: &EnqueueArgs) -> anyhow::Error {
        let sure = format!("line {} of {}", self.progress.lines, args.shown());
        match error {
            ProduceError::Queue(error) => {
                let failure = Failure::new(Exit::from(&error), format!("after {sure}: {error}"));
                let go_on = (!args.is_stdin() && self.progress.lines > 0).then_some("go on later with --resume");
                failure.hint_if(go_on.or(error.remedy())).into()
            }
            ProduceError::Taken => Failure::new(Exit::Failure, format!("after {sure}: {error}")).into(),
            ProduceError::Lost { .. } => Failure::new(Exit::Failure, format!("after {sure}: {error}"))
                .hint("run it again with --resume to enqueue what is missing")
                .into(),
        }
    }
}

fn stopped(progress: &Progress, args: &EnqueueArgs) -> anyhow::Error {
    let message = format!("interrupted: {} is in up to line {}", args.shown(), progress.lines);
    let failure = Failure::new(Exit::Interrupted, message);
    if args.is_stdin() { failure.into() } else { failure.hint("go on with --resume").into() }
}
