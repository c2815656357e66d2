//! `jobqueue try`: the rows that a record would become. Writes nothing.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::Args;
use jobqueue_ingest::{JobInput, PreviewRow};
use jobqueue_json::{Map, Value};
use jobqueue_queue::Protocol;
use serde::Serialize;

use crate::args::GlobalArgs;
use crate::enqueue::lines::{InvalidUtf8, Line, Lines};
use crate::exit::{Exit, Failure};
use crate::output::{Output, columns};
use crate::sink;
use crate::target::Target;

const HELP: &str = "\
Examples:
  jobqueue try -f jobqueue.yaml --record companies.jsonl
  jobqueue try -f jobqueue.yaml --record companies.jsonl --line 17
  jobqueue try -f jobqueue.yaml --record - --all < records.jsonl
  jobqueue try -f jobqueue.yaml --record one.json --whole --database sqlite:companies.db

With --database the recipe is also checked against the database's tables, as a worker does when it starts.";

/// Flags of `try`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct TryArgs {
    /// File with records, one a line, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    record: PathBuf,
    /// The line of the file (from 1) [default: the first that is not empty]
    #[arg(long, value_name = "N", conflicts_with_all = ["all", "whole"])]
    line: Option<u64>,
    /// Try every line; only those that fail are shown, and a count
    #[arg(long, conflicts_with = "whole")]
    all: bool,
    /// The file is one record, of however many lines
    #[arg(long)]
    whole: bool,
    /// RQ function of the job [default: the first that the recipes serve]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(global: &GlobalArgs, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let recipe = target.recipe()?;
    if let Some(url) = target.database_if_given()? {
        sink::check(sink::connect(&url).await?.as_ref(), &recipe).await?;
        output.say("the recipe fits the database");
    }
    let function = args.function.clone().or_else(|| target.first_function());
    let trial = Trial {
        recipe: &recipe,
        queue: target.queues.first().map_or("try", String::as_str),
        function: function.filter(|_| target.protocol == Protocol::Rq),
    };
    if args.all { trial.every_line(args, output) } else { trial.one_record(args, output) }
}

struct Trial<'a> {
    recipe: &'a jobqueue_ingest::Recipe,
    queue: &'a str,
    function: Option<String>,
}

#[derive(Debug, Default, Serialize)]
struct Tally {
    lines: u64,
    rows: u64,
    failed: Vec<FailedLine>,
}

#[derive(Debug, Serialize)]
struct FailedLine {
    line: u64,
    error: String,
}

impl Trial<'_> {
    fn rows(&self, record: &str) -> Result<Vec<PreviewRow>, String> {
        let (args, none) = ([Value::String(record.to_owned())], Map::new());
        let now = Utc::now();
        let job = JobInput {
            id: "try",
            queue: self.queue,
            function: self.function.as_deref(),
            args: &args,
            kwargs: &none,
            fields: &none,
            attempt: 1,
            enqueued_at: Some(now),
        };
        let tree = self.recipe.rows(&job, now).map_err(|error| error.to_string())?;
        Ok(self.recipe.preview(&tree))
    }

    fn one_record(&self, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
        let (place, record) = read_record(args)?;
        let rows = self.rows(&record).map_err(|error| {
            Failure::new(Exit::Records, format!("{place}: {error}"))
                .hint("a worker would put this job into the failed registry with these words")
        })?;
        if output.is_machine() {
            output.document(&rows)?;
        } else {
            output.data(&shown(&rows))?;
        }
        output.say(&format!("{place} becomes {} row(s); nothing was written", count(&rows)));
        Ok(Exit::Ok)
    }

    fn every_line(&self, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
        let mut tally = Tally::default();
        for line in open(&args.record)? {
            let line = line.map_err(|error| at_fault(&args.record, &error))?;
            tally.lines += 1;
            match self.rows(&line.text) {
                Ok(rows) => tally.rows += count(&rows),
                Err(error) => tally.failed.push(FailedLine { line: line.number, error }),
            }
        }
        if output.is_machine() {
            output.document(&tally)?;
        } else if !tally.failed.is_empty() {
            let rows = tally.failed.iter().map(|failed| vec![failed.line.to_string(), failed.error.clone()]);
            output.data(&columns(&["LINE", "ERROR"], &[0], rows.collect()))?;
        }
        let good = tally.lines - tally.failed.len() as u64;
        output.say(&format!(
            "{good} of {} record(s) would become {} row(s), {} would fail; nothing was written",
            tally.lines,
            tally.rows,
            tally.failed.len()
        ));
        Ok(if tally.failed.is_empty() { Exit::Ok } else { Exit::Records })
    }
}

fn open(path: &Path) -> anyhow::Result<Lines<Box<dyn std::io::BufRead + Send>>> {
    Lines::open(path, InvalidUtf8::Fail).map_err(|error| cannot_read(path, &error))
}

fn cannot_read(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failure };
    Failure::new(exit, format!("cannot read {}: {error}", path.display())).into()
}

fn at_fault(path: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    Failure::new(Exit::Failure, format!("{}: {error}", path.display())).into()
}

/// The record and what to call it.
fn read_record(args: &TryArgs) -> anyhow::Result<(String, String)> {
    let shown = args.record.display();
    if args.whole {
        let text = if args.record == Path::new("-") {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(&args.record)
        };
        return Ok((shown.to_string(), text.map_err(|error| cannot_read(&args.record, &error))?));
    }
    for line in open(&args.record)? {
        let Line { number, text, .. } = line.map_err(|error| at_fault(&args.record, &error))?;
        match args.line {
            None => return Ok((format!("{shown} line {number}"), text)),
            Some(wanted) if wanted == number => return Ok((format!("{shown} line {number}"), text)),
            Some(wanted) if number > wanted => break,
            Some(_) => {}
        }
    }
    let message = match args.line {
        Some(wanted) => format!("{shown} has no record on line {wanted}"),
        None => format!("{shown} has no record"),
    };
    Err(Failure::new(Exit::NotFound, message).into())
}

fn count(rows: &[PreviewRow]) -> u64 {
    rows.iter().map(|row| 1 + count(&row.children)).sum()
}

/// Table names with their columns below, children indented: wide values stay readable where a grid would not.
fn shown(rows: &[PreviewRow]) -> String {
    let mut text = String::new();
    for row in rows {
        show(&mut text, row, 0);
    }
    text
}

fn show(text: &mut String, row: &PreviewRow, depth: usize) {
    let indent = "  ".repeat(depth);
    let width = row.columns.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    writeln!(text, "{indent}{}", row.table).expect("a String takes any text");
    for (name, value) in &row.columns {
        writeln!(text, "{indent}  {name:width$}  {value}").expect("a String takes any text");
    }
    for child in &row.children {
        show(text, child, depth + 1);
    }
}
