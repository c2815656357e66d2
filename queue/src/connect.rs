//! From a configuration to the backend of its protocol.

use std::sync::Arc;

use crate::order::{Ordered, orders};
use crate::{Backend, Connection, ListBackend, Order, Protocol, QueueConfig, QueueError, RqQueue, StreamBackend};

/// A worker's backend over `connection`.
///
/// # Errors
/// [`QueueError::Config`] if the settings do not fit the protocol or the topology. Redis is not asked yet.
pub fn connect(connection: &Connection, config: QueueConfig) -> Result<Arc<dyn Backend>, QueueError> {
    if config.names.is_empty() {
        return Err(QueueError::Config("a worker needs at least one queue".into()));
    }
    if config.order == Order::Strict || config.names.len() == 1 {
        return view(connection, config);
    }
    let (order, names) = (config.order, config.names.clone());
    let views = orders(order, &names, || usize::from(rand::random::<u16>()))
        .into_iter()
        .map(|names| view(connection, QueueConfig { names, ..config.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Arc::new(Ordered::new(order, names, views)))
}

/// The backend of the protocol, which claims from its queues in the order of `config.names`.
fn view(connection: &Connection, config: QueueConfig) -> Result<Arc<dyn Backend>, QueueError> {
    Ok(match config.protocol {
        Protocol::List => Arc::new(ListBackend::new(connection, config)?),
        Protocol::Stream => Arc::new(StreamBackend::new(connection, config)?),
        Protocol::Rq => Arc::new(RqQueue::new(connection.clone(), config)?),
    })
}
