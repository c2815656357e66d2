//! `jobqueue simulate`: what a manifest's scaling would do with a load, compared with other policies.
//!
//! The crate `jobqueue-simulator` runs it; here are the flags, the way from a manifest to a [`comparison`], and the report as a
//! table, a document and a picture.

mod args;
mod comparison;
mod explained;
mod plot;
mod report;

pub(crate) use args::SimulateArgs;

use crate::common::exit::Exit;
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;

/// Runs the command.
pub(crate) fn run(global: &GlobalArgs, args: &SimulateArgs, output: Output) -> anyhow::Result<Exit> {
    let report = comparison::read(global, args)?.run();
    report::show(&report, output, args.changes)?;
    if let Some(path) = &args.plot {
        plot::write(path, &report)?;
        output.say(&format!("drawn: {}", path.display()));
    }
    Ok(Exit::Ok)
}
