//! A connection to Redis in any of its topologies: it connects when first used, reconnects (asking Sentinel again) after
//! it broke, and bounds every wait.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ServerError, ServerErrorKind, Value};
use tokio::sync::Mutex;

use crate::QueueError;
use crate::redis::connector::Connector;
use crate::redis::error::breaks_connection;
use crate::redis::foreign_text::visible;
use crate::redis::guard::Guard;
use crate::redis::guard::cluster::GuardedCluster;
use crate::redis::guard::dialer::{self, GuardedNode};
use crate::redis::redial::Redial;
use crate::redis::script::Invocation;
use crate::redis::url::ConnectionUrl;

/// The waits, in milliseconds, before asking again for a slot that has moved. Not every node knows of it at once.
const SLOT_MOVED: [u64; 5] = [0, 20, 50, 100, 200];

/// What TLS needs beyond the system's certificate authorities. All in PEM.
#[derive(Clone, Default)]
pub struct TlsOptions {
    /// Certificate authorities to trust instead of the system's.
    pub ca: Option<Vec<u8>>,
    /// Our certificate chain, for mutual TLS; needs `client_key`.
    pub client_cert: Option<Vec<u8>>,
    /// The private key of `client_cert`.
    pub client_key: Option<Vec<u8>>,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = |part: &Option<Vec<u8>>| part.is_some();
        f.debug_struct("TlsOptions")
            .field("ca", &given(&self.ca))
            .field("client_cert", &given(&self.client_cert))
            .field("client_key", &given(&self.client_key))
            .finish()
    }
}

/// How long to wait for Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to stand, login and topology included.
    pub connect: Duration,
    /// For the answer to a command or a pipeline.
    pub response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), response: Duration::from_secs(10) }
    }
}

/// A shared connection: clones use the same one, and commands of concurrent callers travel together.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    connector: Connector,
    timeouts: Timeouts,
    /// The last connection that gave an answer.
    answered: AtomicU64,
    /// Locked only to look at or to replace the live connection, and while connecting: one caller connects for all.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: Option<Live>,
    /// Counts connections, so that a caller that saw an old one break does not close its successor.
    generation: u64,
    redial: Redial,
}

/// What commands are sent through.
#[derive(Clone)]
pub(crate) enum Live {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
    GuardedSingle(GuardedNode),
    GuardedCluster(GuardedCluster),
}

impl Connection {
    /// Checks the settings; connects when first used.
    pub fn new(url: &ConnectionUrl, tls: &TlsOptions, timeouts: Timeouts) -> Result<Self, QueueError> {
        Ok(Self::from_connector(Connector::new(url, tls)?, timeouts))
    }

    /// The same for a server that is not trusted: held to `guard`, and dialled less and less often while it fails.
    ///
    /// # Errors
    /// `Config` for settings that do not fit, and for a socket.
    pub fn guarded(
        url: &ConnectionUrl,
        tls: &TlsOptions,
        timeouts: Timeouts,
        guard: Guard,
    ) -> Result<Self, QueueError> {
        Ok(Self::from_connector(Connector::new(url, tls)?.guarded(guard, timeouts)?, timeouts))
    }

    pub(super) fn from_connector(connector: Connector, timeouts: Timeouts) -> Self {
        Self { shared: Arc::new(Shared { connector, timeouts, answered: AtomicU64::new(0), state: Mutex::default() }) }
    }

    /// A connection of its own to the same place, for commands that block: nothing else waits behind them. Its answers
    /// may take `response`.
    #[must_use]
    pub fn dedicated(&self, response: Duration) -> Self {
        let timeouts = Timeouts { response, ..self.shared.timeouts };
        Self::from_connector(self.shared.connector.clone(), timeouts)
    }

    /// The redacted URL.
    pub fn endpoint(&self) -> &str {
        self.shared.connector.endpoint()
    }

    /// Whether both are one, cloned: the same server, by the same account.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Whether keys are spread over nodes.
    pub fn is_cluster(&self) -> bool {
        self.shared.connector.is_cluster()
    }

    /// What all answers of a server that is not trusted cost so far, in bytes of memory or so; 0 for one that is trusted.
    pub fn answered(&self) -> u64 {
        self.shared.connector.answered()
    }

    /// Sends one command.
    pub async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> Result<T, QueueError> {
        let (mut live, generation) = self.live().await?;
        let answer = match &mut live {
            Live::Single(single) => single.req_packed_command(cmd).await,
            Live::Cluster(cluster) => ask_owner(cluster, cmd).await,
            Live::GuardedSingle(node) => node.ask(cmd).await,
            Live::GuardedCluster(cluster) => {
                let answers = cluster.send(std::slice::from_ref(cmd)).await;
                answers.map(|mut answers| answers.pop().unwrap_or(Value::Nil))
            }
        };
        match answer.and_then(Value::extract_error) {
            Ok(value) => {
                self.record_answer(generation).await;
                self.read(value)
            }
            Err(error) => Err(self.failed(error, generation).await),
        }
    }

    /// Asks whether Redis is there and lets us in; changes nothing.
    pub async fn ping(&self) -> Result<(), QueueError> {
        self.query::<Value>(&redis::cmd("PING")).await.map(drop)
    }

    /// Sends commands in one round trip (in a cluster: at the same time, each to its node). The outer error is the
    /// connection's; each command has its own.
    pub async fn pipeline(&self, commands: &[Cmd]) -> Result<Vec<Result<Value, QueueError>>, QueueError> {
        Ok(self.send(commands).await?.into_iter().map(|answer| self.outcome(answer)).collect())
    }

    async fn send(&self, commands: &[Cmd]) -> Result<Vec<Value>, QueueError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let (mut live, generation) = self.live().await?;
        let answers = match &mut live {
            Live::Single(single) => {
                let mut pipeline = Pipeline::with_capacity(commands.len());
                for command in commands {
                    pipeline.add_command(command.clone());
                }
                pipeline.ignore_errors();
                single.req_packed_commands(&pipeline, 0, commands.len()).await
            }
            Live::Cluster(cluster) => send_all(cluster, commands).await,
            Live::GuardedSingle(node) => node.send(&commands.iter().collect::<Vec<_>>()).await,
            Live::GuardedCluster(cluster) => cluster.send(commands).await,
        };
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => return Err(self.failed(error, generation).await),
        };
        for answer in &answers {
            if let Value::ServerError(error) = answer {
                let error = RedisError::from(error.clone());
                if breaks_connection(&error, self.is_cluster()) {
                    return Err(self.failed(error, generation).await);
                }
            }
        }
        self.record_answer(generation).await;
        Ok(answers)
    }

    fn outcome(&self, answer: Value) -> Result<Value, QueueError> {
        answer.extract_error().map_err(|error| self.explained(&error))
    }

    /// Runs a script, loading it where it is not known yet.
    pub async fn invoke<T: FromRedisValue>(&self, invocation: &Invocation<'_>) -> Result<T, QueueError> {
        let mut results = self.invoke_all(std::slice::from_ref(invocation)).await?;
        self.read(results.pop().expect("one answer for one script")?)
    }

    /// Runs scripts in one round trip; a second one where some are not known to the server yet.
    pub async fn invoke_all(
        &self,
        invocations: &[Invocation<'_>],
    ) -> Result<Vec<Result<Value, QueueError>>, QueueError> {
        let commands: Vec<Cmd> = invocations.iter().map(Invocation::by_hash).collect();
        let mut answers = self.send(&commands).await?;
        let unknown: Vec<usize> = (0..answers.len()).filter(|i| is_noscript(&answers[*i])).collect();
        let commands = self.loading(unknown.iter().map(|i| &invocations[*i]));
        for (i, answer) in unknown.into_iter().zip(self.send(&commands).await?) {
            answers[i] = answer;
        }
        Ok(answers.into_iter().map(|answer| self.outcome(answer)).collect())
    }

    /// The calls again, for a server that does not know their scripts: each goes along once, and is known to those behind
    /// it. In a cluster they may be for different nodes.
    fn loading<'a>(&self, invocations: impl Iterator<Item = &'a Invocation<'a>>) -> Vec<Cmd> {
        let mut sent = BTreeSet::new();
        let by_hash_or_body = |call: &Invocation<'_>| {
            let first = sent.insert(call.hash().to_owned());
            if first || self.is_cluster() { call.by_body() } else { call.by_hash() }
        };
        invocations.map(by_hash_or_body).collect()
    }

    /// A subscription on a connection of its own.
    pub async fn subscribe(&self, channel: &str) -> Result<PubSub, QueueError> {
        self.subscribe_all(&[channel.to_owned()]).await
    }

    /// A subscription to several channels on a connection of its own.
    pub async fn subscribe_all(&self, channels: &[String]) -> Result<PubSub, QueueError> {
        let connect = async {
            let mut subscription = self.shared.connector.pubsub().await?;
            subscription.subscribe(channels).await?;
            Ok(subscription)
        };
        let result = match tokio::time::timeout(self.shared.timeouts.connect, connect).await {
            Ok(result) => result,
            Err(_) => Err(timed_out()),
        };
        result.map_err(|error| self.explained(&error))
    }

    /// Converts an answer, or says what was not expected about it.
    pub fn read<T: FromRedisValue>(&self, value: Value) -> Result<T, QueueError> {
        redis::from_redis_value(value)
            .map_err(|error| QueueError::Data(format!("an answer of Redis: {}", visible(&error.to_string()))))
    }

    async fn live(&self) -> Result<(Live, u64), QueueError> {
        let mut state = self.shared.state.lock().await;
        if let Some(live) = &state.live {
            return Ok((live.clone(), state.generation));
        }
        if let Some(error) = state.redial.refusal(!self.shared.connector.is_guarded()) {
            return Err(error.clone());
        }
        let connect = self.shared.connector.connect(self.shared.timeouts);
        let connected = match tokio::time::timeout(self.shared.timeouts.connect, connect).await {
            Ok(connected) => connected,
            Err(_) => Err(timed_out()),
        };
        match connected {
            Ok(live) => {
                state.redial.record_connection();
                state.generation += 1;
                state.live = Some(live.clone());
                Ok((live, state.generation))
            }
            Err(error) => {
                let told = self.explained(&error);
                state.redial.record_failure(told.clone(), dialer::excess(&error).is_some());
                Err(told)
            }
        }
    }

    /// Forgets the connection if `error` says that it is of no more use, and turns the error into ours.
    async fn failed(&self, error: RedisError, generation: u64) -> QueueError {
        let told = self.explained(&error);
        // The guarded client of a cluster does not heal by itself.
        let broken = dialer::excess(&error).is_some()
            || breaks_connection(&error, self.is_cluster())
            || (self.shared.connector.is_guarded() && !matches!(error.kind(), ErrorKind::Server(_)));
        if broken {
            let mut state = self.shared.state.lock().await;
            if state.generation == generation && state.live.take().is_some() {
                if dialer::excess(&error).is_some() {
                    state.redial.record_excess(told.clone());
                } else if self.shared.connector.is_guarded() && !self.has_answered(generation) {
                    // It lets us in and says nothing: that is not better than to refuse us.
                    state.redial.record_failure(told.clone(), false);
                }
            }
        }
        told
    }

    fn explained(&self, error: &RedisError) -> QueueError {
        self.shared.connector.explained(error)
    }

    fn has_answered(&self, generation: u64) -> bool {
        self.shared.answered.load(Ordering::Relaxed) == generation
    }

    /// The connection of this generation gave an answer: its server is one that can be dialled at once if it breaks.
    async fn record_answer(&self, generation: u64) {
        if !self.has_answered(generation) {
            self.shared.answered.store(generation, Ordering::Relaxed);
            self.shared.state.lock().await.redial.record_answer();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("endpoint", &self.endpoint()).finish_non_exhaustive()
    }
}

/// A cluster's pipeline: each command goes to the node of its key, all at once.
async fn send_all(cluster: &ClusterConnection, commands: &[Cmd]) -> Result<Vec<Value>, RedisError> {
    let sent = commands.iter().map(|command| ask_owner(cluster, command));
    let mut answers = Vec::with_capacity(commands.len());
    for answer in futures::future::join_all(sent).await {
        answers.push(match answer {
            Ok(value) => value,
            Err(error) => Value::ServerError(ServerError::try_from(error)?),
        });
    }
    Ok(answers)
}

/// Sends a command to the node that has its slot. One that says the slot has moved did nothing, and the client library
/// has begun to learn where it is.
///
/// A slot that is *on its way* (`ASK`) is away for a moment, and nobody asks at its destination: a script would run there
/// and take the keys that are still to come for missing.
async fn ask_owner(cluster: &ClusterConnection, command: &Cmd) -> Result<Value, RedisError> {
    let mut node = cluster.clone();
    let mut waits = SLOT_MOVED.iter();
    loop {
        let answer = node.req_packed_command(command).await;
        let moved = match &answer {
            Ok(Value::ServerError(error)) => error.kind() == Some(ServerErrorKind::Moved),
            Ok(_) => false,
            Err(error) => error.kind() == ErrorKind::Server(ServerErrorKind::Moved),
        };
        match waits.next() {
            Some(wait) if moved => tokio::time::sleep(Duration::from_millis(*wait)).await,
            _ => return answer,
        }
    }
}

fn is_noscript(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

fn timed_out() -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "timed out while connecting").into()
}
