//! The least cost where workers may be divided: a linear program, solved to a proof.
//!
//! In steps of equal length, with `n` workers who are ready, the work `a` that becomes possible in a step, and the backlog `q` at its
//! end, of which at most `c` may be left:
//!
//! ```text
//! least   sum of n[i] + s * rise(n[i] - n[i-1])        s: a start, in steps
//! where   q[i+1] >= q[i] + a[i] - n[i],   0 <= q[i] <= c[i],   n[i] >= 0
//! ```
//!
//! Its dual is a price for work, `p[i] >= 0`, at which no worker earns more than it costs: over any time, prices less the
//! worker's own cost add up to at most `s`. Any such price proves a bound ([`proof`]), so that what is returned holds however
//! well the interior point method below has converged.

use super::band::Band;
use super::tube::Tube;

/// Steps of the method; it is done after twenty or thirty.
const ROUNDS: usize = 80;
/// How near to the best a proof has to be, relatively.
const NEAR: f64 = 1e-5;
/// How far each step goes towards the border.
const CLOSE: f64 = 0.99;
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
        let mut best = 0.0_f64;
        self.solve(|prices, value| {
            best = best.max(self.proof(prices));
            best >= value * (1.0 - NEAR)
        });
        best * self.step
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

    /// Mehrotra's predictor and corrector, from outside of what is feasible (S. Mehrotra, "On the implementation of a
    /// primal-dual interior point method", 1992). After each round `enough` is asked, with the prices and the value that the program has
    /// by them.
    fn solve(&self, mut enough: impl FnMut(&[f64], f64) -> bool) {
        let steps = self.arriving.len();
        let least = self.least();
        let cost = |row: usize| [self.start, 1.0, 0.0][row % VARIABLES];
        let costs: Vec<f64> = (0..steps * VARIABLES).map(cost).collect();
        let scale = 1.0 + self.arriving.iter().copied().fold(0.0, f64::max);
        let mut x = vec![0.0; costs.len()];
        let mut slack = vec![scale; least.len()];
        let mut dual = vec![1.0 + self.start / 4.0; least.len()];
        for _ in 0..ROUNDS {
            let gap = dot(&slack, &dual) / slack.len() as f64;
            let rows = rows(&x);
            let missing: Vec<f64> =
                least.iter().zip(&rows).zip(&slack).map(|((least, row), slack)| least + slack - row).collect();
            let unpaid: Vec<f64> = costs.iter().zip(&columns(&dual)).map(|(cost, paid)| cost - paid).collect();
            let weights: Vec<f64> = dual.iter().zip(&slack).map(|(dual, slack)| dual / slack).collect();
            let Some(factor) = normal(&weights).factor() else { return };
            // A step after which slack times dual would be `wanted`, were it not for what is of second order.
            let step = |wanted: &[f64]| {
                let pull: Vec<f64> = (0..least.len())
                    .map(|row| weights[row] * missing[row] + (wanted[row] - slack[row] * dual[row]) / slack[row])
                    .collect();
                let mut dx = columns(&pull);
                for (dx, unpaid) in dx.iter_mut().zip(&unpaid) {
                    *dx -= unpaid;
                }
                factor.solve(&mut dx);
                let moved = self::rows(&dx);
                let ds: Vec<f64> = moved.iter().zip(&missing).map(|(moved, missing)| moved - missing).collect();
                let dz: Vec<f64> = (0..least.len())
                    .map(|row| (wanted[row] - slack[row] * dual[row] - dual[row] * ds[row]) / slack[row])
                    .collect();
                (dx, ds, dz)
            };
            let (_, ds, dz) = step(&vec![0.0; least.len()]);
            let (far, long) = (reach(&slack, &ds), reach(&dual, &dz));
            let after: f64 =
                (0..least.len()).map(|row| (slack[row] + far * ds[row]) * (dual[row] + long * dz[row])).sum();
            let centre = gap * (after / slack.len() as f64 / gap).powi(3);
            let wanted: Vec<f64> = ds.iter().zip(&dz).map(|(ds, dz)| centre - ds * dz).collect();
            let (dx, ds, dz) = step(&wanted);
            let (far, long) = ((CLOSE * reach(&slack, &ds)).min(1.0), (CLOSE * reach(&dual, &dz)).min(1.0));
            go(&mut x, &dx, far);
            go(&mut slack, &ds, far);
            go(&mut dual, &dz, long);
            let prices: Vec<f64> = dual.iter().copied().step_by(ROWS).collect();
            let value = dot(&costs, &x);
            let kept = missing.iter().fold(0.0_f64, |most, missing| most.max(missing.abs())) < 1e-6 * scale;
            if enough(&prices, if kept { value } else { f64::INFINITY }) {
                return;
            }
        }
    }

    /// The right sides of the rows. A hair is left open everywhere, or there would be no interior; the proof has none of it.
    fn least(&self) -> Vec<f64> {
        let hair = 1e-6 * (1.0 + self.arriving.iter().copied().fold(0.0, f64::max));
        let rows = self.arriving.iter().zip(&self.open);
        rows.flat_map(|(work, open)| [*work, 0.0, 0.0, 0.0, 0.0, -(open + hair)]).collect()
    }
}

/// The left sides of the rows.
fn rows(x: &[f64]) -> Vec<f64> {
    let (mut workers_before, mut left_before) = (0.0, 0.0);
    let row = |step: &[f64]| {
        let (started, workers, left) = (step[0], step[1], step[2]);
        let course = left - left_before + workers;
        let starts = started - workers + workers_before;
        (workers_before, left_before) = (workers, left);
        [course, starts, started, workers, left, -left]
    };
    x.chunks_exact(VARIABLES).flat_map(row).collect()
}

/// The same the other way round: what the rows' duals come to for each variable.
fn columns(dual: &[f64]) -> Vec<f64> {
    let steps = dual.chunks_exact(ROWS);
    let next = dual.chunks_exact(ROWS).skip(1).map(|row| (row[0], row[1])).chain([(0.0, 0.0)]);
    let column = |(row, (course, starts)): (&[f64], (f64, f64))| {
        [row[1] + row[2], row[0] - row[1] + row[3] + starts, row[0] - course + row[4] - row[5]]
    };
    steps.zip(next).flat_map(column).collect()
}

/// The rows' squares, each with its weight.
fn normal(weights: &[f64]) -> Band {
    let steps = weights.len() / ROWS;
    let mut band = Band::new(steps * VARIABLES);
    for (step, weight) in weights.chunks_exact(ROWS).enumerate() {
        let started = step * VARIABLES;
        let (workers, left) = (started + 1, started + 2);
        let before = |variable: usize| variable.checked_sub(VARIABLES);
        let course = [Some((workers, 1.0)), Some((left, 1.0)), before(left).map(|left| (left, -1.0))];
        let starts = [Some((workers, -1.0)), Some((started, 1.0)), before(workers).map(|workers| (workers, 1.0))];
        for (row, weight) in [(course, weight[0]), (starts, weight[1])] {
            for (one, by) in row.into_iter().flatten() {
                for (other, times) in row.into_iter().flatten().filter(|(other, _)| *other <= one) {
                    band.add(one, other, weight * by * times);
                }
            }
        }
        band.add(started, started, weight[2]);
        band.add(workers, workers, weight[3]);
        band.add(left, left, weight[4] + weight[5]);
    }
    band
}

/// How far one can go until something is zero, at most 1 and a little.
fn reach(values: &[f64], steps: &[f64]) -> f64 {
    let limits = values.iter().zip(steps).filter(|(_, step)| **step < 0.0).map(|(value, step)| -value / step);
    limits.fold(1.0 / CLOSE, f64::min)
}

fn go(values: &mut [f64], steps: &[f64], far: f64) {
    for (value, step) in values.iter_mut().zip(steps) {
        *value += far * step;
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}
