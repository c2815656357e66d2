//! Waiting for work without taking it: an idle worker hears of a new element of its first few lists within a round trip, and
//! of any other within a fifth of a second, over a handful of connections however many lists there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::Value;
use tokio::sync::{Notify, OnceCell};
use tokio::task::JoinSet;

use crate::{Connection, QueueError};

/// How long one blocking command lasts; also how fast a silent connection is found out.
const BLOCK_SECONDS: u64 = 5;

/// So many lists are listened to, each over a connection of its own: no command waits for several without taking something.
const LISTENED: usize = 3;

/// How often it is asked whether one of the others has an element, at the longest; one command, over the shared connection.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// Pause of a listener whose connection failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// Listens on lists with `BLMOVE key key LEFT LEFT`: it blocks until there is an element, and moves the head onto its
/// own place, so nothing is consumed and no order changes. Behind the first few it asks with `EXISTS`: a list that is there
/// has an element.
///
/// All of it works only between a call of [`Wakeup::wait`] and the next element, so a busy worker costs nothing.
pub struct Wakeup {
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

impl Shared {
    fn ring(&self) {
        self.armed.store(false, Ordering::SeqCst);
        self.rang.notify_one();
    }
}

impl Wakeup {
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
        let (listened, asked) = self.keys.split_at(LISTENED.min(self.keys.len()));
        if !asked.is_empty() {
            listeners.spawn(asker(self.connection.clone(), asked.to_vec(), Arc::clone(&self.shared)));
        }
        for key in listened {
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
            Ok(_) => shared.ring(),
            Err(error) => {
                tracing::debug!(%error, key, "cannot listen for new jobs; polling goes on");
                tokio::time::sleep(AFTER_ERROR).await;
            }
        }
    }
}

async fn asker(connection: Connection, keys: Vec<String>, shared: Arc<Shared>) {
    let exists = |keys: &[String]| redis::cmd("EXISTS").arg(keys).to_owned();
    // In a cluster each key may be on a node of its own.
    let at_once = if connection.is_cluster() { 1 } else { keys.len() };
    let questions: Vec<_> = keys.chunks(at_once).map(exists).collect();
    loop {
        wait_armed(&shared).await;
        // Workers that were started together do not ask together.
        tokio::time::sleep(ASK_EVERY.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
        if !shared.armed.load(Ordering::SeqCst) {
            continue;
        }
        match connection.pipeline(&questions).await {
            Ok(answers) => {
                let there = |answer| matches!(answer, Ok(Value::Int(number)) if number > 0);
                if answers.into_iter().any(there) {
                    shared.ring();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "cannot ask for new jobs; polling goes on");
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
