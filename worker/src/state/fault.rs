//! What keeps this worker from its work, in the words that the operator makes a condition of.

use jobqueue_ingest::SinkError;
use jobqueue_queue::{QueueError, Trouble, TroubleKind};

/// What an error of the database is reported as.
pub(crate) fn database_fault(error: &SinkError) -> Trouble {
    let kind = match error {
        SinkError::Denied { .. } => TroubleKind::Denied,
        SinkError::SchemaMismatch { .. } => TroubleKind::Misfit,
        SinkError::Unavailable { .. }
        | SinkError::Unwritable { .. }
        | SinkError::Disconnected { .. }
        | SinkError::Config(_) => TroubleKind::Unavailable,
    };
    Trouble { kind, message: error.to_string() }
}

/// What an error of Redis is reported as; `None` where the operator meets the same error itself.
pub(crate) fn queue_fault(error: &QueueError) -> Option<Trouble> {
    let kind = match error {
        QueueError::Denied { .. } => TroubleKind::QueueDenied,
        QueueError::Data(_) => TroubleKind::QueueWrongData,
        QueueError::Unavailable { .. } | QueueError::Config(_) => return None,
    };
    Some(Trouble { kind, message: error.to_string() })
}
