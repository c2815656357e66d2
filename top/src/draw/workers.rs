//! The workers of a queue, and what they have in hand.

use jobqueue_inspect::text;
use jobqueue_inspect::workers::Worker;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;

use super::stacked;
use super::table::{Column, Lines, table};
use super::theme::Theme;
use super::words::{count, span, wrapped};
use crate::state::{Cursor, Fitted, QueueData};

/// The workers, the busy ones first.
pub(super) fn workers(data: &QueueData, cursor: Cursor, theme: Theme, frame: &mut Frame<'_>, area: Rect) -> Fitted {
    let problem = data.workers_problem.as_deref().unwrap_or_default();
    let area = stacked(wrapped(&text::line(problem, 500), area.width, 3, theme.problem()), frame, area);
    if data.workers.is_empty() {
        frame.render_widget(Line::raw("No workers."), area);
        return Fitted::default();
    }
    let [list, detail] = Layout::vertical([Constraint::Min(2), Constraint::Length(1)]).areas(area);
    let lines = Lines { rows: &data.workers, skip: 0, length: data.workers.len() };
    let fitted = table(&columns(), &lines, cursor, theme, frame, list);
    if let Some(worker) = data.workers.get(cursor.at) {
        frame.render_widget(Line::styled(whole(worker), theme.aside()), detail);
    }
    fitted
}

fn columns() -> Vec<Column<Worker>> {
    vec![
        Column::growing("WORKER", 16, 1, |worker, _| Line::raw(text::line(&worker.name, 80))),
        Column::text("STATE", 9, 2, |worker, theme| {
            let state = if worker.draining { "draining" } else { worker.state.as_str() };
            let style = if worker.draining { theme.title() } else { Style::new() };
            Line::styled(text::line(state, 30), style)
        }),
        Column::growing("JOB", 16, 3, |worker, _| Line::raw(job(worker))),
        Column::number("SINCE", 7, 4, |worker, _| Line::raw(span(worker.busy_for))),
        Column::number("DONE", 7, 6, |worker, _| Line::raw(count(worker.succeeded))),
        Column::number("FAILED", 7, 7, |worker, _| Line::raw(count(worker.failed))),
        Column::number("SEEN", 7, 5, |worker, _| Line::raw(span(worker.silent_for))),
    ]
}

/// What it has in hand.
fn job(worker: &Worker) -> String {
    let more = worker.running.saturating_sub(1);
    match &worker.job {
        Some(job) if more > 0 => format!("{} and {} more", text::line(job, 60), count(more)),
        Some(job) => text::line(job, 60),
        None if worker.running > 0 => text::jobs(worker.running),
        None => "–".to_owned(),
    }
}

/// What the columns have no room for.
fn whole(worker: &Worker) -> String {
    let host = if worker.host == worker.name { "" } else { worker.host.as_str() };
    let parts = [worker.name.as_str(), host, worker.description.as_deref().unwrap_or_default()];
    let parts: Vec<String> = parts.iter().filter(|part| !part.is_empty()).map(|part| text::line(part, 120)).collect();
    parts.join("   ")
}
