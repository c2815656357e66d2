//! The failed registry of a queue, RQ's or the one beside a list or stream: read it, give jobs another chance, remove
//! them.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use flate2::read::ZlibDecoder;
use redis::{Cmd, Value, cmd};

use super::{beside, time};
use crate::bookkeeping::Place;
use crate::rq::{OUTCOME, PRELUDE};
use crate::{Call, Connection, Invocation, PayloadError, PayloadLimits, Protocol, QueueError, Script, payload};

/// Ids and jobs in one round trip.
const PAGE: usize = 500;

/// What an error text may inflate to.
const MAX_ERROR: u64 = 1 << 20;

/// One job in the failed registry.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedJob {
    /// Job id.
    pub id: String,
    /// The queue that it goes back to.
    pub queue: String,
    /// The call, or why it cannot be read; `None` if the job's record is gone. An element of a list or an entry of a
    /// stream is a call of no function, with the record as its only argument.
    pub call: Option<Result<Call, PayloadError>>,
    /// RQ's description of the call.
    pub description: String,
    /// `failed`, or `stopped` if a person stopped it.
    pub status: String,
    /// The last failure: a traceback, or our worker's words. Empty if no result is kept.
    pub error: String,
    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was last queued.
    pub enqueued_at: Option<DateTime<Utc>>,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// The worker that had it last.
    pub worker: String,
}

impl FailedJob {
    /// The function, as far as it is known.
    pub fn function(&self) -> Option<&str> {
        match &self.call {
            Some(Ok(call)) => Some(call.function.as_str()).filter(|function| !function.is_empty()),
            Some(Err(_)) | None => self.description.split_once('(').map(|(function, _)| function),
        }
    }

    /// The record as the producer sent it: the first argument.
    pub fn record(&self) -> Option<&jobqueue_json::Value> {
        self.call.as_ref()?.as_ref().ok()?.args.first()
    }
}

/// One run of a job, as its result stream tells; runs that were retried are among them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The worker.
    pub worker: String,
    /// Whether it succeeded (an earlier run of the same id).
    pub succeeded: bool,
    /// The failure; empty for a success.
    pub error: String,
}

/// What became of a request to requeue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// On its queue.
    Queued,
    /// It was not in the failed registry (any more); nothing changed.
    NotFailed,
    /// Its record is gone, so it can never run; the registry has forgotten it now.
    Gone,
}

/// The failed registry of one queue.
#[derive(Debug, Clone)]
pub struct FailedJobs {
    connection: Connection,
    registry: Registry,
}

#[derive(Debug, Clone)]
enum Registry {
    Rq { prefix: String, queue: String },
    Beside { protocol: Protocol, place: Place },
}

impl FailedJobs {
    /// Of an RQ queue; `prefix` is RQ's key prefix.
    pub fn new(connection: Connection, prefix: impl Into<String>, queue: impl Into<String>) -> Self {
        Self { connection, registry: Registry::Rq { prefix: prefix.into(), queue: queue.into() } }
    }

    /// Of a queue of any protocol. `prefix` is RQ's, `group` the consumer group of a stream.
    ///
    /// # Errors
    /// [`QueueError::Config`] for a key that no list or stream of ours can have.
    pub fn of(
        connection: Connection,
        protocol: Protocol,
        prefix: &str,
        group: &str,
        queue: &str,
    ) -> Result<Self, QueueError> {
        Ok(match protocol {
            Protocol::Rq => Self::new(connection, prefix, queue),
            Protocol::List | Protocol::Stream => {
                let place = Place::new(protocol, queue, group)?;
                Self { connection, registry: Registry::Beside { protocol, place } }
            }
        })
    }

    fn key(&self) -> String {
        match &self.registry {
            Registry::Rq { prefix, queue } => format!("{prefix}:failed:{queue}"),
            Registry::Beside { place, .. } => format!("{}:failed", place.prefix),
        }
    }

    /// The ids of all failed jobs, in the order of the registry (first to expire first).
    pub async fn ids(&self) -> Result<Vec<String>, QueueError> {
        const STEP: usize = 10_000;
        let mut ids: Vec<String> = Vec::new();
        loop {
            let (first, last) = (ids.len(), ids.len() + STEP - 1);
            let page: Vec<String> = self.connection.query(cmd("ZRANGE").arg(self.key()).arg(first).arg(last)).await?;
            let full = page.len() == STEP;
            ids.extend(page);
            if !full {
                return Ok(ids);
            }
        }
    }

    /// Whether the registry has this id.
    pub async fn contains(&self, id: &str) -> Result<bool, QueueError> {
        let score: Option<String> = self.connection.query(cmd("ZSCORE").arg(self.key()).arg(id)).await?;
        Ok(score.is_some())
    }

    /// The jobs with these ids, in order. Ask for a page of them at a time: their payloads come along.
    pub async fn fetch(&self, ids: &[String], limits: &PayloadLimits) -> Result<Vec<FailedJob>, QueueError> {
        let mut jobs = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            match &self.registry {
                Registry::Rq { prefix, queue } => {
                    let commands: Vec<Cmd> = page.iter().flat_map(|id| read_commands(prefix, id)).collect();
                    let mut answers = self.connection.pipeline(&commands).await?.into_iter();
                    for id in page {
                        let (fields, results) = answers.next().zip(answers.next()).expect("two answers for each job");
                        jobs.push(self.job(queue, id, fields?, results?, limits)?);
                    }
                }
                Registry::Beside { protocol, place } => {
                    let commands: Vec<Cmd> = page.iter().map(|id| beside::read_command(place, id)).collect();
                    for (id, answer) in page.iter().zip(self.connection.pipeline(&commands).await?) {
                        jobs.push(beside::job(&self.connection, (*protocol, place), id, answer?, limits)?);
                    }
                }
            }
        }
        Ok(jobs)
    }

    /// What is still known of the job's runs, the latest first; beside a list or stream, of those that failed.
    pub async fn attempts(&self, id: &str) -> Result<Vec<Attempt>, QueueError> {
        match &self.registry {
            Registry::Rq { prefix, .. } => {
                let entries: Value = self.connection.query(&results(prefix, id, None)).await?;
                self.entries(entries)
            }
            Registry::Beside { place, .. } => {
                let fields: Value = self.connection.query(&beside::read_command(place, id)).await?;
                beside::attempts(&self.connection, fields)
            }
        }
    }

    /// Gives these jobs another chance, 500 in a step: at the end of the queue or at its head. Jobs of a list or stream
    /// are served before its backlog in any case.
    pub async fn requeue(&self, ids: &[String], at_front: bool) -> Result<Vec<Requeued>, QueueError> {
        let script = match &self.registry {
            Registry::Rq { .. } => Script::new(&[PRELUDE, OUTCOME, include_str!("requeue.lua")]),
            Registry::Beside { .. } => Script::new(&[include_str!("requeue_beside.lua")]),
        };
        let push = if at_front { "LPUSH" } else { "RPUSH" };
        let mut outcomes = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let mut call = self.script(&script);
            match &self.registry {
                Registry::Rq { queue, .. } => call = call.arg("").arg(queue).arg(push),
                Registry::Beside { .. } => call.push(push),
            }
            let answers: Vec<String> = self.connection.invoke(&call.arg(page)).await?;
            outcomes.extend(answers.iter().map(|answer| match answer.as_str() {
                "QUEUED" => Requeued::Queued,
                "GONE" => Requeued::Gone,
                _ => Requeued::NotFailed,
            }));
        }
        Ok(outcomes)
    }

    /// Removes these jobs and their records; answers how many were there.
    pub async fn purge(&self, ids: &[String]) -> Result<u64, QueueError> {
        let script = Script::new(&[match &self.registry {
            Registry::Rq { .. } => include_str!("purge.lua"),
            Registry::Beside { .. } => include_str!("purge_beside.lua"),
        }]);
        let mut removed = 0;
        for page in ids.chunks(PAGE) {
            removed += self.connection.invoke::<u64>(&self.script(&script).arg(page)).await?;
        }
        Ok(removed)
    }

    /// A script on the registry; all of them take the prefix first.
    fn script<'a>(&self, script: &'a Script) -> Invocation<'a> {
        let prefix = match &self.registry {
            Registry::Rq { prefix, .. } => prefix,
            Registry::Beside { place, .. } => &place.prefix,
        };
        script.on(&self.key()).arg(prefix)
    }

    fn job(
        &self,
        queue: &str,
        id: &str,
        fields: Value,
        results: Value,
        limits: &PayloadLimits,
    ) -> Result<FailedJob, QueueError> {
        let fields: Vec<Option<Vec<u8>>> = self.connection.read(fields)?;
        let [data, origin, description, status, created, enqueued, ended, worker, exc_info] =
            <[Option<Vec<u8>>; FIELDS.len()]>::try_from(fields)
                .map_err(|fields| QueueError::Data(format!("HMGET answered {} fields", fields.len())))?;
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let last = self.entries(results)?.into_iter().next();
        let error = match (&last, &exc_info, &data) {
            (Some(last), ..) if !last.succeeded => last.error.clone(),
            // rq before 1.12 kept the traceback in the hash.
            (_, Some(legacy), _) => inflated(legacy),
            (_, None, None) => "the record of this job is gone".to_owned(),
            (_, None, Some(_)) => String::new(),
        };
        Ok(FailedJob {
            id: id.to_owned(),
            queue: text(origin).filter(|origin| !origin.is_empty()).unwrap_or_else(|| queue.to_owned()),
            call: data.map(|data| payload::decode(&data, limits)),
            description: text(description).unwrap_or_default(),
            status: text(status).unwrap_or_default(),
            error,
            created_at: time(text(created).as_deref()),
            enqueued_at: time(text(enqueued).as_deref()),
            failed_at: time(text(ended).as_deref()).or(last.and_then(|last| last.ended_at)),
            worker: text(worker).unwrap_or_default(),
        })
    }

    fn entries(&self, entries: Value) -> Result<Vec<Attempt>, QueueError> {
        let entries: Vec<(String, Fields)> = self.connection.read(entries)?;
        Ok(entries.into_iter().map(|(id, fields)| attempt(&id, &fields)).collect())
    }
}

fn read_commands(prefix: &str, id: &str) -> [Cmd; 2] {
    let mut fields = cmd("HMGET");
    fields.arg(format!("{prefix}:job:{id}")).arg(&FIELDS);
    [fields, results(prefix, id, Some(1))]
}

fn results(prefix: &str, id: &str, count: Option<usize>) -> Cmd {
    let mut command = cmd("XREVRANGE");
    command.arg(format!("{prefix}:results:{id}")).arg("+").arg("-");
    if let Some(count) = count {
        command.arg("COUNT").arg(count);
    }
    command
}

/// Of a stream entry.
type Fields = Vec<(String, Vec<u8>)>;

const FIELDS: [&str; 9] =
    ["data", "origin", "description", "status", "created_at", "enqueued_at", "ended_at", "worker_name", "exc_info"];

fn attempt(id: &str, fields: &[(String, Vec<u8>)]) -> Attempt {
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_slice());
    let millis = id.split_once('-').and_then(|(millis, _)| millis.parse().ok());
    let error = field("exc_string").map(|text| match STANDARD.decode(text) {
        Ok(deflated) => inflated(&deflated),
        Err(_) => String::from_utf8_lossy(text).into_owned(),
    });
    Attempt {
        ended_at: millis.and_then(DateTime::from_timestamp_millis),
        worker: field("worker_name").map(|name| String::from_utf8_lossy(name).into_owned()).unwrap_or_default(),
        succeeded: field("type") == Some(b"1"),
        error: error.unwrap_or_default(),
    }
}

/// Text that RQ deflated; as it stands where it did not. What is longer than a person reads is left out.
fn inflated(bytes: &[u8]) -> String {
    let mut text = Vec::new();
    match ZlibDecoder::new(bytes).take(MAX_ERROR).read_to_end(&mut text) {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
