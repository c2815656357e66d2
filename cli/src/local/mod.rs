//! `jobqueue local`: the manifest without a cluster.

use clap::Args;

use crate::args::GlobalArgs;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Flags of `local`.
#[derive(Debug, Args)]
pub(crate) struct LocalArgs {}

/// Runs the manifest until interrupted.
#[expect(clippy::unused_async, reason = "supervision is asynchronous")]
pub(crate) async fn run(_global: &GlobalArgs, _args: &LocalArgs, _output: Output) -> anyhow::Result<Exit> {
    Err(Failure::new(Exit::Failure, "local mode is not part of this build").into())
}
