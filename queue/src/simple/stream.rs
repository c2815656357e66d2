//! Redis streams read through a consumer group. The group is made with the first worker and starts at the beginning of
//! the stream; each entry is one job, its fields are the record.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use jobqueue_json::{Map, Value};
use redis::Value as Answer;
use redis::streams::StreamInfoGroupsReply;

use super::lease_store::{LeaseStore, Source};
use crate::payload::bytes_value;
use crate::{Connection, Payload, PayloadError, PayloadLimits, Protocol, QueueError};

/// Jobs from streams.
///
/// A finished or finally failed entry is acknowledged, and deleted unless other groups read the stream too: otherwise
/// the stream would only grow, and its length say nothing about the work that is left. A failed job's fields are kept
/// in the failed registry. Pending entries of consumers that are not ours are taken over once they have been idle for
/// a lease.
pub type StreamBackend = LeaseStore<StreamSource>;

/// How a stream is read.
pub struct StreamSource {
    /// For commands that block.
    listener: Connection,
    streams: Vec<(String, String)>,
}

/// Jobs that come due or are given back are not in the stream we listen to: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[async_trait]
impl Source for StreamSource {
    const PROTOCOL: Protocol = Protocol::Stream;
    const SCRIPT: &'static str = include_str!("lua/stream.lua");

    fn new(connection: &Connection, queues: &[(String, String)]) -> Self {
        Self { listener: connection.dedicated(LOOK_AGAIN * 10), streams: queues.to_vec() }
    }

    async fn prepare(&self, connection: &Connection, key: &str, group: &str) -> Result<(), QueueError> {
        let create = redis::cmd("XGROUP").arg("CREATE").arg(key).arg(group).arg("0").arg("MKSTREAM").to_owned();
        match connection.query::<()>(&create).await {
            Err(QueueError::Data(cause)) if cause.contains("BUSYGROUP") => Ok(()),
            outcome => outcome,
        }
    }

    fn payload(record: Vec<u8>, _: &PayloadLimits) -> Result<Payload, PayloadError> {
        fields(&record)
            .map(Payload::Fields)
            .ok_or_else(|| PayloadError::Malformed("the record kept beside the stream is damaged".into()))
    }

    fn enqueued_at(id: &str) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(id.split('-').next()?.parse().ok()?)
    }

    /// Reads (without a group, so nothing is consumed) from where the groups are.
    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        // Streams of a cluster may be in different slots, where one command cannot wait for all of them.
        let streams = if self.listener.is_cluster() { &self.streams[..1] } else { &self.streams[..] };
        let questions: Vec<_> =
            streams.iter().map(|(key, _)| redis::cmd("XINFO").arg("GROUPS").arg(key).to_owned()).collect();
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT")
            .arg(1)
            .arg("BLOCK")
            .arg(timeout.min(LOOK_AGAIN).as_millis().max(1).to_string())
            .arg("STREAMS");
        for (key, _) in streams {
            read.arg(key);
        }
        for ((_, group), answer) in streams.iter().zip(self.listener.pipeline(&questions).await?) {
            // No such key or group: everything that will be there is new.
            let groups = answer.and_then(|answer| self.listener.read::<StreamInfoGroupsReply>(answer));
            let position = groups.ok().and_then(|reply| reply.groups.into_iter().find(|known| known.name == *group));
            read.arg(position.map_or_else(|| "0-0".to_owned(), |group| group.last_delivered_id));
        }
        self.listener.query::<Answer>(&read).await.map(drop)
    }
}

/// What `stream.lua` packed: for each name and value its length, a colon and itself. Values that are not UTF-8 are bytes,
/// as in [`crate::Call`]; of a name that occurs twice the last value counts.
fn fields(mut packed: &[u8]) -> Option<Map<String, Value>> {
    let mut parts = Vec::new();
    while !packed.is_empty() {
        let colon = packed.iter().position(|&byte| byte == b':')?;
        let length: usize = std::str::from_utf8(&packed[..colon]).ok()?.parse().ok()?;
        let (part, rest) = packed[colon + 1..].split_at_checked(length)?;
        parts.push(part);
        packed = rest;
    }
    let (pairs, rest) = parts.as_chunks::<2>();
    let value = |part: &[u8]| std::str::from_utf8(part).map_or_else(|_| bytes_value(part), Value::from);
    let pair = |[name, part]: &[&[u8]; 2]| (String::from_utf8_lossy(name).into_owned(), value(part));
    rest.is_empty().then(|| pairs.iter().map(pair).collect())
}

#[cfg(test)]
mod tests {
    use jobqueue_json::json;

    use super::*;

    #[test]
    fn packed_fields_are_unpacked() {
        assert_eq!(
            fields(b"4:name6:a:b\nc;3:bin1:\xff").map(Value::from),
            Some(json!({"name": "a:b\nc;", "bin": bytes_value(b"\xff")}))
        );
        assert_eq!(fields(b""), Some(Map::new()));
        for damaged in [b"4:nam".as_slice(), b"4", b"1:a", b"x:a1:b", b"99999999999999999999:a1:b"] {
            assert_eq!(fields(damaged), None);
        }
    }

    #[test]
    fn an_id_tells_the_time() {
        let time = StreamSource::enqueued_at("1700000000123-7").unwrap();
        assert_eq!(time.timestamp_millis(), 1_700_000_000_123);
        assert_eq!(StreamSource::enqueued_at("x"), None);
    }
}
