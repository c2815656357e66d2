//! Commands that a person sends to this worker by RQ's pub/sub (`rq.command`).

use std::time::Duration;

use futures::StreamExt;

use super::RqQueue;
use super::command_message::parse;
use crate::{Command, QueueError};

/// Pause before subscribing again after the subscription broke.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

impl RqQueue {
    /// Subscribes, so that a command sent right after the registration is not missed.
    pub(super) async fn listen_for_commands(&self) -> Result<(), QueueError> {
        let subscription = self.connection.subscribe(&self.keys.commands(&self.config.worker_name)).await?;
        *self.commands.lock().await = Some(subscription);
        Ok(())
    }

    /// Never gives up: while Redis is away there are no commands, and the rest of the worker has the trouble to report.
    pub(super) async fn await_command(&self) -> Command {
        loop {
            let mut slot = self.commands.lock().await;
            if let Some(subscription) = slot.as_mut() {
                while let Some(message) = subscription.on_message().next().await {
                    if let Some(command) = parse(message.get_payload_bytes()) {
                        return command;
                    }
                    tracing::warn!("ignored a message that is not a command this worker knows");
                }
                *slot = None;
            }
            drop(slot);
            if let Err(error) = self.listen_for_commands().await {
                tracing::debug!(%error, "cannot subscribe to commands yet");
                tokio::time::sleep(RESUBSCRIBE).await;
            }
        }
    }
}
