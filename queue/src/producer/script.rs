//! What the scripts that write a batch take and answer: `progress.lua`, followed by `rq.lua`, `list.lua` or `stream.lua`.
//! `KEYS[1]` is the queue.

use std::sync::LazyLock;

use chrono::{DateTime, SecondsFormat, Utc};
use redis::Value;

use super::Progress;
use crate::redis::answer::read_single;
use crate::{Invocation, QueueError, Script};

const PROGRESS: &str = include_str!("progress.lua");
static JOBS: LazyLock<Script> = LazyLock::new(|| Script::new(&[PROGRESS, include_str!("rq.lua")]));
static ELEMENTS: LazyLock<Script> = LazyLock::new(|| Script::new(&[PROGRESS, include_str!("list.lua")]));
static ENTRIES: LazyLock<Script> = LazyLock::new(|| Script::new(&[PROGRESS, include_str!("stream.lua")]));

/// ARGV, in this order.
pub(super) struct BatchArguments<'a> {
    /// The key of the run's progress.
    pub(super) progress_key: &'a str,
    /// The run that writes.
    pub(super) run: &'a str,
    /// Bytes of the input that are dealt with before this batch.
    pub(super) before: u64,
    /// Four arguments: bytes, lines, jobs and CRC-32 when the batch is written.
    pub(super) after: &'a Progress,
    /// The time to be noted.
    pub(super) now: DateTime<Utc>,
    /// What to write; each kind has a script of its own, which takes it from the ninth argument on.
    pub(super) content: Content<'a>,
}

/// What is written.
pub(super) enum Content<'a> {
    /// `rq.lua`.
    Jobs {
        /// `LPUSH` or `RPUSH`.
        push: &'static str,
        /// RQ's key prefix.
        key_prefix: &'a str,
        /// The number of words, then field and value of each: what all jobs of the batch have in common.
        shared: Vec<(&'static str, String)>,
        /// Four arguments for each job.
        jobs: Vec<NewJob<'a>>,
    },
    /// `list.lua`.
    Elements {
        /// `LPUSH` or `RPUSH`.
        push: &'static str,
        /// The elements.
        records: &'a [&'a str],
    },
    /// `stream.lua`.
    Entries {
        /// The field that has the record.
        field: &'static str,
        /// Two arguments for each entry.
        entries: Vec<NewEntry<'a>>,
    },
}

/// An entry of a batch: two arguments, in this order.
pub(super) struct NewEntry<'a> {
    /// The record.
    pub(super) record: &'a str,
    /// Empty for none.
    pub(super) traceparent: &'a str,
}

/// A job of a batch: four arguments, in this order.
pub(super) struct NewJob<'a> {
    /// Its id.
    pub(super) id: &'a str,
    /// The call, serialized and deflated.
    pub(super) data: Vec<u8>,
    /// What RQ shows of the call.
    pub(super) description: String,
    /// The `meta` field, serialized; empty for none.
    pub(super) meta: Vec<u8>,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BatchAnswer {
    /// The batch is written.
    Done {
        /// The ids of the entries of a stream; empty for jobs and elements.
        entries: Vec<String>,
    },
    /// An earlier call wrote it.
    Again,
    /// Another run has taken over the source.
    Taken,
    /// The progress is not where this run left it.
    Lost {
        /// Bytes of the input that Redis knows to be dealt with.
        bytes: u64,
    },
}

impl BatchArguments<'_> {
    /// The call.
    pub(super) fn call(&self, queue: &str) -> Invocation<'static> {
        let Self { progress_key, run, before, after, now, content } = self;
        let Progress { bytes, lines, jobs, crc32, done: _ } = after;
        let script = match content {
            Content::Jobs { .. } => &JOBS,
            Content::Elements { .. } => &ELEMENTS,
            Content::Entries { .. } => &ENTRIES,
        };
        let now = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let call = script.on(queue).arg(*progress_key).arg(*run).arg(before).arg(bytes).arg(lines).arg(jobs).arg(crc32);
        content.add_to(call.arg(now))
    }
}

impl Content<'_> {
    fn add_to<'s>(&self, call: Invocation<'s>) -> Invocation<'s> {
        match self {
            Self::Jobs { push, key_prefix, shared, jobs } => {
                let call = call.arg(*push).arg(*key_prefix).arg(2 * shared.len());
                let call = shared.iter().fold(call, |call, (field, value)| call.arg(*field).arg(value));
                jobs.iter().fold(call, |call, job| {
                    let NewJob { id, data, description, meta } = job;
                    call.arg(*id).arg(data.as_slice()).arg(description).arg(meta.as_slice())
                })
            }
            Self::Elements { push, records } => call.arg(*push).arg(*records),
            Self::Entries { field, entries } => entries
                .iter()
                .fold(call.arg(*field), |call, NewEntry { record, traceparent }| call.arg(*record).arg(*traceparent)),
        }
    }
}

impl BatchAnswer {
    /// # Errors
    /// `Data` for any other answer.
    pub(super) fn read(answer: Value) -> Result<Self, QueueError> {
        let words: Vec<String> = read_single("producer/progress.lua", "outcome", answer)?;
        match words.split_first().map(|(outcome, rest)| (outcome.as_str(), rest)) {
            Some(("DONE", entries)) => Ok(Self::Done { entries: entries.to_vec() }),
            Some(("AGAIN", [])) => Ok(Self::Again),
            Some(("TAKEN", [])) => Ok(Self::Taken),
            Some(("LOST", [bytes])) => Ok(Self::Lost { bytes: bytes.parse().unwrap_or_default() }),
            _ => Err(QueueError::Data(format!("the enqueueing script answered {words:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_name_and_no_other_is_taken() {
        let read = |words: &[&str]| {
            let words = words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec()));
            BatchAnswer::read(Value::Array(words.collect()))
        };
        let entries = vec!["1-0".to_owned(), "1-1".to_owned()];
        assert_eq!(read(&["DONE", "1-0", "1-1"]).unwrap(), BatchAnswer::Done { entries });
        assert_eq!(read(&["DONE"]).unwrap(), BatchAnswer::Done { entries: Vec::new() });
        assert_eq!(read(&["AGAIN"]).unwrap(), BatchAnswer::Again);
        assert_eq!(read(&["TAKEN"]).unwrap(), BatchAnswer::Taken);
        assert_eq!(read(&["LOST", "17"]).unwrap(), BatchAnswer::Lost { bytes: 17 });
        for other in [&["WHATEVER"][..], &["LOST"], &[]] {
            assert!(read(other).unwrap_err().to_string().contains("the enqueueing script answered"), "{other:?}");
        }
    }
}
