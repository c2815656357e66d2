//! `jobqueue dashboard`: a page for the browser, served on this machine's loopback.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use jobqueue_dashboard::{
    Backlog, ClusterSettings, ClusterSource, Dashboard, LocalQueue, LocalSource, Problem, Prometheus, Settings, Source,
};
use jobqueue_queue::Protocol;
use serde_json::json;
use tempfile::NamedTempFile;

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::interruption::interruption;
use crate::common::output::Output;
use crate::common::target::Target;

/// Flags of `dashboard`.
#[derive(Debug, Args)]
#[command(
    after_help = "With -f, --queue or --redis it shows these queues, as `jobqueue local` or workers of yours serve them. \
    Otherwise, or with -n, -A or --context, it shows the JobQueues of a cluster with your own rights; --redis is then the Redis \
    of all of them. Where your rights do not suffice, the page says which one is missing.\n\n\
    The printed address has a token that lets in, and changes with each start: do not pass it on. Nothing is installed."
)]
pub(crate) struct DashboardArgs {
    /// Port on the loopback [default: a free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Refuse every change: nothing can be requeued or purged
    #[arg(long)]
    read_only: bool,
    /// Open the page in the browser
    #[arg(long)]
    open: bool,
    /// Namespace of a cluster [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// All namespaces of a cluster
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The kubeconfig's context to use
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// Prometheus that scrapes the operator: charts show six hours instead of what was watched
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
}

/// Serves until it is interrupted.
pub(crate) async fn run(global: &GlobalArgs, args: &DashboardArgs, output: Output) -> anyhow::Result<Exit> {
    let prometheus = args.prometheus.as_deref().map(Prometheus::new).transpose();
    let prometheus = prometheus.map_err(|problem| Failure::new(Exit::Usage, problem))?;
    let source = source(global, args).await?;
    let settings = Settings { port: args.port, read_only: args.read_only, prometheus };
    let dashboard = Dashboard::bind(settings, source).await.map_err(|error| {
        let failure =
            Failure::new(Exit::Failure, format!("cannot listen on port {} of the loopback: {error}", args.port));
        failure.hint("choose another with --port, or leave it out for a free one")
    })?;
    let url = dashboard.url();
    if output.is_machine() {
        output.document(&json!({ "url": url }))?;
    } else {
        output.data(&format!("{url}\n"))?;
    }
    output.say("Open this address in a browser on this machine. Ctrl-C ends the dashboard.");
    // The file lives as long as the dashboard.
    let _page = if args.open { Some(open(&url).await?) } else { None };
    tokio::select! {
        served = dashboard.serve() => served.context("the dashboard cannot go on")?,
        () = interruption() => {}
    }
    Ok(Exit::Ok)
}

async fn source(global: &GlobalArgs, args: &DashboardArgs) -> anyhow::Result<Arc<dyn Source>> {
    let in_cluster = args.namespace.is_some() || args.all_namespaces || args.context.is_some();
    let redis = global.redis.clone().filter(|url| !url.is_empty());
    let named = !global.filename.is_empty() || !global.queue.is_empty() || redis.is_some();
    if named && !in_cluster {
        return local(global);
    }
    if !global.filename.is_empty() {
        let hint = "leave -f out for the queues of a cluster, or -n, -A and --context for those of the manifest";
        return Err(Failure::new(Exit::Usage, "both a manifest and a cluster are named").hint(hint).into());
    }
    let settings = ClusterSettings {
        context: args.context.clone(),
        namespace: args.namespace.clone(),
        all_namespaces: args.all_namespaces,
        redis,
        tls: global.tls.read()?,
    };
    let source = ClusterSource::start(settings).await.map_err(|problem| {
        let exit = if matches!(problem, Problem::NotFound(_)) { Exit::NotFound } else { Exit::Usage };
        let hint =
            "set KUBECONFIG, or name one of its contexts with --context; -f MANIFEST shows a queue without a cluster";
        Failure::new(exit, problem.to_string()).hint(hint)
    })?;
    Ok(source)
}

/// The queues of the manifests, or those that flags name; all RQ queues where none is named.
fn local(global: &GlobalArgs) -> anyhow::Result<Arc<dyn Source>> {
    let mut queues = Vec::new();
    let mut servers: Vec<String> = Vec::new();
    let targets = if global.filename.is_empty() {
        vec![Target::from_args(global)?]
    } else {
        let one = |path: &std::path::PathBuf| {
            Target::from_args(&GlobalArgs { filename: vec![path.clone()], ..global.clone() })
        };
        global.filename.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?
    };
    for target in targets {
        let connection = target.redis()?;
        if !servers.iter().any(|server| server == connection.endpoint()) {
            servers.push(connection.endpoint().to_owned());
        }
        if target.queues.is_empty() && target.protocol == Protocol::Rq {
            return Ok(LocalSource::all_rq_queues(servers.join(", "), connection, target.key_prefix));
        }
        let queue = |name: String, names: Vec<String>| LocalQueue {
            name,
            backlog: Backlog { connection: connection.clone(), query: target.stats_query(names) },
            spec: target.manifest.as_ref().map(|manifest| manifest.spec.clone()),
        };
        let names = target.some_queues()?;
        match target.manifest.as_ref().and_then(|manifest| manifest.metadata.name.clone()) {
            Some(name) => queues.push(queue(name, names.to_vec())),
            None => queues.extend(names.iter().map(|name| queue(name.clone(), vec![name.clone()]))),
        }
    }
    Ok(LocalSource::new(servers.join(", "), queues))
}

/// What opens a file in its own program, and its arguments before the file.
fn opener() -> (&'static str, &'static [&'static str]) {
    if cfg!(target_os = "macos") {
        ("open", &[])
    } else if cfg!(windows) {
        ("rundll32", &["url.dll,FileProtocolHandler"])
    } else {
        ("xdg-open", &[])
    }
}

/// Opens a file that leads to the address: as an argument of a program, the token would be seen by all users.
async fn open(url: &str) -> anyhow::Result<NamedTempFile> {
    let mut page = tempfile::Builder::new().prefix("jobqueue-dashboard-").suffix(".html").tempfile()?;
    write!(
        page,
        "<!DOCTYPE html><meta http-equiv=\"refresh\" content=\"0; url={url}\"><a href=\"{url}\">JobQueue</a>"
    )?;
    let (program, arguments) = opener();
    let mut command = tokio::process::Command::new(program);
    command.args(arguments);
    command.arg(page.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = command.status().await;
    if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
        let why = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        return Err(Failure::new(Exit::Failure, format!("{program} cannot open the page: {why}"))
            .hint("leave --open out, and open the printed address")
            .into());
    }
    Ok(page)
}
