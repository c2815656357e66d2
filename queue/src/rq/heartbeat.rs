//! This worker's own record, and the renewal of its leases.

use super::RqQueue;
use super::lua::heartbeat::{HeartbeatAnswer, HeartbeatArguments};
use super::lua::registration::{RegisterArguments, deregister};
use crate::{Lease, QueueError};

/// Leases per script call.
const LEASES_PER_CALL: usize = 200;

impl RqQueue {
    pub(super) async fn write_registration(&self) -> Result<(), QueueError> {
        let arguments =
            RegisterArguments { worker_ttl: self.worker_ttl(), record: &self.record, queues: &self.config.names };
        self.connection.invoke(&arguments.call(self.caller())).await
    }

    pub(super) async fn remove_registration(&self) -> Result<(), QueueError> {
        self.connection.invoke(&deregister(self.caller(), &self.config.names)).await
    }

    /// Renews `leases`; answers those that are not ours any more.
    pub(super) async fn renew_leases(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        let chunks: Vec<&[Lease]> =
            if leases.is_empty() { vec![leases] } else { leases.chunks(LEASES_PER_CALL).collect() };
        let arguments = |leases| HeartbeatArguments {
            worker_ttl: self.worker_ttl(),
            lease: self.lease_seconds(),
            record: &self.record,
            queues: &self.config.names,
            leases,
        };
        let calls: Vec<_> = chunks.iter().map(|chunk| arguments(chunk).call(self.caller())).collect();
        let mut lost = Vec::new();
        for (chunk, answer) in chunks.iter().zip(self.connection.invoke_all(&calls).await?) {
            let answer = HeartbeatAnswer::read(answer?)?;
            lost.extend(answer.lost.into_iter().filter_map(|number| chunk.get(number)).cloned());
        }
        Ok(lost)
    }
}
