//! A database that serves only so many jobs a second, and what is no such database: simulated second by second.

mod found;
mod jobs;

use jobqueue_scaling::{
    Backlog, Limit, Memory, Meter, Observation, Policy, Sample, Targets, WorkerCounters, Workers, decide,
};

/// Workers and their database.
struct Plant {
    policy: Policy,
    memory: Memory,
    meter: Meter,
    now: f64,
    waiting: f64,
    /// Jobs per second of one worker, and of the database.
    rate: f64,
    database: f64,
    /// Jobs done so far, by each worker that ever was.
    done: Vec<f64>,
    desired: u32,
    /// Since when each of them is ready.
    born: Vec<f64>,
    start_seconds: f64,
    /// Each is ready so much later than the one before it.
    stagger_seconds: f64,
    /// More workers than that get errors.
    connections: u32,
    limits: Vec<Limit>,
    random: u32,
}

impl Plant {
    fn new(waiting: f64, rate: f64, database: f64) -> Self {
        let targets = Targets { drain_seconds: Some(60.0), ..Targets::default() };
        Self {
            policy: Policy { targets, max_replicas: 40, ..Policy::default() },
            memory: Memory::default(),
            meter: Meter::default(),
            now: 0.0,
            waiting,
            rate,
            database,
            done: Vec::new(),
            desired: 0,
            born: Vec::new(),
            start_seconds: 3.0,
            stagger_seconds: 0.0,
            connections: u32::MAX,
            limits: Vec::new(),
            random: 1,
        }
    }

    /// Between 0.75 and 1.25, always the same sequence.
    fn noise(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.75 + f64::from(self.random >> 8) / f64::from(1_u32 << 25)
    }

    /// Lets `seconds` pass, a poll every quarter of one; answers the numbers of workers, each change once.
    fn run(&mut self, seconds: f64) -> Vec<u32> {
        let mut numbers = vec![self.desired];
        let end = self.now + seconds;
        while self.now < end {
            self.now += 0.25;
            let since = |index: usize| self.start_seconds + self.stagger_seconds * index as f64;
            let is_ready = |(index, born): (usize, &f64)| self.now >= born + since(index);
            let ready = self.born.iter().enumerate().filter(|worker| is_ready(*worker)).count();
            let at_work = ready.min(usize::try_from(self.connections).expect("fits"));
            let noise = self.noise();
            let total = (self.rate * at_work as f64).min(self.database) * 0.25 * noise;
            let total = total.min(self.waiting);
            self.waiting -= total;
            for worker in 0..at_work {
                self.done[worker] += total / at_work as f64;
            }
            self.observe(ready, at_work);
            if numbers.last() != Some(&self.desired) {
                numbers.push(self.desired);
            }
        }
        numbers
    }

    fn observe(&mut self, ready: usize, at_work: usize) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and small enough")]
        let whole = |jobs: f64| jobs as u64;
        let waiting = whole(self.waiting.ceil());
        let busy = if waiting > 0 { ready } else { 0 };
        let counters = |index: usize| WorkerCounters {
            completed: whole(self.done[index]),
            busy: waiting > 0,
            ..WorkerCounters::default()
        };
        let names: Vec<String> = (0..ready).map(|index| format!("w{index}")).collect();
        let workers = names.iter().enumerate().map(|(index, name)| (name.as_str(), counters(index))).collect();
        let running = busy as u64;
        let rates = self.meter.sample(Sample { now: self.now, waiting, running, workers });
        let count = |number: usize| u32::try_from(number).expect("few");
        let seen = Observation {
            now: self.now,
            backlog: Some(Backlog { waiting, running, oldest_wait_seconds: None }),
            workers: Workers { desired: self.desired, ready: count(ready), busy: count(busy) },
            rates,
            troubled: count(ready - at_work),
        };
        let (decision, memory) = decide(&self.policy, &seen, &self.memory);
        self.memory = memory;
        self.desired = decision.replicas;
        self.limits = decision.limits.iter().map(|limited| limited.limit).collect();
        let size = usize::try_from(self.desired).expect("few");
        self.born.truncate(size);
        self.born.resize(size, self.now);
        self.done.resize(self.done.len().max(size), 0.0);
    }

    fn is_saturated(&self) -> bool {
        self.limits.iter().any(|limit| matches!(limit, Limit::Saturated { .. } | Limit::DatabaseErrors { .. }))
    }
}

#[test]
fn workers_that_do_not_help_go_again() {
    // Four workers do what the database takes; the backlog would take all forty. One is started first, to measure.
    let mut plant = Plant::new(10_000_000.0, 100.0, 400.0);
    assert_eq!(plant.run(5.0), [0, 1, 40]);
    let _ = plant.run(30.0);
    assert!(plant.is_saturated(), "{:?}", plant.limits);
    let (before, _) = (plant.run(70.0), plant.run(0.25));
    assert!(before.last().is_some_and(|workers| (4..8).contains(workers)), "{before:?}: {:?}", plant.limits);
    // Now and then more are tried, for a while, and less and less often.
    let tried = plant.run(3_600.0);
    assert!(tried.iter().all(|workers| (4..=16).contains(workers)), "{tried:?}");
    assert!(tried.len() < 20, "{tried:?}");
}

#[test]
fn pods_that_become_ready_one_by_one_hide_nothing() {
    for stagger_seconds in [0.5, 1.5, 2.5, 4.0] {
        for most in [4, 6, 20] {
            let mut plant = Plant::new(10_000_000.0, 100.0, 120.0);
            (plant.policy.max_replicas, plant.stagger_seconds) = (most, stagger_seconds);
            plant.policy.scale_down.stabilization_seconds = Some(0.0);
            // Where none of the smaller numbers lasted, half of the workers are tried.
            let _ = plant.run(45.0 + stagger_seconds * f64::from(most));
            assert!(plant.is_saturated(), "{most}, one every {stagger_seconds} s: {:?}", plant.limits);
            let _ = plant.run(50.0);
            assert!(plant.desired <= 3, "{most}, one every {stagger_seconds} s: {} {:?}", plant.desired, plant.limits);
        }
    }
}

#[test]
fn a_database_that_keeps_up_limits_nothing() {
    for (start_seconds, stagger_seconds) in [(0.0, 0.0), (3.0, 0.0), (20.0, 0.0), (3.0, 1.5), (5.0, 4.0)] {
        let mut plant = Plant::new(1_000_000.0, 100.0, f64::INFINITY);
        (plant.start_seconds, plant.stagger_seconds) = (start_seconds, stagger_seconds);
        plant.policy.scale_up.max_step = Some(4);
        plant.policy.scale_up.stabilization_seconds = Some(30.0);
        for _ in 0..200 {
            let _ = plant.run(1.0);
            assert!(!plant.is_saturated(), "pods start in {start_seconds} s, at {} s: {:?}", plant.now, plant.limits);
        }
    }
}

#[test]
fn the_end_of_a_backlog_is_no_saturation() {
    let mut plant = Plant::new(30_000.0, 100.0, f64::INFINITY);
    plant.policy.scale_up.max_step = Some(2);
    plant.policy.scale_up.stabilization_seconds = Some(15.0);
    for _ in 0..200 {
        let _ = plant.run(1.0);
        assert!(!plant.is_saturated(), "at {} s with {} jobs left: {:?}", plant.now, plant.waiting, plant.limits);
    }
    assert!(plant.waiting < 1.0);
}

#[test]
fn a_database_that_recovers_gets_more_workers_again() {
    let mut plant = Plant::new(10_000_000.0, 100.0, 400.0);
    plant.policy.scale_up.max_step = Some(4);
    plant.policy.scale_up.stabilization_seconds = Some(30.0);
    let _ = plant.run(300.0);
    assert!(plant.is_saturated(), "{:?}", plant.limits);
    plant.database = f64::INFINITY;
    let _ = plant.run(2_000.0);
    assert_eq!(plant.desired, 40, "{:?}", plant.limits);
}

#[test]
fn workers_that_the_database_refuses_go_and_come_back_later() {
    let mut plant = Plant::new(10_000_000.0, 100.0, f64::INFINITY);
    plant.connections = 10;
    let _ = plant.run(30.0);
    assert!(plant.is_saturated(), "{:?}", plant.limits);
    let _ = plant.run(80.0);
    assert_eq!(plant.desired, 10, "{:?}", plant.limits);
    plant.connections = 100;
    // Once all are back, fewer are tried now and then, since the backlog lasts.
    let back = plant.run(1_200.0);
    assert!(back.contains(&40) && !plant.is_saturated(), "{back:?} {:?}", plant.limits);
}

#[test]
fn a_verdict_on_errors_is_not_passed_again_at_once() {
    let mut policy = Policy { max_replicas: 8, ..Policy::default() };
    policy.targets.jobs_per_worker = Some(1.0);
    policy.scale_down.stabilization_seconds = Some(0.0);
    let (mut memory, mut desired, mut numbers) = (Memory::default(), 8, Vec::new());
    // Whichever pod goes, one worker is refused, seen every second, and at the end three times in the same moment.
    for now in [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 5.0] {
        let workers = Workers { desired, ready: desired, busy: desired };
        let backlog = Some(Backlog { waiting: 1000, running: 0, oldest_wait_seconds: None });
        let seen = Observation { now, backlog, workers, troubled: 1, ..Observation::default() };
        let (decision, next) = decide(&policy, &seen, &memory);
        (memory, desired) = (next, decision.replicas);
        numbers.push(desired);
    }
    assert_eq!(numbers, [8, 8, 8, 8, 8, 7, 7, 7]);
}

#[test]
fn a_floor_that_ends_lets_nobody_go_sooner_than_any_need() {
    let mut policy = Policy { min_replicas: 5, max_replicas: 5, ..Policy::default() };
    policy.targets.jobs_per_worker = Some(1.0);
    policy.scale_down.stabilization_seconds = Some(60.0);
    let (mut memory, mut desired, mut fell) = (Memory::default(), 5, None);
    for second in 0..200 {
        if second == 100 {
            policy.min_replicas = 0;
        }
        let workers = Workers { desired, ready: desired, busy: desired };
        let backlog = Some(Backlog { waiting: 1000, running: 0, oldest_wait_seconds: None });
        let seen = Observation { now: f64::from(second), backlog, workers, troubled: 3, ..Observation::default() };
        let (decision, next) = decide(&policy, &seen, &memory);
        (memory, desired) = (next, decision.replicas);
        fell = fell.or((desired < 5).then_some((second, desired)));
    }
    // The floor was the last time at 99 s what there had to be.
    assert_eq!(fell, Some((160, 2)));
}

#[test]
fn errors_of_more_workers_are_no_verdict_on_fewer() {
    let mut policy = Policy { min_replicas: 7, max_replicas: 7, ..Policy::default() };
    policy.targets.jobs_per_worker = Some(1.0);
    policy.scale_down.stabilization_seconds = Some(0.0);
    let (mut memory, mut desired, mut numbers) = (Memory::default(), 7, Vec::new());
    // Three of seven are refused, so that four would do; a floor keeps seven until the twentieth second. Of four, one is.
    for now in [0.0, 5.0, 10.0, 15.0, 20.0, 20.0, 21.0, 26.0] {
        if now >= 20.0 {
            policy.min_replicas = 0;
        }
        let workers = Workers { desired, ready: desired, busy: desired };
        let backlog = Some(Backlog { waiting: 1000, running: 0, oldest_wait_seconds: None });
        let troubled = if desired == 7 { 3 } else { 1 };
        let (decision, next) =
            decide(&policy, &Observation { now, backlog, workers, troubled, ..Observation::default() }, &memory);
        (memory, desired) = (next, decision.replicas);
        numbers.push(desired);
    }
    assert_eq!(numbers, [7, 7, 7, 7, 4, 4, 4, 3]);
}
