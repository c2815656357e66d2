//! Carries lines from the thread that reads them to the task that sends them, in batches: full ones when there is
//! plenty, at once when there is little (a line typed or piped in slowly does not wait for others).

use std::io::BufRead;

use tokio::sync::mpsc::{self, Receiver};

use crate::common::lines::{Line, LineError, Lines};

/// Lines of one batch, and whether the input goes on behind them.
pub(super) struct Gathered {
    /// In order; empty only at the end.
    pub(super) lines: Vec<Line>,
    /// What comes after them.
    pub(super) then: Then,
}

/// What comes after a batch.
pub(super) enum Then {
    /// More.
    More,
    /// Nothing.
    End(End),
}

/// How the input ended.
pub(super) struct End {
    /// Lines left out because they are not UTF-8.
    pub(super) skipped: u64,
    /// Why it ended early, if it did.
    pub(super) error: Option<LineError>,
}

/// Bounds on a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSize {
    /// Records.
    pub(super) lines: usize,
    /// Bytes of text, except that one line may be longer.
    pub(super) bytes: usize,
}

/// The receiving end.
pub(super) struct Feed {
    receiver: Receiver<Item>,
    size: BatchSize,
}

enum Item {
    Line(Line),
    End(End),
}

impl Feed {
    /// Starts reading on a thread of its own, since reading from a file or a terminal blocks.
    pub(super) fn start<R: BufRead + Send + 'static>(mut lines: Lines<R>, size: BatchSize) -> Self {
        let (sender, receiver) = mpsc::channel(size.lines * 2);
        std::thread::spawn(move || {
            let mut error = None;
            for next in lines.by_ref() {
                match next {
                    Ok(line) => {
                        if sender.blocking_send(Item::Line(line)).is_err() {
                            return;
                        }
                    }
                    Err(cause) => {
                        error = Some(cause);
                        break;
                    }
                }
            }
            // Nobody listens any more if the command is over already.
            let _ = sender.blocking_send(Item::End(End { skipped: lines.skipped(), error }));
        });
        Self { receiver, size }
    }

    /// The next batch. Waits for one line, and takes what else is there. Safe to abandon while it waits.
    pub(super) async fn next(&mut self) -> Gathered {
        let mut lines = Vec::new();
        let mut bytes = 0;
        let mut item = self.receiver.recv().await;
        loop {
            match item {
                Some(Item::Line(line)) => {
                    bytes += line.text.len();
                    lines.push(line);
                }
                Some(Item::End(end)) => return Gathered { lines, then: Then::End(end) },
                None => return Gathered { lines, then: Then::End(End { skipped: 0, error: None }) },
            }
            if lines.len() >= self.size.lines || bytes >= self.size.bytes {
                return Gathered { lines, then: Then::More };
            }
            match self.receiver.try_recv() {
                Ok(next) => item = Some(next),
                Err(_) => return Gathered { lines, then: Then::More },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::lines::InvalidUtf8;

    #[tokio::test]
    async fn everything_arrives_in_order_and_within_the_bounds() {
        let wanted: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        let lines = Lines::new(std::io::Cursor::new(wanted.join("\n").into_bytes()), InvalidUtf8::Fail);
        let mut feed = Feed::start(lines, BatchSize { lines: 64, bytes: 100 });
        let mut seen = Vec::new();
        loop {
            let gathered = feed.next().await;
            let bytes: usize = gathered.lines.iter().map(|line| line.text.len()).sum();
            assert!(gathered.lines.len() <= 64 && bytes < 103);
            seen.extend(gathered.lines.into_iter().map(|line| line.text));
            if let Then::End(end) = gathered.then {
                assert!(end.error.is_none());
                break;
            }
        }
        assert_eq!(seen, wanted);
    }
}
