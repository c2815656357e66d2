//! Why jobs are tried again: only the workers know, and they say it in their log.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// How much of the log one poll reads, in bytes.
const MOST_BYTES: u64 = 1 << 20;
/// So many different reasons are told; more are for the log.
const MOST_REASONS: usize = 20;

/// What of the workers' log was read, and which reasons were found there.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    log: Option<PathBuf>,
    read: u64,
    told: BTreeSet<String>,
}

impl Reasons {
    /// What is written to `log` from now on; none: it goes to the person anyway.
    pub(crate) fn new(log: Option<PathBuf>) -> Self {
        let read = log.as_ref().and_then(|log| log.metadata().ok()).map_or(0, |file| file.len());
        Self { log, read, told: BTreeSet::new() }
    }

    /// The reasons that are new since the last poll.
    pub(crate) fn read_new(&mut self) -> Vec<String> {
        let mut new = Vec::new();
        for line in self.lines().unwrap_or_default() {
            let Some((job, reason)) = retried(&line) else { continue };
            if self.told.len() < MOST_REASONS && self.told.insert(reason.clone()) {
                new.push(format!("{job}: {reason}"));
            }
        }
        new
    }

    /// The lines that came to their end since the last poll.
    fn lines(&mut self) -> std::io::Result<Vec<String>> {
        let Some(log) = &self.log else { return Ok(Vec::new()) };
        let mut file = File::open(log)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(MOST_BYTES).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += if whole == 0 && bytes.len() as u64 == MOST_BYTES { MOST_BYTES } else { whole as u64 };
        Ok(String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect())
    }
}

/// The job and the reason of a worker's line that tells of a retry.
fn retried(line: &str) -> Option<(&str, String)> {
    let (_, fields) = line.split_once("job failed job=\"")?;
    let (job, fields) = fields.split_once('"')?;
    let (_, reason) = fields.split_once("outcome=Retried error=\"")?;
    Some((job, reason.strip_suffix('"').unwrap_or(reason).replace("\\\"", "\"")))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn each_reason_is_told_once_and_only_of_this_run() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let write = |text: &str| file.as_file().write_all(text.as_bytes()).expect("written");
        let line = |job: &str, outcome: &str, reason: &str| {
            format!(
                "2026-01-01T00:00:00Z  WARN job failed job=\"{job}\" queue=\"q\" attempt=1 outcome={outcome} error=\"{reason}\"\n"
            )
        };
        write(&line("before", "Retried", "old"));
        let mut reasons = Reasons::new(Some(file.path().to_path_buf()));
        write(&line("a", "Retried", "ev: no such \\\"x\\\" (SQLSTATE 42P01)"));
        write(&line("b", "Retried", "ev: no such \\\"x\\\" (SQLSTATE 42P01)"));
        write(&line("c", "Failed", "tag: too long"));
        write("2026-01-01T00:00:00Z  WARN job failed job=\"d\" queue");
        assert_eq!(reasons.read_new(), ["a: ev: no such \"x\" (SQLSTATE 42P01)"]);
        write("=\"q\" attempt=1 outcome=Retried error=\"other\"\n");
        assert_eq!(reasons.read_new(), ["d: other"]);
        assert!(reasons.read_new().is_empty());
        assert!(Reasons::new(None).read_new().is_empty());
    }
}
