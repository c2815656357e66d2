//! Commands of people for whoever works on a list or stream: one channel beside each, with messages as RQ's.

use std::time::Duration;

use futures::StreamExt;
use redis::aio::PubSub;
use tokio::sync::Mutex;

use super::keys::QueueKeys;
use crate::rq::command_message::parse;
use crate::{Command, Connection, QueueError};

/// Pause before subscribing again after the subscription broke.
const RESUBSCRIBE: Duration = Duration::from_secs(1);
/// The same where the account may not subscribe.
const STILL_DENIED: Duration = Duration::from_secs(60);

/// A worker's ear on the channels of its queues.
pub(super) struct Commands {
    connection: Connection,
    channels: Vec<String>,
    queues: Vec<String>,
    subscription: Mutex<Option<PubSub>>,
}

impl Commands {
    pub(super) fn new(connection: &Connection, queues: &[QueueKeys]) -> Self {
        Self {
            connection: connection.clone(),
            channels: queues.iter().map(QueueKeys::commands).collect(),
            queues: queues.iter().map(|queue| queue.key.clone()).collect(),
            subscription: Mutex::default(),
        }
    }

    /// Subscribes, so that a command sent right after the registration is not missed. An account that may not is no reason
    /// not to work.
    pub(super) async fn listen(&self) -> Result<(), QueueError> {
        match self.connection.subscribe_all(&self.channels).await {
            Ok(subscription) => *self.subscription.lock().await = Some(subscription),
            Err(QueueError::Denied { cause, .. }) => {
                tracing::warn!(cause, channel = self.channels[0], "`jobqueue stop` does not reach this worker");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) async fn leave(&self) {
        self.subscription.lock().await.take();
    }

    /// Never gives up: while Redis is away there are no commands, and the rest of the worker has the trouble to report.
    pub(super) async fn next(&self) -> Command {
        loop {
            let mut slot = self.subscription.lock().await;
            if let Some(subscription) = slot.as_mut() {
                while let Some(message) = subscription.on_message().next().await {
                    if let Some(Command::StopJob(job)) = parse(message.get_payload_bytes()) {
                        let channel = message.get_channel_name();
                        let at = self.channels.iter().position(|known| known == channel).unwrap_or(0);
                        return Command::StopJobOf { queue: self.queues[at].clone(), job };
                    }
                    // All workers of the queue hear it, and nobody means all of them.
                    tracing::warn!("ignored a message that is not a command for a job");
                }
                *slot = None;
            }
            drop(slot);
            match self.connection.subscribe_all(&self.channels).await {
                Ok(subscription) => *self.subscription.lock().await = Some(subscription),
                Err(QueueError::Denied { .. }) => tokio::time::sleep(STILL_DENIED).await,
                Err(error) => {
                    tracing::debug!(%error, "cannot subscribe to commands yet");
                    tokio::time::sleep(RESUBSCRIBE).await;
                }
            }
        }
    }
}
