//! The Redis servers that are polled: one connection for all queues of a server.

use std::{collections::BTreeMap, sync::Arc};

use jobqueue_queue::{Connection, Guard, QueueError};

use crate::state::endpoint_key::EndpointKey;

/// Connections by server; those that are no longer used are closed.
pub(super) struct Endpoints {
    /// What all of them are held to: any tenant may name any server.
    guard: Guard,
    open: BTreeMap<EndpointKey, Arc<Connection>>,
}

impl Endpoints {
    /// None yet.
    pub(super) fn new(guard: Guard) -> Self {
        Self { guard, open: BTreeMap::new() }
    }

    /// The connection to a server.
    pub(super) fn get(&mut self, key: &EndpointKey) -> Result<Arc<Connection>, QueueError> {
        if let Some(connection) = self.open.get(key) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(key.connection(&self.guard)?);
        self.open.insert(key.clone(), connection.clone());
        Ok(connection)
    }

    /// Closes those that `used` does not name.
    pub(super) fn retain(&mut self, used: &BTreeMap<EndpointKey, impl Sized>) {
        self.open.retain(|key, _| used.contains_key(key));
    }
}
