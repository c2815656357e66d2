//! The binary `jobqueue-worker`: arguments, logs, signals, exit codes.

mod args;
mod logging;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use jobqueue_api::WorkerConfig;
use jobqueue_ingest::{Certificates, DatabaseUrl, Recipe, Sink, TimeZone};
use jobqueue_queue::{Backend, ConnectionUrl, Protocol, QueueError, TlsOptions};
use jobqueue_worker::startup::{
    Addresses, Patience, StartError, open_database, open_fault_reporter, open_queue, persist, ping_queue,
};
use jobqueue_worker::{
    Health, Identity, Instruments, Settings, Shutdown, Worker, by_recipe, config, http, status_reporter,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Args, Listen};

/// Exit codes, as `--help` lists them (78 and 69 are those of `sysexits.h`).
const FAULT: u8 = 1;
const UNAVAILABLE: u8 = 69;
const CONFIG: u8 = 78;

/// Batches are many small values that one thread makes and another drops: with the C library's a fifth of a worker's time.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    if let Err(problem) = logging::start(&args.log, args.log_format) {
        eprintln!("jobqueue-worker: {problem}");
        return ExitCode::from(CONFIG);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start threads");
            return ExitCode::from(FAULT);
        }
    };
    let code = match runtime.block_on(run(&args)) {
        Ok(()) => 0,
        Err(error) => {
            let code = exit_code(&error);
            let hint = error.downcast_ref::<StartError>().and_then(StartError::remedy);
            tracing::error!(exit_code = code, hint, "{error:#}");
            code
        }
    };
    // A blocking thread that hangs in a system call must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    ExitCode::from(code)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<StartError>() {
        Some(StartError::Stopped) => 0,
        Some(StartError::Config(_) | StartError::Recipe(_)) => CONFIG,
        Some(StartError::Redis(_) | StartError::Database(_)) => UNAVAILABLE,
        None => FAULT,
    }
}

/// Everything that is known without a connection.
struct Setup {
    config: WorkerConfig,
    time_zone: Option<TimeZone>,
    addresses: Addresses,
    recipe: Arc<Recipe>,
    worker_name: String,
}

fn set_up(args: &Args) -> Result<Setup, StartError> {
    let wrong = |words: String| StartError::Config(words);
    let reading = config::load(&args.config, args.config_version).map_err(|error| wrong(error.to_string()))?;
    let config::Reading { mut config, unknown } = reading;
    for field in unknown {
        tracing::warn!(
            field,
            "this worker does not know the field and passes over it: its image is older than the config"
        );
    }
    config.worker.max_jobs = args.max_jobs.or(config.worker.max_jobs);
    config.worker.max_idle_seconds = args.max_idle_seconds.or(config.worker.max_idle_seconds);
    let mut redis: ConnectionUrl = args.redis_url.parse().map_err(|error: QueueError| wrong(error.to_string()))?;
    if let Some(file) = &args.redis_password_file {
        redis = redis.with_password_file(file).map_err(|error| wrong(error.to_string()))?;
    }
    let mut database: DatabaseUrl = args.database_url.parse().map_err(|error| wrong(format!("{error}")))?;
    if let Some(file) = &args.database_password_file {
        database = database.with_password_file(file)?;
    }
    let certificates = Certificates {
        authority: args.database_ca.clone(),
        certificate: args.database_cert.clone(),
        key: args.database_key.clone(),
    };
    let database = database.with_certificates(&certificates)?;
    let read = |path: &Option<std::path::PathBuf>| match path {
        None => Ok(None),
        Some(path) => {
            std::fs::read(path).map(Some).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))
        }
    };
    let tls = TlsOptions {
        ca: read(&args.redis_ca)?,
        client_cert: read(&args.redis_cert)?,
        client_key: read(&args.redis_key)?,
    };
    let time_zone = config::time_zone(&config).map_err(wrong)?;
    let recipe = Recipe::compile_in(&config.ingest, time_zone.unwrap_or_default()).map_err(StartError::Recipe)?;
    let addresses = Addresses { redis, tls, database };
    Ok(Setup { config, time_zone, addresses, recipe: Arc::new(recipe), worker_name: args.unique_name() })
}

async fn run(args: &Args) -> anyhow::Result<()> {
    let setup = set_up(args)?;
    let mut queue_config = config::queue_config(&setup.config, &setup.worker_name);
    let lease = queue_config.lease;
    if args.check {
        open_queue(&setup.addresses, queue_config).map_err(StartError::from)?;
        return Ok(check(&setup).await?);
    }
    let shutdown = Shutdown::new(Duration::from_secs(setup.config.worker.drain_seconds.into()));
    let instruments =
        Instruments::new(Health::new(lease / 3), shutdown.clone()).with_traces_of_environment(&identity(&setup));
    queue_config.with_trace_context = instruments.has_traces();
    let backend = open_queue(&setup.addresses, queue_config.clone()).map_err(StartError::from)?;
    tokio::spawn(follow_signals(shutdown, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    announce(&setup);
    listen(args.listen, &instruments)?;
    let reporter = open_fault_reporter(&setup.addresses, &queue_config).map_err(StartError::from)?;
    let status_task = tokio::spawn({
        let (instruments, reporter) = (instruments.clone(), reporter.clone());
        async move { status_reporter::report(&reporter, &instruments).await }
    });
    let ended = work(args, &setup, backend, lease, instruments.clone()).await;
    status_task.abort();
    tokio::join!(status_reporter::withdraw(&reporter), instruments.finish_traces());
    ended
}

/// From the database's first answer to the last job.
async fn work(
    args: &Args,
    setup: &Setup,
    backend: Arc<dyn Backend>,
    lease: Duration,
    instruments: Instruments,
) -> anyhow::Result<()> {
    let patience = if args.wait_for_tables { Patience::ForTables } else { Patience::ForServers };
    let sink = persist(&instruments, "the database", patience, || ready_database(setup)).await?;
    persist(&instruments, "Redis", patience, || async { backend.register().await.map_err(StartError::from) }).await?;
    instruments.health.set_registered(true);
    tracing::info!(worker = setup.worker_name, "at work");
    let extractor = by_recipe(Arc::clone(&setup.recipe));
    let settings = settings(&setup.config, lease);
    let worker = Arc::new(Worker::new(settings, backend, sink, Arc::clone(&setup.recipe), extractor, instruments));
    worker.run().await?;
    tracing::info!("stopped");
    Ok(())
}

/// What each trace says of this worker.
fn identity(setup: &Setup) -> Identity {
    Identity {
        name: setup.config.name.clone(),
        worker: setup.worker_name.clone(),
        protocol: setup.config.queue.protocol,
        batch_size: usize::try_from(setup.config.worker.batch_size).unwrap_or(usize::MAX),
    }
}

fn settings(config: &WorkerConfig, lease: Duration) -> Settings {
    let database = config.database();
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Settings {
        concurrency: size(config.concurrency()),
        batch_size: size(config.worker.batch_size),
        max_attempts: config.retry.max_attempts,
        lease,
        max_jobs: config.worker.max_jobs,
        max_idle: config.worker.max_idle_seconds.map(Duration::from_secs),
        hold: Duration::from_secs(database.hold_seconds.into()),
        ledger_retention: Duration::from_secs(u64::from(database.ledger_retention_days) * 86_400),
        extract_limit: extract_limit(config.queue.protocol),
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
    }
}

/// How long the extraction of a job may take that has no limit of its own. Lists and streams cannot carry one: RQ's default.
/// `None` for RQ, where a job without a limit has asked for that (`job_timeout=-1`).
fn extract_limit(protocol: Protocol) -> Option<Duration> {
    (protocol != Protocol::Rq).then_some(Duration::from_secs(180))
}

async fn ready_database(setup: &Setup) -> Result<Arc<dyn Sink>, StartError> {
    let Setup { config, addresses, recipe, time_zone, .. } = setup;
    let sink = open_database(addresses, recipe, config.concurrency(), *time_zone).await?;
    sink.ensure_ledger().await?;
    Ok(sink)
}

/// `--check`: Redis, and the database with the recipe; both, even if the first fails. Changes nothing in either.
async fn check(setup: &Setup) -> Result<(), StartError> {
    let redis = ping_queue(&setup.addresses).await;
    let database = open_database(&setup.addresses, &setup.recipe, 1, setup.time_zone).await;
    if let (Err(error), Err(_)) = (&redis, &database) {
        tracing::error!(hint = error.remedy(), "{error}");
    }
    database?;
    redis?;
    println!("{} is valid, Redis and the database answer, and the recipe fits the tables", setup.config.name);
    Ok(())
}

/// Says what runs, and where. URLs print without their passwords.
fn announce(setup: &Setup) {
    let tables: Vec<&str> = setup.recipe.tables.iter().map(|table| table.table.as_str()).collect();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        name = setup.config.name,
        worker = setup.worker_name,
        protocol = %setup.config.queue.protocol,
        queues = setup.config.queue.names.join(","),
        redis = %setup.addresses.redis,
        database = %setup.addresses.database,
        tables = tables.join(","),
        concurrency = setup.config.concurrency(),
        batch_size = setup.config.worker.batch_size,
        "starting"
    );
}

fn listen(address: Listen, instruments: &Instruments) -> Result<(), StartError> {
    let Listen(Some(address)) = address else { return Ok(()) };
    let hint = "set JOBQUEUE_LISTEN to another address, to port 0, or to nothing for none";
    let unusable = |error| StartError::Config(format!("cannot listen on {address}: {error}; {hint}"));
    let listener = jobqueue_listen::bind(address).map_err(unusable)?;
    let bound = listener.local_addr().map_err(unusable)?;
    tracing::info!(address = %bound, "answering /healthz, /readyz and /metrics");
    let instruments = instruments.clone();
    tokio::spawn(async move {
        if let Err(error) = http::serve(listener, instruments).await {
            tracing::error!(%error, "the HTTP server ended");
        }
    });
    Ok(())
}

async fn follow_signals(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    loop {
        let name = tokio::select! {
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            else => return,
        };
        if shutdown.request() {
            tracing::info!(signal = name, "draining: nothing more is claimed");
        } else {
            tracing::warn!(signal = name, "asked again: releasing the jobs in flight");
        }
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_ingest::RecipeProblem;

    use super::*;

    #[test]
    fn exit_codes_are_stable() {
        let code = |error: StartError| exit_code(&error.into());
        assert_eq!(code(StartError::Stopped), 0);
        assert_eq!(code(StartError::Config("x".into())), 78);
        let problem = RecipeProblem { path: "p".into(), message: "m".into() };
        assert_eq!(code(StartError::Recipe(vec![problem])), 78);
        let cause = || "refused".to_owned();
        assert_eq!(code(QueueError::Unavailable { endpoint: "r".into(), cause: cause() }.into()), 69);
        assert_eq!(exit_code(&anyhow::anyhow!("a task failed")), 1);
    }
}
