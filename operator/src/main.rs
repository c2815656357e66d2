//! `jobqueue-operator`: reads its flags, takes part in the election, and while it leads runs the reconciler and the
//! autoscaler.

mod args;
mod descriptors;

use std::{process::ExitCode, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use jobqueue_operator::{
    Elector, Health, LeaseGuard, Liveness, Metrics, MetricsAccess, Settings, Traces, check, client, serve,
};
use kube::{Client, Config};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

use crate::args::{CheckArgs, Cli, Command, LogFormat, RunArgs};

/// What is kept of thousands of queues lies between what their reconciles need for a moment: with the C library's allocator,
/// twice as much stays resident as is in use. How it gives back what is free is set in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Command::Run(args) = &command
        && let Err(error) = log(args)
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
        Command::Run(args) => {
            runtime.block_on(operate(*args)).inspect_err(|error| tracing::error!("{error:#}")).map_err(drop)
        }
        Command::Check(args) => {
            runtime.block_on(examine(args)).inspect_err(|error| eprintln!("error: {error:#}")).map_err(drop)
        }
    };
    runtime.shutdown_timeout(Duration::from_secs(1));
    if outcome.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn log(args: &RunArgs) -> anyhow::Result<()> {
    // The resolver warns of each answer that it does not take: whoever sends those would fill the log.
    let filter = format!("hickory_net=error,hickory_resolver=error,{}", args.log);
    let filter = tracing_subscriber::EnvFilter::try_new(filter).context("--log")?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
        LogFormat::Text => subscriber.with_ansi(false).init(),
    }
    Ok(())
}

async fn cluster() -> anyhow::Result<Config> {
    Config::infer().await.context("no cluster: neither in a pod nor with a kubeconfig")
}

/// Checks once a second until all is well or the time is over.
async fn examine(args: CheckArgs) -> anyhow::Result<()> {
    let config = cluster().await?;
    let lease_namespace = args.scope.lease_namespace(&config.default_namespace).to_owned();
    let client = Client::try_from(config)?;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(args.within);
    loop {
        let lease = (lease_namespace.as_str(), args.scope.lease_name.as_str());
        match check(client.clone(), &args.scope.scope(), lease).await {
            Ok(found) => {
                println!("{found}");
                return Ok(());
            }
            Err(error) if tokio::time::Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

async fn operate(args: RunArgs) -> anyhow::Result<()> {
    match descriptors::raise() {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "the limit on open files stays as it is"),
    }
    // Set by the kubelet in every container.
    let api_server = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let guard = args.guard(api_server.as_deref());
    let workers = args.workers.defaults()?;
    let mut config = cluster().await?;
    // Retries are the operator's, so that each attempt asks for the lease.
    config.default_retry = false;
    let lease_namespace = args.scope.lease_namespace(&config.default_namespace).to_owned();
    let identity = args.identity.clone().unwrap_or_else(default_identity);
    let (metrics, lease) = (Metrics::new(), LeaseGuard::default());
    let elector = Elector::new(Client::try_from(config.clone())?, &lease_namespace, &args.scope.lease_name, &identity);
    let liveness = Liveness::default();
    let access = args.metrics_authentication.then(|| Client::try_from(config.clone()).map(MetricsAccess::new));
    let access = access.transpose()?;
    let traces = Traces::from_environment(&identity, &metrics);
    let settings = Settings {
        traces: traces.clone(),
        liveness: liveness.clone(),
        guard,
        scaling_client: client(config.clone(), lease.clone(), metrics.clone(), liveness.clone())?,
        client: client(config, lease.clone(), metrics.clone(), liveness.clone())?,
        metrics: metrics.clone(),
        identity: identity.clone(),
        scope: args.scope.scope(),
        workers,
        password_directory: args.password_directory,
        max_rollouts: args.max_rollouts.into(),
        poll_interval: Duration::from_millis(args.poll_interval_ms),
        in_cluster: api_server.is_some(),
    };
    let stop = CancellationToken::new();
    follow_signals(stop.clone())?;
    let (ready, is_ready) = watch::channel(false);
    let health = Health { metrics, ready: is_ready, liveness, access };
    let serving = tokio::spawn(serve(args.listen, health, stop.child_token()));
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        identity,
        lease = args.scope.lease_name,
        lease_namespace,
        "starting"
    );
    let (leading, is_leading) = watch::channel(false);
    // The lease is given back after the last write.
    let resign = CancellationToken::new();
    let election = tokio::spawn(elector.run(lease, leading, ready, resign.clone()));
    tokio::select! {
        () = settings.serve_terms(is_leading, stop.clone()) => {}
        served = serving => served?.context("health and metrics cannot be served")?,
    }
    resign.cancel();
    election.await?;
    traces.finish().await;
    tracing::info!("stopped");
    Ok(())
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
