//! The list of queues, those with trouble first unless another order is asked for.

use jobqueue_inspect::source::{Overview, Row};
use jobqueue_inspect::text;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use super::stacked;
use super::table::{Column, Lines, table};
use super::theme::Theme;
use super::words::{count, facts, name_of, rate, span, wrapped};
use crate::state::{Fitted, List, SORTS, State};

/// Lines of the page before sums and other things go.
const LOW: u16 = 10;
/// Columns of a page on which the sentence about all queues may take two lines.
const NARROW: u16 = 76;

/// The list.
pub(super) fn queues(state: &State, theme: Theme, frame: &mut Frame<'_>, area: Rect) -> Fitted {
    let list = &state.list;
    let is_known = |overview: &Overview| state.is_answered || overview.total > 0 || overview.problem.is_some();
    let Some((overview, skip)) = list.overview.as_ref().filter(|(overview, _)| is_known(overview)) else {
        frame.render_widget(Line::styled("Reading…", theme.aside()), area);
        return Fitted::default();
    };
    let rest = stacked(summary(list, overview, theme, area), frame, area);
    let below = u16::from(area.height >= LOW);
    let [table_area, detail] = Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(rest);
    let lines = Lines { rows: &overview.rows, skip: *skip, length: overview.matching };
    let longest = overview.rows.iter().map(|row| Line::raw(name_of(&row.key)).width()).max().unwrap_or(0);
    let fitted = table(&columns(longest, table_area.width), &lines, list.cursor, theme, frame, table_area);
    if let Some(row) = list.cursor.at.checked_sub(*skip).and_then(|at| overview.rows.get(at)) {
        frame.render_widget(Line::styled(reason(row), theme.aside()), detail);
    }
    fitted
}

fn summary(list: &List, overview: &Overview, theme: Theme, area: Rect) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(problem) = &overview.problem {
        lines.extend(wrapped(&text::line(problem, 500), area.width, 2, theme.problem()));
    }
    if overview.is_unknown() {
        return lines;
    }
    if area.width < NARROW {
        let mut sentence = wrapped(&overview.sentence(), area.width, 2, Style::new());
        // As many lines at every moment, here too.
        sentence.resize(2, Line::default());
        lines.append(&mut sentence);
    } else {
        lines.push(Line::raw(overview.sentence()));
    }
    if area.height >= LOW {
        let totals = &overview.totals;
        let sums = [
            ("Waiting", text::count(totals.waiting)),
            ("Running", text::count(totals.running)),
            ("Failed", text::count(totals.failed)),
            ("Oldest wait", span(totals.oldest_wait)),
            ("Arrive", format!("{}/s", rate(totals.arrivals))),
            ("End", format!("{}/s", rate(totals.completions))),
        ];
        // One line: it is the same at every moment, so that the list stands still.
        lines.extend(facts(&sums, area.width).into_iter().take(1));
    }
    let by = SORTS.iter().find(|(_, by, _)| *by == list.order.by).map_or("", |(_, _, word)| word);
    let reversed = if list.order.reversed { ", reversed" } else { "" };
    let mut order = format!("Sorted by {by}{reversed}");
    if !list.query.is_empty() {
        let query = text::line(&list.query, text::SHORT);
        order = format!("{order}. {} match {query}", text::count(overview.matching as u64));
    }
    lines.push(Line::styled(order, theme.aside()));
    lines
}

/// Why the queue is in its state.
fn reason(row: &Row) -> String {
    let Row { key, reason, message, .. } = row;
    let message = if message.is_empty() { String::new() } else { format!(". {message}") };
    format!("{}: {}{}", name_of(key), text::line(reason, 60), text::line(&message, text::SHORT))
}

/// `longest` is the width of the longest name. On a narrow page names are cut for the numbers beside them.
fn columns(longest: usize, width: u16) -> Vec<Column<Row>> {
    let most = (width * 2 / 5).clamp(12, 24);
    let name = u16::try_from(longest).unwrap_or(u16::MAX).clamp(12, most);
    vec![
        Column::growing("QUEUE", name, 1, |row, _| Line::raw(name_of(&row.key))),
        Column::text("STATE", 9, 2, |row, theme| Line::styled(row.standing.word(), theme.standing(row.standing))),
        Column::number("WORKERS", 9, 4, |row, _| Line::raw(workers(row))),
        Column::number("WAITING", 7, 3, |row, _| Line::raw(count(row.numbers.waiting))),
        Column::number("RUNNING", 7, 8, |row, _| Line::raw(count(row.numbers.running))),
        Column::number("OLDEST", 7, 6, |row, _| Line::raw(span(row.numbers.oldest_wait))),
        Column::number("IN/S", 6, 9, |row, _| Line::raw(rate(row.numbers.arrivals))),
        Column::number("OUT/S", 6, 7, |row, _| Line::raw(rate(row.numbers.completions))),
        Column::number("FAILED", 7, 5, |row, _| Line::raw(count(row.numbers.failed))),
        Column::text("REASON", 40, 10, |row, _| Line::raw(text::line(&row.reason, 60))),
    ]
}

/// Those that are there, and how many were asked for.
fn workers(row: &Row) -> String {
    let present = count(row.numbers.workers);
    row.numbers.desired.map_or_else(|| present.clone(), |desired| format!("{present}/{}", count(desired)))
}
