//! The bound against programs that are solved another way, and against every policy of the simulator.

use microlp::{ComparisonOp, OptimizationDirection, Problem, SolveOutcome};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::fifo::Lot;
use crate::load::{Burst, Given, Load};
use crate::policies::{Fixed, Keda, OperatorPolicy, PerWorker, ScalingPolicy};
use crate::work::{Database, Spread, Work};

/// The curves of jobs that are drawn, within some dozens of steps.
fn drawn(chance: &mut ChaCha8Rng, step: f64, steps: usize) -> Tube {
    let target = Target {
        begun: f64::from(chance.random_range(0..24_u32)) * 0.25,
        done: chance.random_bool(0.3).then(|| chance.random_range(0.5..6.0)),
    };
    let mut deadlines = Deadlines::new(target, chance.random_range(1..3), step, steps);
    for _ in 0..chance.random_range(1..7) {
        let arrived = f64::from(chance.random_range(0..60_u32)) * 0.25;
        let (jobs, each) = (chance.random_range(1..4), chance.random_range(0.2..5.0));
        deadlines.add(&Lot { arrived, jobs, each });
    }
    deadlines.tube(chance.random_range(1..5), chance.random_range(0.0..3.0))
}

/// With curves that go through whole worker-steps, so that there is nothing to round.
fn rounded(tube: Tube) -> Tube {
    let whole = |curve: &[f64]| curve.iter().map(|value| (value / tube.step).ceil() * tube.step).collect();
    Tube { latest: whole(&tube.latest), earliest: whole(&tube.earliest), ..tube }
}

/// The program as it stands in [`fluid`], or with whole workers, by a solver that is not ours.
fn program(tube: &Tube, start: f64, whole: bool) -> f64 {
    let mut problem = Problem::new(OptimizationDirection::Minimize);
    let workers: Vec<_> = (0..tube.steps())
        .map(|_| {
            if whole {
                problem.add_integer_var(tube.step, (0, 40))
            } else {
                problem.add_var(tube.step, (0.0, f64::INFINITY))
            }
        })
        .collect();
    let started: Vec<_> = workers.iter().map(|_| problem.add_var(start, (0.0, f64::INFINITY))).collect();
    let curves = tube.latest.iter().zip(&tube.earliest);
    let done: Vec<_> =
        curves.map(|(latest, earliest)| problem.add_var(0.0, (latest.min(*earliest), *earliest))).collect();
    for index in 0..tube.steps() {
        let course = [(done[index + 1], 1.0), (done[index], -1.0), (workers[index], -tube.step)];
        problem.add_constraint(course, ComparisonOp::Le, 0.0);
        let before = index.checked_sub(1).map(|before| (workers[before], -1.0));
        let rise = [(workers[index], 1.0), (started[index], -1.0)].into_iter().chain(before);
        problem.add_constraint(rise.collect::<Vec<_>>(), ComparisonOp::Le, 0.0);
    }
    match problem.solve().unwrap() {
        SolveOutcome::Solution(solution) => solution.objective(),
        SolveOutcome::Interrupted(_) => panic!("not solved"),
    }
}

#[test]
fn divisible_workers_cost_what_a_linear_program_says() {
    let mut chance = ChaCha8Rng::seed_from_u64(11);
    for case in 0..150 {
        let tube = drawn(&mut chance, [0.25, 0.5, 1.0][case % 3], 60);
        let start = chance.random_range(0.1..8.0);
        let (found, expected) = (Fluid::new(&tube, start).cost(), program(&tube, start, false));
        assert!((found - expected).abs() <= 3e-5 * (1.0 + expected), "{case}: {found} for {expected}, {tube:?}");
        assert!(found <= expected + 1e-7, "{case}: what is proved is no more than the optimum");
    }
}

#[test]
fn whole_workers_cost_what_an_integer_program_says() {
    let mut chance = ChaCha8Rng::seed_from_u64(12);
    for case in 0..40 {
        let tube = rounded(drawn(&mut chance, 0.5, 24));
        let start = chance.random_range(0.1..4.0);
        let (found, expected) = (Whole::new(&tube, 40).cost(start), program(&tube, start, true));
        assert!((found - expected).abs() < 1e-6, "{case}: {found} for {expected}, {tube:?}");
    }
}

#[test]
fn parts_between_long_pauses_cost_as_much_as_the_whole() {
    let mut chance = ChaCha8Rng::seed_from_u64(13);
    let mut several = 0;
    for case in 0..60 {
        let tube = rounded(drawn(&mut chance, 0.25, 120));
        let start = chance.random_range(0.3..3.0);
        let parts = tube.parts(start);
        several += usize::from(parts.len() > 1);
        let sum: f64 = parts.iter().map(|part| Fluid::new(part, start).cost()).sum();
        let once = Fluid::new(&tube, start).cost();
        assert!((sum - once).abs() <= 5e-5 * (1.0 + once), "{case}: {sum} for {once}, {tube:?}");
        let exact: f64 = parts.iter().map(|part| Whole::new(part, 20).cost(start)).sum();
        let at_once = Whole::new(&tube, 20).cost(start);
        assert!((exact - at_once).abs() < 1e-6 && exact >= sum * (1.0 - 1e-6), "{case}: {exact} {at_once} {sum}");
        let coarse = Fluid::new(&tube.coarser(3), start).cost();
        assert!(coarse <= once * (1.0 + 1e-4), "{case}: coarser steps ask for no more: {coarse} {once}");
    }
    assert!(several >= 10, "{several}");
}

/// A small simulation: jobs of every kind, pods whose start is as long as its mean.
fn small(chance: &mut ChaCha8Rng, short: bool) -> Simulation {
    let seconds = 90.0;
    let mut load = Load::default();
    if chance.random_bool(0.7) {
        let rate = chance.random_range(0.02..0.4);
        load = load.then(60.0, rate, chance.random_range(0.0..0.4));
    }
    for _ in 0..chance.random_range(1..4) {
        load.bursts.push(Burst { at: chance.random_range(0.0..75.0), jobs: chance.random_range(1..8) });
    }
    load.bursts.sort_by(|one, other| one.at.total_cmp(&other.at));
    if !short && chance.random_bool(0.5) {
        let at = |index: u32| f64::from(index) * 13.0;
        load.given = (0..6).map(|index| Given { at: at(index), seconds: chance.random_range(0.5..40.0) }).collect();
    }
    let mean = if short { chance.random_range(0.01..0.2) } else { chance.random_range(0.3..20.0) };
    if short {
        for burst in &mut load.bursts {
            burst.jobs *= 100;
        }
    }
    Simulation {
        load,
        seconds,
        work: Work::new(chance.random_range(1..3), Spread { mean, variation: chance.random_range(0.0..1.0) }),
        start: Spread { mean: chance.random_range(0.0..15.0), variation: 0.0 },
        grace: chance.random_range(0.0..40.0),
        database: Database { ceiling: chance.random_bool(0.2).then_some(2.0 / mean), slumps: Vec::new() },
        seed: chance.random_range(0..1000),
        explain: None,
    }
}

/// Whatever the policy: with a target that its longest wait keeps, the run costs at least the bound, whole workers or not.
#[test]
fn no_run_is_cheaper_than_the_bound_of_what_its_jobs_waited() {
    let mut chance = ChaCha8Rng::seed_from_u64(14);
    let mut tight = f64::INFINITY;
    for case in 0..24 {
        let simulation = small(&mut chance, case % 3 == 0);
        let most = chance.random_range(1..8);
        let ours = |policy| {
            OperatorPolicy::new(policy, false, jobqueue_scaling::Calendar::default(), chrono::DateTime::default())
        };
        let policy = jobqueue_scaling::Policy { max_replicas: most, idle_seconds: Some(5.0), ..Default::default() };
        let policies: [Box<dyn ScalingPolicy>; 5] = [
            Box::new(ours(policy)),
            Box::new(PerWorker { length: 1.0, least: 0, most }),
            Box::new(PerWorker { length: 5.0, least: 0, most }),
            Box::new(Keda::new(2.0, (0, most), 1.0, (0.3, 0.6))),
            Box::new(Fixed { workers: most }),
        ];
        for mut policy in policies {
            let outcome = simulation.run(policy.as_mut());
            let target = Target::begun_within(outcome.max_wait_seconds);
            let (tube, arrived) = tube(&simulation, target, most);
            assert_eq!(arrived, outcome.arrived);
            for states in [0.0, 1e5] {
                let (cost, _) = least(&tube, simulation.start.mean, most, states);
                let spent = outcome.worker_seconds;
                assert!(
                    cost <= spent + 1e-6,
                    "{case}: {cost} for {spent}, {states}, {policy:?}: {simulation:?}",
                    policy = policy.why()
                );
                if cost > 0.0 {
                    tight = tight.min(spent / cost);
                }
            }
        }
    }
    assert!(tight < 1.1, "the bound says something: {tight}");
}

/// By hand: two jobs of ten seconds, a minute apart, starts of 5 seconds, one worker: to start twice costs 5 + 10 each time.
#[test]
fn simple_loads_cost_what_they_cost_by_hand() {
    let simulation = |second: f64, start: f64| Simulation {
        load: Load { given: [50.0, second].map(|at| Given { at, seconds: 10.0 }).to_vec(), ..Load::default() },
        seconds: 300.0,
        work: Work::new(1, Spread { mean: 10.0, variation: 0.0 }),
        start: Spread { mean: start, variation: 0.2 },
        grace: 30.0,
        database: Database::default(),
        seed: 1,
        explain: None,
    };
    let cost = |second, start, wait| bound(&simulation(second, start), Target::begun_within(wait), 20).worker_seconds;
    let cases = [
        (110.0, 5.0, 0.0, 30.0), // to start twice
        (63.0, 5.0, 0.0, 28.0),  // to stay for three seconds
        (63.0, 5.0, 3.0, 25.0),  // to begin the first one late
        (50.0, 5.0, 0.0, 30.0),  // two at once
        (50.0, 5.0, 10.0, 25.0), // one after the other
        (110.0, 0.0, 0.0, 20.0), // what costs nothing to start does not stay
    ];
    for (second, start, wait, expected) in cases {
        let found = cost(second, start, wait);
        assert!((found - expected).abs() < 1e-6, "{second} {start} {wait}: {found} for {expected}");
    }
    let late = bound(&simulation(51.0, 5.0), Target::begun_within(2.0), 1);
    assert!(!late.kept && (late.worker_seconds - 25.0).abs() < 1e-6, "one worker is late, and does both: {late:?}");
}
