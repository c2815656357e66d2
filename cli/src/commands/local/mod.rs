//! `jobqueue local`: the manifest without a cluster.
//!
//! `servers` finds (or starts) Redis and the database, `supervisor` decides which workers to start and stop, `processes`
//! does it, `session` connects them with the decision of the `scaling` crate, `view` shows what goes on and `summary`
//! what came of it.

mod event;
mod follow;
mod processes;
mod reasons;
mod servers;
mod session;
mod summary;
mod supervisor;
mod view;

use std::path::PathBuf;

use clap::Args;
use jobqueue_api::WorkerConfig;
use jobqueue_crds::{JobQueue, worker_config};
use jobqueue_ingest::Recipe;
use jobqueue_queue::{Connection, StatsQuery, Timeouts};

use self::event::Event;
use self::processes::{Processes, find_worker, password_files};
use self::reasons::Reasons;
use self::servers::{Database, Redis};
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
is used where its host is known here; the name of a Service of a cluster is not. A passwordFile \
beside it is read on this machine, for each connection. Secrets are not read: \
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
    let zone = time_zone(&manifest)?.unwrap_or_default();
    let recipe = Recipe::compile_in(ingest, zone).map_err(|problems| {
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
        let passwords = password_files(&redis, &database);
        let passwords = passwords.iter().map(|(variable, file)| (*variable, file.as_deref()));
        for (variable, file) in redis.tls.environment().into_iter().chain(passwords) {
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
    let query = StatsQuery::from(&manifest.spec.queue.settings);
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
fn workers_config(manifest: &JobQueue) -> WorkerConfig {
    let mut config = worker_config(manifest);
    config.worker.max_jobs = None;
    config
}

fn unusable(exit: Exit, state: &StateDir, verbose: bool, what: &str) -> anyhow::Error {
    let tail = if verbose { String::new() } else { state.workers_log_tail() };
    let failure = Failure::new(exit, format!("{what}{}{tail}", if tail.is_empty() { "" } else { ":\n" }));
    failure.hint(format!("the whole log is in {}", state.workers_log().display())).into()
}

#[cfg(test)]
mod tests {
    use jobqueue_crds::worker_file;
    use jobqueue_worker::config::{parse, queue_config};

    use super::*;

    const COMPANIES: &str = include_str!("../../../../examples/companies/jobqueue.yaml");

    #[test]
    fn the_worker_understands_what_is_rendered_for_it() {
        let manifest = JobQueue::one_from_yaml(COMPANIES, None).expect("a valid manifest");
        let text = worker_file(&worker_config(&manifest));
        let config = parse(&text, "worker.yaml").expect("a valid config");
        assert_eq!(config.name, "companies");
        let spec = &manifest.spec;
        assert_eq!(Some(&config.ingest), spec.ingest.as_ref());
        let queue = queue_config(&config, "w");
        assert_eq!(queue.names, spec.queue.settings.names);
        assert_eq!(queue.lease.as_secs(), u64::from(spec.queue.settings.lease_seconds));
        assert_eq!(queue.failure_ttl.as_secs(), u64::from(spec.queue.settings.failure_ttl_seconds));
        assert_eq!(queue.limits.max_bytes, spec.queue.settings.limits.max_bytes);
        assert_eq!(config.worker.drain_seconds, spec.worker.settings.drain_seconds);
    }

    #[test]
    fn defaults_of_the_manifest_are_those_of_the_worker() {
        let text = "{apiVersion: jobqueue.dev/v1alpha1, kind: JobQueue, metadata: {name: q}, spec: {queue: {names: [q], \
                    redis: {url: 'redis://r'}}, database: {url: 'sqlite:x'}, ingest: [{tables: [{table: t, columns: \
                    {a: record.a}}]}]}}";
        let manifest = JobQueue::one_from_yaml(text, None).expect("a valid manifest");
        let rendered = worker_file(&worker_config(&manifest));
        let rendered = parse(&rendered, "rendered").expect("a valid config");
        let bare = "{name: q, queue: {names: [q]}, ingest: [{tables: [{table: t, columns: {a: record.a}}]}]}";
        let bare = parse(bare, "bare").expect("a valid config");
        assert_eq!(
            (&rendered.retry, &rendered.worker, &rendered.database()),
            (&bare.retry, &bare.worker, &bare.database())
        );
        let (ours, theirs) = (queue_config(&rendered, "w"), queue_config(&bare, "w"));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}
