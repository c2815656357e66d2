//! `jobqueue status --watch`: the tables in place on a terminal; elsewhere again whenever something changed.

use std::io::{self, IsTerminal};
use std::time::Duration;

use chrono::SecondsFormat;
use console::{Term, truncate_str};
use jobqueue_queue::Connection;
use tokio::time::Instant;

use super::{Report, read, tables, unread};
use crate::common::exit::Exit;
use crate::common::interruption::interruption;
use crate::common::output::{Output, printable};
use crate::common::target::Target;

/// Between two looks; longer where one takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// A look may take this part of the time.
const SHARE: u32 = 5;

/// Shows what changes until it is interrupted, or nobody reads it any more.
pub(super) async fn watch(target: &Target, connection: &Connection, output: Output) -> anyhow::Result<Exit> {
    let mut watched = Watched::new(output);
    // Of a Redis that was never reached, the error is the answer.
    watched.show(read(target, connection).await?)?;
    let follow = async {
        while !nobody_reads() {
            let began = Instant::now();
            match read(target, connection).await {
                Ok(answer) => watched.show(answer)?,
                Err(error) => watched.warn(format!("{error:#}")),
            }
            tokio::time::sleep(INTERVAL.max(began.elapsed() * SHARE)).await;
        }
        Ok::<_, anyhow::Error>(Exit::Ok)
    };
    tokio::select! {
        followed = follow => followed,
        () = interruption() => Ok(Exit::Ok),
    }
}

/// Whether the other end of a pipe is closed: otherwise that would be noticed at the next change only.
#[cfg(unix)]
fn nobody_reads() -> bool {
    use std::os::fd::AsFd;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    let out = io::stdout();
    let mut asked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    poll(&mut asked, PollTimeout::ZERO).is_ok_and(|count| count > 0)
        && asked[0].revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

/// Elsewhere it is noticed at the next change.
#[cfg(not(unix))]
fn nobody_reads() -> bool {
    false
}

/// What was shown.
struct Watched {
    output: Output,
    last: Option<Report>,
    /// The last warning: it is not repeated while it holds.
    warned: Option<String>,
    /// Where the tables are drawn in place, and how many lines they took.
    screen: Option<(Term, usize)>,
}

impl Watched {
    fn new(output: Output) -> Self {
        let in_place = !output.is_machine() && io::stdout().is_terminal();
        Self { output, last: None, warned: None, screen: in_place.then(|| (Term::stdout(), 0)) }
    }

    fn show(
        &mut self,
        (report, unreadable): (Report, Vec<(String, jobqueue_queue::QueueError)>),
    ) -> anyhow::Result<()> {
        match unreadable.first() {
            Some((name, error)) => self.warn(unread(name, error)),
            None => self.warned = None,
        }
        let lasting = report.without_ages();
        let is_new = self.last.as_ref() != Some(&lasting);
        self.last = Some(lasting);
        if self.screen.is_some() {
            return Ok(self.redraw(&report)?);
        }
        if !is_new {
            return Ok(());
        }
        if self.output.is_machine() {
            return self.output.document_of_several(&report);
        }
        let at = report.observed_at.map(|at| at.to_rfc3339_opts(SecondsFormat::Secs, true)).unwrap_or_default();
        Ok(self.output.data(&format!("{at}\n{}\n", self.text(&report)))?)
    }

    fn text(&self, report: &Report) -> String {
        match (report.queues.is_empty(), report.workers.is_empty()) {
            (true, _) => "no queues\n".to_owned(),
            (false, true) => tables(report, self.output) + "\nno workers\n",
            (false, false) => tables(report, self.output),
        }
    }

    /// The tables in the place of the last ones, as far as the terminal has room.
    fn redraw(&mut self, report: &Report) -> io::Result<()> {
        let text = self.text(report);
        let Some((screen, drawn)) = &mut self.screen else { return Ok(()) };
        let (height, width) = screen.size();
        let lines = fitted(&printable(&text), usize::from(height), usize::from(width));
        screen.clear_last_lines(*drawn)?;
        *drawn = lines.len();
        screen.write_line(&lines.join("\n"))
    }

    /// Once, while the same is wrong. The lines below which the tables are drawn stay where they are.
    fn warn(&mut self, message: String) {
        if self.warned.as_ref() == Some(&message) {
            return;
        }
        self.output.warn(&message);
        if let Some((_, drawn)) = &mut self.screen {
            *drawn = 0;
        }
        self.warned = Some(message);
    }
}

/// The lines that fit, each cut where the terminal ends; the last one says how many are missing.
fn fitted(text: &str, height: usize, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| truncate_str(line, width, "…").into_owned()).collect();
    let room = height.saturating_sub(1).max(1);
    if lines.len() > room {
        let missing = lines.len() - room + 1;
        lines.truncate(room - 1);
        lines.push(truncate_str(&format!("… {missing} more lines: see jobqueue top"), width, "…").into_owned());
    }
    lines
}

impl Report {
    /// Without what changes by itself as time goes on.
    fn without_ages(&self) -> Self {
        let mut report = Self { observed_at: None, ..self.clone() };
        for queue in &mut report.queues {
            queue.oldest_wait_seconds = None;
        }
        for worker in &mut report.workers {
            (worker.heartbeat_age_seconds, worker.job_age_seconds, worker.busy_seconds) = (None, None, 0.0);
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_what_it_has_room_for() {
        assert_eq!(fitted("one\ntwo\n", 24, 80), ["one", "two"]);
        assert_eq!(fitted("one\ntwo\nthree\nfour\n", 4, 80), ["one", "two", "… 2 more lines: see jobqueue top"]);
        assert_eq!(fitted("seven letters\n", 24, 6), ["seven…"]);
        assert_eq!(fitted("one\ntwo\n", 0, 0).len(), 1);
    }
}
