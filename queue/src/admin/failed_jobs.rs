//! The failed registry of a queue, RQ's or that of a list or stream: read it, give jobs another chance, remove
//! them.

use chrono::{DateTime, Utc};
use jobqueue_json::Value as Json;
use redis::{Cmd, Value, cmd};

use super::answer::{PurgeAnswer, RequeueAnswer};
use crate::rq::failed_jobs as rq;
use crate::rq::lua::failed_jobs as rq_scripts;
use crate::simple::{QueueKeys, failed_jobs as simple, lua::failed_jobs as simple_scripts};
use crate::{Call, Connection, PayloadError, PayloadLimits, Protocol, QueueError, payload};

/// Ids and jobs in one round trip.
const PAGE: usize = 500;

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

    /// The record as one line of an export, or why there is none.
    pub fn line(&self) -> Result<String, String> {
        let record = match &self.call {
            Some(Ok(_)) => self.record().ok_or("it has no argument, so there is no record to export")?,
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("its record is gone".to_owned()),
        };
        // A line of bytes is the line.
        let text = match payload::bytes_in(record) {
            Some(bytes) => String::from_utf8(bytes).map(Json::String).map_err(|_| "its record is bytes, not text")?,
            None => record.clone(),
        };
        match &text {
            // A record that was read as a line may have kept its end.
            Json::String(text) if !text.trim_end_matches(['\n', '\r']).contains(['\n', '\r']) => {
                Ok(text.trim_end_matches(['\n', '\r']).to_owned())
            }
            Json::String(text) => match jobqueue_json::parse(text) {
                Ok(value) => Ok(value.to_string()),
                Err(_) => Err("its record has several lines and is not JSON; `failed show` prints it".to_owned()),
            },
            value => Ok(value.to_string()),
        }
    }
}

/// A job in the failed registry, as far as its failure goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Job id.
    pub id: String,
    /// The last failure, as [`FailedJob::error`].
    pub error: String,
    /// When it failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// The function, as far as it is known.
    pub function: Option<String>,
}

impl From<FailedJob> for Failure {
    fn from(job: FailedJob) -> Self {
        let function = job.function().map(str::to_owned);
        Self { id: job.id, error: job.error, failed_at: job.failed_at, function }
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
    Simple { protocol: Protocol, keys: QueueKeys },
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
                let keys = QueueKeys::new(protocol, queue, group)?;
                Self { connection, registry: Registry::Simple { protocol, keys } }
            }
        })
    }

    fn key(&self) -> String {
        match &self.registry {
            Registry::Rq { prefix, queue } => rq_scripts::Registry { prefix, queue }.key(),
            Registry::Simple { keys, .. } => keys.failed(),
        }
    }

    /// The ids of all failed jobs, in the order of the registry (first to expire first).
    pub async fn ids(&self) -> Result<Vec<String>, QueueError> {
        const STEP: usize = 10_000;
        let mut ids: Vec<String> = Vec::new();
        loop {
            let page = self.oldest(ids.len(), STEP).await?;
            let full = page.len() == STEP;
            ids.extend(page);
            if !full {
                return Ok(ids);
            }
        }
    }

    /// How many jobs the registry has.
    pub async fn count(&self) -> Result<u64, QueueError> {
        self.connection.query(cmd("ZCARD").arg(self.key())).await
    }

    /// Ids of a part of the registry, the last to expire first, which are those that failed last where all are kept for the
    /// same time.
    pub async fn newest(&self, skip: usize, count: usize) -> Result<Vec<String>, QueueError> {
        self.range(skip, count, true).await
    }

    /// Ids of a part of the registry in its order: the first to expire first.
    pub async fn oldest(&self, skip: usize, count: usize) -> Result<Vec<String>, QueueError> {
        self.range(skip, count, false).await
    }

    async fn range(&self, skip: usize, count: usize, newest_first: bool) -> Result<Vec<String>, QueueError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut command = cmd("ZRANGE");
        command.arg(self.key()).arg(skip).arg(skip + count - 1);
        if newest_first {
            command.arg("REV");
        }
        self.connection.query(&command).await
    }

    /// What is known of the failures of these jobs, in order: without their payloads where the protocol keeps them apart.
    pub async fn failures(&self, ids: &[String]) -> Result<Vec<Failure>, QueueError> {
        let jobs = self.read(ids, &PayloadLimits::default(), rq::read_without_payload).await?;
        Ok(jobs.into_iter().map(Failure::from).collect())
    }

    /// Whether the registry has this id.
    pub async fn contains(&self, id: &str) -> Result<bool, QueueError> {
        let score: Option<String> = self.connection.query(cmd("ZSCORE").arg(self.key()).arg(id)).await?;
        Ok(score.is_some())
    }

    /// The jobs with these ids, in order. Ask for a page of them at a time: their payloads come along.
    pub async fn fetch(&self, ids: &[String], limits: &PayloadLimits) -> Result<Vec<FailedJob>, QueueError> {
        self.read(ids, limits, rq::read_commands).await
    }

    /// The jobs with these ids, in order; `of_rq` makes the commands that read one of an RQ queue.
    async fn read(
        &self,
        ids: &[String],
        limits: &PayloadLimits,
        of_rq: fn(&str, &str) -> [Cmd; 2],
    ) -> Result<Vec<FailedJob>, QueueError> {
        let mut jobs = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            match &self.registry {
                Registry::Rq { prefix, queue } => {
                    let commands: Vec<Cmd> = page.iter().flat_map(|id| of_rq(prefix, id)).collect();
                    let mut answers = self.connection.pipeline(&commands).await?.into_iter();
                    for id in page {
                        let (fields, results) = answers.next().zip(answers.next()).expect("two answers for each job");
                        jobs.push(rq::job(&self.connection, queue, id, fields?, results?, limits)?);
                    }
                }
                Registry::Simple { protocol, keys } => {
                    let commands: Vec<Cmd> = page.iter().map(|id| simple::read_command(keys, id)).collect();
                    for (id, answer) in page.iter().zip(self.connection.pipeline(&commands).await?) {
                        jobs.push(simple::job(&self.connection, (*protocol, keys), id, answer?, limits)?);
                    }
                }
            }
        }
        Ok(jobs)
    }

    /// What is still known of the job's runs, the latest first; of a list or stream, those that failed.
    pub async fn attempts(&self, id: &str) -> Result<Vec<Attempt>, QueueError> {
        match &self.registry {
            Registry::Rq { prefix, .. } => {
                let entries: Value = self.connection.query(&rq::results(prefix, id, None)).await?;
                rq::attempts(&self.connection, entries)
            }
            Registry::Simple { keys, .. } => {
                let fields: Value = self.connection.query(&simple::read_command(keys, id)).await?;
                simple::attempts(&self.connection, fields)
            }
        }
    }

    /// Gives these jobs another chance, 500 in a step: at the end of the queue or at its head. Jobs of a list or stream
    /// are served before its backlog in any case.
    pub async fn requeue(&self, ids: &[String], at_front: bool) -> Result<Vec<Requeued>, QueueError> {
        let push = if at_front { "LPUSH" } else { "RPUSH" };
        let mut outcomes = Vec::with_capacity(ids.len());
        for ids in ids.chunks(PAGE) {
            let call = match &self.registry {
                Registry::Rq { prefix, queue } => {
                    let registry = rq_scripts::Registry { prefix, queue };
                    rq_scripts::RequeueArguments { registry, push, ids }.call()
                }
                Registry::Simple { keys, .. } => simple_scripts::RequeueArguments { keys, push, ids }.call(),
            };
            let answer = self.connection.invoke(&call).await?;
            outcomes.extend(RequeueAnswer::read(answer)?.outcomes);
        }
        Ok(outcomes)
    }

    /// Removes these jobs and their records; answers how many were there.
    pub async fn purge(&self, ids: &[String]) -> Result<u64, QueueError> {
        let mut removed = 0;
        for ids in ids.chunks(PAGE) {
            let call = match &self.registry {
                Registry::Rq { prefix, queue } => {
                    let registry = rq_scripts::Registry { prefix, queue };
                    rq_scripts::PurgeArguments { registry, ids }.call()
                }
                Registry::Simple { keys, .. } => simple_scripts::PurgeArguments { keys, ids }.call(),
            };
            let answer = self.connection.invoke(&call).await?;
            removed += PurgeAnswer::read(answer)?.removed;
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use jobqueue_json::{Map, json};

    use super::*;
    use crate::Serializer;

    fn job(args: Vec<Json>) -> FailedJob {
        let call = Call { function: "f".into(), args, kwargs: Map::new(), serializer: Serializer::Pickle };
        FailedJob {
            id: "j".into(),
            queue: "q".into(),
            call: Some(Ok(call)),
            description: String::new(),
            status: "failed".into(),
            error: String::new(),
            created_at: None,
            enqueued_at: None,
            failed_at: None,
            worker: String::new(),
        }
    }

    #[test]
    fn a_record_is_exported_as_it_came() {
        assert_eq!(job(vec![json!("{\"a\" : 1}")]).line(), Ok("{\"a\" : 1}".to_owned()));
        assert_eq!(job(vec![json!("{\"cut sho")]).line(), Ok("{\"cut sho".to_owned()));
        assert_eq!(job(vec![json!("{\"cut sho\r\n")]).line(), Ok("{\"cut sho".to_owned()), "the end of its line");
    }

    #[test]
    fn what_is_not_one_line_becomes_one_or_is_told() {
        assert_eq!(job(vec![json!("{\n \"a\": 1\n}")]).line(), Ok("{\"a\":1}".to_owned()));
        assert_eq!(job(vec![json!({"a": 1})]).line(), Ok("{\"a\":1}".to_owned()));
        assert!(job(vec![json!("two\nlines")]).line().is_err());
        assert!(job(vec![]).line().is_err());
    }
}
