//! The line of a list that is selected, and the part of the list that is visible.

/// Counted from 0, in the whole list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The line that is selected.
    pub(crate) at: usize,
    /// The first line that is visible.
    pub(crate) skip: usize,
}

impl Cursor {
    /// Selects a line of a list of `length`, of which `rows` are visible, and moves what is visible no more than that takes.
    pub(crate) fn go_to(&mut self, at: usize, length: usize, rows: usize) {
        let rows = rows.max(1);
        self.at = at.min(length.saturating_sub(1));
        self.skip = self.skip.min(self.at).max((self.at + 1).saturating_sub(rows));
        // No empty lines at the end where there are lines before.
        self.skip = self.skip.min(length.saturating_sub(rows));
    }

    /// So many lines down, or up.
    pub(crate) fn step(&mut self, lines: isize, length: usize, rows: usize) {
        self.go_to(self.at.saturating_add_signed(lines), length, rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_line_is_always_visible() {
        let mut cursor = Cursor::default();
        let mut after = |lines| {
            cursor.step(lines, 100, 10);
            (cursor.at, cursor.skip)
        };
        assert_eq!([after(9), after(1), after(-3)], [(9, 0), (10, 1), (7, 1)]);
        assert_eq!([after(-7), after(isize::MAX), after(-100)], [(0, 0), (99, 90), (0, 0)]);
    }

    #[test]
    fn a_list_that_shrinks_takes_the_cursor_along() {
        let mut cursor = Cursor { at: 99, skip: 90 };
        cursor.step(0, 4, 10);
        assert_eq!(cursor, Cursor { at: 3, skip: 0 });
        cursor.step(0, 0, 0);
        assert_eq!(cursor, Cursor::default());
        cursor = Cursor { at: 5, skip: 5 };
        cursor.step(0, 10, 8);
        assert_eq!(cursor, Cursor { at: 5, skip: 2 }, "more rows show more lines");
    }
}
