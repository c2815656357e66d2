//! Symmetric positive definite matrices whose entries lie near the diagonal, and Cholesky's factors of them.

/// How far from the diagonal there are entries.
const WIDTH: usize = 3;

/// The lower half: each row's entries, the diagonal last.
#[derive(Debug)]
pub(super) struct Band {
    rows: Vec<[f64; WIDTH + 1]>,
}

impl Band {
    /// All zero.
    pub(super) fn new(size: usize) -> Self {
        Self { rows: vec![[0.0; WIDTH + 1]; size] }
    }

    /// Adds to an entry; `column` is at most `row`, and at least `row` less the width.
    pub(super) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.rows[row][WIDTH + column - row] += value;
    }

    /// The factor; `None` where rounding has left nothing to divide by.
    pub(super) fn factor(mut self) -> Option<Factor> {
        for row in 0..self.rows.len() {
            for column in row.saturating_sub(WIDTH)..=row {
                let known = row.saturating_sub(WIDTH)..column;
                let sum: f64 = known.map(|inner| self.entry(row, inner) * self.entry(column, inner)).sum();
                let rest = self.entry(row, column) - sum;
                self.rows[row][WIDTH + column - row] = if column < row {
                    rest / self.entry(column, column)
                } else if rest > 0.0 {
                    rest.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Factor { band: self })
    }

    fn entry(&self, row: usize, column: usize) -> f64 {
        (column + WIDTH).checked_sub(row).map_or(0.0, |index| self.rows[row][index])
    }
}

/// A lower triangle whose square is the matrix.
#[derive(Debug)]
pub(super) struct Factor {
    band: Band,
}

impl Factor {
    /// Replaces the right side by the solution.
    pub(super) fn solve(&self, values: &mut [f64]) {
        let size = values.len();
        for row in 0..size {
            let known = row.saturating_sub(WIDTH)..row;
            let sum: f64 = known.map(|column| self.band.entry(row, column) * values[column]).sum();
            values[row] = (values[row] - sum) / self.band.entry(row, row);
        }
        for row in (0..size).rev() {
            let known = row + 1..(row + 1 + WIDTH).min(size);
            let sum: f64 = known.map(|column| self.band.entry(column, row) * values[column]).sum();
            values[row] = (values[row] - sum) / self.band.entry(row, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_solved_fits_the_equations() {
        let size = 7;
        let mut band = Band::new(size);
        let mut full = vec![vec![0.0; size]; size];
        for (row, column) in (0..size).flat_map(|row| (0..=row).map(move |column| (row, column))) {
            if row - column <= WIDTH {
                let value = if row == column { 9.0 + row as f64 } else { 1.0 / (row + 2 * column + 1) as f64 - 0.4 };
                band.add(row, column, value);
                (full[row][column], full[column][row]) = (value, value);
            }
        }
        let sought: Vec<f64> = (0..size).map(|index| index as f64 - 2.5).collect();
        let product = |row: &Vec<f64>| row.iter().zip(&sought).map(|(one, other)| one * other).sum::<f64>();
        let mut values: Vec<f64> = full.iter().map(product).collect();
        band.factor().unwrap().solve(&mut values);
        assert!(values.iter().zip(&sought).all(|(found, sought)| (found - sought).abs() < 1e-12), "{values:?}");
    }

    #[test]
    fn a_matrix_that_is_not_positive_has_no_factor() {
        let mut band = Band::new(2);
        band.add(0, 0, 1.0);
        band.add(1, 0, 2.0);
        band.add(1, 1, 1.0);
        assert!(band.factor().is_none());
    }
}
