//! The input, line by line: numbers from 1, empty lines skipped, what is not UTF-8 dealt with as told.

use std::io::{self, BufRead, Read};
use std::path::Path;

use clap::ValueEnum;
use flate2::Crc;
use jobqueue_queue::producer::Progress;

/// What happens to a line that is not UTF-8.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum InvalidUtf8 {
    /// Stop there; what came before is enqueued.
    #[default]
    Fail,
    /// Leave it out, and say so.
    Skip,
    /// Put U+FFFD where the bytes make no sense.
    Replace,
}

/// One record, and how far the input is dealt with once it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// Without its line break.
    pub(crate) text: String,
    /// Bytes of the input up to and including this line.
    pub(crate) bytes: u64,
    /// CRC-32 of those bytes.
    pub(crate) crc32: u32,
}

/// Why the input ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LineError {
    /// Not UTF-8, and told to stop.
    #[error("line {number} is not UTF-8: byte {column} is 0x{byte:02x}")]
    Invalid {
        /// From 1.
        number: u64,
        /// From 1.
        column: usize,
        /// The first byte that makes no sense.
        byte: u8,
    },
    /// Longer than any payload may be.
    #[error("line {number} is longer than {limit} bytes, more than a worker would accept")]
    TooLong {
        /// From 1.
        number: u64,
        /// The bound.
        limit: u64,
    },
    /// Reading failed.
    #[error("line {number} cannot be read: {cause}")]
    Read {
        /// From 1.
        number: u64,
        /// What the system said.
        cause: io::Error,
    },
}

/// Why a resumption is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    /// Shorter than what was enqueued of it.
    #[error("it has {found} bytes, and {bytes} were enqueued already")]
    Shorter {
        /// What was enqueued.
        bytes: u64,
        /// What is there.
        found: u64,
    },
    /// Other bytes where the enqueued ones were.
    #[error("its first {bytes} bytes are not those that were enqueued")]
    Changed {
        /// What was enqueued.
        bytes: u64,
    },
    /// Reading failed.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// The longest line: what a worker accepts by default, inflated.
const MAX_LINE: u64 = 64 << 20;

/// Reads records from an input.
pub(crate) struct Lines<R> {
    input: R,
    policy: InvalidUtf8,
    number: u64,
    crc: Crc,
    bytes: u64,
    skipped: u64,
    limit: u64,
}

impl Lines<Box<dyn BufRead + Send>> {
    /// A file, or standard input for `-`.
    pub(crate) fn open(path: &Path, policy: InvalidUtf8) -> io::Result<Self> {
        let input: Box<dyn BufRead + Send> = if path == Path::new("-") {
            Box::new(io::BufReader::new(io::stdin()))
        } else {
            Box::new(io::BufReader::with_capacity(1 << 20, std::fs::File::open(path)?))
        };
        Ok(Self::new(input, policy))
    }
}

impl<R: BufRead> Lines<R> {
    /// The records of `input`.
    pub(crate) fn new(input: R, policy: InvalidUtf8) -> Self {
        Self { input, policy, number: 0, crc: Crc::new(), bytes: 0, skipped: 0, limit: MAX_LINE }
    }

    /// Lines left out because they are not UTF-8.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Passes over what an earlier run dealt with, and checks that it is still the same.
    pub(crate) fn resume(&mut self, progress: &Progress) -> Result<(), ResumeError> {
        let mut chunk = vec![0; 1 << 20];
        let mut done = (&mut self.input).take(progress.bytes);
        loop {
            let count = done.read(&mut chunk)?;
            if count == 0 {
                break;
            }
            self.crc.update(&chunk[..count]);
            self.bytes += count as u64;
        }
        if self.bytes < progress.bytes {
            return Err(ResumeError::Shorter { bytes: progress.bytes, found: self.bytes });
        }
        if self.crc.sum() != progress.crc32 {
            return Err(ResumeError::Changed { bytes: progress.bytes });
        }
        self.number = progress.lines;
        Ok(())
    }

    fn read_line(&mut self) -> Result<Option<Vec<u8>>, LineError> {
        let number = self.number + 1;
        let mut raw = Vec::new();
        let count = (&mut self.input)
            .take(self.limit + 2)
            .read_until(b'\n', &mut raw)
            .map_err(|cause| LineError::Read { number, cause })?;
        if count == 0 {
            return Ok(None);
        }
        self.number = number;
        self.crc.update(&raw);
        self.bytes += count as u64;
        for end in [b'\n', b'\r'] {
            if raw.last() == Some(&end) {
                raw.pop();
            }
        }
        if raw.len() as u64 > self.limit {
            return Err(LineError::TooLong { number, limit: self.limit });
        }
        if number == 1 && raw.starts_with(b"\xef\xbb\xbf") {
            raw.drain(..3);
        }
        Ok(Some(raw))
    }

    fn decode(&mut self, raw: Vec<u8>) -> Result<Option<String>, LineError> {
        let error = match String::from_utf8(raw) {
            Ok(text) => return Ok(Some(text)),
            Err(error) => error,
        };
        match self.policy {
            InvalidUtf8::Replace => Ok(Some(String::from_utf8_lossy(error.as_bytes()).into_owned())),
            InvalidUtf8::Skip => {
                self.skipped += 1;
                Ok(None)
            }
            InvalidUtf8::Fail => {
                let at = error.utf8_error().valid_up_to();
                Err(LineError::Invalid { number: self.number, column: at + 1, byte: error.as_bytes()[at] })
            }
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = Result<Line, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.read_line() {
                Ok(raw) => raw?,
                Err(error) => return Some(Err(error)),
            };
            if raw.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match self.decode(raw) {
                Ok(Some(text)) => {
                    return Some(Ok(Line { number: self.number, text, bytes: self.bytes, crc32: self.crc.sum() }));
                }
                Ok(None) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], policy: InvalidUtf8) -> Vec<Result<(u64, String), String>> {
        let short = |line: Result<Line, LineError>| {
            line.map(|line| (line.number, line.text)).map_err(|error| error.to_string())
        };
        Lines::new(input, policy).map(short).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "one element of an expected list of results")]
    fn ok(number: u64, text: &str) -> Result<(u64, String), String> {
        Ok((number, text.to_owned()))
    }

    #[test]
    fn empty_lines_are_passed_over_and_still_counted() {
        let input = b"\xef\xbb\xbfa\r\n\n  \nb\n\nc";
        assert_eq!(lines(input, InvalidUtf8::Fail), [ok(1, "a"), ok(4, "b"), ok(6, "c")]);
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        let input = b"a\nb\xffc\nd\n";
        let error = Err("line 2 is not UTF-8: byte 2 is 0xff".to_owned());
        assert_eq!(lines(input, InvalidUtf8::Fail)[..2], [ok(1, "a"), error]);
        assert_eq!(lines(input, InvalidUtf8::Skip), [ok(1, "a"), ok(3, "d")]);
        assert_eq!(lines(input, InvalidUtf8::Replace), [ok(1, "a"), ok(2, "b\u{fffd}c"), ok(3, "d")]);
    }

    #[test]
    fn a_line_without_an_end_is_bounded() {
        let mut lines = Lines::new(&b"1234567890"[..], InvalidUtf8::Fail);
        lines.limit = 4;
        assert!(matches!(lines.next(), Some(Err(LineError::TooLong { number: 1, limit: 4 }))));
    }

    #[test]
    fn a_resumption_goes_on_after_the_last_line_that_is_in() {
        let input = &b"a\nbb\n\nccc\n"[..];
        let second = Lines::new(input, InvalidUtf8::Fail).nth(1).unwrap().unwrap();
        let progress =
            Progress { bytes: second.bytes, lines: second.number, jobs: 2, crc32: second.crc32, done: false };
        let mut rest = Lines::new(input, InvalidUtf8::Fail);
        rest.resume(&progress).unwrap();
        assert_eq!(rest.next().unwrap().unwrap().text, "ccc");
        let whole = Lines::new(input, InvalidUtf8::Fail).last().unwrap().unwrap();
        let mut again = Lines::new(input, InvalidUtf8::Fail);
        again.resume(&progress).unwrap();
        assert_eq!(again.last().unwrap().unwrap(), whole);
    }

    #[test]
    fn a_resumption_refuses_another_input() {
        let progress = Progress { bytes: 4, lines: 2, jobs: 2, crc32: 1, done: false };
        let refused = Lines::new(&b"x\ny\nz\n"[..], InvalidUtf8::Fail).resume(&progress);
        assert!(matches!(refused, Err(ResumeError::Changed { bytes: 4 })));
        let refused = Lines::new(&b"x"[..], InvalidUtf8::Fail).resume(&progress);
        assert!(matches!(refused, Err(ResumeError::Shorter { bytes: 4, found: 1 })));
    }
}
