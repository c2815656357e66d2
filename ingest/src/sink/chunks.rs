//! How many rows go into one `INSERT ... VALUES (...), (...)`.
//!
//! Every length is a statement of its own to prepare, so that only powers of two are used: a table needs a handful of
//! prepared statements whatever the batches look like.

use super::prepared::BoundRow;

/// Splits rows into runs of a power of two, each with at most `most` rows and about `bytes` bytes.
pub(super) fn chunks<'r, 'a>(rows: &'r [BoundRow<'a>], most: usize, bytes: usize) -> Vec<&'r [BoundRow<'a>]> {
    runs(rows, most, |run| run.iter().map(BoundRow::size).sum::<usize>() <= bytes)
}

/// Splits anything into runs of a power of two, each with at most `most` of them; halved until it `fits`, or is one alone.
pub(super) fn runs<T>(items: &[T], most: usize, fits: impl Fn(&[T]) -> bool) -> Vec<&[T]> {
    let mut runs = Vec::new();
    let mut rest = items;
    while !rest.is_empty() {
        let mut length = 1 << rest.len().min(most.max(1)).ilog2();
        while length > 1 && !fits(&rest[..length]) {
            length /= 2;
        }
        let (run, after) = rest.split_at(length);
        runs.push(run);
        rest = after;
    }
    runs
}

/// `(?, ?), (?, ?)`.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    vec![row; rows].join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::convert::Cell;

    #[test]
    fn lengths_are_powers_of_two_within_both_bounds() {
        let cells = [Cell::Text("x".repeat(100).into())];
        let rows = vec![BoundRow { cells: &cells, parent: None }; 203];
        let lengths = |most, bytes| chunks(&rows, most, bytes).iter().map(|chunk| chunk.len()).collect::<Vec<_>>();
        assert_eq!(lengths(128, usize::MAX), [128, 64, 8, 2, 1]);
        assert_eq!(lengths(100, usize::MAX), [64, 64, 64, 8, 2, 1]);
        assert!(lengths(128, 1_000).iter().all(|length| *length <= 8));
        assert_eq!(lengths(128, 0).len(), 203);
        assert_eq!(placeholders(2, 3), "(?,?,?),(?,?,?)");
    }
}
