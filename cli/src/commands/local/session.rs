//! One run: polls the queue, decides, supervises, shows, until it is empty or somebody ends it.

use std::time::Duration;

use jobqueue_crds::JobQueue;
use jobqueue_ingest::Recipe;
use jobqueue_queue::{Connection, FaultKind, QueueError, QueueStats, StatsQuery};
use jobqueue_scaling::{Calendar, Decision, Memory, Observation, Policy, eta_seconds};
use jobqueue_scaling_input::{calendar, capped, policy};
use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::event::Event;
use super::follow::{Follower, Polled};
use super::processes::{Exited, Processes};
use super::reasons::Reasons;
use super::servers::{Database, Redis};
use super::summary::{Before, Summary, collect, poll};
use super::supervisor::{Action, Consequence, Supervisor};
use super::view::{Status, View};
use crate::common::exit::{Exit, Failure};

/// Between two polls of the queue.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A poll that takes longer counts as failed.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two steps of the supervisor, whose waits end by themselves.
const STEP: Duration = Duration::from_millis(50);
/// Between two starts of a private Redis that does not last.
const REVIVE: Duration = Duration::from_secs(1);
/// So many crashes in a row of every worker, and `--until-empty` gives up.
const HOPELESS: u32 = 5;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing is left to do.
    Empty,
    /// A person ended it.
    Interrupted,
    /// The workers say that their config is wrong.
    Unusable,
    /// The workers crash, all of them, again and again.
    Hopeless,
}

/// The state of a run.
pub(crate) struct Session {
    policy: Policy,
    calendar: Calendar,
    until_empty: bool,
    memory: Memory,
    follower: Follower,
    supervisor: Supervisor,
    processes: Processes,
    reasons: Reasons,
    /// What keeps the workers from their work, as it was told last.
    fault: Option<FaultKind>,
    view: View,
    start: Instant,
    status: Status,
    /// Why it is about to end: no more workers are started.
    ending: Option<Outcome>,
    signals: u32,
    away_since: Option<f64>,
    revived: Option<Instant>,
    most_workers: u32,
    crashes: u32,
}

impl Session {
    /// A run that has not begun.
    pub(crate) fn new(
        manifest: &JobQueue,
        max_replicas: Option<u32>,
        until_empty: bool,
        (processes, reasons): (Processes, Reasons),
        view: View,
    ) -> anyhow::Result<Self> {
        let spec = &manifest.spec;
        let calendar = calendar(spec).map_err(|problem| Failure::new(Exit::Usage, problem.to_string()))?;
        Ok(Self {
            calendar,
            policy: max_replicas.map_or_else(|| policy(spec), |most| capped(policy(spec), most)),
            until_empty,
            memory: Memory::default(),
            follower: Follower::default(),
            supervisor: Supervisor::new(
                f64::from(spec.worker.settings.drain_seconds),
                spec.scaling.scale_down.protect_busy,
            ),
            processes,
            reasons,
            fault: None,
            view,
            start: Instant::now(),
            status: Status::default(),
            ending: None,
            signals: 0,
            away_since: None,
            revived: None,
            most_workers: 0,
            crashes: 0,
        })
    }

    /// Runs until the end.
    pub(crate) async fn run(
        &mut self,
        redis: &mut Redis,
        connection: &Connection,
        query: StatsQuery,
    ) -> anyhow::Result<Outcome> {
        let mut interrupt = unix::signal(SignalKind::interrupt())?;
        let mut terminate = unix::signal(SignalKind::terminate())?;
        let mut polls = poll_queue(connection.clone(), query);
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = interrupt.recv() => self.interrupted(),
                _ = terminate.recv() => self.interrupted(),
                exited = self.processes.next_ended() => self.ended(&exited),
                Some(stats) = polls.recv() => {
                    if stats.is_err() {
                        self.revive(redis)?;
                    }
                    self.polled(stats);
                }
                _ = steps.tick() => {}
            }
            self.step();
            if let Some(outcome) = self.ending
                && self.supervisor.processes().next().is_none()
            {
                self.view.close();
                return Ok(outcome);
            }
        }
    }

    /// What came of it.
    pub(crate) async fn summary(
        &self,
        before: &Before,
        connection: &Connection,
        query: &StatsQuery,
        database: &Database,
        recipe: &Recipe,
    ) -> Summary {
        let mut summary = collect(before, connection, query, database, recipe).await;
        if summary.done == 0 {
            summary.done = self.follower.done().0;
        }
        summary.seconds = self.follower.worked_seconds();
        let jobs = summary.done + summary.failed;
        summary.jobs_per_second = if summary.seconds > 0.0 { jobs as f64 / summary.seconds } else { 0.0 };
        summary.most_workers = self.most_workers;
        summary.crashes = self.crashes;
        summary
    }

    /// Shows the summary on stdout; where there was nothing to do, also where that was looked for.
    pub(crate) fn finish(&mut self, summary: &Summary, query: &StatsQuery, redis: &str) -> anyhow::Result<()> {
        if self.ending == Some(Outcome::Empty) && summary.done == 0 && summary.failed == 0 {
            let (queues, protocol) = (query.names.clone(), query.protocol.to_string());
            self.view.event(&Event::Nothing { queues, protocol, redis: redis.to_owned() });
        }
        let output = self.view.output();
        if output.is_machine() {
            self.view.json(Some("summary"), summary);
            return Ok(());
        }
        Ok(output.data(&summary.text())?)
    }

    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// A private Redis that ended is ours to start again, at most once a second.
    fn revive(&mut self, redis: &mut Redis) -> anyhow::Result<()> {
        if self.revived.is_none_or(|at| at.elapsed() >= REVIVE) && redis.revive()? {
            self.revived = Some(Instant::now());
            self.view.event(&Event::RedisRestarted);
        }
        Ok(())
    }

    fn polled(&mut self, stats: Result<QueueStats, QueueError>) {
        let now = self.now();
        match stats {
            Ok(stats) => {
                if let Some(since) = self.away_since.take() {
                    self.view.event(&Event::RedisBack { seconds: now - since });
                }
                let processes = &self.processes;
                let Polled { backlog, rates, troubled, suspended, activities } =
                    self.follower.follow(&stats, now, |name| processes.worker_named(name));
                self.supervisor.observe(&activities);
                let workers = self.supervisor.workers();
                self.decide(&Observation { now, backlog: Some(backlog), workers, rates, troubled });
                self.note(&stats, rates.completions_per_second, rates.arrivals_per_second);
                self.note_suspension(suspended);
                self.note_fault(&stats);
                if self.until_empty && self.follower.is_empty() {
                    self.end(Outcome::Empty, &Event::Empty);
                }
            }
            Err(error) => {
                if self.away_since.is_none() {
                    self.away_since = Some(now);
                    self.view.event(&Event::RedisAway { cause: error.to_string() });
                }
                let rates = self.follower.miss();
                let workers = self.supervisor.workers();
                self.decide(&Observation { now, backlog: None, workers, rates, troubled: 0 });
            }
        }
        self.show();
    }

    fn decide(&mut self, seen: &Observation) {
        if self.ending.is_some() {
            return;
        }
        self.policy.bounds = self.calendar.at(chrono::Utc::now());
        let decision = self.memory.decide(&self.policy, seen);
        let Decision { replicas: to, reason, .. } = &decision;
        let from = seen.workers.desired;
        if *to != from {
            let (reason, message) = (reason.name().to_owned(), decision.to_string());
            self.view.event(&Event::Scaled { from, to: *to, reason, message });
            self.supervisor.scale(*to);
        }
        self.status.message = decision.to_string();
    }

    fn note(&mut self, seen: &QueueStats, completions: Option<f64>, arrivals: Option<f64>) {
        let jobs = seen.waiting + seen.due + seen.running;
        let status = &mut self.status;
        status.waiting = seen.waiting;
        status.running = seen.running;
        status.scheduled = seen.scheduled;
        status.failed = seen.failed;
        status.done = self.follower.done().0;
        status.jobs_per_second = completions;
        status.eta_seconds = completions.and_then(|rate| eta_seconds(jobs, rate, arrivals.unwrap_or(0.0)));
    }

    /// A suspended worker claims nothing: without a word, waiting for its end would look like a hang.
    fn note_suspension(&mut self, suspended: bool) {
        if suspended == self.status.suspended || self.ending.is_some() {
            return;
        }
        self.status.suspended = suspended;
        let waiting = self.status.waiting;
        self.view.event(&if suspended { Event::Suspended { waiting } } else { Event::Resumed });
    }

    /// Why nothing is written, and why jobs are tried again.
    fn note_fault(&mut self, seen: &QueueStats) {
        let fault = seen.faults.first();
        let kind = fault.map(|fault| fault.kind);
        if kind != self.fault && self.ending.is_none() {
            let told = fault.map(|fault| Event::Trouble { message: fault.message.clone() });
            self.view.event(&told.unwrap_or(Event::TroubleOver));
            self.fault = kind;
        }
        for message in self.reasons.read_new() {
            self.view.event(&Event::Retried { message });
        }
    }

    fn show(&mut self) {
        let workers = self.supervisor.workers();
        self.status.desired = workers.desired;
        self.status.ready = workers.ready;
        self.status.busy = workers.busy;
        if self.status.is_held_elsewhere() {
            self.status.eta_seconds = None;
        }
        self.status.draining = self.supervisor.draining();
        self.view.status(&self.status);
    }

    fn step(&mut self) {
        for action in self.supervisor.step(self.now()) {
            match action {
                Action::Start(worker) => self.processes.start(worker),
                Action::Drain(worker) => self.processes.signal(worker, Signal::SIGTERM),
                Action::Kill(worker) => {
                    self.view.event(&Event::Killed { worker: worker.0 });
                    self.processes.signal(worker, Signal::SIGKILL);
                }
            }
        }
        let processes = self.supervisor.processes().count();
        self.most_workers = self.most_workers.max(u32::try_from(processes).unwrap_or(u32::MAX));
    }

    fn ended(&mut self, exited: &Exited) {
        let Exited { worker, how, words } = exited;
        let now = self.now();
        let consequence = self.supervisor.ended(*worker, how, now, rand::random());
        let (worker, how) = (worker.0, words.clone());
        match consequence {
            None | Some(Consequence::Drained) => {}
            Some(Consequence::DiedDraining) => self.view.event(&Event::DrainFailed { worker, how }),
            Some(Consequence::Restart { seconds }) => {
                self.crashes += 1;
                self.view.event(&Event::WorkerEnded { worker, how, restart_seconds: Some(seconds) });
                if self.until_empty && self.supervisor.all_crashed(HOPELESS) {
                    self.ending.get_or_insert(Outcome::Hopeless);
                    self.supervisor.drain_all();
                }
            }
            Some(Consequence::GiveUp) => {
                let event = Event::WorkerEnded { worker, how, restart_seconds: None };
                self.end(Outcome::Unusable, &event);
            }
        }
    }

    fn interrupted(&mut self) {
        self.signals += 1;
        let event = Event::Stopping { times: self.signals };
        if self.signals == 1 {
            self.ending = None;
            self.end(Outcome::Interrupted, &event);
            return;
        }
        self.view.event(&event);
        let signal = if self.signals == 2 { Signal::SIGTERM } else { Signal::SIGKILL };
        for worker in self.supervisor.processes() {
            self.processes.signal(worker, signal);
        }
    }

    fn end(&mut self, outcome: Outcome, event: &Event) {
        if self.ending.is_none() {
            self.ending = Some(outcome);
            self.view.event(event);
            self.supervisor.drain_all();
        }
    }
}

/// Polls the queue in a task of its own: a Redis that does not answer delays nothing else.
fn poll_queue(connection: Connection, query: StatsQuery) -> mpsc::Receiver<Result<QueueStats, QueueError>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut polls = interval(POLL_INTERVAL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            polls.tick().await;
            let endpoint = connection.endpoint().to_owned();
            let answer = timeout(POLL_TIMEOUT, poll(&connection, &query)).await.unwrap_or_else(|_| {
                Err(QueueError::Unavailable {
                    endpoint,
                    cause: format!("no answer within {} s", POLL_TIMEOUT.as_secs()),
                })
            });
            if sender.send(answer).await.is_err() {
                return;
            }
        }
    });
    receiver
}
