//! Real runs held to the model: workers on a real Redis and a real database do and suffer what a seed says, write down what
//! happened, and the model must allow it.
//!
//! `TRACES=5000 cargo test -p jobqueue-proof --test real_runs` replays more of them; the seed is in the message of a failure.

#![expect(clippy::unwrap_used, reason = "a test panics where something is not as it should be")]

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::Utc;
use jobqueue_ingest::{JobInput, LedgerKey, Recipe, Sink, SinkOptions, Unit, UnitOutcome, connect, run_script};
use jobqueue_proof::guards::{Guards, Switch};
use jobqueue_proof::rq::trace::{Event, Replay, Settled};
use jobqueue_queue::{
    Backend, Completion, Connection, Delivery, Outcome, Payload, Protocol, QueueConfig, Retry, RqQueue, Serializer,
    Timeouts, TlsOptions, payload::encode_call,
};
use jobqueue_testkit::redis as shared_redis;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

/// In the ordinary check; `./dev prove` replays thousands.
const TRACES: u64 = 150;
const STEPS: usize = 14;
const MAX_ATTEMPTS: u32 = 3;
const WORKERS: [&str; 2] = ["a", "b"];
const JOBS: [&str; 2] = ["one", "two"];

/// The rules that the product keeps: all but those that the docs call a limit.
fn kept() -> Guards {
    [Switch::Fence, Switch::LifeDurable, Switch::FailedKept].into_iter().fold(Guards::all(), Guards::without)
}

/// A claim in the hands of a worker.
struct Held {
    delivery: Delivery,
    committed: bool,
}

struct Stage<'a> {
    connection: Connection,
    prefix: String,
    workers: BTreeMap<&'static str, (RqQueue, Option<Held>)>,
    sink: &'a dyn Sink,
    recipe: &'a Recipe,
    /// How many versions each id had, and how many enqueueings there were.
    versions: BTreeMap<&'static str, u32>,
    enqueued: u32,
    trace: Vec<Event>,
}

impl<'a> Stage<'a> {
    fn new(seed: u64, sink: &'a dyn Sink, recipe: &'a Recipe) -> Self {
        let url = shared_redis().url().parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        let prefix = format!("trace-{seed}");
        let mut workers = BTreeMap::new();
        for name in WORKERS {
            let mut config = QueueConfig::new(Protocol::Rq, vec!["q".into()], name);
            config.key_prefix.clone_from(&prefix);
            config.retry.max_attempts = MAX_ATTEMPTS;
            config.retry.backoff = Duration::ZERO;
            let worker = RqQueue::new(connection.clone(), config).unwrap();
            workers.insert(name, (worker, None));
        }
        let (versions, enqueued, trace) = (BTreeMap::new(), 0, Vec::new());
        Self { connection, prefix, workers, sink, recipe, versions, enqueued, trace }
    }

    async fn redis(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        self.connection.query(&command).await.unwrap()
    }

    /// As `Queue.enqueue` does: a new version of the record, and the id at the end of the queue.
    async fn enqueue(&mut self, job: &'static str) {
        let version = self.versions.entry(job).or_default();
        *version += 1;
        self.enqueued += 1;
        let created_at = format!("2026-11-28T10:00:00.{version:06}Z");
        let enqueued_at = format!("2026-11-28T11:00:00.{:06}Z", self.enqueued);
        let data = encode_call("m.f", &[json!({"k": created_at})], &Map::new(), Serializer::Json);
        let mut set = redis::cmd("HSET");
        set.arg(format!("{}:job:{job}", self.prefix)).arg("data").arg(data);
        let fields =
            [("created_at", created_at.as_str()), ("enqueued_at", &enqueued_at), ("status", "queued"), ("origin", "q")];
        for (field, value) in fields {
            set.arg(field).arg(value);
        }
        self.connection.query::<i64>(&set).await.unwrap();
        self.redis(&["RPUSH", &format!("{}:queue:q", self.prefix), job]).await;
        self.trace.push(Event::Enqueue { job: job.into(), version: created_at });
    }

    async fn claim(&mut self, name: &'static str) {
        let (worker, hand) = self.workers.get_mut(name).unwrap();
        let claimed = worker.claim(1).await.unwrap().deliveries.pop();
        if let Some(delivery) = claimed {
            // Each run has the data of its own version, also when that was written over since.
            let Ok(Payload::Call(call)) = &delivery.payload else { panic!("{:?}", delivery.payload) };
            assert_eq!(call.args[0].get("k").and_then(|k| k.as_str()), Some(delivery.created_at.as_str()));
            self.trace.push(Event::Claim {
                worker: name.into(),
                job: delivery.id.clone(),
                run: delivery.run.clone().unwrap(),
                execution: delivery.lease.execution.clone(),
            });
            *hand = Some(Held { delivery, committed: false });
        }
    }

    async fn commit(&mut self, name: &'static str) {
        let (sink, recipe) = (self.sink, self.recipe);
        let held = self.workers.get_mut(name).unwrap().1.as_mut().unwrap();
        let delivery = &held.delivery;
        let args = [jobqueue_json::json!({"k": delivery.id})];
        let none = jobqueue_json::Map::new();
        let job = JobInput {
            id: &delivery.id,
            queue: "q",
            function: None,
            args: &args,
            kwargs: &none,
            fields: &none,
            attempt: delivery.attempt,
            enqueued_at: None,
        };
        let key = LedgerKey {
            queue: "q".into(),
            job_id: delivery.id.clone(),
            created_at: delivery.created_at.clone(),
            generation: 0,
            run: delivery.run.clone(),
        };
        let unit = Unit { key, rows: recipe.rows(&job, Utc::now()).unwrap() };
        let applied = match sink.write(recipe, &[unit]).await.unwrap().pop().unwrap() {
            UnitOutcome::Applied { .. } => true,
            UnitOutcome::AlreadyApplied => false,
            UnitOutcome::Rejected(rejection) => panic!("{rejection:?}"),
        };
        held.committed = true;
        self.trace.push(Event::Commit { worker: name.into(), run: delivery.run.clone().unwrap(), applied });
    }

    async fn settle(&mut self, name: &'static str, outcome: Outcome) {
        let (worker, hand) = self.workers.get_mut(name).unwrap();
        let delivery = hand.take().unwrap().delivery;
        let execution = delivery.lease.execution.clone();
        let now = Utc::now();
        let completion = Completion { delivery, outcome, started_at: now, ended_at: now };
        let outcome = match worker.settle(&[completion]).await.unwrap()[0] {
            jobqueue_queue::Settled::Finished => Settled::Finished,
            jobqueue_queue::Settled::Retried => Settled::Retried,
            jobqueue_queue::Settled::Failed | jobqueue_queue::Settled::Stopped => Settled::Failed,
            jobqueue_queue::Settled::Released => Settled::Released,
            jobqueue_queue::Settled::NotOwned => Settled::Lost,
        };
        self.trace.push(Event::Settle { worker: name.into(), execution, outcome });
    }

    /// The lease ends, and maintenance takes the job back; what its worker does after that is a sleeper's.
    async fn lapse(&mut self, delivery: &Delivery) {
        let member = format!("{}:{}", delivery.lease.job, delivery.lease.execution);
        let key = format!("{}:wip:q", self.prefix);
        self.redis(&["ZADD", &key, "XX", "10000000001", &member]).await;
        self.workers["a"].0.maintain().await.unwrap();
        self.trace.push(Event::Reclaim { execution: delivery.lease.execution.clone() });
    }

    async fn step(&mut self, seed: &mut ChaCha8Rng, lapsed: &mut Vec<String>) {
        let name = WORKERS[seed.random_range(0..WORKERS.len())];
        let hand = self.workers[name].1.as_ref();
        let Some(held) = hand else {
            if seed.random_bool(0.4) {
                self.enqueue(JOBS[seed.random_range(0..JOBS.len())]).await;
            } else {
                self.claim(name).await;
            }
            return;
        };
        let (delivery, committed) = (held.delivery.clone(), held.committed);
        let is_lost = lapsed.contains(&delivery.lease.execution);
        match seed.random_range(0..10) {
            0 => self.enqueue(JOBS[seed.random_range(0..JOBS.len())]).await,
            1 if !is_lost => {
                lapsed.push(delivery.lease.execution.clone());
                self.lapse(&delivery).await;
            }
            2 => {
                self.workers.get_mut(name).unwrap().1 = None;
                self.trace.push(Event::Crash { worker: name.into() });
                if !is_lost {
                    self.lapse(&delivery).await;
                }
            }
            3 if !committed => {
                self.settle(name, Outcome::Failed { error: "not yet".into(), retry: Retry::Allowed }).await;
            }
            4 if !committed => self.settle(name, Outcome::Failed { error: "never".into(), retry: Retry::Never }).await,
            5 if !committed => self.settle(name, Outcome::Released).await,
            _ if committed => self.settle(name, Outcome::Finished { result: Value::Null }).await,
            _ => self.commit(name).await,
        }
    }
}

#[tokio::test]
async fn the_model_allows_what_real_workers_do() {
    let traces: u64 = std::env::var("TRACES").ok().map_or(TRACES, |number| number.parse().unwrap());
    let first: u64 = std::env::var("SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}?mode=rwc", directory.path().join("rows.sqlite").display()).parse().unwrap();
    run_script(&url, "CREATE TABLE t (k TEXT)").await.unwrap();
    let sink = connect(&url, SinkOptions::default()).await.unwrap();
    sink.ensure_ledger().await.unwrap();
    let spec = json!({"record": "job.args[0]", "tables": [{"table": "t", "columns": {"k": "record.k"}}]});
    let recipe = Recipe::compile(&[serde_json::from_value(spec).unwrap()]).unwrap();
    let (mut events, mut lost, mut again) = (0, 0, 0);
    for number in 0..traces {
        let seed = first.wrapping_add(number);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut stage = Stage::new(seed, &*sink, &recipe);
        let mut lapsed = Vec::new();
        for _ in 0..STEPS {
            stage.step(&mut random, &mut lapsed).await;
        }
        let mut replay = Replay::new(kept(), u8::try_from(MAX_ATTEMPTS).unwrap());
        for (line, event) in (1..).zip(&stage.trace) {
            if let Err(why) = replay.next(event) {
                let lines: Vec<String> =
                    stage.trace.iter().map(|event| serde_json::to_string(event).unwrap()).collect();
                panic!("seed {seed}, line {line}: {why}\n{}", lines.join("\n"));
            }
        }
        events += stage.trace.len();
        lost +=
            stage.trace.iter().filter(|event| matches!(event, Event::Settle { outcome: Settled::Lost, .. })).count();
        again += stage.trace.iter().filter(|event| matches!(event, Event::Commit { applied: false, .. })).count();
    }
    println!(
        "{traces} traces from seed {first}: {events} events, {again} found in the ledger, {lost} settled too late"
    );
    assert!(traces < 100 || (lost > 0 && again > 0), "nothing went wrong in {traces} traces");
}
