//! Faults that only a worker can see (of its database, above all), reported where the operator reads the queue: a hash beside the
//! queue with one field per worker. The worker writes its field again every few seconds and removes it when the fault is over.

use std::sync::LazyLock;
use std::time::Duration;

use crate::redis::foreign_text::visible;
use crate::rq::Keys;
use crate::simple::QueueKeys;
use crate::{Connection, Invocation, Protocol, QueueConfig, QueueError, Script};

static POST: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("worker_reports.lua")]));

/// A fault that was not reported again for so long is over, or its worker is gone.
pub(crate) const FRESH: Duration = Duration::from_secs(20);
/// A longer message is cut, in characters.
const LONGEST: usize = 500;

/// What a worker's fault is about; its text is stored in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::EnumString)]
pub enum FaultKind {
    /// The database does not answer, or takes no rows.
    Unavailable,
    /// The database refuses the worker.
    Denied,
    /// The recipe does not fit the database's tables.
    #[strum(serialize = "Misfit")]
    SchemaMismatch,
    /// Redis refuses what the worker has to do. A program that only reads the queue may not notice.
    QueueDenied,
    /// A key of the queue is not what it should be.
    QueueWrongData,
}

/// What keeps a worker from its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFault {
    /// What it is about.
    pub kind: FaultKind,
    /// In a sentence; no passwords.
    pub message: String,
}

/// Reports one worker's faults, beside the first of its queues.
#[derive(Debug, Clone)]
pub struct FaultReporter {
    connection: Connection,
    key: String,
    worker: String,
}

impl FaultReporter {
    /// The reporter of a worker with this `config`; nothing is sent yet.
    ///
    /// # Errors
    /// `Config` for a queue that cannot have sidecar keys.
    pub fn new(connection: &Connection, config: &QueueConfig) -> Result<Self, QueueError> {
        let first = config.names.first().map(String::as_str).unwrap_or_default();
        let key = match config.protocol {
            Protocol::Rq => reports_key_of_rq(&Keys::new(&config.key_prefix, connection.is_cluster())?, first),
            Protocol::List | Protocol::Stream => {
                format!("{}:trouble", QueueKeys::new(config.protocol, first, &config.consumer_group)?.prefix)
            }
        };
        Ok(Self { connection: connection.clone(), key, worker: config.worker_name.clone() })
    }

    /// Writes the fault, or removes what was written where there is none.
    pub async fn post(&self, fault: Option<&WorkerFault>) -> Result<(), QueueError> {
        let text = fault.map(|WorkerFault { kind, message }| {
            let message: String = message.chars().take(LONGEST).collect();
            format!("{kind} {message}")
        });
        let arguments = PostArguments { key: &self.key, worker: &self.worker, text: text.unwrap_or_default() };
        self.connection.invoke(&arguments.call()).await
    }
}

/// What `worker_reports.lua` takes: ARGV, in this order, with the seconds that an entry counts before the text. It answers
/// nothing.
struct PostArguments<'a> {
    /// The hash with the workers' entries.
    key: &'a str,
    /// The worker's name: its field.
    worker: &'a str,
    /// Kind and message with a space between them; empty to take the entry back.
    text: String,
}

impl PostArguments<'_> {
    fn call(&self) -> Invocation<'static> {
        let Self { key, worker, text } = self;
        POST.on(key).arg(*key).arg(*worker).arg(FRESH.as_secs()).arg(text)
    }
}

/// The name that the script of the stats builds too.
fn reports_key_of_rq(keys: &Keys, queue: &str) -> String {
    format!("{}:jobqueue-trouble:{queue}", keys.prefix())
}

/// Reads one entry: seconds, a space, the kind, a space, the message. None if it is old, or not ours.
pub(crate) fn read_entry(entry: &str, now: i64) -> Option<WorkerFault> {
    let (at, rest) = entry.split_once(' ')?;
    let (kind, message) = rest.split_once(' ')?;
    let age = now.saturating_sub(at.parse().ok()?);
    let fresh = age <= i64::try_from(FRESH.as_secs()).unwrap_or(i64::MAX);
    fresh.then(|| Some(WorkerFault { kind: kind.parse().ok()?, message: visible(message) }))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_foreign_entries_are_no_faults() {
        let fault = read_entry("100 Denied the database refused us", 110).unwrap();
        assert_eq!((fault.kind, fault.message.as_str()), (FaultKind::Denied, "the database refused us"));
        assert_eq!(read_entry("100 Misfit no such table", 110).unwrap().kind, FaultKind::SchemaMismatch);
        assert_eq!(FaultKind::SchemaMismatch.to_string(), "Misfit", "older operators read it");
        assert_eq!(read_entry("100 Denied x", 121), None);
        assert_eq!(read_entry("100 Elsewise x", 110), None);
        assert_eq!(read_entry("garbage", 110), None);
        let long_ago = format!("{} Denied x", i64::MIN);
        assert_eq!(read_entry(&long_ago, 110), None, "a time that cannot be subtracted");
        let hostile = read_entry("100 Denied \u{1b}[2J\nall is well", 110).unwrap();
        assert_eq!(hostile.message, "\\u{1b}[2J all is well");
    }
}
