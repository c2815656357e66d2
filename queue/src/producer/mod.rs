//! The other end of a queue: records go in, in batches, each batch once.
//!
//! A run keeps its progress (bytes, lines and jobs enqueued, and a checksum of the input so far) in Redis, in the same
//! atomic step as the batch itself. A lost reply, a killed producer or a restarted Redis therefore never leaves a doubt
//! about what is in: [`Producer::enqueue`] may be repeated, and [`Producer::begin`] goes on from a [`Progress`].

mod job;
mod repr;
mod script;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub use job::{JobOptions, ProducerRetry};

use self::script::{BatchAnswer, BatchArguments, Content, NewEntry, NewJob};
use crate::{Connection, QueueError};

/// How long the progress of an interrupted run is kept for a resumption.
pub const PROGRESS_KEPT: Duration = Duration::from_hours(30 * 24);

/// What a record becomes, and where it goes.
#[derive(Debug, Clone)]
pub struct Destination {
    /// RQ queue name, or the key of the list or stream.
    pub queue: String,
    /// RQ's key prefix; unused by lists and streams.
    pub key_prefix: String,
    /// The wire format.
    pub shape: Shape,
    /// To the head of the queue; within a run the last record then comes first, as with RQ. Not for streams.
    pub at_front: bool,
}

/// What a record becomes.
#[derive(Debug, Clone)]
pub enum Shape {
    /// An RQ job with the record as its only argument.
    Job(JobOptions),
    /// A list element.
    Element,
    /// A stream entry with the record in its field `record`.
    Entry,
}

/// How far a run has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that are dealt with.
    pub bytes: u64,
    /// Lines of the input that are dealt with, empty ones included.
    pub lines: u64,
    /// Jobs enqueued.
    pub jobs: u64,
    /// CRC-32 of those bytes: tells whether the input is still the same.
    pub crc32: u32,
    /// Nothing is left to enqueue.
    pub done: bool,
}

/// A run that was begun: the only one that may write on behalf of its source.
#[derive(Debug, Clone)]
pub struct Run {
    key: String,
    id: String,
    resumable: bool,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// Redis failed us; the batch may be sent again.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Another process took over this source since.
    #[error("another process is enqueueing the same input to this queue")]
    Taken,
    /// Redis knows less than we had written: it lost data (a restart without `appendfsync always`, a flush).
    #[error("Redis lost a part of what was enqueued: it has the input up to byte {bytes} only")]
    Lost {
        /// What it still has.
        bytes: u64,
    },
}

/// Enqueues records to one destination.
pub struct Producer {
    connection: Connection,
    destination: Destination,
}

impl Producer {
    /// Nothing is sent before the first call.
    pub fn new(connection: Connection, destination: Destination) -> Self {
        Self { connection, destination }
    }

    /// How far an earlier run over `source` came, if one is known.
    pub async fn progress(&self, source: &str) -> Result<Option<Progress>, QueueError> {
        let key = self.destination.progress_key(source);
        let fields = ["run", "bytes", "lines", "jobs", "crc32", "done"];
        let found: Vec<Option<String>> = self.connection.query(redis::cmd("HMGET").arg(&key).arg(&fields)).await?;
        if found.first().is_none_or(Option::is_none) {
            return Ok(None);
        }
        let number = |index: usize| -> Result<u64, QueueError> {
            let text = found.get(index).and_then(Option::as_deref).unwrap_or("0");
            text.parse().map_err(|_| QueueError::Data(format!("{key}: {} is not a number: {text}", fields[index])))
        };
        let crc32 = u32::try_from(number(4)?).map_err(|_| QueueError::Data(format!("{key}: crc32 is too large")))?;
        Ok(Some(Progress { bytes: number(1)?, lines: number(2)?, jobs: number(3)?, crc32, done: number(5)? == 1 }))
    }

    /// Begins a run over `source` at `from`; a run over the same source that is still going on fails at its next batch.
    /// Without a source (standard input) the run can repeat a batch, but nobody can resume it.
    pub async fn begin(&self, source: Option<&str>, from: &Progress) -> Result<Run, QueueError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let key = self.destination.progress_key(source.unwrap_or(&id));
        let run = Run { key, id, resumable: source.is_some() };
        let mut write = redis::cmd("HSET");
        write.arg(&run.key).arg("run").arg(&run.id).arg("source").arg(source.unwrap_or("-"));
        write.arg("bytes").arg(from.bytes).arg("lines").arg(from.lines).arg("jobs").arg(from.jobs);
        write.arg("crc32").arg(from.crc32).arg("done").arg(0);
        self.connection.query::<()>(&write).await?;
        self.connection.query::<()>(redis::cmd("EXPIRE").arg(&run.key).arg(PROGRESS_KEPT.as_secs())).await?;
        Ok(run)
    }

    /// Writes one batch and moves the progress from byte `before` to `after`, or neither. Answers the ids in order;
    /// list elements have none, and of stream entries that an earlier call wrote (its reply lost) none are known.
    pub async fn enqueue(
        &self,
        run: &Run,
        batch: &Batch<'_>,
        before: u64,
        after: &Progress,
        now: DateTime<Utc>,
    ) -> Result<Vec<String>, ProduceError> {
        let Run { key, id, .. } = run;
        let content = self.content(batch, now);
        let arguments = BatchArguments { progress_key: key, run: id, before, after, now, content };
        let answer = self.connection.invoke(&arguments.call(&self.destination.queue_key())).await;
        match answer.and_then(BatchAnswer::read)? {
            BatchAnswer::Done { entries } if matches!(self.destination.shape, Shape::Entry) => Ok(entries),
            BatchAnswer::Done { .. } | BatchAnswer::Again => Ok(batch.ids.clone()),
            BatchAnswer::Taken => Err(ProduceError::Taken),
            BatchAnswer::Lost { bytes } => Err(ProduceError::Lost { bytes }),
        }
    }

    fn content<'a>(&'a self, batch: &'a Batch<'_>, now: DateTime<Utc>) -> Content<'a> {
        let Destination { queue, key_prefix, shape, at_front } = &self.destination;
        let push = if *at_front { "LPUSH" } else { "RPUSH" };
        let records = batch.records;
        let traceparent = |index: usize| batch.traceparents.get(index).map(String::as_str);
        match shape {
            Shape::Job(options) => {
                let job = |(index, (id, record)): (usize, (&'a String, &&str))| NewJob {
                    id,
                    data: options.data(record),
                    description: options.description(record),
                    meta: options.meta(traceparent(index)),
                };
                let jobs = batch.ids.iter().zip(records).enumerate().map(job).collect();
                Content::Jobs { push, key_prefix, shared: options.shared_fields(queue, now), jobs }
            }
            Shape::Element => Content::Elements { push, records },
            Shape::Entry => {
                let entry = |(index, &record)| NewEntry { record, traceparent: traceparent(index).unwrap_or_default() };
                Content::Entries { field: "record", entries: records.iter().enumerate().map(entry).collect() }
            }
        }
    }

    /// A batch of these records, with ids where the producer gives them (RQ); sent again it stays the same batch.
    pub fn batch<'a>(&self, records: &'a [&'a str]) -> Batch<'a> {
        let ids = match self.destination.shape {
            Shape::Job(_) => records.iter().map(|_| uuid::Uuid::new_v4().to_string()).collect(),
            Shape::Element | Shape::Entry => Vec::new(),
        };
        Batch { records, ids, traceparents: Vec::new() }
    }

    /// Says that the run is complete. Its progress stays a while, so that a resumption finds that nothing is left.
    pub async fn finish(&self, run: &Run) -> Result<(), QueueError> {
        let mut command = redis::cmd(if run.resumable { "HSET" } else { "DEL" });
        command.arg(&run.key);
        if run.resumable {
            command.arg("done").arg(1);
        }
        self.connection.query::<()>(&command).await
    }
}

/// Records on their way, with the ids they will have: sent again it stays the same batch.
#[derive(Debug)]
pub struct Batch<'a> {
    records: &'a [&'a str],
    ids: Vec<String>,
    /// Empty, or one for each record.
    traceparents: Vec<String>,
}

impl Batch<'_> {
    /// The ids of the jobs, in the order of their records; empty where the server gives them, or there are none.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Gives each job the `traceparent` that its trace goes on from, in the order of the records: in `meta` of an RQ job, as a
    /// field of a stream's entry. A list's element is the record, and stays as it is.
    #[must_use]
    pub fn with_traceparents(self, traceparents: Vec<String>) -> Self {
        Self { traceparents, ..self }
    }
}

impl Destination {
    fn queue_key(&self) -> String {
        match self.shape {
            Shape::Job(_) => format!("{}:queue:{}", self.key_prefix, self.queue),
            Shape::Element | Shape::Entry => self.queue.clone(),
        }
    }

    /// Beside the queue in the key space, and in the same slot of a cluster.
    fn progress_key(&self, source: &str) -> String {
        match self.shape {
            Shape::Job(_) => format!("{}:jobqueue:enqueue:{}:{source}", self.key_prefix, self.queue),
            Shape::Element | Shape::Entry if self.queue.contains('{') => {
                format!("{}:jobqueue:enqueue:{source}", self.queue)
            }
            Shape::Element | Shape::Entry => format!("{{{}}}:jobqueue:enqueue:{source}", self.queue),
        }
    }
}
