//! The poll of all queues, several times a second: one connection and one round trip per Redis. A Redis that is slow or dead
//! delays its own queues only.
//!
//! A number's way from the backlog to `replicas` goes through this folder in one direction: [`Autoscaler::run`] asks for it,
//! [`observe`] takes it in, [`evaluate`] decides, [`executor`] writes the change (with [`scale_down`] marking the pods to
//! remove).

mod evaluate;
pub(crate) mod executor;
mod observe;
mod pace;
mod redis_endpoints;
mod scale_down;
pub(crate) mod write_priority;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jobqueue_queue::{Connection, Guard, QueueError, QueueStats, StatsQuery, eviction_policy, stats};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, timeout_at},
};
use tokio_util::sync::CancellationToken;

pub use crate::autoscaler::evaluate::Change;
use crate::{
    autoscaler::{
        evaluate::{Evaluation, evaluate},
        executor::Executor,
        observe::{Moment, observe},
        pace::{OneTurn, Pace},
        redis_endpoints::Endpoints,
        write_priority::WritePriority,
    },
    liveness::Liveness,
    metrics::Metrics,
    state::{
        fair_share::news_of_workers,
        key::Key,
        owners::{AutoscalerState, PollTarget},
    },
};

/// Queues in one round trip: an answer takes a kilobyte of memory until it is read, and ten thousand would take ten
/// megabytes, several times a second.
const PER_ROUND_TRIP: usize = 500;

/// Workers of the queues in one round trip, as far as they are known: what is answered of each of them takes a third of a
/// kilobyte, and one answer has a limit.
const WORKERS_PER_ROUND_TRIP: usize = 4_000;

/// A poll that takes longer is over: what was not answered by then counts as not answered.
const POLL_DEADLINE: Duration = Duration::from_secs(10);

/// How much later a poll may be while many numbers of workers are being written.
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// The connection to a Redis, or why there is none.
type Connected = Result<Arc<Connection>, Arc<QueueError>>;

/// Polls the queues and scales their workers.
#[derive(Clone)]
pub(crate) struct Autoscaler {
    /// The queues.
    pub(crate) state: AutoscalerState,
    /// Writes what is decided.
    pub(crate) executor: Executor,
    /// What is measured.
    pub(crate) metrics: Arc<Metrics>,
    /// The numbers that are being written.
    pub(crate) write_priority: Arc<WritePriority>,
    /// The pause between two polls.
    pub(crate) interval: Duration,
    /// Which servers may be polled, and how much they may answer.
    pub(crate) guard: Guard,
    /// Whether the loop goes on.
    pub(crate) liveness: Liveness,
}

impl Autoscaler {
    /// Polls until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let began = Instant::now();
        let poll = |connection, queues| {
            let autoscaler = self.clone();
            async move { autoscaler.poll(connection, queues, began).await }
        };
        self.take_turns(poll, stop).await;
    }

    /// Begins a `poll` of each Redis as often as it has its turn, until `stop`.
    pub(crate) async fn take_turns<P>(&self, poll: impl Fn(Connected, Vec<PollTarget>) -> P, stop: CancellationToken)
    where
        P: Future<Output = ()> + Send + 'static,
    {
        let mut endpoints = Endpoints::new(self.guard.clone());
        let pace = Pace::default();
        let mut polls = JoinSet::new();
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let pulse = self.liveness.begin("poll", self.interval);
        loop {
            pulse.beat();
            tokio::select! {
                () = due(&mut ticks, &self.write_priority) => {}
                () = stop.cancelled() => break,
            }
            while polls.try_join_next().is_some() {}
            let by_endpoint = self.state.by_endpoint();
            endpoints.retain(&by_endpoint);
            pace.retain(&by_endpoint);
            for (endpoint, queues) in by_endpoint {
                if !pace.begin(&endpoint) {
                    continue;
                }
                let connection = endpoints.get(&endpoint).map_err(Arc::new);
                let turn = OneTurn { pace: pace.clone(), endpoint, queues: queues.len() };
                let (metrics, poll) = (self.metrics.clone(), poll(connection.clone(), queues));
                polls.spawn(async move {
                    let polled_at = Instant::now();
                    let answered = || connection.as_ref().map_or(0, |connection| connection.answered());
                    turn.take(answered, poll).await;
                    metrics.sweep_seconds.observe(polled_at.elapsed().as_secs_f64());
                });
            }
        }
        polls.shutdown().await;
    }

    /// One poll of all queues of one Redis, a bounded number in each round trip, and what follows from it.
    async fn poll(&self, connection: Connected, queues: Vec<PollTarget>, began: Instant) {
        let deadline = Instant::now() + POLL_DEADLINE;
        // While some answers are taken in, Redis is at work on the next.
        let portions: Vec<_> = portions(&queues).into_iter().map(|some| ask(&connection, some, deadline)).collect();
        let mut portions = stream::iter(portions).buffered(2);
        while let Some(PollAnswer { queues, answers, asked_at }) = portions.next().await {
            let now = began.elapsed().as_secs_f64();
            for (target, mut answer) in queues.iter().zip(answers) {
                let key = &target.key;
                if let Ok(stats) = &mut answer {
                    self.cut_workers(target, stats);
                }
                if let Some(change) = self.evaluate(key, now, answer.as_ref().map_err(AsRef::as_ref)) {
                    let (executor, key) = (self.executor.clone(), key.clone());
                    tokio::spawn(async move { executor.execute(&key, change, asked_at).await });
                }
            }
        }
        if let Ok(connection) = &connection {
            self.ask_for_eviction_policy(connection, &queues).await;
        }
    }

    /// Leaves so many workers in an answer that what is remembered of all queues together is bounded.
    fn cut_workers(&self, target: &PollTarget, stats: &mut QueueStats) {
        if let Some(reported) = news_of_workers(target.reported_workers, stats.workers.len()) {
            self.state.record_reported_workers(&target.key, reported);
        }
        stats.workers.truncate(target.most_workers);
    }

    /// Takes in what one poll, `now` seconds after any fixed moment, answered for one queue. Returns the change that it calls
    /// for, to be written by the [`Executor`]; `None` if the number of workers stays.
    pub(crate) fn evaluate(&self, key: &Key, now: f64, answer: Result<&QueueStats, &QueueError>) -> Option<Change> {
        let now = Moment::now(now);
        let Evaluation { change, has_news } = self.state.update_within_budget(key, |queue, elsewhere| {
            let load = observe(queue.observed, queue.spec, queue.applied, answer, now);
            evaluate(queue, &load, now, elsewhere)
        })?;
        if change.is_none() && has_news {
            self.executor.request_reconcile(key);
        }
        change
    }

    /// Now and then, and when the poll is over, asks whether Redis may evict jobs. Not known is as good as no.
    async fn ask_for_eviction_policy(&self, connection: &Connection, queues: &[PollTarget]) {
        let due: Vec<&Key> =
            queues.iter().filter(|target| target.eviction_policy_due).map(|target| &*target.key).collect();
        if due.is_empty() {
            return;
        }
        let policy = eviction_policy(connection).await;
        for key in due {
            match &policy {
                Ok(policy) => self.record_eviction_policy(key, policy.as_deref()),
                Err(_) => {
                    self.state.update(key, |queue| queue.observed.eviction_asked_at = Some(Instant::now()));
                }
            }
        }
    }

    /// By which `policy` the queue's Redis evicts keys; `None` if it evicts none.
    pub(crate) fn record_eviction_policy(&self, key: &Key, policy: Option<&str>) {
        self.state.update(key, |queue| {
            queue.observed.eviction_asked_at = Some(Instant::now());
            queue.observed.eviction_policy = policy.map(Into::into);
        });
    }
}

/// Returns when the next poll is due. While many numbers of workers are being written, what it would find comes after these,
/// and it takes the processor that they need.
async fn due(ticks: &mut Interval, write_priority: &WritePriority) {
    ticks.tick().await;
    // In time or not: it is due.
    let _ = tokio::time::timeout(LONGEST_DELAY, write_priority.wait_until_few()).await;
}

/// The answer of one round trip.
struct PollAnswer<'a> {
    queues: &'a [PollTarget],
    answers: Vec<Result<QueueStats, Arc<QueueError>>>,
    asked_at: Instant,
}

/// The queues of each round trip.
fn portions(mut queues: &[PollTarget]) -> Vec<&[PollTarget]> {
    let mut portions = Vec::new();
    while !queues.is_empty() {
        let mut workers = 0;
        let fit = |target: &&PollTarget| {
            workers += usize::try_from(target.workers).unwrap_or(usize::MAX);
            workers <= WORKERS_PER_ROUND_TRIP
        };
        let count = queues.iter().take(PER_ROUND_TRIP).take_while(fit).count().max(1);
        let (portion, rest) = queues.split_at(count);
        portions.push(portion);
        queues = rest;
    }
    portions
}

/// One round trip, over at `deadline`.
async fn ask<'a>(connection: &Connected, queues: &'a [PollTarget], deadline: Instant) -> PollAnswer<'a> {
    let asked_at = Instant::now();
    let queries: Vec<Arc<StatsQuery>> = queues.iter().map(|target| target.query.clone()).collect();
    let answers = match connection {
        Ok(connection) => match timeout_at(deadline, stats(connection, &queries)).await {
            Ok(answers) => answers.map_err(Arc::new),
            Err(_) => Err(Arc::new(late(connection))),
        },
        Err(error) => Err(error.clone()),
    };
    let answers = match answers {
        Ok(answers) => answers.into_iter().map(|answer| answer.map_err(Arc::new)).collect(),
        Err(error) => queues.iter().map(|_| Err(error.clone())).collect(),
    };
    PollAnswer { queues, answers, asked_at }
}

fn late(connection: &Connection) -> QueueError {
    let cause = format!("not all queues were answered within {} s", POLL_DEADLINE.as_secs());
    QueueError::Unavailable { endpoint: connection.endpoint().to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_has_a_bounded_number_of_queues_and_of_workers() {
        let query: Arc<StatsQuery> = crate::state::testing::spec("redis://r:6379/0").query;
        let target = |workers| PollTarget {
            key: Arc::new(Key::new("a")),
            query: query.clone(),
            eviction_policy_due: false,
            workers,
            reported_workers: 0,
            most_workers: usize::MAX,
        };
        let sizes = |workers: &[u32]| {
            let targets: Vec<_> = workers.iter().map(|workers| target(*workers)).collect();
            portions(&targets).into_iter().map(<[PollTarget]>::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(&[0; 1001]), [500, 500, 1]);
        assert_eq!(sizes(&[1500; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[100_000, 1, 1]), [1, 2], "one with too many has a round trip of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn polls_are_less_often_while_many_numbers_are_written() {
        let write_priority = WritePriority::default();
        let mut ticks = tokio::time::interval(Duration::from_millis(250));
        ticks.tick().await;
        let began = Instant::now();
        for _ in 0..4 {
            due(&mut ticks, &write_priority).await;
        }
        assert_eq!(began.elapsed(), Duration::from_secs(1), "nothing is written");
        let crowd: Vec<_> = std::iter::repeat_with(|| write_priority.begin_write()).take(100).collect();
        let began = Instant::now();
        due(&mut ticks, &write_priority).await;
        assert_eq!(began.elapsed(), Duration::from_millis(1250), "and not never");
        let release = async move {
            tokio::time::sleep(Duration::from_millis(400)).await;
            drop(crowd);
        };
        let began = Instant::now();
        tokio::join!(due(&mut ticks, &write_priority), release);
        assert_eq!(began.elapsed(), Duration::from_millis(400), "at once when it is over");
    }
}
