//! From a configuration to the backend of its protocol.

use std::sync::Arc;

use crate::{Backend, Connection, ListBackend, Protocol, QueueConfig, QueueError, RqQueue, StreamBackend};

/// A worker's backend over `connection`.
///
/// # Errors
/// [`QueueError::Config`] if the settings do not fit the protocol or the topology. Redis is not asked yet.
pub fn connect(connection: &Connection, config: QueueConfig) -> Result<Arc<dyn Backend>, QueueError> {
    if config.names.is_empty() {
        return Err(QueueError::Config("a worker needs at least one queue".into()));
    }
    Ok(match config.protocol {
        Protocol::List => Arc::new(ListBackend::new(connection, config)?),
        Protocol::Stream => Arc::new(StreamBackend::new(connection, config)?),
        Protocol::Rq => Arc::new(RqQueue::new(connection.clone(), config)?),
    })
}
