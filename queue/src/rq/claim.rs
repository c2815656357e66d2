//! Claiming: one script takes jobs from all queues in order and leases them to us.

use std::time::Duration;

use super::RqQueue;
use super::lua::claim::{ClaimAnswer, ClaimArguments, ClaimedJob, DroppedJob};
use super::text::{oversized, parse_iso};
use crate::payload::decode;
use crate::{Claim, Delivery, Lease, Payload, QueueError, TraceContext};

/// Payload bytes one claim brings at most (a single job may exceed it), whatever the batch size.
const MAX_BATCH_BYTES: usize = 32 << 20;

impl RqQueue {
    pub(super) async fn claim_jobs(&self, max: usize) -> Result<Claim, QueueError> {
        if max == 0 {
            return Ok(Claim::default());
        }
        let refused = self.rights.of(self.try_rights()).await?;
        let served = self.config.names.iter().map(String::as_str).filter(|name| !refused.has(name));
        let arguments = ClaimArguments {
            worker_ttl: self.worker_ttl(),
            lease: self.lease_seconds(),
            max_jobs: max,
            max_job_bytes: self.config.limits.max_bytes,
            max_total_bytes: MAX_BATCH_BYTES,
            execution_stem: execution_stem(rand::random()),
            with_meta: self.config.with_trace_context,
            queues: served.collect(),
        };
        let answer = self.connection.invoke(&arguments.call(self.caller())).await.and_then(ClaimAnswer::read);
        let ClaimAnswer { suspended, jobs, dropped } = self.rights.heard(answer).await?;
        let dropped = dropped.iter().map(|DroppedJob { id, reason }| (lossy(id), lossy(reason))).collect();
        let deliveries: Vec<Delivery> = jobs.into_iter().map(|job| self.delivery(job)).collect();
        if deliveries.is_empty()
            && let Some(error) = refused.error()
        {
            return Err(error);
        }
        Ok(Claim { deliveries, dropped, suspended })
    }

    fn delivery(&self, job: ClaimedJob) -> Delivery {
        let ClaimedJob { queue, id, execution, data, size, created_at, enqueued_at, timeout, .. } = job;
        let ClaimedJob { generation, attempt, crashes, run, meta, .. } = job;
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
            generation,
            run,
            attempt,
            crashes,
            enqueued_at: parse_iso(&lossy(&enqueued_at)),
            // -1 means no limit.
            timeout: lossy(&timeout).parse().ok().filter(|seconds| *seconds > 0).map(Duration::from_secs),
            payload,
            trace_context: TraceContext::of_meta(&meta, limits),
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
