//! What the pages need, wherever it comes from: [`LocalSource`] asks Redis, [`ClusterSource`] the API server.

mod cluster;
mod local;
mod order;

use std::collections::BTreeSet;

use async_trait::async_trait;
use jobqueue_crds::JobQueueSpec;
use jobqueue_crds::explanation::Explanation;
use jobqueue_queue::admin::FailedJobs;
use jobqueue_queue::{Connection, QueueError, StatsQuery};
use tokio::sync::watch;

pub use self::cluster::{ClusterSettings, ClusterSource, RedisReach};
pub use self::local::{LocalQueue, LocalSource};
pub use self::order::{Order, SortBy};
use crate::samples::Sample;
use crate::text;

/// Which queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueKey {
    /// Its namespace; `local` outside a cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How a queue does, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It cannot go on without a person.
    Stalled,
    /// It is not served, or not known to be.
    NotReady,
    /// Work goes on, but something needs a person's attention.
    Degraded,
    /// Jobs failed.
    Failures,
    /// All is well.
    Fine,
}

impl Standing {
    /// In a word or two, for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stalled => "Stalled",
            Self::NotReady => "Not ready",
            Self::Degraded => "Degraded",
            Self::Failures => "Failures",
            Self::Fine => "Well",
        }
    }
}

/// One queue in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which.
    pub key: QueueKey,
    /// How it does.
    pub standing: Standing,
    /// One word for it.
    pub reason: String,
    /// The same in a sentence; may be empty.
    pub message: String,
    /// The numbers.
    pub numbers: Numbers,
}

/// The numbers of a queue; those that nobody told are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Numbers {
    /// Jobs that wait.
    pub waiting: u64,
    /// Jobs in workers' hands.
    pub running: u64,
    /// Jobs for later.
    pub scheduled: u64,
    /// Jobs in the failed registry.
    pub failed: u64,
    /// How long the oldest has waited, in seconds.
    pub oldest_wait: Option<u64>,
    /// Jobs that arrive in a second.
    pub arrivals: Option<f64>,
    /// Jobs that end in a second.
    pub completions: Option<f64>,
    /// Workers that are there.
    pub workers: u64,
    /// Workers that were asked for.
    pub desired: Option<u64>,
    /// Whether the workers report trouble with the database.
    pub database_trouble: bool,
}

/// A part of the list.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// The rows of this page.
    pub rows: Vec<Row>,
    /// How many queues there are.
    pub total: usize,
    /// How many of them match.
    pub matching: usize,
    /// How many of all are stalled, not ready or degraded, and how many have failed jobs, whatever their standing.
    pub troubled: [usize; 4],
    /// The sums over all of them; of the waits, the longest.
    pub totals: Numbers,
    /// Why the list may be old or incomplete.
    pub problem: Option<String>,
}

impl Overview {
    /// Whether nothing is known of any queue, since none could be asked for.
    pub fn is_unknown(&self) -> bool {
        self.total == 0 && self.problem.is_some()
    }

    /// How many queues there are, and how many of them are not well.
    pub fn sentence(&self) -> String {
        let [stalled, not_ready, degraded, failures] = self.troubled.map(|count| text::count(count as u64));
        let queues = if self.total == 1 { "queue" } else { "queues" };
        let total = text::count(self.total as u64);
        format!(
            "{total} {queues}: {stalled} stalled, {not_ready} not ready, {degraded} degraded, {failures} with failed jobs."
        )
    }
}

/// One queue.
pub struct QueueView {
    /// As in the list.
    pub row: Row,
    /// What the operator says of it.
    pub explanation: Option<Explanation>,
    /// As it was specified, where there is a manifest.
    pub spec: Option<JobQueueSpec>,
    /// The workers' pods.
    pub pods: Vec<Pod>,
    /// What could not be had, and which right is missing.
    pub notes: Vec<String>,
    /// The last hour, as far as it was watched.
    pub samples: Vec<Sample>,
}

/// The pod of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name, which is the host name of the worker.
    pub name: String,
    /// In one word.
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it was asked to end.
    pub draining: bool,
}

/// The failed registry of a name.
pub type Registry = (String, FailedJobs);

/// The Redis of a queue.
#[derive(Clone)]
pub struct Backlog {
    /// The connection.
    pub connection: Connection,
    /// The names, and how they are kept.
    pub query: StatsQuery,
}

impl Backlog {
    /// The failed registry of each name.
    pub fn registries(&self) -> Result<Vec<Registry>, QueueError> {
        let StatsQuery { protocol, names, key_prefix, consumer_group } = &self.query;
        let registry = |name: &String| {
            let jobs = FailedJobs::of(self.connection.clone(), *protocol, key_prefix, consumer_group, name)?;
            Ok((name.clone(), jobs))
        };
        names.iter().map(registry).collect()
    }
}

/// Why something cannot be shown.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Problem {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The visitor may not; the text names the right.
    #[error("{0}")]
    Forbidden(String),
    /// Something does not answer, or a right is missing; the text says what to do.
    #[error("{0}")]
    Unavailable(String),
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        Self::Unavailable(with_remedy(&error))
    }
}

/// What failed, and what to check.
pub(crate) fn with_remedy(error: &QueueError) -> String {
    error.remedy().map_or_else(|| error.to_string(), |remedy| format!("{error}; {remedy}"))
}

/// The queues that somebody may see in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visible {
    /// All.
    All,
    /// Those of some namespaces.
    Namespaces {
        /// Which.
        own: BTreeSet<String>,
        /// Whether there were more than could be asked about.
        is_cut: bool,
    },
}

impl Visible {
    fn has(&self, row: &Row) -> bool {
        match self {
            Self::All => true,
            Self::Namespaces { own, .. } => own.contains(&row.key.namespace),
        }
    }
}

/// Where queues are looked up.
#[async_trait]
pub trait Source: Send + Sync {
    /// What is shown, in a few words for the top of each page.
    fn title(&self) -> String;

    /// The queues whose name, state or reason has `query` in it: `count` of them after `skip`, in this order. None is counted
    /// that is not `visible`.
    async fn overview(&self, query: &str, order: Order, skip: usize, count: usize, visible: &Visible) -> Overview;

    /// The namespaces that have queues, each once.
    fn namespaces(&self) -> Vec<String>;

    /// One queue. It is watched more closely for a while.
    async fn queue(&self, key: &QueueKey) -> Result<QueueView, Problem>;

    /// Its Redis.
    async fn backlog(&self, key: &QueueKey) -> Result<Backlog, Problem>;

    /// Changes when there is something new to show.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// A page of the rows that match, in this order: so many after so many.
pub(crate) fn select<'a>(
    rows: impl Iterator<Item = &'a Row>,
    query: &str,
    order: Order,
    (skip, count): (usize, usize),
    visible: &Visible,
) -> Overview {
    let query = query.trim().to_lowercase();
    let mut overview = Overview::default();
    let mut found: Vec<&Row> = Vec::new();
    for row in rows.filter(|row| visible.has(row)) {
        overview.total += 1;
        let [stalled, not_ready, degraded, failures] = &mut overview.troubled;
        match row.standing {
            Standing::Stalled => *stalled += 1,
            Standing::NotReady => *not_ready += 1,
            Standing::Degraded => *degraded += 1,
            Standing::Failures | Standing::Fine => {}
        }
        *failures += usize::from(row.numbers.failed > 0);
        overview.totals.add(&row.numbers);
        if matches(row, &query) {
            found.push(row);
        }
    }
    overview.matching = found.len();
    found.sort_unstable_by(|one, other| order.compare(one, other));
    if matches!(visible, Visible::Namespaces { is_cut: true, .. }) {
        let text = "There are more namespaces than this page asks about: queues of yours may be missing here. Open them by address.";
        overview.problem = Some(text.to_owned());
    }
    overview.rows = found.into_iter().skip(skip).take(count).cloned().collect();
    overview
}

fn matches(row: &Row, query: &str) -> bool {
    let has = |text: &str| text.to_lowercase().contains(query);
    query.is_empty()
        || has(&row.key.name)
        || has(&format!("{}/{}", row.key.namespace, row.key.name))
        || has(&row.reason)
        || has(&row.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn row(name: &str, standing: Standing, waiting: u64) -> Row {
        Row {
            key: QueueKey { namespace: "shop".into(), name: name.into() },
            standing,
            reason: format!("{standing:?}"),
            message: String::new(),
            numbers: Numbers { waiting, failed: u64::from(standing == Standing::Failures), ..Numbers::default() },
        }
    }

    #[test]
    fn queues_with_failed_jobs_are_counted_whatever_else_they_lack() {
        let mut away = row("away", Standing::NotReady, 3);
        away.numbers.failed = 200;
        let rows = [away, row("failed", Standing::Failures, 0), row("calm", Standing::Fine, 0)];
        let all = select(rows.iter(), "", Order::default(), (0, 10), &Visible::All);
        assert_eq!(all.sentence(), "3 queues: 0 stalled, 1 not ready, 0 degraded, 2 with failed jobs.");
    }

    pub(super) fn names(overview: &Overview) -> Vec<&str> {
        overview.rows.iter().map(|row| row.key.name.as_str()).collect()
    }

    #[test]
    fn the_worst_come_first_then_the_longest_backlog() {
        let rows = [
            row("calm", Standing::Fine, 0),
            row("long", Standing::Fine, 9),
            row("failed", Standing::Failures, 1),
            row("broken", Standing::Stalled, 0),
            row("away", Standing::NotReady, 50),
        ];
        let all = select(rows.iter(), "", Order::default(), (0, 10), &Visible::All);
        assert_eq!(names(&all), ["broken", "away", "failed", "long", "calm"]);
        assert_eq!((all.total, all.matching, all.troubled), (5, 5, [1, 1, 0, 1]));
        assert_eq!(names(&select(rows.iter(), "", Order::default(), (1, 2), &Visible::All)), ["away", "failed"]);
        let some = select(rows.iter(), " SHOP/Lo ", Order::default(), (0, 10), &Visible::All);
        assert_eq!((names(&some), some.total, some.matching), (vec!["long"], 5, 1));
        assert_eq!(
            names(&select(rows.iter(), "stalled", Order::default(), (0, 10), &Visible::All)),
            ["broken"],
            "a reason"
        );
    }

    #[test]
    fn what_is_not_visible_is_not_counted() {
        let mut other = row("other", Standing::Stalled, 1);
        other.key.namespace = "mail".into();
        let rows = [row("own", Standing::Fine, 0), other];
        let own = BTreeSet::from(["shop".to_owned()]);
        let seen = select(rows.iter(), "", Order::default(), (0, 10), &Visible::Namespaces { own, is_cut: false });
        assert_eq!((names(&seen), seen.total, seen.matching, seen.troubled), (vec!["own"], 1, 1, [0; 4]));
        assert_eq!(seen.problem, None);
    }
}
