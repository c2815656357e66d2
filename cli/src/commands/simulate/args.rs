//! Flags of `simulate`.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset};
use clap::{Args, ValueEnum};
use jobqueue_simulator::{PolicyName, Shape};

const HELP: &str = "\
Examples:
  jobqueue simulate -f jobqueue.yaml --shape burst
  jobqueue simulate -f jobqueue.yaml --shape all --job-seconds 0.2
  jobqueue simulate -f jobqueue.yaml --shape daily --policy ours --policy fixed:4 --policy keda
  jobqueue simulate -f jobqueue.yaml --load trace.csv --jobs-per-second 3000 --plot monday.svg
  jobqueue simulate -f jobqueue.yaml --shape burst --policy ours --changes
  jobqueue simulate -f jobqueue.yaml --shape daily --duration 7d --start 2026-11-23T00:00:00+01:00
  jobqueue simulate -f now.yaml -f then.yaml --shape sawtooth --plot both.svg

The manifest's scaling section is run by the operator's own code, four times a second of simulated time;
its schedules hold from --start on. Several manifests are compared: ours is then one policy for each, and all else is the
first one's. Policies:
  ours         the manifest's
  fixed        maxReplicas workers, always; fixed:N for N
  keda         KEDA 2.20 with its defaults, and its HPA; sees the length of the list only, and has no schedules
  keda-1s      the same, polling every second
  per-worker   waiting jobs divided by a number at every look, without memory
  bound        no policy: the least that a policy could have spent which knew all jobs beforehand

A trace is a CSV file with the header `seconds,jobs` (so many arrive at that moment), `seconds,job_seconds` (one arrives and
takes so long; a line for each job) or `seconds,arrivals_per_second` (at random, so many on average, until the next row; the last
row ends the load).

The same seed gives the same result. What the model leaves out is in docs/simulate.md.";

/// Flags of `simulate`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct SimulateArgs {
    /// CSV file with what arrives when
    #[arg(long, value_name = "FILE", required_unless_present = "shape")]
    pub(super) load: Vec<PathBuf>,
    /// A load that comes with the command, measured by what maxReplicas workers can do; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    pub(super) shape: Vec<ShapeArg>,
    /// What to compare; may be repeated [default: all six]
    #[arg(long, value_name = "NAME")]
    pub(super) policy: Vec<PolicyName>,
    /// How long a run is: 90s, 20m, 1000h [default: as long as the shape, or a trace and 15 minutes]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(super) duration: Option<f64>,
    /// The moment at which a run starts, for the manifest's schedules: a load begins then, whatever the time of day
    #[arg(long, default_value = "2026-01-05T00:00:00Z", value_name = "MOMENT", value_parser = moment)]
    pub(super) start: DateTime<FixedOffset>,
    /// Seed of all random numbers
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) seed: u64,
    #[command(flatten)]
    pub(super) circumstances: Circumstances,
    /// Draw what happens into an SVG file: backlog, oldest wait, workers and cost of every policy, a column for each load
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Tell every change of the number of workers, with its reason
    #[arg(long)]
    pub(super) changes: bool,
    /// Explain what ours decided at that time since the start (90s, 20m) or at that moment: what was seen, what each rule
    /// asked for, and the limits
    #[arg(long, value_name = "MOMENT", value_parser = Instant::from_str)]
    pub(super) explain: Option<Instant>,
}

/// A moment of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Instant {
    /// So many seconds after its start.
    After(f64),
    /// By the calendar.
    At(DateTime<FixedOffset>),
}

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = moment(text) {
            return Ok(Self::At(at));
        }
        if text.parse() == Ok(0.0) {
            return Ok(Self::After(0.0));
        }
        let expected = "it is a time since the start such as 90s or 20m, or a moment such as 2026-11-23T00:00:00+01:00";
        seconds(text).map(Self::After).map_err(|_| expected.into())
    }
}

/// What the manifest does not know.
#[derive(Debug, Args)]
#[command(next_help_heading = "Jobs, pods and database")]
pub(super) struct Circumstances {
    /// How long a job takes, on average; a worker does worker.concurrency of them at once
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = positive, conflicts_with = "jobs_per_second")]
    pub(super) job_seconds: f64,
    /// Instead: how many jobs one worker does, all its concurrency together
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub(super) jobs_per_second: Option<f64>,
    /// How unlike each other jobs are: the standard deviation of their time by its mean
    #[arg(long, value_name = "RATIO", default_value = "0.5", value_parser = not_negative)]
    pub(super) job_variation: f64,
    /// How long a pod takes to start, on average [default: 5, and 60 in the shape slow-pods]
    #[arg(long, value_name = "SECONDS", value_parser = not_negative)]
    pub(super) pod_start_seconds: Option<f64>,
    /// How long a pod that must go may finish its jobs [default: worker.drainSeconds and 5]
    #[arg(long, value_name = "SECONDS", value_parser = not_negative)]
    pub(super) grace_seconds: Option<f64>,
    /// Jobs per second that the database can do for all workers together [default: no limit]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    pub(super) database_ceiling: Option<f64>,
    /// Waiting jobs per worker, for keda and per-worker [default: jobsPerWorker, else what one worker does in
    /// maxWaitSeconds or drainSeconds]
    #[arg(long, value_name = "JOBS", value_parser = positive)]
    pub(super) list_length: Option<f64>,
    /// How long a job may wait, for bound [default: maxWaitSeconds, and what drainSeconds leaves; else how long the last of
    /// jobsPerWorker waits; else two starts of a pod]
    #[arg(long, value_name = "SECONDS", value_parser = not_negative)]
    pub(super) bound_wait: Option<f64>,
}

/// A built-in load, as flags name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeArg {
    /// Out of nothing, as many jobs as all workers do in a minute
    Burst,
    /// A day: between 5 and 70 % of what all workers can do
    Daily,
    /// Rises to 80 % in ten minutes and stops, four times
    Sawtooth,
    /// A steady 40 %; for five minutes the database does 2 %
    StuckDatabase,
    /// Three bursts, ten minutes apart, and pods that take a minute to start
    SlowPods,
    /// All of these
    All,
}

impl ShapeArg {
    /// The shapes that are meant.
    pub(super) fn each(self) -> Vec<Shape> {
        match self {
            Self::Burst => vec![Shape::Burst],
            Self::Daily => vec![Shape::Daily],
            Self::Sawtooth => vec![Shape::Sawtooth],
            Self::StuckDatabase => vec![Shape::StuckDatabase],
            Self::SlowPods => vec![Shape::SlowPods],
            Self::All => Shape::ALL.to_vec(),
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = unit.unwrap_or((text, 1.0));
    positive(number).map(|number| number * unit).map_err(|_| "it is a time such as 90s, 20m or 1000h".into())
}

fn moment(text: &str) -> Result<DateTime<FixedOffset>, String> {
    DateTime::parse_from_rfc3339(text).map_err(|_| "it is a moment such as 2026-11-23T00:00:00+01:00".into())
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).ok().filter(|number| *number > 0.0).ok_or_else(|| "it is a number above zero".into())
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = f64::from_str(text).ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it is a number that is not negative".into())
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these products are exact")]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        let times = ["90", "90s", "1.5m", "2h", "1d", "250ms"].map(|text| seconds(text).unwrap());
        assert_eq!(times, [90.0, 90.0, 90.0, 7200.0, 86_400.0, 0.25]);
        for text in ["", "h", "-3s", "0", "x", "1w", "infs"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_since_the_start_or_one_of_the_calendar() {
        assert_eq!("20m".parse(), Ok(Instant::After(1200.0)));
        assert_eq!("0".parse(), Ok(Instant::After(0.0)));
        let at = moment("2026-11-23T00:00:00+01:00").unwrap();
        assert_eq!("2026-11-23T00:00:00+01:00".parse(), Ok(Instant::At(at)));
        assert!("noon".parse::<Instant>().unwrap_err().contains("90s"));
    }

    #[test]
    fn a_shape_is_called_the_same_as_flag_and_in_the_report() {
        for argument in ShapeArg::value_variants().iter().filter(|argument| **argument != ShapeArg::All) {
            let names: Vec<&str> = argument.each().into_iter().map(Shape::name).collect();
            assert_eq!(names, [argument.to_possible_value().unwrap().get_name()]);
        }
    }
}
