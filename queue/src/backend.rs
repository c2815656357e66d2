//! What every protocol can do for a worker. One conformance suite (`tests/conformance/`) holds all of them to it.

use std::time::Duration;

use async_trait::async_trait;

use crate::{Completion, Delivery, Lease};

/// A queue as its worker sees it. All methods are safe to call concurrently, and safe to repeat after an error: a claim
/// that was settled already, or lost to another worker, is reported and changes nothing.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Announces this worker (RQ: `rq:workers`, the worker hash), creates consumer groups. Call once before claiming.
    async fn register(&self) -> Result<(), QueueError>;

    /// Withdraws this worker's records.
    async fn deregister(&self) -> Result<(), QueueError>;

    /// Takes up to `max` jobs, earlier queues first, in one atomic step and one round trip. Never waits.
    async fn claim(&self, max: usize) -> Result<Claim, QueueError>;

    /// Returns when there may be something to claim, or after `timeout`. May return early for no reason.
    async fn wait(&self, timeout: Duration) -> Result<(), QueueError>;

    /// Renews the leases and this worker's own record; an empty slice is the heartbeat of an idle worker. Returns the
    /// leases that are no longer ours.
    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError>;

    /// Records outcomes, in one pipeline; the answer has one entry per completion, in order.
    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError>;

    /// Reclaims lapsed leases, moves due jobs to their queues, cleans registries. Cheap; call about every second from
    /// every worker.
    async fn maintain(&self) -> Result<Maintenance, QueueError>;

    /// The next command addressed to this worker (RQ's pub/sub, a channel beside a list or stream).
    async fn next_command(&self) -> Command;

    /// Callbacks of settled jobs that were skipped because they are code in another language (RQ only); each is logged.
    fn skipped_callbacks(&self) -> u64 {
        0
    }
}

/// The answer to [`Backend::claim`].
#[derive(Debug, Default)]
pub struct Claim {
    /// The jobs, in the order they were queued.
    pub deliveries: Vec<Delivery>,
    /// Ids whose record was gone, expired or not runnable (finished already, canceled): dropped, and why.
    pub dropped: Vec<(String, String)>,
    /// `rq:suspended` is set: nothing was claimed on purpose.
    pub suspended: bool,
}

/// What [`Backend::settle`] did with one completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Recorded as finished.
    Finished,
    /// Will run again (now or later).
    Retried,
    /// In the failed registry.
    Failed,
    /// Back on its queue.
    Released,
    /// Recorded as stopped.
    Stopped,
    /// The claim was no longer ours; nothing changed. A finished effect is safe: the next delivery finds the ledger.
    NotOwned,
}

/// What [`Backend::maintain`] did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Maintenance {
    /// Jobs of dead workers put back on their queue.
    pub reclaimed: u64,
    /// Jobs whose workers died too often, now in the failed registry.
    pub abandoned: u64,
    /// Scheduled jobs that came due.
    pub due: u64,
    /// Expired registry entries removed.
    pub expired: u64,
}

/// What a person may send to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Warm stop: finish what runs, claim nothing more.
    Shutdown,
    /// Abandon this job: it ends `stopped`.
    StopJob(String),
    /// Abandon this job of this queue: the same id may be in another.
    StopJobOf {
        /// The list or stream.
        queue: String,
        /// The id.
        job: String,
    },
    /// Kill what runs now; it counts as a crashed attempt.
    KillHorse,
}

/// Why a queue operation failed. No variant carries a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// Refused, unreachable, timed out, failing over, loading: try again later.
    #[error("Redis at {endpoint} is not available: {cause}")]
    Unavailable {
        /// Redacted URL.
        endpoint: String,
        /// What Redis or the network said.
        cause: String,
    },
    /// Wrong password, missing ACL rights, bad certificate.
    #[error("Redis at {endpoint} refused us: {cause}")]
    Denied {
        /// Redacted URL.
        endpoint: String,
        /// What Redis or TLS said.
        cause: String,
    },
    /// A key holds something else than the protocol expects (WRONGTYPE), or an answer cannot be read.
    #[error("the data in Redis is not what was expected: {0}")]
    Data(String),
    /// A URL or a setting is wrong.
    #[error("{0}")]
    Config(String),
}
