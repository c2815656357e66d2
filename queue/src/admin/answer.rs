//! What `requeue.lua` and `purge.lua` of either protocol answer.

use redis::Value;

use super::Requeued;
use crate::QueueError;
use crate::redis::answer::read_single;

/// The answer of `requeue.lua`.
#[derive(Debug)]
pub(super) struct RequeueAnswer {
    /// What became of each job, in order: `QUEUED`, `GONE` or `NOT_FAILED`.
    pub(super) outcomes: Vec<Requeued>,
}

/// The answer of `purge.lua`.
#[derive(Debug)]
pub(super) struct PurgeAnswer {
    /// How many jobs were removed.
    pub(super) removed: u64,
}

impl RequeueAnswer {
    /// # Errors
    /// `Data` for an answer of another type.
    pub(super) fn read(answer: Value) -> Result<Self, QueueError> {
        let outcomes: Vec<String> = read_single("requeue.lua", "outcomes", answer)?;
        let outcome = |word: &String| match word.as_str() {
            "QUEUED" => Requeued::Queued,
            "GONE" => Requeued::Gone,
            _ => Requeued::NotFailed,
        };
        Ok(Self { outcomes: outcomes.iter().map(outcome).collect() })
    }
}

impl PurgeAnswer {
    /// # Errors
    /// `Data` for an answer of another type.
    pub(super) fn read(answer: Value) -> Result<Self, QueueError> {
        Ok(Self { removed: read_single("purge.lua", "removed", answer)? })
    }
}
