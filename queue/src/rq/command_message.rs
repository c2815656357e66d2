//! The messages of RQ's commands to workers.

use serde::Deserialize;

use crate::Command;

#[derive(Deserialize)]
struct Message {
    command: String,
    #[serde(default)]
    job_id: Option<String>,
}

/// Reads a message of either version of RQ; `None` if it is no command that a worker knows.
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
