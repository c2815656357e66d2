//! Plain Redis lists: producers `RPUSH` records, workers take them from the left. Each element is one record, as text.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::lease_store::{LeaseStore, Source};
use crate::{Connection, Payload, PayloadError, PayloadLimits, Protocol, QueueError, Wakeup};

/// Jobs from lists.
///
/// A list knows neither ids nor times. The claim gives each element an id (milliseconds and a growing number), which
/// stays with it through crashes, retries and a requeue, and is never used again; there is no `enqueued_at`.
pub type ListBackend = LeaseStore<ListSource>;

/// How a list is read.
pub struct ListSource {
    wakeup: Wakeup,
}

/// Jobs that come due or are given back stand in another list than the one we listen to: look at least this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[async_trait]
impl Source for ListSource {
    const PROTOCOL: Protocol = Protocol::List;
    const SCRIPT: &'static str = include_str!("lua/list.lua");

    fn new(connection: &Connection, queues: &[(String, String)]) -> Self {
        Self { wakeup: Wakeup::new(connection, queues.iter().map(|(key, _)| key.clone()).collect()) }
    }

    async fn prepare(&self, _: &Connection, _: &str, _: &str) -> Result<(), QueueError> {
        Ok(())
    }

    fn payload(record: Vec<u8>, _: &PayloadLimits) -> Result<Payload, PayloadError> {
        String::from_utf8(record)
            .map(Payload::Record)
            .map_err(|error| PayloadError::Malformed(format!("the element is not text: {}", error.utf8_error())))
    }

    fn enqueued_at(_: &str) -> Option<DateTime<Utc>> {
        None
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.wakeup.wait(timeout.min(LOOK_AGAIN)).await
    }
}
