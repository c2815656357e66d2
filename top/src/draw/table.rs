//! Tables whose columns give way where there is no room.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table};

use super::theme::Theme;
use crate::state::{Cursor, Fitted};

/// A column of `T`.
pub(super) struct Column<T> {
    pub(super) title: &'static str,
    /// What is shown in a line.
    pub(super) cell: fn(&T, Theme) -> Line<'static>,
    pub(super) width: u16,
    /// Whether it takes what is left.
    pub(super) grows: bool,
    /// Numbers stand on the right.
    pub(super) right: bool,
    /// The columns of the lowest rank go last.
    pub(super) rank: u8,
}

impl<T> Column<T> {
    /// Of text, in a column that takes what is left.
    pub(super) fn growing(title: &'static str, least: u16, rank: u8, cell: fn(&T, Theme) -> Line<'static>) -> Self {
        Self { title, cell, width: least, grows: true, right: false, rank }
    }

    pub(super) fn text(title: &'static str, width: u16, rank: u8, cell: fn(&T, Theme) -> Line<'static>) -> Self {
        Self { title, cell, width, grows: false, right: false, rank }
    }

    pub(super) fn number(title: &'static str, width: u16, rank: u8, cell: fn(&T, Theme) -> Line<'static>) -> Self {
        Self { title, cell, width, grows: false, right: true, rank }
    }
}

/// The columns that fit, in their order: those of the lowest rank first.
fn fitting<T>(columns: &[Column<T>], width: u16) -> Vec<&Column<T>> {
    let mut ranks: Vec<u8> = columns.iter().map(|column| column.rank).collect();
    ranks.sort_unstable();
    let mut most = 0;
    for rank in ranks {
        let kept = columns.iter().filter(|column| column.rank <= rank);
        let taken: u32 = kept.map(|column| u32::from(column.width) + 1).sum();
        // The last column has no gap after it; one column is always shown.
        if taken > u32::from(width) + 1 && most > 0 {
            break;
        }
        most = rank.max(1);
    }
    columns.iter().filter(|column| column.rank <= most).collect()
}

/// The lines of a list that are there, and where they are in it.
pub(super) struct Lines<'a, T> {
    pub(super) rows: &'a [T],
    /// Lines of the list before them.
    pub(super) skip: usize,
    /// Of the whole list.
    pub(super) length: usize,
}

/// Draws what is visible of a list, with the selected line marked.
pub(super) fn table<T>(
    columns: &[Column<T>],
    lines: &Lines<'_, T>,
    cursor: Cursor,
    theme: Theme,
    frame: &mut Frame<'_>,
    area: Rect,
) -> Fitted {
    let columns = fitting(columns, area.width);
    let aligned = |line: Line<'static>, column: &Column<T>| if column.right { line.right_aligned() } else { line };
    let header = columns.iter().map(|column| Cell::from(aligned(Line::raw(column.title), column)));
    let widths = columns
        .iter()
        .map(|column| if column.grows { Constraint::Min(column.width) } else { Constraint::Length(column.width) });
    let rows = usize::from(area.height.saturating_sub(1));
    let before = cursor.skip.saturating_sub(lines.skip);
    let shown = lines.rows.iter().enumerate().skip(before).take(rows).map(|(index, row)| {
        let cells = columns.iter().map(|column| Cell::from(aligned((column.cell)(row, theme), column)));
        let style = if lines.skip + index == cursor.at { theme.selected() } else { ratatui::style::Style::new() };
        Row::new(cells).style(style)
    });
    let table = Table::new(shown, widths).header(Row::new(header).style(theme.title())).column_spacing(1);
    frame.render_widget(table, area);
    Fitted { rows, page: rows, length: lines.length }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_go_by_their_rank_and_one_stays() {
        let cell: fn(&(), Theme) -> Line<'static> = |(), _| Line::default();
        let columns = [
            Column::growing("NAME", 10, 1, cell),
            Column::text("STATE", 9, 2, cell),
            Column::number("RARE", 6, 4, cell),
            Column::number("FAILED", 6, 3, cell),
        ];
        let titles = |width| fitting(&columns, width).iter().map(|column| column.title).collect::<Vec<_>>().join(" ");
        assert_eq!(titles(34), "NAME STATE RARE FAILED");
        assert_eq!(titles(33), "NAME STATE FAILED");
        assert_eq!(titles(27), "NAME STATE FAILED");
        assert_eq!(titles(26), "NAME STATE");
        assert_eq!([titles(10), titles(3), titles(0)], ["NAME", "NAME", "NAME"]);
    }
}
