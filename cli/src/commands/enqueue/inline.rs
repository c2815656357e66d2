//! `--inline`: the recipe runs here and now, without a queue, as RQ's synchronous mode does with a function.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use jobqueue_ingest::{JobInput, LedgerKey, Recipe, Sink, Unit, UnitOutcome};
use jobqueue_json::{Map, Value};

use super::feed::{BatchSize, Feed, Then};
use super::meter::Meter;
use super::{EnqueueArgs, Summary, input_failure};
use crate::common::exit::{Exit, Failure};
use crate::common::interruption::interruption;
use crate::common::lines::Line;
use crate::common::output::Output;
use crate::common::sink::{self, sink_failure};
use crate::common::target::Target;
use jobqueue_queue::admin::error_groups::Kinds;

/// Failing lines that are told one by one; the others are counted by reason at the end.
const SHOWN: u64 = 20;

/// Writes the input's rows.
pub(super) async fn run(target: &Target, args: &EnqueueArgs, output: Output) -> anyhow::Result<(Summary, Exit)> {
    let recipe = target.recipe()?;
    let sink = sink::open(target, &recipe, output).await?;
    let errors = args.errors.as_ref().map(std::fs::File::create).transpose()?.map(std::io::BufWriter::new);
    let function = args.function.clone().or_else(|| target.first_function());
    let queue = target.queues.last().cloned().unwrap_or_else(|| "inline".into());
    let mut inline = Inline {
        recipe: &recipe,
        sink: sink.as_ref(),
        function,
        queue,
        output,
        errors,
        reasons: Kinds::default(),
        meter: Meter::new(args, output),
        done: 0,
        failed: 0,
    };
    let mut feed = Feed::start(args.open()?, BatchSize { lines: usize::from(args.batch).min(200), bytes: 4 << 20 });
    // The batch under way is finished, then the run stops.
    let interrupted = interruption();
    tokio::pin!(interrupted);
    let skipped = loop {
        let gathered = tokio::select! {
            biased;
            () = &mut interrupted => {
                let message = format!("interrupted: {} job(s) are written", inline.done);
                return Err(Failure::new(Exit::Interrupted, message).into());
            }
            gathered = feed.next() => gathered,
        };
        inline.work(&gathered.lines, Utc::now()).await?;
        if let Then::End(end) = gathered.then {
            if let Some(error) = end.error {
                return Err(input_failure(args, &error).into());
            }
            break end.skipped;
        }
    };
    inline.close()?;
    let exit = if inline.failed + skipped > 0 { Exit::Records } else { Exit::Ok };
    let queue = inline.queue.clone();
    let summary =
        Summary { queue, jobs: inline.done, failed: inline.failed, skipped_lines: skipped, ..Summary::default() };
    Ok((summary, exit))
}

struct Inline<'a> {
    recipe: &'a Recipe,
    sink: &'a dyn Sink,
    function: Option<String>,
    queue: String,
    output: Output,
    errors: Option<std::io::BufWriter<std::fs::File>>,
    reasons: Kinds,
    meter: Meter,
    done: u64,
    failed: u64,
}

impl Inline<'_> {
    async fn work(&mut self, lines: &[Line], now: DateTime<Utc>) -> anyhow::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut ids = Vec::with_capacity(lines.len());
        let mut units = Vec::with_capacity(lines.len());
        let mut sent = Vec::with_capacity(lines.len());
        for line in lines {
            let id = uuid::Uuid::new_v4().to_string();
            match self.unit(&id, line, now) {
                Ok(unit) => {
                    units.push(unit);
                    sent.push(line);
                }
                Err(reason) => self.fails(line, &reason)?,
            }
            ids.push(id);
        }
        let outcomes = self.sink.write(self.recipe, &units).await.map_err(sink_failure)?;
        for (line, outcome) in sent.into_iter().zip(outcomes) {
            match outcome {
                UnitOutcome::Applied { .. } | UnitOutcome::AlreadyApplied => self.done += 1,
                UnitOutcome::Rejected(rejection) => self.fails(line, &rejection.message)?,
            }
        }
        self.meter.advance(lines, &ids, self.done)?;
        Ok(())
    }

    fn unit(&self, id: &str, line: &Line, now: DateTime<Utc>) -> Result<Unit, String> {
        let (args, none) = ([Value::String(line.text.clone())], Map::new());
        let job = JobInput {
            id,
            queue: &self.queue,
            function: self.function.as_deref(),
            args: &args,
            kwargs: &none,
            fields: &none,
            attempt: 1,
            enqueued_at: Some(now),
        };
        let rows = self.recipe.rows(&job, now).map_err(|error| error.to_string())?;
        let created_at = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let key = LedgerKey { queue: self.queue.clone(), job_id: id.to_owned(), created_at, generation: 0, run: None };
        Ok(Unit { key, rows })
    }

    fn fails(&mut self, line: &Line, reason: &str) -> std::io::Result<()> {
        self.failed += 1;
        self.reasons.add(reason);
        if self.failed <= SHOWN {
            self.meter.say(&format!("line {}: {reason}", line.number));
        } else if self.failed == SHOWN + 1 {
            self.meter.say("further failing lines are counted only");
        }
        match &mut self.errors {
            Some(file) => writeln!(file, "{}", line.text),
            None => Ok(()),
        }
    }

    fn close(&mut self) -> std::io::Result<()> {
        for kind in self.reasons.most_frequent_first() {
            self.output.say(&format!("{:>8} failed: {}", kind.count, kind.text()));
        }
        self.errors.as_mut().map_or(Ok(()), Write::flush)
    }
}
