//! The RQ protocol, 2.12 and 3.0: what a Python `rq worker` does on the wire, with every step that matters atomic.
//!
//! The steps are Lua scripts (`lua/`), each built from the same prelude and with its arguments and its answer as structs; the
//! files beside this one fill those in and say what follows from the answers.

mod claim;
pub(crate) mod command_message;
mod commands;
pub(crate) mod failed_jobs;
mod heartbeat;
mod keys;
pub(crate) mod lua;
mod maintain;
mod rights;
mod settle;
pub(crate) mod text;
mod webhook;
pub(crate) mod worker_record;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::PubSub;
use tokio::sync::Mutex;

use crate::{
    Backend, Claim, Command, Completion, Connection, Lease, Maintenance, QueueConfig, QueueError, Settled, Wakeup,
};

use crate::redis::server_check::check_server;
use crate::rights::Rights;
pub use keys::Keys;
use lua::Caller;
use webhook::Webhooks;

/// RQ queues served by one worker.
pub struct RqQueue {
    connection: Connection,
    config: QueueConfig,
    keys: Keys,
    wakeup: Wakeup,
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
        let wakeup = Wakeup::new(&connection, config.names.iter().map(|name| keys.queue(name)).collect());
        let record = worker_record::record(&config);
        Ok(Self {
            connection,
            config,
            keys,
            wakeup,
            record,
            commands: Mutex::new(None),
            rights: Rights::default(),
            webhooks: Webhooks::default(),
            skipped_callbacks: AtomicU64::new(0),
        })
    }

    /// What every script takes first.
    fn caller(&self) -> Caller<'_> {
        Caller { keys: &self.keys, worker: &self.config.worker_name }
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
        self.write_registration().await?;
        self.listen_for_commands().await
    }

    async fn deregister(&self) -> Result<(), QueueError> {
        self.commands.lock().await.take();
        self.webhooks.finish().await;
        self.remove_registration().await
    }

    async fn claim(&self, max: usize) -> Result<Claim, QueueError> {
        self.claim_jobs(max).await
    }

    async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.wakeup.wait(timeout).await
    }

    async fn heartbeat(&self, leases: &[Lease]) -> Result<Vec<Lease>, QueueError> {
        self.renew_leases(leases).await
    }

    async fn settle(&self, completions: &[Completion]) -> Result<Vec<Settled>, QueueError> {
        let answer = self.record_outcomes(completions).await;
        self.rights.heard(answer).await
    }

    async fn maintain(&self) -> Result<Maintenance, QueueError> {
        self.run_maintenance().await
    }

    async fn next_command(&self) -> Command {
        self.await_command().await
    }

    fn skipped_callbacks(&self) -> u64 {
        self.skipped_callbacks.load(Ordering::Relaxed)
    }
}
