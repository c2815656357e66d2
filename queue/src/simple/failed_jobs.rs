//! The failed registry of a list or a stream: what the lease store keeps in its sidecar keys.

use std::collections::HashMap;

use chrono::DateTime;
use jobqueue_json::{Map, Value};
use redis::{Cmd, Value as Answer, cmd};

use super::keys::QueueKeys;
use super::lease_store::{STOPPED, Source};
use super::list::ListSource;
use super::stream::StreamSource;
use crate::admin::{Attempt, FailedJob};
use crate::{Call, Connection, Payload, PayloadError, PayloadLimits, Protocol, QueueError, Serializer};

/// A job's hash.
type Fields = HashMap<String, Vec<u8>>;

pub(crate) fn read_command(keys: &QueueKeys, id: &str) -> Cmd {
    cmd("HGETALL").arg(keys.job(id)).to_owned()
}

pub(crate) fn job(
    connection: &Connection,
    (protocol, keys): (Protocol, &QueueKeys),
    id: &str,
    answer: Answer,
    limits: &PayloadLimits,
) -> Result<FailedJob, QueueError> {
    let mut fields: Fields = connection.read(answer)?;
    let last = history(&fields).into_iter().next();
    let record = fields.remove("record");
    let error = match (&last, &record) {
        (Some(last), _) => last.error.clone(),
        (None, None) => "the record of this job is gone".to_owned(),
        (None, Some(_)) => String::new(),
    };
    let enqueued_at = match protocol {
        Protocol::Stream => StreamSource::enqueued_at(id),
        Protocol::List | Protocol::Rq => ListSource::enqueued_at(id),
    };
    Ok(FailedJob {
        id: id.to_owned(),
        queue: keys.key.clone(),
        call: record.map(|record| call(protocol, record, limits)),
        description: String::new(),
        status: if error == STOPPED { "stopped" } else { "failed" }.to_owned(),
        error,
        created_at: None,
        enqueued_at,
        failed_at: last.as_ref().and_then(|last| last.ended_at),
        worker: last.map(|last| last.worker).unwrap_or_default(),
    })
}

/// The failed attempts, the latest first.
pub(crate) fn attempts(connection: &Connection, answer: Answer) -> Result<Vec<Attempt>, QueueError> {
    Ok(history(&connection.read(answer)?))
}

fn history(fields: &Fields) -> Vec<Attempt> {
    let text = |name: &str, number: u64| {
        let value = fields.get(&format!("{name}:{number}")).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(value).into_owned()
    };
    let mut numbers: Vec<u64> = fields.keys().filter_map(|name| name.strip_prefix("error:")?.parse().ok()).collect();
    numbers.sort_unstable_by(|one, other| other.cmp(one));
    let attempt = |number| Attempt {
        ended_at: text("at", number).parse().ok().and_then(DateTime::from_timestamp_millis),
        worker: text("by", number),
        succeeded: false,
        error: text("error", number),
    };
    numbers.into_iter().map(attempt).collect()
}

/// A record as a call without a function, whose only argument it is: the text of an element, or the fields of an entry
/// (its field `record` alone where there is no other, which is how our producer writes one).
fn call(protocol: Protocol, record: Vec<u8>, limits: &PayloadLimits) -> Result<Call, PayloadError> {
    let payload = match protocol {
        Protocol::Stream => StreamSource::payload(record, limits)?,
        Protocol::List | Protocol::Rq => ListSource::payload(record, limits)?,
    };
    let argument = match payload {
        Payload::Call(call) => return Ok(call),
        Payload::Record(text) => Value::from(text),
        Payload::Fields(mut fields) if fields.len() == 1 && fields.contains_key("record") => {
            fields.remove("record").unwrap_or_default()
        }
        Payload::Fields(fields) => Value::Object(fields),
    };
    Ok(Call { function: String::new(), args: vec![argument], kwargs: Map::new(), serializer: Serializer::Json })
}
