//! The least cost where workers may be divided: a linear program, solved to a proof.
//!
//! In steps of equal length, with `n` workers that are ready, the work `a` that becomes possible in a step, and the backlog `q` at its
//! end, of which at most `c` may be left:
//!
//! ```text
//! least   sum of n[i] + s * rise(n[i] - n[i-1])        s: a start, in steps
//! where   q[i+1] >= q[i] + a[i] - n[i],   0 <= q[i] <= c[i],   n[i] >= 0
//! ```
//!
//! Its dual is a price for work, `p[i] >= 0`, at which no worker earns more than it costs: over any time, prices less the
//! worker's own cost add up to at most `s`. Any such price proves a bound ([`Fluid::proof`]), so that what is returned holds however
//! well the solver has converged.

use clarabel::algebra::CscMatrix;
use clarabel::solver::{DefaultSettings, DefaultSolver, IPSolver, SupportedConeT};

use super::tube::Tube;

/// Workers started, workers, and the backlog at its end, for each step of time.
const VARIABLES: usize = 3;
/// What holds for each step: the backlog's course, what starts are, and four signs.
const ROWS: usize = 6;

/// The program.
#[derive(Debug)]
pub(super) struct Fluid {
    step: f64,
    /// A start, in steps.
    start: f64,
    /// Work that becomes possible, in worker-steps.
    arriving: Vec<f64>,
    /// The most that may be left.
    open: Vec<f64>,
}

impl Fluid {
    /// A worker that is started costs `start` worker-seconds before it is ready.
    pub(super) fn new(tube: &Tube, start: f64) -> Self {
        let step = tube.step;
        let arriving = tube.earliest.windows(2).map(|pair| (pair[1] - pair[0]) / step).collect();
        let open = tube.earliest.iter().zip(&tube.latest).skip(1);
        let open = open.map(|(earliest, latest)| (earliest - latest).max(0.0) / step).collect();
        Self { step, start: start / step, arriving, open }
    }

    /// The bound, in worker-seconds.
    pub(super) fn cost(&self) -> f64 {
        self.proof(&self.prices()) * self.step
    }

    /// What these prices prove, in worker-steps. Where a worker would earn too much, the price is lowered first.
    fn proof(&self, prices: &[f64]) -> f64 {
        // How much a worker may still earn, if it was started at the best moment.
        let mut room = self.start;
        let prices: Vec<f64> = prices
            .iter()
            .map(|price| {
                let price = price.clamp(0.0, 1.0 + room);
                room = (room + 1.0 - price).clamp(0.0, self.start);
                price
            })
            .collect();
        let earned: f64 = prices.iter().zip(&self.arriving).map(|(price, work)| price * work).sum();
        // A backlog is carried from dear to cheap steps; only so much may be.
        let next = prices.iter().skip(1).chain([&0.0]);
        let saved = prices.iter().zip(next).zip(&self.open).map(|((price, next), open)| open * (price - next).max(0.0));
        earned - saved.sum::<f64>()
    }

    /// The prices of work that the solver finds, one for each step.
    fn prices(&self) -> Vec<f64> {
        let steps = self.arriving.len();
        let costs: Vec<f64> = [self.start, 1.0, 0.0].into_iter().cycle().take(steps * VARIABLES).collect();
        // The solver's own form: a point is feasible where `signs * x <= most`.
        let rows = self.arriving.iter().zip(&self.open);
        let most: Vec<f64> = rows.flat_map(|(work, open)| [-work, 0.0, 0.0, 0.0, 0.0, *open]).collect();
        let none = CscMatrix::zeros((costs.len(), costs.len()));
        let cones = [SupportedConeT::NonnegativeConeT(most.len())];
        let settings = DefaultSettings { verbose: false, ..DefaultSettings::default() };
        let mut solver = DefaultSolver::new(&none, &costs, &coefficients(steps), &most, &cones, settings)
            .expect("as many rows and columns as there are steps");
        solver.solve();
        solver.solution.z.iter().copied().step_by(ROWS).collect()
    }
}

/// The left sides of the rows, each with its sign turned: the solver wants what is at most, not at least.
fn coefficients(steps: usize) -> CscMatrix<f64> {
    let (mut from, mut rows, mut values) = (vec![0], Vec::new(), Vec::new());
    for step in 0..steps {
        let (row, next) = (step * ROWS, (step + 1) * ROWS);
        let started = [(row + 1, -1.0), (row + 2, -1.0)];
        let workers = [(row, -1.0), (row + 1, 1.0), (row + 3, -1.0), (next + 1, -1.0)];
        let left = [(row, -1.0), (row + 4, -1.0), (row + 5, 1.0), (next, 1.0)];
        for column in [&started[..], &workers, &left] {
            let there = column.iter().filter(|(row, _)| *row < steps * ROWS);
            for (row, value) in there {
                rows.push(*row);
                values.push(*value);
            }
            from.push(rows.len());
        }
    }
    CscMatrix::new(steps * ROWS, steps * VARIABLES, from, rows, values)
}
