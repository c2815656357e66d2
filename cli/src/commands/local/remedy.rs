//! What to check when Redis or the database does not answer, or refuses a login.

use jobqueue_ingest::SinkError;
use jobqueue_queue::QueueError;

use crate::common::exit::{Exit, Failure};

/// The failure of Redis, with what to check.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(super) fn redis_failure(error: QueueError) -> anyhow::Error {
    let hint = match &error {
        QueueError::Unavailable { .. } => {
            Some("check that Redis runs at this address and can be reached from here, or pass another with --redis URL")
        }
        QueueError::Denied { cause, .. } if is_about_certificates(cause) => {
            Some("check the certificates: --redis-ca, --redis-cert and --redis-key")
        }
        QueueError::Denied { .. } => Some(
            "check user and password in the URL (--redis or JOBQUEUE_REDIS_URL), and what the user may do: jobqueue acl \
             prints what it needs",
        ),
        QueueError::Config(_) | QueueError::Data(_) => None,
    };
    with_hint(Exit::from(&error), error.to_string(), hint)
}

/// The failure of a database on a server, with what to check. What is wrong with a file says its own message.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
pub(super) fn database_failure(error: SinkError) -> anyhow::Error {
    let hint = match &error {
        SinkError::Unavailable { endpoint, .. } | SinkError::Disconnected { endpoint, .. } => (!is_file(endpoint))
            .then_some(
                "check that the database runs at this address and can be reached from here, or pass another with \
                 --database URL",
            ),
        SinkError::Denied { cause, .. } if is_about_certificates(cause) => {
            Some("check the certificates in the database's URL: ssl-ca, ssl-cert and ssl-key; ssl-mode says what is checked")
        }
        SinkError::Denied { endpoint, .. } => (!is_file(endpoint)).then_some(
            "check user and password in the URL (--database or JOBQUEUE_DATABASE_URL), and that the user may write to the \
             tables of the recipe",
        ),
        SinkError::Unwritable { .. } | SinkError::SchemaMismatch { .. } | SinkError::Config(_) => None,
    };
    with_hint(Exit::from(&error), error.to_string(), hint)
}

fn with_hint(exit: Exit, message: String, hint: Option<&str>) -> anyhow::Error {
    let failure = Failure::new(exit, message);
    match hint {
        Some(hint) => failure.hint(hint).into(),
        None => failure.into(),
    }
}

fn is_about_certificates(cause: &str) -> bool {
    let cause = cause.to_lowercase();
    ["certificate", "fatal alert", "unknownissuer"].iter().any(|sign| cause.contains(sign))
}

fn is_file(endpoint: &str) -> bool {
    endpoint.starts_with("sqlite:")
}
