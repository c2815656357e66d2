//! What the person sees while jobs go in: `line : job id` on stdout, or a progress bar on stderr.

use std::fmt::Write;
use std::io;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::EnqueueArgs;
use crate::common::lines::Line;
use crate::common::output::Output;

/// Shows progress in one of its ways.
pub(super) struct Meter {
    output: Output,
    ids: bool,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// Ids unless `--quiet`; a bar with `--quiet` on a terminal.
    pub(super) fn new(args: &EnqueueArgs, output: Output) -> Self {
        let bar = (args.quiet && output.is_interactive()).then(|| bar(args.length()));
        Self { output, ids: !args.quiet && !output.is_machine(), bar }
    }

    /// These lines are in. A closed stdout stops the printing and not the enqueueing: half of a file is worse than
    /// an unread list of ids.
    pub(super) fn advance(&mut self, lines: &[Line], ids: &[String], jobs: u64) -> io::Result<()> {
        if let (Some(bar), Some(last)) = (&self.bar, lines.last()) {
            bar.set_position(last.bytes);
            let seconds = bar.elapsed().as_secs_f64().max(0.001);
            bar.set_message(format!("{jobs} jobs, {:.0}/s", jobs as f64 / seconds));
        }
        if self.ids {
            let mut text = String::new();
            for (index, line) in lines.iter().enumerate() {
                let id = ids.get(index).map_or("-", String::as_str);
                writeln!(text, "{} : {id}", line.number).expect("a String takes any text");
            }
            match self.output.data(&text) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.ids = false,
                written => written?,
            }
        }
        Ok(())
    }

    /// A message that does not tear the bar.
    pub(super) fn say(&self, message: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.warn(message)),
            None => self.output.warn(message),
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{percent:>3}% [{bar:30}] {msg}, {bytes}/{total_bytes}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {msg}, {bytes}, {elapsed}"),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    bar.with_style(ProgressStyle::with_template(template).expect("a template of this file").progress_chars("=> "))
}
