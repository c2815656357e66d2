//! Crashes at every point of a job's life, in seeded random histories: at any moment each job is in exactly one place,
//! and in the end each is finished or failed, and none was in two hands at once.

use std::collections::{BTreeMap, BTreeSet};

use jobqueue_queue::{Backend, Completion, Delivery, Outcome, Retry, RqQueue, Settled};
use jobqueue_testkit::{Redis, unique};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::fixture::{Fixture, done, failed, finished};

const JOBS: usize = 30;
const STEPS: usize = 250;

/// Some workers, and what each believes to have in hand: that of a crashed one is forgotten, of a zombie it is not.
struct Scenario {
    fixture: Fixture,
    workers: Vec<(RqQueue, Vec<Delivery>)>,
    jobs: Vec<String>,
    finished: BTreeMap<String, u32>,
}

impl Scenario {
    async fn new() -> Self {
        let mut fixture = Fixture::new().await;
        let prefix = unique("j");
        let jobs: Vec<String> = (0..JOBS).map(|i| format!("{prefix}-{i}")).collect();
        for (i, id) in jobs.iter().enumerate() {
            let retries = [("retries_left", "2"), ("retry_intervals", "[0]")];
            fixture.enqueue(id, if i % 3 == 0 { &retries } else { &[] }).await;
        }
        let mut workers = Vec::new();
        for _ in 0..3 {
            let mut config = fixture.config();
            config.retry.max_attempts = 4;
            config.retry.backoff = std::time::Duration::ZERO;
            let worker = fixture.worker_with(config);
            worker.register().await.unwrap();
            workers.push((worker, Vec::new()));
        }
        Self { fixture, workers, jobs, finished: BTreeMap::new() }
    }

    /// Where each job is: exactly one place, or the panic says which.
    async fn check(&mut self) -> BTreeMap<String, &'static str> {
        let mut places: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for id in self.fixture.waiting().await {
            places.entry(id).or_default().push("waiting");
        }
        for member in self.fixture.redis::<Vec<String>>("ZRANGE rq:wip:Q 0 -1").await {
            let (id, execution) = member.split_once(':').unwrap();
            assert_eq!(self.fixture.field(id, "jobqueue_execution").await.as_deref(), Some(execution));
            places.entry(id.to_owned()).or_default().push("started");
        }
        for (registry, place) in [("scheduled", "scheduled"), ("finished", "finished"), ("failed", "failed")] {
            for id in self.fixture.redis::<Vec<String>>(&format!("ZRANGE rq:{registry}:Q 0 -1")).await {
                places.entry(id).or_default().push(place);
            }
        }
        let mut found = BTreeMap::new();
        for id in self.jobs.clone() {
            let [place] = places.remove(&id).unwrap_or_default()[..] else {
                panic!("{id} is in {:?}, status {}", places.get(&id), self.fixture.status(&id).await);
            };
            let status = self.fixture.status(&id).await;
            assert_eq!(status, if place == "waiting" { "queued" } else { place }, "{id}");
            found.insert(id, place);
        }
        assert!(places.is_empty(), "strangers: {places:?}");
        found
    }

    async fn settle(&mut self, worker: usize, completions: Vec<Completion>) {
        let settled = self.workers[worker].0.settle(&completions).await.unwrap();
        for (completion, settled) in completions.iter().zip(settled) {
            if settled == Settled::Finished {
                *self.finished.entry(completion.delivery.id.clone()).or_default() += 1;
            }
        }
    }

    async fn step(&mut self, random: &mut StdRng) {
        let worker = random.random_range(0..self.workers.len());
        match random.random_range(0..100) {
            0..30 => {
                let claim = self.workers[worker].0.claim(random.random_range(1..6)).await.unwrap();
                self.workers[worker].1.extend(claim.deliveries);
            }
            30..65 => {
                let held = std::mem::take(&mut self.workers[worker].1);
                let mut completions: Vec<Completion> = held.iter().map(|job| outcome(job, random)).collect();
                if random.random_bool(0.2) {
                    // The reply was lost, and the worker sends everything again.
                    completions.extend(completions.clone());
                }
                self.settle(worker, completions).await;
            }
            65..75 => self.workers[worker].1.clear(),
            75..88 => {
                for member in self.fixture.redis::<Vec<String>>("ZRANGE rq:wip:Q 0 -1").await {
                    if random.random_bool(0.5) {
                        self.fixture.redis::<()>(&format!("ZADD rq:wip:Q 1 {member}")).await;
                    }
                }
            }
            88..92 => {
                let leases: Vec<_> = self.workers[worker].1.iter().map(|job| job.lease.clone()).collect();
                let lost: BTreeSet<String> =
                    self.workers[worker].0.heartbeat(&leases).await.unwrap().into_iter().map(|l| l.execution).collect();
                self.workers[worker].1.retain(|job| !lost.contains(&job.lease.execution));
            }
            _ => _ = self.workers[worker].0.maintain().await.unwrap(),
        }
    }

    /// Everything that is left is worked off by one healthy worker.
    async fn end(&mut self) {
        for _ in 0..200 {
            for member in self.fixture.redis::<Vec<String>>("ZRANGE rq:wip:Q 0 -1").await {
                self.fixture.redis::<()>(&format!("ZADD rq:wip:Q 1 {member}")).await;
            }
            for member in self.fixture.redis::<Vec<String>>("ZRANGE rq:scheduled:Q 0 -1").await {
                self.fixture.redis::<()>(&format!("ZADD rq:scheduled:Q 1 {member}")).await;
            }
            self.workers[0].0.maintain().await.unwrap();
            let claim = self.workers[0].0.claim(50).await.unwrap();
            let completions: Vec<_> = claim.deliveries.iter().map(finished).collect();
            self.settle(0, completions).await;
            if self.check().await.values().all(|place| ["finished", "failed"].contains(place)) {
                return;
            }
        }
        panic!("jobs are left over: {:?}", self.check().await);
    }
}

fn outcome(job: &Delivery, random: &mut StdRng) -> Completion {
    match random.random_range(0..10) {
        6 => failed(job, Retry::Allowed),
        7 => failed(job, Retry::Never),
        8 => done(job, Outcome::Released),
        _ => finished(job),
    }
}

#[tokio::test]
async fn no_history_of_crashes_loses_or_doubles_a_job() {
    for seed in 0..12 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut scenario = Scenario::new().await;
        for step in 0..STEPS {
            scenario.step(&mut random).await;
            if step % 10 == 0 {
                scenario.check().await;
            }
        }
        scenario.end().await;
        assert!(scenario.finished.values().all(|times| *times == 1), "seed {seed}: {:?}", scenario.finished);
        let places = scenario.check().await;
        let finished = places.values().filter(|place| **place == "finished").count();
        assert_eq!(finished, scenario.finished.len(), "seed {seed}");
        assert_eq!(scenario.fixture.redis::<i64>("ZCARD rq:wip:Q").await, 0);
    }
}

#[tokio::test]
async fn a_killed_redis_that_kept_its_log_loses_nothing() {
    let server: &'static mut Redis = Box::leak(Box::new(Redis::start(&[])));
    let url = server.url();
    let connection = jobqueue_queue::Connection::new(
        &url.parse().unwrap(),
        &jobqueue_queue::TlsOptions::default(),
        jobqueue_queue::Timeouts::default(),
    )
    .unwrap();
    for id in ["a", "b", "c"] {
        server.cli(&[
            "HSET",
            &format!("rq:job:{id}"),
            "data",
            r#"["m.f",null,[],{}]"#,
            "created_at",
            "x",
            "status",
            "queued",
        ]);
        server.cli(&["RPUSH", "rq:queue:q", id]);
    }
    let config = jobqueue_queue::QueueConfig::new(jobqueue_queue::Protocol::Rq, vec!["q".into()], "w");
    let worker = RqQueue::new(connection, config).unwrap();
    worker.register().await.unwrap();
    let claim = worker.claim(2).await.unwrap();
    let first = worker.settle(&[finished(&claim.deliveries[0])]).await.unwrap();
    assert_eq!(first, [Settled::Finished]);
    server.kill();
    let both: Vec<Completion> = claim.deliveries.iter().map(finished).collect();
    assert!(worker.settle(&both).await.is_err());
    server.revive();
    let began = std::time::Instant::now();
    let settled = loop {
        match worker.settle(&both).await {
            Ok(settled) => break settled,
            Err(error) => assert!(began.elapsed().as_secs() < 20, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(settled, [Settled::NotOwned, Settled::Finished]);
    assert_eq!(worker.claim(5).await.unwrap().deliveries.len(), 1);
    server.kill();
}
