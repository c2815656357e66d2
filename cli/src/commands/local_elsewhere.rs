//! `jobqueue local` where it cannot run: it starts and ends workers by signals of Unix.

use std::ffi::OsString;

use clap::Args;

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;

/// Flags of `local`: accepted whatever they are, so that the answer says what is wrong.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct LocalArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _arguments: Vec<OsString>,
}

/// Says where it runs.
#[expect(clippy::unused_async, reason = "as where it runs")]
pub(crate) async fn run(_: &GlobalArgs, _: &LocalArgs, _: Output) -> anyhow::Result<Exit> {
    Err(Failure::new(Exit::Usage, "jobqueue local runs on Linux and macOS only")
        .hint("run it in the Windows Subsystem for Linux; the other commands work here")
        .into())
}
