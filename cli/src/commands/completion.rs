//! `jobqueue completion`: a completion script for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::common::exit::Exit;
use crate::common::output::Output;
use crate::root_args::Cli;

/// Flags of `completion`.
#[derive(Debug, Args)]
#[command(after_help = "Example: jobqueue completion bash > /etc/bash_completion.d/jobqueue")]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(args: &CompletionArgs, output: Output) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "jobqueue", &mut script);
    output.data(&String::from_utf8(script)?)?;
    Ok(Exit::Ok)
}
