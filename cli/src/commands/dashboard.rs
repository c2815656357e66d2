//! `jobqueue dashboard`: a page for the browser, served on this machine's loopback.

use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context;
use clap::Args;
use jobqueue_dashboard::{Dashboard, Prometheus, Settings};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::interruption::interruption;
use crate::common::output::Output;
use crate::common::queue_source::{ClusterArgs, source};

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
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Prometheus that scrapes the operator: charts show six hours instead of what was watched
    #[arg(long, value_name = "URL")]
    prometheus: Option<String>,
}

/// Serves until it is interrupted.
pub(crate) async fn run(global: &GlobalArgs, args: &DashboardArgs, output: Output) -> anyhow::Result<Exit> {
    let prometheus = args.prometheus.as_deref().map(Prometheus::new).transpose();
    let prometheus = prometheus.map_err(|problem| Failure::new(Exit::Usage, problem))?;
    let source = source(global, &args.cluster).await?;
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
