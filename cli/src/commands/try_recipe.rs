//! `jobqueue try`: the rows that a record would become, and what the database's columns say to them. Writes nothing.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use jobqueue_ingest::{
    JobInput, LedgerKey, PreviewRow, Recipe, RowTree, Sink, SinkError, Unit, UnitOutcome, ValueMismatch,
};
use jobqueue_json::{Map, Value};
use jobqueue_queue::Protocol;
use serde::Serialize;

use crate::common::exit::{self, Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::lines::{InvalidUtf8, Line, Lines};
use crate::common::output::{Output, columns};
use crate::common::sink;
use crate::common::target::Target;

const HELP: &str = "\
Examples:
  jobqueue try -f jobqueue.yaml --record companies.jsonl
  jobqueue try -f jobqueue.yaml --record companies.jsonl --line 17
  jobqueue try -f jobqueue.yaml --record - --all < records.jsonl
  jobqueue try -f jobqueue.yaml --record one.json --whole --database sqlite:companies.db
  jobqueue try -f jobqueue.yaml --record companies.jsonl --all --write-and-roll-back

With a database, from --database or the manifest, the recipe is checked against its tables, as a worker does when it
starts, and every value against its column. Without one, or while the manifest's does not answer, rows are only shown.
--write-and-roll-back also asks the database itself: keys, constraints, triggers. It uses up ids of sequences.

Exit code: 0 if all would be written; 3 if some would fail; 2 if the recipe does not fit the tables; 4 if the database
of --database (or of any, with --write-and-roll-back) does not answer.";

/// Problems of one record that are told one by one.
const SHOWN: usize = 50;

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
    /// Write the rows to the database in a transaction that is rolled back, and tell what the database says
    #[arg(long)]
    write_and_roll_back: bool,
    /// RQ function of the job [default: the first that the recipes serve]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(global: &GlobalArgs, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
    let target = Target::from_args(global)?;
    let recipe = target.recipe()?;
    let database = database(&target, args, &recipe, output).await?;
    let (sink, mismatch) = match database {
        Database::Fits(sink) => (Some(sink), None),
        Database::Unknown => (None, None),
        Database::LacksTables(error) => (None, Some(error)),
    };
    let function = args.function.clone().or_else(|| target.first_function());
    let trial = Preview {
        recipe: &recipe,
        queue: target.queues.first().map_or("try", String::as_str),
        function: function.filter(|_| target.protocol == Protocol::Rq),
        sink: sink.as_deref(),
        writes: args.write_and_roll_back,
    };
    let tried = if args.all { trial.every_line(args, output).await } else { trial.one_record(args, output).await };
    match (mismatch, tried) {
        (Some(mismatch), tried) => {
            if let Err(error) = tried {
                exit::report(output, &error);
            }
            Err(mismatch)
        }
        (None, tried) => tried,
    }
}

/// What is known of the database.
enum Database {
    /// It has what the recipe needs.
    Fits(Box<dyn Sink>),
    /// There is none, or it does not answer.
    Unknown,
    /// It has not.
    LacksTables(anyhow::Error),
}

/// The database, held against the recipe. The manifest's may not be there yet.
async fn database(target: &Target, args: &TryArgs, recipe: &Recipe, output: Output) -> anyhow::Result<Database> {
    let needed = args.write_and_roll_back;
    let url = if needed { Some(target.database()?) } else { target.database_if_given()? };
    let Some(url) = url else {
        output.say("no database is given (--database URL): values are not checked against its columns");
        return Ok(Database::Unknown);
    };
    let opened = async {
        let sink = sink::connect(&url, target.time_zone()?).await?;
        let fits = sink::check(sink.as_ref(), recipe, output).await;
        anyhow::Ok((sink, fits))
    };
    let opened = match opened.await {
        Ok((_, Err(error))) if Failure::is_unreachable(&error) => Err(error),
        opened => opened,
    };
    match opened {
        Ok((sink, Ok(()))) => {
            output.say("the recipe fits the database");
            Ok(Database::Fits(sink))
        }
        Ok((_, Err(error))) if needed => Err(error),
        Ok((_, Err(error))) => Ok(Database::LacksTables(error)),
        Err(error) if !needed && target.database.is_none() && Failure::is_unreachable(&error) => {
            output.warn(&format!("{error:#}; values are not checked against its columns"));
            Ok(Database::Unknown)
        }
        Err(error) => Err(error),
    }
}

struct Preview<'a> {
    recipe: &'a Recipe,
    queue: &'a str,
    function: Option<String>,
    sink: Option<&'a dyn Sink>,
    writes: bool,
}

/// What a record would come to.
struct Tried {
    /// Not all of them where a problem is the recipe's.
    rows: Vec<PreviewRow>,
    problems: Vec<Problem>,
}

/// Why a record would fail.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    /// The whole of it, for a person.
    message: String,
    /// Where a column refuses a value.
    #[serde(flatten)]
    mismatch: Option<ValueMismatch>,
    /// Whether the rows could not be made.
    #[serde(skip)]
    of_recipe: bool,
}

impl From<ValueMismatch> for Problem {
    fn from(mismatch: ValueMismatch) -> Self {
        Self { message: mismatch.to_string(), mismatch: Some(mismatch), of_recipe: false }
    }
}

impl Problem {
    /// Table and column, as far as they are known.
    fn place(&self) -> String {
        match &self.mismatch {
            Some(mismatch) => format!("{}.{}", mismatch.table, mismatch.column),
            None => self.message.split(": ").next().unwrap_or_default().to_owned(),
        }
    }

    fn new(message: String, of_recipe: bool) -> Self {
        Self { message, mismatch: None, of_recipe }
    }
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
    problems: Vec<Problem>,
}

#[derive(Serialize)]
struct Failing<'a> {
    /// `None` where the recipe could not make them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<&'a [PreviewRow]>,
    problems: &'a [Problem],
}

impl Preview<'_> {
    async fn record(&self, record: &str) -> anyhow::Result<Tried> {
        let now = Utc::now();
        let (tree, errors) = self.rows(record, now);
        let mut problems: Vec<Problem> =
            errors.into_iter().map(|error| Problem::new(error.to_string(), true)).collect();
        if let Some(sink) = self.sink {
            let misfits = sink.check(self.recipe, &tree).await.map_err(sink::sink_failure)?;
            // What the recipe could not read is null here.
            let unread = !problems.is_empty();
            problems
                .extend(misfits.into_iter().filter(|mismatch| !unread || mismatch.value.is_some()).map(Problem::from));
        }
        let rows = self.recipe.preview(&tree);
        if self.writes && problems.is_empty() {
            problems.extend(self.write(tree, now).await?);
        }
        Ok(Tried { rows, problems })
    }

    fn rows(&self, record: &str, now: DateTime<Utc>) -> (RowTree, Vec<jobqueue_ingest::RecipeError>) {
        let (args, none) = ([Value::String(record.to_owned())], Map::new());
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
        self.recipe.rows_and_errors(&job, now)
    }

    /// What the database has against the rows, which it keeps no trace of.
    async fn write(&self, rows: RowTree, now: DateTime<Utc>) -> anyhow::Result<Option<Problem>> {
        let Some(sink) = self.sink else { return Ok(None) };
        let key = LedgerKey {
            queue: self.queue.to_owned(),
            job_id: uuid::Uuid::new_v4().to_string(),
            created_at: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            generation: 0,
            run: None,
        };
        let outcome = sink.rehearse(self.recipe, &Unit { key, rows }).await.map_err(|error| {
            let of_ledger =
                matches!(&error, SinkError::SchemaMismatch { cause, .. } if cause.contains("jobqueue_ledger"));
            let failure = Failure::new(Exit::from(&error), error.to_string());
            if of_ledger {
                failure.hint("a worker makes the table when it starts; `jobqueue schema` prints it")
            } else {
                failure.hint_if(error.remedy())
            }
        })?;
        Ok(match outcome {
            UnitOutcome::Rejected(rejection) => Some(Problem::new(rejection.message, false)),
            UnitOutcome::Applied { .. } | UnitOutcome::AlreadyApplied => None,
        })
    }

    /// What is certain of the rows now.
    fn verdict(&self) -> &'static str {
        if self.writes { "the database took them, and they were rolled back" } else { "nothing was written" }
    }

    async fn one_record(&self, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
        let (place, record) = read_record(args)?;
        let Tried { rows, problems } = self.record(&record).await?;
        if problems.is_empty() {
            if output.is_machine() {
                output.document(&rows)?;
            } else {
                output.data(&shown(&rows))?;
            }
            output.say(&format!("{place} becomes {} row(s); {}", count(&rows), self.verdict()));
            return Ok(Exit::Ok);
        }
        let complete = !problems.iter().any(|problem| problem.of_recipe);
        if output.is_machine() {
            output.document(&Failing { rows: complete.then_some(&rows), problems: &problems })?;
        } else if complete {
            output.data(&shown(&rows))?;
        }
        let message = match problems.as_slice() {
            [problem] => format!("{place}: {}", problem.message),
            several => format!("{place}: {} problems:\n  {}", several.len(), listed(several, "\n  ")),
        };
        Err(Failure::new(Exit::Records, message)
            .hint("a worker would put this job into the failed registry with these words")
            .into())
    }

    async fn every_line(&self, args: &TryArgs, output: Output) -> anyhow::Result<Exit> {
        let mut tally = Tally::default();
        for line in open(&args.record)? {
            let line = line.map_err(|error| at_fault(&args.record, &error))?;
            tally.lines += 1;
            let Tried { rows, problems } = self.record(&line.text).await?;
            if problems.is_empty() {
                tally.rows += count(&rows);
            } else {
                let error = listed(&problems, "; ");
                tally.failed.push(FailedLine { line: line.number, error, problems });
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
            "{good} of {} record(s) would become {} row(s), {} would fail; {}",
            tally.lines,
            tally.rows,
            tally.failed.len(),
            if self.writes { "whatever was written is rolled back" } else { "nothing was written" }
        ));
        if tally.failed.is_empty() {
            return Ok(Exit::Ok);
        }
        output.say(&format!("{} of {} would fail, at {}", tally.failed.len(), tally.lines, tally.places()));
        Ok(Exit::Records)
    }
}

impl Tally {
    /// Where records fail (`orders.total`, `orders`), each place once.
    fn places(&self) -> String {
        let problems = self.failed.iter().flat_map(|failed| &failed.problems);
        let places: BTreeSet<String> = problems.map(Problem::place).collect();
        places.into_iter().collect::<Vec<_>>().join(", ")
    }
}

/// The problems, so many as a person reads.
fn listed(problems: &[Problem], between: &str) -> String {
    let mut shown: Vec<String> = problems.iter().take(SHOWN).map(|problem| problem.message.clone()).collect();
    if problems.len() > SHOWN {
        shown.push(format!("and {} more", problems.len() - SHOWN));
    }
    shown.join(between)
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
