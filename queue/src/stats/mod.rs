//! What a scaler and a person see of queues: counts, the oldest wait, and what each worker did. Read-only, one round
//! trip for any number of queues, and constant work however long they are.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::bookkeeping::Place;
use crate::rq::{Keys, parse_iso};
use crate::trouble::{Trouble, read_entry};
use crate::{Connection, Invocation, Protocol, QueueConfig, QueueError, Script};

static RQ: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("rq.lua")]));
static BESIDE: LazyLock<Script> = LazyLock::new(|| Script::new(&[include_str!("beside.lua")]));

/// Which queues to look at together: their numbers add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsQuery {
    /// The wire format.
    pub protocol: Protocol,
    /// RQ names, or keys of lists or streams.
    pub names: Vec<String>,
    /// RQ's key prefix.
    pub key_prefix: String,
    /// `Stream` only: the consumer group.
    pub consumer_group: String,
}

impl From<&QueueConfig> for StatsQuery {
    fn from(config: &QueueConfig) -> Self {
        Self {
            protocol: config.protocol,
            names: config.names.clone(),
            key_prefix: config.key_prefix.clone(),
            consumer_group: config.consumer_group.clone(),
        }
    }
}

/// What the queues of one [`StatsQuery`] look like together.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueStats {
    /// By the server's clock.
    pub observed_at: DateTime<Utc>,
    /// Jobs that a worker could take now.
    pub waiting: u64,
    /// Jobs in workers' hands, those of dead workers included until they are reclaimed: all of it is work to be done. RQ jobs
    /// whose lease ended more than a minute ago count as one together: nobody runs them again before a worker finds them.
    pub running: u64,
    /// Jobs to run later, those that are due included.
    pub scheduled: u64,
    /// Scheduled jobs whose time has come; some worker has to move them.
    pub due: u64,
    /// Jobs in the failed registries.
    pub failed: u64,
    /// How long the job at the head (of the worst queue) has waited; none if nothing waits, or the protocol does not tell
    /// (lists).
    pub oldest_wait: Option<Duration>,
    /// The workers of any of the queues, by name; dead ones only until their record expires.
    pub workers: Vec<WorkerStats>,
    /// What keeps workers from their work, as each of them says.
    pub troubles: Vec<Trouble>,
}

/// One worker, as its record says. The counters start at 0 with each start of a worker.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStats {
    /// Unique per start.
    pub name: String,
    /// The host: in a cluster, the pod.
    pub hostname: String,
    /// `idle`, `busy`, `suspended`, ...; other programs may write other words.
    pub state: String,
    /// Jobs (or batches) it runs at once.
    pub concurrency: u32,
    /// Jobs in its hands.
    pub running: u64,
    /// Jobs finished.
    pub succeeded: u64,
    /// Attempts failed.
    pub failed: u64,
    /// Seconds spent running, of all its slots together; jobs of one batch count once.
    pub busy_seconds: f64,
    /// Since it was last heard of, by the server's clock.
    pub silent_for: Duration,
}

impl WorkerStats {
    /// Whether it has jobs in hand, or says so.
    pub fn is_busy(&self) -> bool {
        self.running > 0 || self.state == "busy"
    }

    /// Runs that ended since its start, however they ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed
    }
}

/// Looks at many queues in one round trip. The outer error is the connection's; a queue that cannot be read (a key of
/// another type, say) has its own.
pub async fn stats(
    connection: &Connection,
    queries: &[impl Borrow<StatsQuery>],
) -> Result<Vec<Result<QueueStats, QueueError>>, QueueError> {
    let mut calls = Vec::new();
    // How many calls each query has, or why it has none.
    let mut shares = Vec::with_capacity(queries.len());
    for query in queries.iter().map(Borrow::borrow) {
        shares.push(calls_of(query, connection.is_cluster()).map(|own| {
            let count = own.len();
            calls.extend(own);
            count
        }));
    }
    let mut answers = connection.invoke_all(&calls).await?.into_iter();
    Ok(shares
        .into_iter()
        .zip(queries.iter().map(Borrow::borrow))
        .map(|(share, query)| {
            let own: Vec<_> = answers.by_ref().take(*share.as_ref().unwrap_or(&0)).collect();
            share?;
            let parts = own.into_iter().map(|answer| connection.read::<Row>(answer?)).collect::<Result<Vec<_>, _>>()?;
            Ok(together(parts, query.protocol))
        })
        .collect())
}

fn calls_of(query: &StatsQuery, is_cluster: bool) -> Result<Vec<Invocation<'static>>, QueueError> {
    let keys = match query.protocol {
        Protocol::Rq => Some(Keys::new(&query.key_prefix, is_cluster)?),
        Protocol::List | Protocol::Stream => None,
    };
    query
        .names
        .iter()
        .map(|name| {
            if let Some(keys) = &keys {
                return Ok(RQ.on(&keys.queue(name)).arg(keys.prefix()).arg(name));
            }
            let place = Place::new(query.protocol, name, &query.consumer_group)?;
            Ok(BESIDE.on(&place.key).arg(&place.key).arg(&place.prefix).arg(&place.group))
        })
        .collect()
}

/// Seconds and microseconds of the server's clock, failed, and what else there is; none: nothing to do, and no worker.
type Row = (i64, u32, u64, Option<Work>);

/// Waiting, running, scheduled, due, when the head was queued (ISO text or an entry id), workers, troubles.
type Work = (u64, u64, u64, u64, String, Vec<WorkerRow>, Vec<String>);

/// Name, last heartbeat, state, host, succeeded, failed, busy seconds, concurrency, running.
type WorkerRow = (String, String, String, String, String, String, String, String, u64);

fn together(rows: Vec<Row>, protocol: Protocol) -> QueueStats {
    let mut stats = QueueStats {
        observed_at: DateTime::UNIX_EPOCH,
        waiting: 0,
        running: 0,
        scheduled: 0,
        due: 0,
        failed: 0,
        oldest_wait: None,
        workers: Vec::new(),
        troubles: Vec::new(),
    };
    let mut workers = BTreeMap::new();
    for (seconds, micros, failed, work) in rows {
        let now = DateTime::from_timestamp(seconds, micros * 1000).unwrap_or_default();
        stats.observed_at = now;
        stats.failed += failed;
        let Some((waiting, running, scheduled, due, head, members, troubles)) = work else { continue };
        stats.waiting += waiting;
        stats.running += running;
        stats.scheduled += scheduled;
        stats.due += due;
        let wait = time_of(&head, protocol).map(|queued| since(queued, now));
        stats.oldest_wait = stats.oldest_wait.max(wait);
        stats.troubles.extend(troubles.iter().filter_map(|entry| read_entry(entry, seconds)));
        for row in members {
            let worker = worker(row, now, protocol);
            add(&mut workers, worker, protocol);
        }
    }
    stats.workers = workers.into_values().collect();
    stats
}

/// An RQ worker has one record for all its queues; one of lists or streams has one per queue, each with its own counts.
fn add(workers: &mut BTreeMap<String, WorkerStats>, worker: WorkerStats, protocol: Protocol) {
    match workers.get_mut(&worker.name) {
        None => _ = workers.insert(worker.name.clone(), worker),
        Some(_) if protocol == Protocol::Rq => {}
        Some(known) => {
            known.running += worker.running;
            known.succeeded += worker.succeeded;
            known.failed += worker.failed;
            known.busy_seconds += worker.busy_seconds;
            known.silent_for = known.silent_for.min(worker.silent_for);
            if worker.state == "busy" {
                known.state = worker.state;
            }
        }
    }
}

fn worker(row: WorkerRow, now: DateTime<Utc>, protocol: Protocol) -> WorkerStats {
    let (name, last_heartbeat, state, hostname, succeeded, failed, busy_seconds, concurrency, running) = row;
    WorkerStats {
        name,
        hostname,
        state,
        concurrency: concurrency.parse().unwrap_or(1),
        running,
        succeeded: succeeded.parse().unwrap_or(0),
        failed: failed.parse().unwrap_or(0),
        busy_seconds: busy_seconds.parse().unwrap_or(0.0),
        silent_for: time_of(&last_heartbeat, protocol).map_or(Duration::MAX, |heard| since(heard, now)),
    }
}

/// RQ writes ISO text; streams and the records beside lists and streams have milliseconds (of an entry: before a dash).
fn time_of(text: &str, protocol: Protocol) -> Option<DateTime<Utc>> {
    match protocol {
        Protocol::Rq => parse_iso(text),
        Protocol::List | Protocol::Stream => DateTime::from_timestamp_millis(text.split('-').next()?.parse().ok()?),
    }
}

fn since(then: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (now - then).to_std().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(head: &str, worker: WorkerRow) -> Row {
        (1_000, 500_000, 4, Some((3, 2, 1, 0, head.into(), vec![worker], vec!["995 Denied no".into()])))
    }

    fn record(heartbeat: &str, state: &str) -> WorkerRow {
        ("w".into(), heartbeat.into(), state.into(), "pod".into(), "7".into(), "1".into(), "2.5".into(), "4".into(), 2)
    }

    #[test]
    fn numbers_of_several_queues_add_up_and_the_worst_wait_counts() {
        let heartbeat = "1970-01-01T00:16:39.500000Z";
        let rows = vec![
            row("1970-01-01T00:16:30.500000Z", record(heartbeat, "busy")),
            row("1970-01-01T00:16:35.000000Z", record(heartbeat, "busy")),
            (1_000, 500_000, 1, None),
        ];
        let stats = together(rows, Protocol::Rq);
        assert_eq!(stats.troubles.len(), 2);
        assert_eq!((stats.waiting, stats.running, stats.scheduled, stats.failed), (6, 4, 2, 9));
        assert_eq!(stats.oldest_wait, Some(Duration::from_secs(10)));
        let [worker] = &stats.workers[..] else { panic!("one record for both queues: {:?}", stats.workers) };
        assert_eq!((worker.succeeded, worker.concurrency, worker.silent_for), (7, 4, Duration::from_secs(1)));
    }

    #[test]
    fn a_worker_of_two_streams_has_a_record_with_each() {
        let stats = together(
            vec![row("999500-0", record("999000", "idle")), row("", record("1000000", "busy"))],
            Protocol::Stream,
        );
        assert_eq!(stats.oldest_wait, Some(Duration::from_secs(1)));
        let [worker] = &stats.workers[..] else { panic!("{:?}", stats.workers) };
        assert_eq!((worker.succeeded, worker.running, worker.state.as_str()), (14, 4, "busy"));
        assert_eq!(worker.silent_for, Duration::from_millis(500));
    }
}
