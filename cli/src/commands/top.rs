//! `jobqueue top`: a page for the terminal.

use std::io::{self, IsTerminal};

use anyhow::Context;
use clap::Args;

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::{Format, Output};
use crate::common::queue_source::{ClusterArgs, source};

/// Flags of `top`.
#[derive(Debug, Args)]
#[command(
    after_help = "Queues with trouble come first. Enter opens one, Esc goes back, / filters, s sorts, ? lists all keys, q quits. \
    Nothing can be changed.\n\n\
    With -f, --queue or --redis it shows these queues, as `jobqueue local` or workers of yours serve them. Otherwise, or with \
    -n, -A or --context, it shows the JobQueues of a cluster with your own rights. --redis is then the Redis of all of them. \
    Where your rights do not suffice, the page says which one is missing.\n\n\
    It needs a terminal: in scripts and pipes use `jobqueue status`. NO_COLOR=1 in the environment does without colours."
)]
pub(crate) struct TopArgs {
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Shows the page until the person quits.
pub(crate) async fn run(global: &GlobalArgs, args: &TopArgs, output: Output) -> anyhow::Result<Exit> {
    let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() || is_dumb {
        let message = "jobqueue top draws a page, and this is no terminal that can show one";
        let hint = "jobqueue status prints the queues, with --watch each change; -o json is for programs";
        return Err(Failure::new(Exit::Usage, message).hint(hint).into());
    }
    if output.format != Format::Text {
        let hint = "leave -o out, or use jobqueue status";
        return Err(Failure::new(Exit::Usage, "jobqueue top has no output format").hint(hint).into());
    }
    let source = source(global, &args.cluster).await?;
    jobqueue_top::run(source, !Output::refuses_colour()).await.context("the page cannot go on")?;
    Ok(Exit::Ok)
}
