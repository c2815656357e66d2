//! What a scaler and a person see of queues: counts, the oldest wait, and what each worker did. Read-only, one round
//! trip for any number of queues, and constant work however long they are.

mod answer;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use jobqueue_api::QueueSettings;

pub(crate) use self::answer::{LONGEST_TEXT, MOST_WORKERS};
use self::answer::{StatsAnswer, WorkerRecord};
use crate::rq::{Keys, lua as rq, text::parse_iso};
use crate::simple::{QueueKeys, lua as simple};
use crate::worker_reports::{WorkerFault, read_entry};
use crate::{Connection, Invocation, Protocol, QueueConfig, QueueError};

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

impl From<&QueueSettings> for StatsQuery {
    fn from(settings: &QueueSettings) -> Self {
        Self {
            protocol: settings.protocol,
            names: settings.names.clone(),
            key_prefix: settings.key_prefix.clone(),
            consumer_group: settings.consumer_group.clone(),
        }
    }
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
    pub faults: Vec<WorkerFault>,
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
    /// For how long it has been at the job (or batch) in hand; none where it is idle, does several at once, or leaves no
    /// such account (lists and streams). As wrong as its clock differs from the server's.
    pub job_age: Option<Duration>,
}

impl WorkerStats {
    /// Whether it has jobs in hand, or says so.
    pub fn is_busy(&self) -> bool {
        self.running > 0 || self.state == "busy"
    }

    /// Runs that ended since its start, however they ended.
    pub fn ended(&self) -> u64 {
        self.succeeded.saturating_add(self.failed)
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
            let script = match query.protocol {
                Protocol::Rq => "rq/lua/stats.lua",
                Protocol::List | Protocol::Stream => "simple/lua/stats.lua",
            };
            let parts: Result<Vec<_>, _> = own.into_iter().map(|answer| StatsAnswer::read(script, answer?)).collect();
            Ok(together(parts?, query.protocol))
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
                return Ok(rq::stats::call(keys, name));
            }
            let queue = QueueKeys::new(query.protocol, name, &query.consumer_group)?;
            Ok(simple::stats::call(&queue))
        })
        .collect()
}

fn together(answers: Vec<StatsAnswer>, protocol: Protocol) -> QueueStats {
    let mut stats = QueueStats {
        observed_at: DateTime::UNIX_EPOCH,
        waiting: 0,
        running: 0,
        scheduled: 0,
        due: 0,
        failed: 0,
        oldest_wait: None,
        workers: Vec::new(),
        faults: Vec::new(),
    };
    let mut workers = BTreeMap::new();
    for StatsAnswer { now, failed, activity } in answers {
        stats.observed_at = now;
        stats.failed = stats.failed.saturating_add(failed);
        let Some(activity) = activity else { continue };
        stats.waiting = stats.waiting.saturating_add(activity.waiting);
        stats.running = stats.running.saturating_add(activity.running);
        stats.scheduled = stats.scheduled.saturating_add(activity.scheduled);
        stats.due = stats.due.saturating_add(activity.due);
        let wait = time_of(&activity.head, protocol).map(|queued| since(queued, now));
        stats.oldest_wait = stats.oldest_wait.max(wait);
        stats.faults.extend(activity.reports.iter().filter_map(|entry| read_entry(entry, now.timestamp())));
        for record in activity.workers {
            add(&mut workers, worker(record, now, protocol), protocol);
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
            known.running = known.running.saturating_add(worker.running);
            known.succeeded = known.succeeded.saturating_add(worker.succeeded);
            known.failed = known.failed.saturating_add(worker.failed);
            known.busy_seconds += worker.busy_seconds;
            known.silent_for = known.silent_for.min(worker.silent_for);
            if worker.state == "busy" {
                known.state = worker.state;
            }
        }
    }
}

fn worker(record: WorkerRecord, now: DateTime<Utc>, protocol: Protocol) -> WorkerStats {
    let heard = time_of(&record.last_heartbeat, protocol);
    let mut worker = WorkerStats {
        name: record.name,
        hostname: record.hostname,
        state: record.state,
        concurrency: record.concurrency.parse().unwrap_or(1),
        running: record.running,
        succeeded: record.succeeded.parse().unwrap_or(0),
        failed: record.failed.parse().unwrap_or(0),
        busy_seconds: seconds(&record.busy_seconds).unwrap_or(0.0),
        silent_for: heard.map_or(Duration::MAX, |heard| since(heard, now)),
        job_age: None,
    };
    if worker.is_busy() && worker.concurrency <= 1 {
        worker.job_age = heard.and_then(|heard| at_heartbeat(&record.at_work, heard)?.checked_add(worker.silent_for));
    }
    worker
}

/// For how long a worker had been at its job when it was last heard of; both times are by its own clock. RQ 2 and ours write
/// seconds with each heartbeat; a run of RQ 3 that began after the last one is as old as the silence.
fn at_heartbeat(at_work: &str, heard: DateTime<Utc>) -> Option<Duration> {
    let seconds: f64 = match at_work.strip_prefix("since ") {
        None => at_work.parse().ok()?,
        Some(began) => heard.timestamp_micros() as f64 / 1e6 - began.parse::<f64>().ok()?,
    };
    Duration::try_from_secs_f64(seconds.clamp(0.0, f64::MAX)).ok()
}

/// Seconds as a number that can be reckoned with.
fn seconds(text: &str) -> Option<f64> {
    text.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
}

/// RQ writes ISO text; streams and the records of lists and streams have milliseconds (of an entry: before a dash).
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
    use super::answer::Activity;
    use super::*;

    fn answer(failed: u64, activity: Option<Activity>) -> StatsAnswer {
        StatsAnswer { now: DateTime::from_timestamp(1_000, 500_000_000).unwrap(), failed, activity }
    }

    fn active(head: &str, worker: WorkerRecord) -> StatsAnswer {
        let activity = Activity {
            waiting: 3,
            running: 2,
            scheduled: 1,
            due: 0,
            head: head.into(),
            workers: vec![worker],
            reports: vec!["995 Denied no".into()],
        };
        answer(4, Some(activity))
    }

    fn record(heartbeat: &str, state: &str) -> WorkerRecord {
        WorkerRecord {
            name: "w".into(),
            last_heartbeat: heartbeat.into(),
            state: state.into(),
            hostname: "pod".into(),
            succeeded: "7".into(),
            failed: "1".into(),
            busy_seconds: "2.5".into(),
            concurrency: "4".into(),
            running: 2,
            at_work: String::new(),
        }
    }

    #[test]
    fn numbers_of_several_queues_add_up_and_the_worst_wait_counts() {
        let heartbeat = "1970-01-01T00:16:39.500000Z";
        let rows = vec![
            active("1970-01-01T00:16:30.500000Z", record(heartbeat, "busy")),
            active("1970-01-01T00:16:35.000000Z", record(heartbeat, "busy")),
            answer(1, None),
        ];
        let stats = together(rows, Protocol::Rq);
        assert_eq!(stats.faults.len(), 2);
        assert_eq!((stats.waiting, stats.running, stats.scheduled, stats.failed), (6, 4, 2, 9));
        assert_eq!(stats.oldest_wait, Some(Duration::from_secs(10)));
        let [worker] = &stats.workers[..] else { panic!("one record for both queues: {:?}", stats.workers) };
        assert_eq!((worker.succeeded, worker.concurrency, worker.silent_for), (7, 4, Duration::from_secs(1)));
    }

    #[test]
    fn a_worker_of_two_streams_has_a_record_with_each() {
        let stats = together(
            vec![active("999500-0", record("999000", "idle")), active("", record("1000000", "busy"))],
            Protocol::Stream,
        );
        assert_eq!(stats.oldest_wait, Some(Duration::from_secs(1)));
        let [worker] = &stats.workers[..] else { panic!("{:?}", stats.workers) };
        assert_eq!((worker.succeeded, worker.running, worker.state.as_str()), (14, 4, "busy"));
        assert_eq!(worker.silent_for, Duration::from_millis(500));
    }

    /// The age of a job, half a second after the last heartbeat by the server's clock.
    fn age(at_work: &str, (state, running, concurrency): (&str, u64, &str), heartbeat: &str) -> Option<f64> {
        let mut row = record(heartbeat, state);
        (row.concurrency, row.running, row.at_work) = (concurrency.into(), running, at_work.into());
        let now = DateTime::from_timestamp(1_000, 500_000_000).unwrap();
        worker(row, now, Protocol::Rq).job_age.map(|age| age.as_secs_f64())
    }

    #[test]
    fn a_job_is_as_old_as_its_worker_said_and_the_time_since() {
        let heartbeat = "1970-01-01T00:16:40.000000Z";
        let alone = ("busy", 1, "1");
        assert_eq!(age("30.25", alone, heartbeat), Some(30.75));
        assert_eq!(age("0", ("busy", 0, "1"), heartbeat), Some(0.5), "rq 2 has no set of executions");
        assert_eq!(age("since 990.5", alone, heartbeat), Some(10.0));
        assert_eq!(age("since 1000.25", alone, heartbeat), Some(0.5), "begun after the heartbeat");
        assert_eq!(age("3", ("busy", 200, "1"), heartbeat), Some(3.5), "a batch");
        // A clock that is ahead: never less than what it says itself.
        assert_eq!(age("3", alone, "1970-01-01T00:17:00.000000Z"), Some(3.0));
    }

    #[test]
    fn what_no_worker_says_is_no_age() {
        let heartbeat = "1970-01-01T00:16:40.000000Z";
        for odd in ["", "soon", "nan", "inf", "1e300", "since", "since ", "since never", "since nan", "since -inf"] {
            assert_eq!(age(odd, ("busy", 1, "1"), heartbeat), None, "{odd}");
        }
        assert_eq!(age("3", ("busy", 1, "1"), "yesterday"), None);
        assert_eq!(age("3", ("idle", 0, "1"), heartbeat), None);
        assert_eq!(age("3", ("busy", 2, "4"), heartbeat), None, "of several nobody says which");
    }
}
