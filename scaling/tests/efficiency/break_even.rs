//! A worker without work is kept for about as long as its start costs: so it is never much dearer than whoever knows when the
//! next job comes, whatever the gaps between the jobs (ski rental: at most twice as dear). Where the gaps have been long, going
//! at once is tried for a quarter of what it would have saved, and goes on while it saves: at most a quarter dearer still, and
//! usually far cheaper.

use crate::simulation::{POLL, Simulation};
use jobqueue_scaling::Targets;
use proptest::prelude::*;

/// The least that the workers can cost: a start for the first job, and in each gap the cheaper of keeping and starting anew.
fn optimum(start: f64, job: f64, gaps: &[f64]) -> f64 {
    let work = job * (gaps.len() + 1) as f64;
    start + work + gaps.iter().map(|gap| gap.min(start)).sum::<f64>()
}

fn cost(start: f64, job: f64, gaps: &[f64]) -> f64 {
    let mut simulation = Simulation::new(Targets::default(), start, job);
    // What a start takes is measured by a first job, which does not count.
    let first = 2.0 * start + job + 10.0 * POLL;
    simulation.run(first + 200.0, &mut [0.0].into_iter());
    let before = simulation.cost;
    let mut at = first + 200.0;
    // A gap is from the end of a job to the arrival of the next: a late beginning moves what follows.
    for gap in std::iter::once(0.0).chain(gaps.iter().copied()) {
        let begun = simulation.waits.len();
        at += gap;
        simulation.run(at, &mut std::iter::empty());
        simulation.run(at + POLL, &mut [at].into_iter());
        while simulation.waits.len() == begun {
            at += POLL;
            simulation.run(at + POLL, &mut std::iter::empty());
        }
        at += job + POLL;
    }
    simulation.run(at + 2.0 * start + 100.0, &mut std::iter::empty());
    simulation.cost - before
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn it_costs_at_most_two_and_a_quarter_times_the_optimum(
        start in 2.0_f64..30.0,
        job in 0.5_f64..20.0,
        gaps in prop::collection::vec(prop_oneof![0.5_f64..10.0, 1.0_f64..60.0, 20.0_f64..300.0], 1..24),
    ) {
        let (cost, optimum) = (cost(start, job, &gaps), optimum(start, job, &gaps));
        // A few looks for each job: it is seen up to one late, and so are its end and the end of the hold.
        let polls = 6.0 * POLL * (gaps.len() + 1) as f64;
        prop_assert!(cost <= 2.25 * optimum + polls, "{cost} for {optimum}: {gaps:?}");
    }
}

#[test]
fn sparse_jobs_cost_about_twice_the_optimum_at_worst() {
    let gaps = [3_600.0; 6];
    for (start, job) in [(5.0, 0.5), (5.0, 5.0), (30.0, 1.0)] {
        let ratio = cost(start, job, &gaps) / optimum(start, job, &gaps);
        assert!(ratio <= 2.1, "{start} {job}: {ratio}");
    }
}

#[test]
fn sparse_jobs_cost_little_more_than_the_optimum_once_they_are_known_to_be_sparse() {
    let gaps = [600.0; 60];
    for (start, job) in [(5.0, 0.5), (5.0, 5.0), (30.0, 1.0)] {
        let ratio = cost(start, job, &gaps) / optimum(start, job, &gaps);
        assert!(ratio <= 1.2, "{start} {job}: {ratio}");
    }
}

#[test]
fn gaps_that_turn_short_after_long_ones_are_noticed_soon() {
    let (start, job) = (10.0, 2.0);
    let gaps: Vec<f64> = [300.0; 20].into_iter().chain([3.0; 40]).collect();
    let (cost, optimum) = (cost(start, job, &gaps), optimum(start, job, &gaps));
    assert!(cost <= 1.5 * optimum, "{cost} for {optimum}");
}
