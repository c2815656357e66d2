//! `jobqueue local`: the manifest without a cluster.
//!
//! `place` finds (or starts) Redis and the database, `supervisor` decides which workers to start and stop, `processes`
//! does it, `session` connects them with the decision of the `scaling` crate, `view` shows what goes on and `summary`
//! what came of it.

mod event;
mod follow;
mod place;
mod processes;
mod reasons;
mod remedy;
mod session;
mod summary;
mod supervisor;
mod view;

use std::path::PathBuf;

use clap::Args;
use jobqueue_crds::{JobQueue, worker_config};
use jobqueue_ingest::{IngestSpec, Recipe};
use jobqueue_queue::{Connection, Protocol, StatsQuery, Timeouts};

use self::event::Event;
use self::place::{Database, Redis};
use self::processes::{Processes, find_worker};
use self::reasons::Reasons;
use self::session::{Outcome, Session};
use self::summary::Before;
use self::view::View;
use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::sink::time_zone;
use crate::common::state_dir::StateDir;
use crate::common::target::read_manifest;

const LOCAL_HELP: &str = "\
Where things are, unless told otherwise: a Redis of its own on 127.0.0.1 (port 6390, or the next free one; append-only \
file on) in .jobqueue/NAME beside the manifest, with the workers' log; an SQLite file NAME.sqlite beside the manifest. \
--redis and --database (or JOBQUEUE_REDIS_URL and JOBQUEUE_DATABASE_URL) win over the manifest. A URL in the manifest \
is used where its host is known here; the name of a Service of a cluster is not. Secrets are not read: \
certificates for Redis come from --redis-ca, --redis-cert and --redis-key, those for the database from its URL.

The first Ctrl-C (or SIGTERM) drains the workers, the second gives back what they have at once, the third kills them.

With -o json or yaml, every event is a JSON object on a line of its own on stdout; the last one is the summary.";

/// Flags of `local`.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Debug, Args)]
#[command(after_help = LOCAL_HELP)]
pub(crate) struct LocalArgs {
    /// Which JobQueue of the manifest, if it has several
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Exit when nothing waits, runs or is scheduled: code 0, or 3 if jobs failed meanwhile
    #[arg(long)]
    until_empty: bool,
    /// Run this DDL first if the database does not fit the recipe
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The most workers, instead of the manifest's
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_replicas: Option<u32>,
    /// Where the private Redis, the worker's log and its config are kept [default: .jobqueue/NAME beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Leave the private Redis running at the end; the next start finds it
    #[arg(long)]
    keep_redis: bool,
    /// Only start Redis and set up the database; print the URLs as `export` lines, and leave Redis running
    #[arg(long, conflicts_with = "until_empty")]
    prepare: bool,
    /// The worker's executable [default: jobqueue-worker beside this one, or on PATH]
    #[arg(long, env = "JOBQUEUE_WORKER", value_name = "PATH")]
    workers_binary: Option<PathBuf>,
    /// Show the workers' log on stderr instead of keeping it in a file
    #[arg(long)]
    verbose: bool,
}

/// Runs the manifest until interrupted, or until its queue is empty.
pub(crate) async fn run(global: &GlobalArgs, args: &LocalArgs, output: Output) -> anyhow::Result<Exit> {
    let path = global.manifest()?.ok_or_else(|| {
        Failure::new(Exit::Usage, "local mode needs a manifest").hint("pass it with -f, e.g. -f jobqueue.yaml")
    })?;
    let manifest = read_manifest(path, args.name.as_deref())?;
    let ingest = manifest.spec.ingest.as_ref().ok_or_else(|| {
        Failure::new(Exit::Usage, "the manifest has no ingest section: local mode runs the workers of this release")
            .hint("add spec.ingest and spec.database")
    })?;
    let specs: Vec<IngestSpec> = serde_json::from_value(serde_json::to_value(ingest)?)?;
    let zone = time_zone(&manifest)?.unwrap_or_default();
    let recipe = Recipe::compile_in(&specs, zone).map_err(|problems| {
        let list: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        Failure::new(Exit::Usage, format!("the recipe has {} problem(s):{}", list.len(), list.concat()))
    })?;
    let name = manifest.metadata.name.clone().unwrap_or_default();
    let state = StateDir::open(&name, path, args.state_dir.as_deref())?;
    let worker = find_worker(args.workers_binary.as_deref())?;
    let mut view = View::new(output, &name, args.verbose);

    let database = Database::resolve(&manifest, global, &state, &mut view).await?;
    database.prepare(&recipe, args.schema.as_deref(), &mut view).await?;
    let mut redis = Redis::resolve(&manifest, global, &state, &mut view).await?;
    if args.prepare {
        let mut lines =
            format!("export JOBQUEUE_REDIS_URL='{}'\nexport JOBQUEUE_DATABASE_URL='{}'\n", redis.url, database.text);
        for (variable, file) in redis.tls.environment() {
            lines.extend(file.map(|file| format!("export {variable}='{}'\n", file.display())));
        }
        output.data(&lines)?;
        return Ok(Exit::Ok);
    }
    let ended = serve(args, &manifest, (&mut redis, &database, &recipe), (&state, worker), view).await;
    if !args.keep_redis {
        redis.stop().await;
    }
    ended
}

/// Everything between a Redis that runs and one that is no longer needed.
async fn serve(
    args: &LocalArgs,
    manifest: &JobQueue,
    (redis, database, recipe): (&mut Redis, &Database, &Recipe),
    (state, worker): (&StateDir, PathBuf),
    mut view: View,
) -> anyhow::Result<Exit> {
    let connection = Connection::new(&redis.parsed()?, &redis.tls.read()?, Timeouts::default())
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let query = stats_query(manifest);
    let before = Before::take(&connection, &query, database, recipe).await?;
    let config = state.write_config(&workers_config(manifest))?;
    let log = if args.verbose { None } else { Some(state.workers_log()) };
    let processes = Processes::new(worker, manifest, config, log.as_deref(), (redis, database))?;
    let reasons = Reasons::new(log.clone());
    view.event(&Event::Workers { binary: processes.binary().into(), log });
    let mut session = Session::new(manifest, args.max_replicas, args.until_empty, (processes, reasons), view)?;
    let outcome = session.run(redis, &connection, query.clone()).await?;
    let summary = session.summary(&before, &connection, &query, database, recipe).await;
    session.finish(&summary, &query, connection.endpoint())?;
    match outcome {
        Outcome::Empty if summary.failed > 0 => Ok(Exit::Records),
        Outcome::Empty => Ok(Exit::Ok),
        Outcome::Interrupted => Ok(Exit::Interrupted),
        Outcome::Unusable => Err(unusable(Exit::Usage, state, args.verbose, "the workers refuse to start")),
        Outcome::Hopeless => Err(unusable(Exit::Failure, state, args.verbose, "the workers crash again and again")),
    }
}

/// As in a cluster, but for the number of jobs after which a worker ends: how long they live is decided here.
fn workers_config(manifest: &JobQueue) -> serde_json::Value {
    let mut config = worker_config(manifest);
    if let Some(worker) = config["worker"].as_object_mut() {
        worker.remove("maxJobs");
    }
    config
}

fn stats_query(manifest: &JobQueue) -> StatsQuery {
    let queue = &manifest.spec.queue;
    StatsQuery {
        protocol: match queue.protocol {
            jobqueue_crds::Protocol::Rq => Protocol::Rq,
            jobqueue_crds::Protocol::List => Protocol::List,
            jobqueue_crds::Protocol::Stream => Protocol::Stream,
        },
        names: queue.names.clone(),
        key_prefix: queue.key_prefix.clone(),
        consumer_group: queue.consumer_group.clone(),
    }
}

fn unusable(exit: Exit, state: &StateDir, verbose: bool, what: &str) -> anyhow::Error {
    let tail = if verbose { String::new() } else { state.workers_log_tail() };
    let failure = Failure::new(exit, format!("{what}{}{tail}", if tail.is_empty() { "" } else { ":\n" }));
    failure.hint(format!("the whole log is in {}", state.workers_log().display())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPANIES: &str = include_str!("../../../../examples/companies/jobqueue.yaml");

    #[test]
    fn the_worker_understands_what_is_rendered_for_it() {
        let manifest = JobQueue::one_from_yaml(COMPANIES, None).expect("a valid manifest");
        let text = serde_yaml::to_string(&worker_config(&manifest)).expect("YAML");
        let config = jobqueue_worker::config::Config::parse(&text, "worker.yaml").expect("a valid config");
        assert_eq!(config.name, "companies");
        let spec = &manifest.spec;
        let same = serde_json::to_value(&config.ingest).expect("JSON");
        let theirs: Vec<IngestSpec> =
            serde_json::from_value(serde_json::to_value(&spec.ingest).expect("JSON")).expect("a recipe");
        assert_eq!(same, serde_json::to_value(theirs).expect("JSON"));
        let queue = config.queue_config("w");
        assert_eq!(queue.names, spec.queue.names);
        assert_eq!(queue.lease.as_secs(), u64::from(spec.queue.lease_seconds));
        assert_eq!(queue.failure_ttl.as_secs(), u64::from(spec.queue.failure_ttl_seconds));
        assert_eq!(u64::try_from(queue.limits.max_bytes), Ok(spec.queue.limits.max_bytes));
        assert_eq!(config.worker.drain_seconds, u64::from(spec.worker.drain_seconds));
    }

    #[test]
    fn defaults_of_the_manifest_are_those_of_the_worker() {
        let text = "{apiVersion: jobqueue.dev/v1alpha1, kind: JobQueue, metadata: {name: q}, spec: {queue: {names: [q], \
                    redis: {url: 'redis://r'}}, database: {url: 'sqlite:x'}, ingest: [{tables: [{table: t, columns: \
                    {a: record.a}}]}]}}";
        let manifest = JobQueue::one_from_yaml(text, None).expect("a valid manifest");
        let rendered = serde_yaml::to_string(&worker_config(&manifest)).expect("YAML");
        let rendered = jobqueue_worker::config::Config::parse(&rendered, "rendered").expect("a valid config");
        let bare = "{name: q, queue: {names: [q]}, ingest: [{tables: [{table: t, columns: {a: record.a}}]}]}";
        let bare = jobqueue_worker::config::Config::parse(bare, "bare").expect("a valid config");
        assert_eq!(
            (&rendered.retry, &rendered.worker, &rendered.database),
            (&bare.retry, &bare.worker, &bare.database)
        );
        let (ours, theirs) = (rendered.queue_config("w"), bare.queue_config("w"));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
