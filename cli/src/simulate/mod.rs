//! `jobqueue simulate`: what a manifest's scaling would do with a load, beside what others would do with it.
//!
//! [`world`] is the model, without clock, chance or I/O of its own: a [`load`] fills a [`fifo`], a [`fleet`] of pods
//! empties it, and a [`foreman`] says how many pods there are. [`bound`] is the least that any foreman could have spent. The
//! rest reads what to run and shows what came of it.

mod args;
mod bound;
mod explained;
mod fifo;
mod fleet;
mod foreman;
mod incoming;
mod load;
mod plot;
mod report;
mod series;
mod setting;
mod shape;
mod trace;
mod waits;
mod work;
mod world;

pub(crate) use args::SimulateArgs;

use crate::args::GlobalArgs;
use crate::exit::Exit;
use crate::output::Output;

/// Runs the command.
pub(crate) fn run(global: &GlobalArgs, args: &SimulateArgs, output: Output) -> anyhow::Result<Exit> {
    let setting = setting::Setting::read(global, args)?;
    let report = setting.run();
    report.show(output, args.changes)?;
    if let Some(path) = &args.plot {
        plot::write(path, &report)?;
        output.say(&format!("drawn: {}", path.display()));
    }
    Ok(Exit::Ok)
}
