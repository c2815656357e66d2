//! The RQ protocol, 2.12 and 3.0: what a Python `rq worker` does on the wire, with every step that matters atomic.
//!
//! The steps are Lua scripts (`lua/`), each built from the same prelude; the files beside this one prepare their
//! arguments and read their answers.

mod claim;
mod commands;
mod heartbeat;
mod keys;
mod maintain;
mod rights;
mod settle;
mod text;
mod webhook;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::PubSub;
use tokio::sync::Mutex;

use crate::{
    Backend, Claim, Command, Completion, Connection, Doorbell, Lease, Maintenance, QueueConfig, QueueError, Script,
    Settled,
};

use crate::rights::Rights;
use crate::server_check::check_server;
pub(crate) use commands::parse as parse_command;
pub(crate) use heartbeat::hostname;
pub use keys::Keys;
pub(crate) use text::parse_iso;
use webhook::Webhooks;

pub(crate) const PRELUDE: &str = concat!(include_str!("../errors.lua"), include_str!("lua/prelude.lua"));
pub(crate) const OUTCOME: &str = include_str!("lua/outcome.lua");

static REGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("lua/register.lua")]));
static RIGHTS: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("lua/rights.lua")]));
static DEREGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("lua/deregister.lua")]));
static CLAIM: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("lua/claim.lua")]));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("lua/settle.lua")]));
static HEARTBEAT: LazyLock<Script> = LazyLock::new(|| Script::new(&[PRELUDE, include_str!("lua/heartbeat.lua")]));
static MAINTAIN: LazyLock<Script> =
    LazyLock::new(|| Script::new(&[PRELUDE, OUTCOME, include_str!("lua/sweep.lua"), include_str!("lua/maintain.lua")]));

/// RQ queues served by one worker.
pub struct RqQueue {
    connection: Connection,
    config: QueueConfig,
    keys: Keys,
    bell: Doorbell,
    /// What this worker says about itself: fields of its hash, constant for its life.
    record: Vec<(&'static str, String)>,
    /// The subscription to this worker's commands, while there is one.
    commands: Mutex<Option<PubSub>>,
    rights: Rights,
    webhooks: Webhooks,
    skipped_callbacks: AtomicU64,
}

impl RqQueue {
    /// Checks the settings; nothing is sent yet.
    pub fn new(connection: Connection, config: QueueConfig) -> Result<Self, QueueError> {
        let keys = Keys::new(&config.key_prefix, connection.is_cluster())?;
        if config.names.is_empty() || config.names.iter().any(String::is_empty) {
            return Err(QueueError::Config("an RQ queue needs at least one name, and none may be empty".into()));
        }
        let bell = Doorbell::new(&connection, config.names.iter().map(|name| keys.queue(name)).collect());
        let record = heartbeat::record(&config);
        Ok(Self {
            connection,
            config,
            keys,
            bell,
            record,
            commands: Mutex::new(None),
            rights: Rights::default(),
            webhooks: Webhooks::default(),
            skipped_callbacks: AtomicU64::new(0),
        })
    }

    /// A key that routes a script; all keys of a queue in a cluster share its slot.
    fn route(&self) -> String {
        self.keys.queues()
    }

    /// How long this worker's record outlives its last heartbeat.
    fn worker_ttl(&self) -> u64 {
        (self.config.lease.as_secs() * 2).max(60)
    }

    /// Whole seconds, as RQ keeps them; never less than asked for.
    fn lease_seconds(&self) -> u64 {
        self.config.lease.as_secs() + u64::from(self.config.lease.subsec_nanos() > 0)
    }
}

#[async_trait]
impl Backend for RqQueue {
    async fn register(&self) -> Result<(), QueueError> {
        check_server(&self.connection).await?;
        self.announce().await?;
        self.listen_for_commands().await
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.commands.lock().await.take();
        self.webhooks.finish().await;
        self.withdraw().await
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        self.claim_jobs(max).await
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.bell.wait(timeout).await
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        self.renew(leases).await
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        let answer = self.record_outcomes(completions).await;
        self.rights.heard(answer).await
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        self.put_right().await
    }

    async fn next_command(&self) -> Command {
        self.await_command().await
    }

    fn skipped_callbacks(&self) -> u64 {
        self.skipped_callbacks.load(Ordering::Relaxed)
    }
}
