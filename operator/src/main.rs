//! `jobqueue-operator`: reads its flags, takes part in the election, and while it leads runs the controller and the sweep.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use jobqueue_operator::{
    api,
    controller::{self, Context},
    events::Events,
    http::{Health, serve},
    leader::Candidate,
    metrics::Metrics,
    registry::Registry,
    rivals::Rivals,
    secrets::RecentSecrets,
    sweep::Sweeper,
    tenure::Tenure,
    turns::Turns,
};
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// What is kept of thousands of queues lies between what their visits need for a moment: with the C library's, twice as
/// much stays resident as is in use. How it gives back what is free is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Applies JobQueues: their workers, and how many of them.
#[derive(Debug, Parser)]
#[command(name = "jobqueue-operator", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator, in a cluster or beside it (with the kubeconfig)
    Run(Run),
    /// Check an installation: are JobQueues served, and does an operator lead?
    Check(Check),
}

/// What an operator serves, and how it and its replicas agree on who does.
#[derive(Debug, Args)]
struct Post {
    /// Serve the JobQueues of this namespace only; omitted or empty: of all
    #[arg(long, env = "JOBQUEUE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,

    /// Name of the Lease that the operator's replicas compete for
    #[arg(long, env = "JOBQUEUE_LEASE_NAME", value_name = "NAME", default_value = "jobqueue-operator")]
    lease_name: String,

    /// Namespace of the Lease [default: `POD_NAMESPACE`, else the kubeconfig's]
    #[arg(long, env = "JOBQUEUE_LEASE_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,

    /// Namespace of this pod
    #[arg(long, env = "POD_NAMESPACE", hide = true)]
    pod_namespace: Option<String>,
}

impl Post {
    fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|name| !name.is_empty())
    }

    fn lease_namespace<'a>(&'a self, default: &'a str) -> &'a str {
        let given = self.lease_namespace.as_deref().filter(|name| !name.is_empty());
        given.or(self.pod_namespace.as_deref()).unwrap_or(default)
    }
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    post: Post,

    /// How long to wait for a leader, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    within: u64,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    post: Post,

    /// Image of workers whose JobQueue names none
    #[arg(
        long,
        env = "JOBQUEUE_WORKER_IMAGE",
        value_name = "IMAGE",
        default_value = concat!("jobqueue/worker:", env!("CARGO_PKG_VERSION"))
    )]
    worker_image: String,

    /// Pause between two looks at the queues, in milliseconds
    #[arg(
        long,
        env = "JOBQUEUE_SWEEP_INTERVAL_MS",
        value_name = "MS",
        default_value_t = 250,
        value_parser = clap::value_parser!(u64).range(50..=60_000)
    )]
    sweep_interval_ms: u64,

    /// Address of /healthz, /readyz and /metrics
    #[arg(long, env = "JOBQUEUE_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:9090")]
    listen: SocketAddr,

    /// Who this operator is in the election: unique among replicas [default: the host's name and the process id]
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    identity: Option<String>,

    /// What to log: a level, or directives like `info,jobqueue_operator=debug`
    #[arg(long, env = "JOBQUEUE_LOG", value_name = "FILTER", default_value = "info")]
    log: String,

    /// How to log, on stderr
    #[arg(long, env = "JOBQUEUE_LOG_FORMAT", value_name = "FORMAT", default_value = "json")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object per line
    Json,
    /// For people
    Text,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Run(run) = &command
        && let Err(error) = log(run)
    {
        eprintln!("error: {error:#}");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    // The process has one TLS library; a second call would fail, and there is none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match command {
        Command::Run(run) => {
            runtime.block_on(operate(run)).inspect_err(|error| tracing::error!("{error:#}")).map_err(drop)
        }
        Command::Check(check) => {
            runtime.block_on(examine(check)).inspect_err(|error| eprintln!("error: {error:#}")).map_err(drop)
        }
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn log(run: &Run) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&run.log).context("--log")?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match run.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Text => subscriber.with_ansi(false).init(),
    }
    Ok(())
}

async fn cluster() -> anyhow::Result<Config> {
    Config::infer().await.context("no cluster: neither in a pod nor with a kubeconfig")
}

/// Looks once a second until all is well or the time is over.
async fn examine(check: Check) -> anyhow::Result<()> {
    let config = cluster().await?;
    let lease_namespace = check.post.lease_namespace(&config.default_namespace).to_owned();
    let client = Client::try_from(config)?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(check.within);
    loop {
        let lease = (lease_namespace.as_str(), check.post.lease_name.as_str());
        match jobqueue_operator::check::check(client.clone(), check.post.namespace(), lease).await {
            Ok(found) => {
                println!("{found}");
                return Ok(());
            }
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn operate(run: Run) -> anyhow::Result<()> {
    let mut config = cluster().await?;
    // Retries are ours, so that each attempt asks for the lease.
    config.default_retry = false;
    let lease_namespace = run.post.lease_namespace(&config.default_namespace).to_owned();
    let (metrics, tenure) = (Metrics::new(), Tenure::default());
    let candidate = Client::try_from(config.clone())?;
    let scaling = api::client(config.clone(), tenure.clone(), metrics.clone())?;
    let client = api::client(config, tenure.clone(), metrics.clone())?;
    let stop = CancellationToken::new();
    follow_signals(stop.clone())?;
    let (ready, is_ready) = watch::channel(false);
    let serving = serve(run.listen, Health { metrics: metrics.clone(), ready: is_ready }, stop.child_token());
    let serving = tokio::spawn(serving);
    let identity = run.identity.clone().unwrap_or_else(default_identity);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        lease = run.post.lease_name,
        lease_namespace,
        "starting"
    );
    let (leading, is_leading) = watch::channel(false);
    // The lease is given back after the last write.
    let resign = CancellationToken::new();
    let candidate = Candidate::new(candidate, &lease_namespace, &run.post.lease_name, &identity);
    let election = tokio::spawn(candidate.run(tenure, leading, ready, resign.clone()));
    let office = Office { run, client, scaling, metrics, identity };
    tokio::select! {
        () = office.hold(is_leading, stop.clone()) => {}
        served = serving => served?.context("health and metrics cannot be served")?,
    }
    resign.cancel();
    election.await?;
    tracing::info!("stopped");
    Ok(())
}

/// What is done while leading.
struct Office {
    run: Run,
    client: Client,
    /// Numbers of workers have connections of their own, and wait for nothing else.
    scaling: Client,
    metrics: Arc<Metrics>,
    identity: String,
}

impl Office {
    /// Serves one term after the other, until `stop`.
    async fn hold(&self, mut leading: watch::Receiver<bool>, stop: CancellationToken) {
        loop {
            tokio::select! {
                elected = leading.wait_for(|leads| *leads) => if elected.is_err() { return },
                () = stop.cancelled() => return,
            }
            self.metrics.leading.set(1);
            let over = stop.child_token();
            let mut term = std::pin::pin!(self.term(over.clone()));
            tokio::select! {
                () = &mut term => {}
                _ = leading.wait_for(|leads| !leads) => {
                    // Writes are refused from now on; what is under way ends by itself.
                    over.cancel();
                    term.await;
                }
            }
            self.metrics.leading.set(0);
            self.metrics.forget_all();
        }
    }

    /// Begins with nothing in memory: what counts is in the cluster and in Redis.
    async fn term(&self, over: CancellationToken) {
        let Self { run, client, scaling, metrics, identity } = self;
        let (registry, woken) = Registry::new();
        let registry = Arc::new(registry);
        metrics.follow(&registry);
        let events = Events::new(client.clone(), identity);
        let sweeper = Sweeper {
            client: scaling.clone(),
            events: events.clone(),
            registry: registry.clone(),
            metrics: metrics.clone(),
            interval: Duration::from_millis(run.sweep_interval_ms),
        };
        let context = Arc::new(Context {
            client: client.clone(),
            registry: registry.clone(),
            metrics: metrics.clone(),
            events,
            default_image: run.worker_image.clone(),
            // Set by the kubelet in every container.
            in_cluster: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            scope: run.post.namespace().map(ToOwned::to_owned),
            rivals: Rivals::default(),
            turns: Turns::default(),
            secrets: RecentSecrets::default(),
        });
        let woken = futures::stream::unfold(woken, |mut woken| async { woken.recv().await.map(|key| (key, woken)) });
        let controller = controller::controller(client, run.post.namespace(), &registry);
        let visits = controller::run(controller, context, woken, over.clone());
        tokio::join!(visits, sweeper.run(over.clone()));
    }
}

fn default_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

fn follow_signals(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    Ok(())
}
