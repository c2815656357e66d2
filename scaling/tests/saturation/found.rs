//! How often saturation is found where there is one, and where there is none: many runs with chance.

use std::io::Write;

use jobqueue_scaling::{Decision, Limit};

use crate::jobs::{MOST, Setting, Simulation};

/// How a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// From nothing, with more work than all workers can do.
    Cold,
    /// After ten minutes with a little work.
    Warm,
    /// After ten minutes in which all workers had work and the database kept up.
    Slower,
}

fn is_found(decision: &Decision) -> bool {
    decision.limits.iter().any(|limited| matches!(limited.limit, Limit::Saturated { .. }))
}

/// When saturation was found, in seconds, of a database that does `part` of what all workers would.
fn found(start: Start, job_seconds: f64, variation: f64, part: f64, seconds: f64, seed: u64) -> Option<f64> {
    let most = f64::from(MOST) / job_seconds;
    let (ceiling, overload) = (part * most, 1.5 * most);
    let mut simulation = Simulation::new(Setting { job_seconds, variation, ceiling, arrivals: overload }, seed);
    let before = 600.0;
    let mut first = None;
    match start {
        Start::Cold => {}
        Start::Warm => {
            simulation.setting.arrivals = 0.6 * part.min(1.0) * most;
            simulation.run(before, |_, _| {});
        }
        Start::Slower => {
            simulation.setting.ceiling = f64::INFINITY;
            simulation.run(before, |_, _| {});
        }
    }
    (simulation.setting.ceiling, simulation.setting.arrivals) = (ceiling, overload);
    let began = simulation.now;
    simulation.run(began + seconds, |now, decision| {
        if is_found(decision) {
            first.get_or_insert(now - began);
        }
    });
    first
}

/// Where chance begins.
fn first_seed() -> u64 {
    let seed = std::env::var_os("SEED");
    seed.and_then(|seed| seed.to_string_lossy().parse().ok()).unwrap_or(0)
}

/// In how many runs of a hundred it was found within five minutes.
fn found_of_hundred(start: Start, job_seconds: f64, variation: f64, part: f64, runs: u32) -> u32 {
    let is_found =
        |seed: &u32| found(start, job_seconds, variation, part, 300.0, first_seed() + u64::from(*seed)).is_some();
    let count = (0..runs).filter(is_found).count();
    u32::try_from(count).expect("few") * 100 / runs
}

/// In how many runs it was found in fifteen minutes, though nothing limits.
fn false_verdicts(start: Start, job_seconds: f64, variation: f64, runs: u32) -> u32 {
    let is_found = |seed: &u32| {
        let seed = 1000 + first_seed() + u64::from(*seed);
        found(start, job_seconds, variation, f64::INFINITY, 900.0, seed).is_some()
    };
    u32::try_from((0..runs).filter(is_found).count()).expect("few")
}

#[test]
fn a_limit_is_found_within_five_minutes_however_the_work_begins() {
    for (start, job_seconds, variation, part) in [
        (Start::Cold, 0.5, 0.5, 0.3),
        (Start::Cold, 0.5, 1.0, 0.5),
        (Start::Cold, 0.5, 0.5, 0.8),
        (Start::Cold, 5.0, 0.0, 0.5),
        (Start::Cold, 5.0, 0.5, 0.3),
        (Start::Cold, 5.0, 1.0, 0.3),
        (Start::Cold, 5.0, 1.0, 0.5),
        (Start::Cold, 0.5, 3.0, 0.5),
        (Start::Warm, 0.5, 1.0, 0.3),
        (Start::Warm, 5.0, 0.5, 0.5),
        (Start::Slower, 0.5, 1.0, 0.5),
        (Start::Slower, 5.0, 0.5, 0.3),
    ] {
        let found = found_of_hundred(start, job_seconds, variation, part, 12);
        assert!(found >= 90, "{start:?}, {job_seconds} s, variation {variation}, {part}: {found} of 100");
    }
}

#[test]
fn long_and_highly_varied_jobs_hide_a_limit_seldom() {
    let found = [0.3, 0.5].map(|part| found_of_hundred(Start::Cold, 5.0, 3.0, part, 25));
    assert!(found.iter().all(|found| *found >= 75), "{found:?} of 100");
}

#[test]
fn varied_jobs_are_no_limit() {
    let mut wrong = 0;
    for (start, job_seconds, variation) in [
        (Start::Cold, 0.5, 1.0),
        (Start::Cold, 0.5, 3.0),
        (Start::Warm, 0.5, 3.0),
        (Start::Cold, 5.0, 0.0),
        (Start::Cold, 5.0, 1.0),
        (Start::Cold, 5.0, 3.0),
        (Start::Warm, 5.0, 3.0),
    ] {
        wrong += false_verdicts(start, job_seconds, variation, 12);
    }
    // Chance is allowed one in a hundred.
    assert!(wrong <= 1, "{wrong} of 84");
}

/// A simulation in which the database does `part` of what all workers would, and there is more to do than that.
fn limited(job_seconds: f64, part: f64, seed: u64) -> Simulation {
    let most = f64::from(MOST) / job_seconds;
    Simulation::new(Setting { job_seconds, variation: 0.5, ceiling: part * most, arrivals: 1.5 * most }, seed)
}

#[test]
fn a_database_that_gets_slower_gets_no_more_workers_than_before() {
    for seed in 0..6 {
        let mut simulation = limited(1.0, 0.5, seed);
        simulation.run(900.0, |_, _| {});
        simulation.setting.ceiling /= 2.0;
        let (mut asked, mut polls) = (0, 0);
        simulation.run(1800.0, |_, decision| {
            asked += decision.replicas;
            polls += 1;
        });
        // More are tried now and then.
        let mean = asked / polls;
        assert!(mean <= 13, "{seed}: {mean} workers on average");
    }
}

#[test]
fn jobs_that_get_longer_are_not_taken_for_a_limit_for_long() {
    for seed in 0..6 {
        let mut simulation =
            Simulation::new(Setting { job_seconds: 0.5, variation: 1.0, ceiling: f64::INFINITY, arrivals: 16.0 }, seed);
        simulation.run(600.0, |_, _| {});
        assert!(simulation.desired < 15, "{seed}: {}", simulation.desired);
        simulation.setting.job_seconds = 1.2;
        let (mut limited, mut asked, mut polls) = (0.0, 0, 0);
        simulation.run(1500.0, |_, decision| limited += if is_found(decision) { 0.25 } else { 0.0 });
        simulation.run(1800.0, |_, decision| {
            limited += if is_found(decision) { 0.25 } else { 0.0 };
            asked += decision.replicas;
            polls += 1;
        });
        assert!(limited < 180.0, "{seed}: {limited} s");
        // 19.2 are at work on average; at times fewer do, as long as no job waits for more than its 30 seconds.
        let mean = f64::from(asked) / f64::from(polls);
        assert!(mean > 18.0, "{seed}: {mean} workers on average");
    }
}

/// For how many seconds of fifteen minutes fewer were tried, by `most` workers that nothing limits, with too much to do.
fn tried(most: u32, job_seconds: f64, seed: u64) -> f64 {
    let arrivals = 1.5 * f64::from(most) / job_seconds;
    let mut simulation =
        Simulation::new(Setting { job_seconds, variation: 1.0, ceiling: f64::INFINITY, arrivals }, seed);
    simulation.policy.max_replicas = most;
    let mut seconds = 0.0;
    simulation.run(900.0, |_, decision| {
        let tries = decision.limits.iter().any(|limited| matches!(limited.limit, Limit::Probing { .. }));
        seconds += if tries { 0.25 } else { 0.0 };
    });
    seconds
}

#[test]
fn a_trial_that_can_tell_nothing_ends_and_two_or_three_workers_see_none() {
    let mean = |most| (0..8).map(|seed| tried(most, 2.0, seed)).sum::<f64>() / 8.0;
    let seconds = [2, 3, 4, 20].map(mean);
    assert!(seconds[0] + seconds[1] < 0.1, "{seconds:?}");
    assert!(seconds[2] > 0.0 && seconds[2] < 110.0 && seconds[3] > 0.0 && seconds[3] < 110.0, "{seconds:?}");
}

/// What is stated of found and false, run by run: `cargo test -p jobqueue-scaling --test saturation -- --ignored --nocapture
/// monte_carlo`, with the number of `RUNS`, the first `SEED`, and `ONLY` settings whose title contains that.
#[test]
#[ignore = "takes many minutes, and prints a table"]
fn monte_carlo() {
    let variable = |name| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    let runs = variable("RUNS").and_then(|runs| runs.parse().ok()).unwrap_or(200);
    let only = variable("ONLY").unwrap_or_default();
    for start in [Start::Cold, Start::Warm, Start::Slower] {
        for job_seconds in [0.05, 0.5, 5.0] {
            for variation in [0.0, 0.5, 1.0, 3.0] {
                let title = format!("{start:?} {job_seconds} s, variation {variation}");
                if !title.contains(&only) {
                    continue;
                }
                let found = [0.3, 0.5, 0.8].map(|part| found_of_hundred(start, job_seconds, variation, part, runs));
                let wrong = false_verdicts(start, job_seconds, variation, runs) * 100 / runs;
                writeln!(std::io::stderr(), "{title}: found {found:?} %, false {wrong} %").expect("stderr is open");
            }
        }
    }
}
