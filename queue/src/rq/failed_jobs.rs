//! Reads the failed registry of an RQ queue, as RQ keeps it. Requeue and purge are scripts: `lua/failed_jobs.rs`.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use flate2::read::ZlibDecoder;
use redis::{Cmd, Value, cmd};

use crate::admin::{Attempt, FailedJob};
use crate::{Connection, PayloadLimits, QueueError, payload};

/// What an error text may inflate to, in bytes.
const MAX_ERROR: u64 = 1 << 20;

/// Reads the answers to [`read_commands`].
pub(crate) fn job(
    connection: &Connection,
    queue: &str,
    id: &str,
    fields: Value,
    results: Value,
    limits: &PayloadLimits,
) -> Result<FailedJob, QueueError> {
    let fields: Vec<Option<Vec<u8>>> = connection.read(fields)?;
    let [data, origin, description, status, created, enqueued, ended, worker, exc_info] =
        <[Option<Vec<u8>>; FIELDS.len()]>::try_from(fields)
            .map_err(|fields| QueueError::Data(format!("HMGET answered {} fields", fields.len())))?;
    let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let last = attempts(connection, results)?.into_iter().next();
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

/// Reads the answer to [`results`]: the runs of a job, the latest first.
pub(crate) fn attempts(connection: &Connection, entries: Value) -> Result<Vec<Attempt>, QueueError> {
    let entries: Vec<(String, Fields)> = connection.read(entries)?;
    Ok(entries.into_iter().map(|(id, fields)| attempt(&id, &fields)).collect())
}

/// The two commands that read one failed job.
pub(crate) fn read_commands(prefix: &str, id: &str) -> [Cmd; 2] {
    read(prefix, id, &FIELDS)
}

/// The same without the payload, in whose place the time of creation stands: a record has it as surely.
pub(crate) fn read_without_payload(prefix: &str, id: &str) -> [Cmd; 2] {
    let mut names = FIELDS;
    names[0] = "created_at";
    read(prefix, id, &names)
}

fn read(prefix: &str, id: &str, names: &[&str]) -> [Cmd; 2] {
    let mut fields = cmd("HMGET");
    fields.arg(format!("{prefix}:job:{id}")).arg(names);
    [fields, results(prefix, id, Some(1))]
}

/// The command that reads the results of a job, the latest first; `count` of them, or all for `None`.
pub(crate) fn results(prefix: &str, id: &str, count: Option<usize>) -> Cmd {
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

/// A time as RQ writes it; `None` where the field is empty or not a time.
fn time(text: Option<&str>) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc3339(text?).ok()?.with_timezone(&Utc))
}
