//! Queues without a cluster: of manifests or flags, read from their Redis once a second, in one round trip for all.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jobqueue_crds::JobQueueSpec;
use jobqueue_queue::admin::queue_names;
use jobqueue_queue::{Connection, FaultKind, Protocol, QueueError, QueueStats, StatsQuery, stats};
use tokio::sync::watch;

use super::{
    Backlog, Numbers, Order, Overview, Problem, QueueKey, QueueView, Row, Source, Standing, Visible, select,
    with_remedy,
};
use crate::samples::Samples;
use crate::text;

/// Between two polls; longer where a poll takes long.
const INTERVAL: Duration = Duration::from_secs(1);
/// A poll may take this part of the time.
const SHARE: u32 = 5;
/// The namespace of queues that have none.
const NAMESPACE: &str = "local";

/// One queue of a manifest, or one that a flag names.
pub struct LocalQueue {
    /// Its name.
    pub name: String,
    /// Its Redis.
    pub backlog: Backlog,
    /// Of the manifest.
    pub spec: Option<JobQueueSpec>,
}

/// Queues without a cluster.
pub struct LocalSource {
    title: String,
    /// Where no queue is named: all RQ queues there are.
    discover: Option<(Connection, String)>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    queues: BTreeMap<String, Arc<LocalQueue>>,
    rows: BTreeMap<String, Row>,
    before: HashMap<String, Before>,
    samples: Samples,
    problem: Option<String>,
}

/// What rates are reckoned from.
struct Before {
    at: Instant,
    ended: BTreeMap<String, u64>,
    present: u64,
}

impl LocalSource {
    /// Of these queues. `title` says where they are.
    pub fn new(title: String, queues: Vec<LocalQueue>) -> Arc<Self> {
        Self::start(title, None, queues)
    }

    /// Of all RQ queues on a Redis.
    pub fn all_rq_queues(title: String, connection: Connection, key_prefix: String) -> Arc<Self> {
        Self::start(title, Some((connection, key_prefix)), Vec::new())
    }

    fn start(title: String, discover: Option<(Connection, String)>, queues: Vec<LocalQueue>) -> Arc<Self> {
        let queues = queues.into_iter().map(|queue| (queue.name.clone(), Arc::new(queue))).collect();
        let state = Mutex::new(State { queues, ..State::default() });
        let source = Arc::new(Self { title, discover, state, changed: watch::Sender::new(0) });
        let weak = Arc::downgrade(&source);
        tokio::spawn(async move {
            while let Some(source) = weak.upgrade() {
                let began = Instant::now();
                source.poll().await;
                drop(source);
                tokio::time::sleep(INTERVAL.max(began.elapsed() * SHARE)).await;
            }
        });
        source
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the numbers of all queues.
    async fn poll(&self) {
        let found = self.discover().await;
        let queues: Vec<Arc<LocalQueue>> = self.state().queues.values().cloned().collect();
        let mut answers = Vec::with_capacity(queues.len());
        // Queues with one connection have one round trip.
        let mut groups: Vec<(&Connection, Vec<usize>)> = Vec::new();
        for (index, queue) in queues.iter().enumerate() {
            let connection = &queue.backlog.connection;
            match groups.iter_mut().find(|(known, _)| known.is_shared_with(connection)) {
                Some((_, members)) => members.push(index),
                None => groups.push((connection, vec![index])),
            }
        }
        for (connection, members) in groups {
            let queries: Vec<&StatsQuery> = members.iter().map(|index| &queues[*index].backlog.query).collect();
            match stats(connection, &queries).await {
                Ok(read) => answers.extend(members.into_iter().zip(read)),
                Err(error) => answers.extend(members.into_iter().map(|index| (index, Err(error.clone())))),
            }
        }
        let mut state = self.state();
        state.problem = found.err().map(|error| with_remedy(&error));
        for (index, answer) in answers {
            state.note(&queues[index].name, answer);
        }
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    /// Adds the queues that are new.
    async fn discover(&self) -> Result<(), QueueError> {
        let Some((connection, prefix)) = &self.discover else { return Ok(()) };
        let names = queue_names(connection, prefix).await?;
        let mut state = self.state();
        state.queues.retain(|name, _| names.contains(name));
        state.rows.retain(|name, _| names.contains(name));
        for name in names {
            state.queues.entry(name.clone()).or_insert_with(|| {
                let query = StatsQuery {
                    protocol: Protocol::Rq,
                    names: vec![name.clone()],
                    key_prefix: prefix.clone(),
                    consumer_group: String::new(),
                };
                Arc::new(LocalQueue { name, backlog: Backlog { connection: connection.clone(), query }, spec: None })
            });
        }
        Ok(())
    }
}

fn key(name: &str) -> QueueKey {
    QueueKey { namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

impl State {
    fn note(&mut self, name: &str, answer: Result<QueueStats, QueueError>) {
        let key = key(name);
        let row = match answer {
            Ok(stats) => {
                let rates = self.rates(name, &stats);
                let numbers = numbers(&stats, rates);
                self.samples.open_if_free(&key);
                // The rates of a sample are those since the one before, so that no job of a burst is missed or counted twice.
                let is_sampled = self.samples.add(&key, stats.observed_at.timestamp(), &numbers);
                if is_sampled || !self.before.contains_key(name) {
                    self.before.insert(name.to_owned(), Before::of(&stats));
                }
                let (standing, reason, message) = judge(&stats);
                Row { key, standing, reason: reason.to_owned(), message: text::line(&message, text::MESSAGE), numbers }
            }
            Err(error) => {
                self.before.remove(name);
                let numbers = self.rows.get(name).map(|row| row.numbers).unwrap_or_default();
                let message = text::line(&with_remedy(&error), text::MESSAGE);
                Row { key, standing: Standing::NotReady, reason: "Redis cannot be read".to_owned(), message, numbers }
            }
        };
        self.rows.insert(name.to_owned(), row);
    }

    /// Jobs that arrived and ended in a second since the last sample; a worker's counters start at 0 with it.
    fn rates(&self, name: &str, stats: &QueueStats) -> Option<(f64, f64)> {
        let (before, now) = (self.before.get(name)?, Before::of(stats));
        let seconds = now.at.duration_since(before.at).as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let fresh = |(name, ended): (&String, &u64)| ended.saturating_sub(before.ended.get(name).copied().unwrap_or(0));
        let completions = now.ended.iter().map(fresh).sum::<u64>() as f64;
        let arrivals = (completions + now.present as f64 - before.present as f64).max(0.0);
        Some((arrivals / seconds, completions / seconds))
    }
}

impl Before {
    fn of(stats: &QueueStats) -> Self {
        let ended = stats.workers.iter().map(|worker| (worker.name.clone(), worker.ended())).collect();
        Self { at: Instant::now(), ended, present: stats.waiting.saturating_add(stats.running) }
    }
}

fn numbers(stats: &QueueStats, rates: Option<(f64, f64)>) -> Numbers {
    Numbers {
        waiting: stats.waiting,
        running: stats.running,
        scheduled: stats.scheduled,
        failed: stats.failed,
        oldest_wait: stats.oldest_wait.map(|wait| wait.as_secs()),
        arrivals: rates.map(|(arrivals, _)| arrivals),
        completions: rates.map(|(_, completions)| completions),
        workers: stats.workers.len() as u64,
        desired: None,
        database_trouble: stats.faults.iter().any(|fault| fault.kind == FaultKind::Unavailable),
    }
}

/// How a queue does, and why.
fn judge(stats: &QueueStats) -> (Standing, &'static str, String) {
    let work = stats.waiting.saturating_add(stats.due);
    if let Some(fault) = stats.faults.first() {
        return (Standing::Degraded, "Workers report trouble", fault.message.clone());
    }
    if work > 0 && stats.workers.is_empty() {
        return (
            Standing::NotReady,
            "No worker",
            format!("{} wait, and no worker serves this queue", text::jobs(work)),
        );
    }
    if stats.failed > 0 {
        return (Standing::Failures, "Jobs failed", format!("{} in the failed registry", text::jobs(stats.failed)));
    }
    let reason = if stats.running > 0 || work > 0 { "Working" } else { "Idle" };
    (Standing::Fine, reason, String::new())
}

#[async_trait]
impl Source for LocalSource {
    fn title(&self) -> String {
        self.title.clone()
    }

    async fn overview(&self, query: &str, order: Order, skip: usize, count: usize, visible: &Visible) -> Overview {
        let state = self.state();
        Overview { problem: state.problem.clone(), ..select(state.rows.values(), query, order, (skip, count), visible) }
    }

    fn namespaces(&self) -> Vec<String> {
        vec![NAMESPACE.to_owned()]
    }

    async fn queue(&self, wanted: &QueueKey) -> Result<QueueView, Problem> {
        let mut state = self.state();
        let queue = state.queues.get(&wanted.name).filter(|_| wanted.namespace == NAMESPACE).cloned();
        let queue = queue.ok_or_else(|| missing(wanted))?;
        state.samples.open(wanted);
        let row = state.rows.get(&wanted.name).cloned().ok_or_else(|| {
            Problem::Unavailable("This queue has not been read yet. Load the page again in a moment.".to_owned())
        })?;
        let note = "No operator decides here. jobqueue local prints why it starts and stops workers.";
        Ok(QueueView {
            row,
            explanation: None,
            spec: queue.spec.clone(),
            pods: Vec::new(),
            notes: vec![note.to_owned()],
            samples: state.samples.of(wanted),
        })
    }

    async fn backlog(&self, wanted: &QueueKey) -> Result<Backlog, Problem> {
        let state = self.state();
        let queue = state.queues.get(&wanted.name).filter(|_| wanted.namespace == NAMESPACE);
        queue.map(|queue| queue.backlog.clone()).ok_or_else(|| missing(wanted))
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn missing(wanted: &QueueKey) -> Problem {
    Problem::NotFound(format!("There is no queue {}.", text::line(&wanted.name, text::SHORT)))
}
