//! What keeps this worker from its work, in the words that the operator makes a condition of.

use jobqueue_ingest::SinkError;
use jobqueue_queue::{FaultKind, QueueError, WorkerFault};

/// What an error of the database is reported as.
pub(crate) fn database_fault(error: &SinkError) -> WorkerFault {
    let kind = match error {
        SinkError::Denied { .. } => FaultKind::Denied,
        SinkError::SchemaMismatch { .. } => FaultKind::SchemaMismatch,
        SinkError::Unavailable { .. }
        | SinkError::Unwritable { .. }
        | SinkError::Disconnected { .. }
        | SinkError::Config(_) => FaultKind::Unavailable,
    };
    WorkerFault { kind, message: error.to_string() }
}

/// What an error of Redis is reported as; `None` where the operator meets the same error itself.
pub(crate) fn queue_fault(error: &QueueError) -> Option<WorkerFault> {
    let kind = match error {
        QueueError::Denied { .. } => FaultKind::QueueDenied,
        QueueError::Data(_) => FaultKind::QueueWrongData,
        QueueError::Unavailable { .. } | QueueError::Config(_) => return None,
    };
    Some(WorkerFault { kind, message: error.to_string() })
}
