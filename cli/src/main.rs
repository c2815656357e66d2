//! The `jobqueue` command (also `kubectl jobqueue`): the person's side of a queue and its recipe.
//!
//! Data goes to stdout and messages to stderr; the exit code is one of [`Exit`], which `--help` lists.

mod commands;
mod common;
mod root_args;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::commands::{
    acl, completion, dashboard, enqueue, explain, failed, local, schema, simulate, status, stop, top, try_recipe,
};
use crate::common::exit::{self, Exit};
use crate::common::output::Output;
use crate::root_args::{Cli, Command};

fn main() -> ExitCode {
    let cli = parse();
    let output = Output::for_process(cli.global.output);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::report(output, &anyhow::Error::new(error).context("cannot start")).into(),
    };
    let ended = runtime.block_on(run(&cli, output));
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(output, &error).into(),
    }
}

/// Reads the command line; help speaks of `kubectl jobqueue` where that is how it was called.
fn parse() -> Cli {
    let called = std::env::args_os().next().map(PathBuf::from);
    let as_plugin = called.and_then(|path| path.file_stem().map(|name| name == "kubectl-jobqueue")).unwrap_or(false);
    let command = if as_plugin { Cli::command().bin_name("kubectl jobqueue") } else { Cli::command() };
    Cli::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

async fn run(cli: &Cli, output: Output) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Local(args) => local::run(&cli.global, args, output).await,
        Command::Enqueue(args) => enqueue::run(&cli.global, args, output).await,
        Command::Status(args) => status::run(&cli.global, args, output).await,
        Command::Explain(args) => explain::run(&cli.global, args, output).await,
        Command::Dashboard(args) => dashboard::run(&cli.global, args, output).await,
        Command::Top(args) => top::run(&cli.global, args, output).await,
        Command::Failed(args) => failed::run(&cli.global, args, output).await,
        Command::Stop(args) => stop::run(&cli.global, args, output).await,
        Command::Try(args) => try_recipe::run(&cli.global, args, output).await,
        Command::Simulate(args) => simulate::run(&cli.global, args, output),
        Command::Schema(args) => schema::run(&cli.global, args, output),
        Command::Acl(args) => acl::run(&cli.global, args, output),
        Command::Completion(args) => completion::run(args, output),
    }
}
