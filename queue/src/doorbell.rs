//! Waiting for work without taking it: an idle worker hears of a new element of any of its lists within a round trip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;

use crate::{Connection, QueueError};

/// How long one blocking command lasts; also how fast a silent connection is found out.
const BLOCK_SECONDS: u64 = 5;

/// Pause of a listener whose connection failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Listens on lists with `BLMOVE key key LEFT LEFT`: it blocks until there is an element, and moves the head onto its
/// own place, so nothing is consumed and no order changes. Each list has a connection of its own.
///
/// A listener works only between a call of [`Doorbell::wait`] and the next element, so a busy worker costs nothing.
pub struct Doorbell {
    connection: Connection,
    keys: Vec<String>,
    listeners: OnceCell<JoinSet<()>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Somebody waits: listeners are to block.
    armed: AtomicBool,
    arm: Notify,
    rang: Notify,
}

impl Doorbell {
    /// For lists at `keys`, over connections like `connection`.
    pub fn new(connection: &Connection, keys: Vec<String>) -> Self {
        let connection = connection.clone();
        Self { connection, keys, listeners: OnceCell::new(), shared: Arc::default() }
    }

    /// Returns when one of the lists has an element, or after `timeout`; now and then early for no reason. Where
    /// listening is impossible the caller finds out by its own commands, so there is no error.
    pub async fn wait(&self, timeout: Duration) -> Result<(), QueueError> {
        self.listeners.get_or_init(|| async { self.listen() }).await;
        self.shared.armed.store(true, Ordering::SeqCst);
        self.shared.arm.notify_waiters();
        let _ = tokio::time::timeout(timeout, self.shared.rang.notified()).await;
        self.shared.armed.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Wakes whoever waits: there is something to claim that no list tells of.
    pub fn ring(&self) {
        self.shared.rang.notify_one();
    }

    fn listen(&self) -> JoinSet<()> {
        let mut listeners = JoinSet::new();
        for key in &self.keys {
            let connection = self.connection.dedicated(Duration::from_secs(BLOCK_SECONDS + 5));
            listeners.spawn(listener(connection, key.clone(), Arc::clone(&self.shared)));
        }
        listeners
    }
}

async fn listener(connection: Connection, key: String, shared: Arc<Shared>) {
    let mut block = redis::cmd("BLMOVE");
    block.arg(&key).arg(&key).arg("LEFT").arg("LEFT").arg(BLOCK_SECONDS);
    loop {
        wait_armed(&shared).await;
        match connection.query::<Value>(&block).await {
            Ok(Value::Nil) => {}
            Ok(_) => {
                shared.armed.store(false, Ordering::SeqCst);
                shared.rang.notify_one();
            }
            Err(error) => {
                tracing::debug!(%error, key, "cannot listen for new jobs; polling goes on");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

async fn wait_armed(shared: &Shared) {
    loop {
        let mut armed = std::pin::pin!(shared.arm.notified());
        // Registered before the look at the flag, so that no arming falls between the two.
        armed.as_mut().enable();
        if shared.armed.load(Ordering::SeqCst) {
            return;
        }
        armed.await;
    }
}
