//! Claiming: one script takes jobs from all queues in order and leases them to us.

use std::time::Duration;

use super::text::{oversized, parse_iso};
use super::{CLAIM, RqQueue};
use crate::payload::decode;
use crate::{Claim, Delivery, Lease, Payload, QueueError};

/// Payload bytes one claim brings at most (a single job may exceed it), whatever the batch size.
const MAX_BATCH_BYTES: usize = 32 << 20;

/// Queue, job, execution, data, size of the data, creation, enqueueing, timeout, generation, attempt, crashes, run.
type Row = (Vec<u8>, Vec<u8>, String, Vec<u8>, usize, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, u32, u32, String);

/// What `claim.lua` gives for a run that a worker of an older version began: this, and the generation.
const BY_NAMES: &str = "names:";

impl RqQueue {
    pub(super) async fn claim_jobs(&self, max: usize) -> Result<Claim, QueueError> {
        if max == 0 {
            return Ok(Claim::default());
        }
        let mut invocation = CLAIM
            .on(&self.route())
            .arg(self.keys.prefix())
            .arg(&self.config.worker_name)
            .arg(self.worker_ttl())
            .arg(self.lease_seconds())
            .arg(max)
            .arg(self.config.limits.max_bytes)
            .arg(MAX_BATCH_BYTES)
            .arg(execution_stem(rand::random()));
        let refused = self.rights.of(self.try_rights()).await?;
        for name in self.config.names.iter().filter(|name| !refused.has(name)) {
            invocation.push(name);
        }
        let answer = self.connection.invoke(&invocation).await;
        let (suspended, rows, dropped): (u8, Vec<Row>, Vec<Vec<u8>>) = self.rights.heard(answer).await?;
        let dropped = dropped.chunks_exact(2).map(|pair| (lossy(&pair[0]), lossy(&pair[1]))).collect();
        let deliveries: Vec<Delivery> = rows.into_iter().map(|row| self.delivery(row)).collect();
        if deliveries.is_empty()
            && let Some(error) = refused.error()
        {
            return Err(error);
        }
        Ok(Claim { deliveries, dropped, suspended: suspended == 1 })
    }

    fn delivery(&self, row: Row) -> Delivery {
        let (queue, id, execution, data, size, created_at, enqueued_at, timeout, generation, attempt, crashes, run) =
            row;
        let by_names = run.strip_prefix(BY_NAMES).map(str::to_owned);
        let limits = &self.config.limits;
        let payload = if size > limits.max_bytes {
            Err(oversized(size, limits.max_bytes))
        } else {
            decode(&data, limits).map(Payload::Call)
        };
        let (queue, id) = (lossy(&queue), lossy(&id));
        Delivery {
            lease: Lease { queue: queue.clone(), job: id.clone(), execution },
            queue,
            id,
            created_at: lossy(&created_at),
            generation: by_names.as_deref().unwrap_or(&lossy(&generation)).parse().unwrap_or(0),
            run: Some(run).filter(|_| by_names.is_none()),
            attempt,
            crashes,
            enqueued_at: parse_iso(&lossy(&enqueued_at)),
            // -1 means no limit.
            timeout: lossy(&timeout).parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs),
            payload,
        }
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first 24 of an execution id's 32 hex digits; the script appends the job's number within the claim. A UUID of
/// version 8 ("custom") where RQ has version 4: maintenance tells our executions from those of Python workers by it.
fn execution_stem(random: [u8; 16]) -> String {
    let id = uuid::Builder::from_custom_bytes(random).into_uuid().simple().to_string();
    id[..24].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_id_is_marked_as_ours() {
        let stem = execution_stem([0xab; 16]);
        assert_eq!(stem.len(), 24);
        assert_eq!(&stem[12..13], "8");
    }
}
