//! Commands that a person sends to this worker by RQ's pub/sub (`rq.command`).

use std::time::Duration;

use futures::StreamExt;
use serde::Deserialize;

use super::RqQueue;
use crate::{Command, QueueError};

/// Pause before subscribing again after the subscription broke.
const RESUBSCRIBE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Message {
    command: String,
    #[serde(default)]
    job_id: Option<String>,
}

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

/// What a message says, of either version of RQ.
pub(crate) fn parse(payload: &[u8]) -> Option<Command> {
    let message: Message = serde_json::from_slice(payload).ok()?;
    match (message.command.as_str(), message.job_id) {
        ("shutdown", _) => Some(Command::Shutdown),
        ("kill-horse", _) => Some(Command::KillHorse),
        // 3.0's stop-execution names the execution too; a worker runs a job once at a time.
        ("stop-job" | "stop-execution", Some(job)) => Some(Command::StopJob(job)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_both_versions_are_understood() {
        assert_eq!(parse(br#"{"command": "shutdown", "created_at": "x"}"#), Some(Command::Shutdown));
        assert_eq!(parse(br#"{"command": "kill-horse"}"#), Some(Command::KillHorse));
        assert_eq!(parse(br#"{"command": "stop-job", "job_id": "a"}"#), Some(Command::StopJob("a".into())));
        let stop = br#"{"command": "stop-execution", "job_id": "a", "execution_id": "e"}"#;
        assert_eq!(parse(stop), Some(Command::StopJob("a".into())));
        assert_eq!(parse(br#"{"command": "stop-job"}"#), None);
        assert_eq!(parse(b"nonsense"), None);
    }
}
