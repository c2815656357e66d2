//! How much free room a trial has to show.

use crate::sink::{
    failure::Failure,
    prepared::{BoundRow, Prepared},
};

/// The least and the most that a trial for free room writes, in bytes.
const ROOM: (usize, usize) = (256 << 10, 16 << 20);

/// How much room a database must show to have, so that `failure` is not its own: more than the part takes, indexes included.
pub(super) fn room_for(failure: &Failure, part: &[(usize, Prepared<'_>)]) -> usize {
    if !matches!(failure, Failure::Full(_)) {
        return 0;
    }
    let rows = part.iter().flat_map(|(_, unit)| &unit.rows);
    let size: usize = rows.map(|row| BoundRow { cells: &row.cells, parent: None }.size()).sum();
    size.saturating_mul(2).clamp(ROOM.0, ROOM.1)
}
