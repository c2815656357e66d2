//! What the decision did wrong once, and must not do again; and how far it is from what it takes. Each is a small load.

use crate::simulation::Simulation;
use jobqueue_scaling::Targets;

fn max_wait(seconds: f64) -> Targets {
    Targets { max_wait_seconds: Some(seconds), ..Targets::default() }
}

/// Random arrivals at `rate` per second until `end`.
fn random(simulation: &mut Simulation, rate: f64, end: f64) -> Vec<f64> {
    let mut at = 0.0;
    let mut times = Vec::new();
    loop {
        at += simulation.exponential(1.0 / rate);
        if at >= end {
            return times;
        }
        times.push(at);
    }
}

/// `jobs` at each of these times.
fn bursts(jobs: usize, times: &[f64]) -> Vec<f64> {
    times.iter().flat_map(|at| std::iter::repeat_n(*at, jobs)).collect()
}

#[test]
fn one_long_job_now_and_then_takes_one_worker() {
    let mut one = Simulation::new(max_wait(60.0), 5.0, 300.0);
    let times: Vec<f64> = (0..20).map(|each| f64::from(each) * 600.0 + 10.0).collect();
    one.run(12_100.0, &mut times.into_iter());
    assert_eq!((one.most, one.beyond), (1, 0));
    assert!(one.cost <= 20.0 * (300.0 + 5.0 + 5.0 + 1.0), "{}", one.cost);
    assert!(one.p95() <= 6.0, "{}", one.p95());
}

#[test]
fn a_burst_counts_once() {
    // 12,000 jobs of a second within ten minutes are the work of twenty.
    let mut burst = Simulation::new(Targets { drain_seconds: Some(600.0), ..Targets::default() }, 5.0, 1.0);
    burst.policy.max_replicas = 100;
    burst.run(900.0, &mut bursts(12_000, &[10.0]).into_iter());
    assert!((20..=23).contains(&burst.most), "{}", burst.most);
    assert!(burst.waits.len() == 12_000 && burst.waits.iter().all(|wait| *wait <= 600.0), "{}", burst.p95());
}

#[test]
fn jobs_that_have_not_ended_tell_how_long_they_are() {
    let mut cold = Simulation::new(max_wait(60.0), 5.0, 300.0);
    cold.run(2_000.0, &mut bursts(20, &[1.0]).into_iter());
    assert!(cold.p95() <= 2.0 * 60.0, "{}", cold.p95());
    assert!(cold.most <= 20, "{}", cold.most);
}

#[test]
fn the_longer_the_target_the_lower_the_cost() {
    let mut before = f64::INFINITY;
    for target in [10.0, 20.0, 40.0, 80.0, 160.0] {
        let mut wave = Simulation::new(max_wait(target), 5.0, 5.0);
        wave.varies = true;
        // Bursts and pauses of two minutes on a base.
        let mut times = random(&mut wave, 0.4, 7_200.0);
        for cycle in 0..30 {
            let from = f64::from(cycle) * 240.0;
            times.extend(random(&mut wave, 2.0, 120.0).into_iter().map(|at| from + at));
        }
        times.sort_by(f64::total_cmp);
        wave.run(7_500.0, &mut times.into_iter());
        assert!(wave.cost < before, "{target}: {} after {before}", wave.cost);
        assert!(wave.p95() <= target * 1.05, "{target}: {}", wave.p95());
        before = wave.cost;
    }
}

#[test]
fn while_workers_start_no_others_are_called_for_what_they_will_do() {
    let mut slow = Simulation::new(max_wait(30.0), 45.0, 5.0);
    // The rate is known from a first burst; the second one's jobs are late before anybody can be there.
    slow.run(1_000.0, &mut bursts(40, &[10.0, 500.0]).into_iter());
    let during = slow.changes.iter().filter(|(at, _)| (500.0..548.0).contains(at));
    let during: Vec<u32> = during.map(|(_, to)| *to).collect();
    assert!(during.len() <= 2, "{during:?}");
}

#[test]
fn holds_mean_what_they_say_and_do_not_add_up() {
    let gone = |idle: Option<f64>, stabilization: Option<f64>| {
        let mut one = Simulation::new(Targets::default(), 5.0, 5.0);
        one.policy.idle_seconds = idle;
        one.policy.scale_down.stabilization_seconds = stabilization;
        one.run(400.0, &mut [1.0].into_iter());
        // Seen at 1.25 s, ready five later, done at 11.25 or so.
        one.changes.last().map(|(at, to)| (at - 11.25, *to)).expect("it went")
    };
    for (idle, stabilization, hold) in [
        (None, None, 5.0),
        (Some(5.0), None, 5.0),
        (Some(20.0), None, 20.0),
        (None, Some(60.0), 60.0),
        (Some(5.0), Some(60.0), 60.0),
        (Some(120.0), Some(60.0), 120.0),
    ] {
        let (after, to) = gone(idle, stabilization);
        assert!(to == 0 && (after - hold).abs() <= 0.8, "{idle:?} {stabilization:?}: {after}");
    }
}

#[test]
fn twenty_jobs_of_a_millisecond_take_one_worker() {
    let mut short = Simulation::new(Targets { jobs_per_worker: Some(1.0), ..Targets::default() }, 5.0, 0.001);
    // Of the first burst nobody knows what its jobs take.
    short.run(100.0, &mut bursts(20, &[1.0]).into_iter());
    short.most = 0;
    short.run(500.0, &mut bursts(20, &[200.0, 300.0]).into_iter());
    assert_eq!(short.most, 1);
}

#[test]
fn without_a_target_no_job_waits_for_long() {
    // Twelve are busy; nobody says how long a job may wait.
    let mut steady = Simulation::new(Targets::default(), 5.0, 300.0);
    steady.varies = true;
    steady.policy.max_replicas = 40;
    let times = random(&mut steady, 0.04, 10_000.0);
    let work = 300.0 * times.len() as f64;
    steady.run(12_000.0, &mut times.into_iter());
    assert!(steady.p95() <= 10.0 * 1.05, "{}", steady.p95());
    assert!(steady.cost <= 1.15 * work, "{} for {work}", steady.cost);
}

#[test]
fn there_are_never_more_workers_than_jobs() {
    for (rate, job) in [(0.002, 300.0), (0.1, 20.0), (1.0, 5.0)] {
        let mut any = Simulation::new(max_wait(60.0), 5.0, job);
        any.varies = true;
        let times = random(&mut any, rate, 5_000.0);
        any.run(5_000.0, &mut times.into_iter());
        assert_eq!(any.beyond, 0, "{rate} {job}");
    }
}

#[test]
fn what_comes_every_minute_begins_in_less_than_a_start() {
    let mut regular = Simulation::new(max_wait(3.0), 10.0, 5.0);
    let times: Vec<f64> = (1..200).map(|minute| f64::from(minute) * 60.0).collect();
    regular.run(12_000.0, &mut bursts(6, &times).into_iter());
    assert!(regular.p95() <= 3.0 * 1.05, "{}", regular.p95());
    // Six jobs of five seconds, six starts of ten, and twice that for the rest; who waits for them all the time costs 360.
    assert!(regular.cost <= 199.0 * 180.0, "{}", regular.cost / 199.0);
}
