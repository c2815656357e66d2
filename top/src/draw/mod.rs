//! The pages as they look.

mod failed;
mod help;
mod queue;
mod queues;
mod table;
mod theme;
mod why;
mod words;
mod workers;

use chrono::{DateTime, Local, Utc};
use jobqueue_inspect::text;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

pub(crate) use self::theme::Theme;
use self::words::{name_of, wrapped};
use crate::state::{Fitted, State, Tab};

/// Draws the page that is open.
pub(crate) fn draw(state: &State, theme: Theme, now: DateTime<Utc>, frame: &mut Frame<'_>) -> Fitted {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)]).areas(frame.area());
    header(state, theme, now, frame, head);
    let fitted = match (&state.queue, &state.cause) {
        (Some(_), Some(cause)) => failed::cause(cause, theme, now, frame, body),
        (Some(queue), None) => queue::queue(queue, theme, now, frame, body),
        (None, _) => queues::queues(state, theme, frame, body),
    };
    if state.help {
        help::help(theme, frame, body);
    }
    footer(state, theme, frame, foot);
    fitted
}

fn header(state: &State, theme: Theme, now: DateTime<Utc>, frame: &mut Frame<'_>, area: Rect) {
    let mut trail = "JobQueue".to_owned();
    if let Some(queue) = &state.queue {
        trail = format!("{trail} > {}", name_of(&queue.key));
    }
    if state.cause.is_some() {
        trail.push_str(" > one cause");
    }
    let clock = now.with_timezone(&Local).format("%H:%M:%S").to_string();
    let right = format!("{}  {clock}", text::line(&state.title, text::SHORT));
    let trail = Line::styled(trail, theme.title());
    let left = u16::try_from(trail.width()).unwrap_or(u16::MAX).saturating_add(2);
    let [trail_area, rest] = Layout::horizontal([Constraint::Length(left), Constraint::Min(0)]).areas(area);
    frame.render_widget(trail, trail_area);
    frame.render_widget(Line::styled(right, theme.aside()).right_aligned(), rest);
}

/// Which keys make sense here, or the filter while it is typed.
fn footer(state: &State, theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    if state.typing.is_some() {
        let prompt = format!("/{}", text::line(&state.list.query, text::SHORT));
        let at = u16::try_from(Line::raw(prompt.as_str()).width()).unwrap_or(u16::MAX);
        let rest = Span::styled("   Enter keeps the filter, Esc drops it", theme.aside());
        frame.render_widget(Line::from(vec![Span::raw(prompt), rest]), area);
        if area.height > 0 && at < area.width {
            frame.set_cursor_position((area.x + at, area.y));
        }
        return;
    }
    let keys = match (&state.queue, &state.cause) {
        _ if state.help => "any key closes this page",
        (_, Some(_)) => "Esc back  ? help  q quit   jobqueue failed show JOB prints a job",
        (Some(queue), _) if queue.tab == Tab::Failed => {
            "Tab other parts  Enter jobs of the cause  Esc back  ? help  q quit"
        }
        (Some(_), _) => "Tab other parts  Esc back  ? help  q quit",
        (None, _) if state.list.query.is_empty() => "Enter open  / filter  s sort  r reverse  ? help  q quit",
        (None, _) => "Enter open  / filter  Esc all queues  s sort  r reverse  ? help  q quit",
    };
    frame.render_widget(Line::styled(keys, theme.aside()), area);
}

/// What was read; where there is nothing yet, or nothing could be read, it says so.
fn read<'a, T>(data: Option<&'a Result<T, String>>, theme: Theme, frame: &mut Frame<'_>, area: Rect) -> Option<&'a T> {
    match data {
        None => frame.render_widget(Line::styled("Reading…", theme.aside()), area),
        Some(Err(problem)) => {
            stacked(wrapped(&text::line(problem, 1_000), area.width, 10, theme.problem()), frame, area);
        }
        Some(Ok(data)) => return Some(data),
    }
    None
}

/// Lines below each other from the top of `area`; what is left of it.
fn stacked(lines: Vec<Line<'static>>, frame: &mut Frame<'_>, area: Rect) -> Rect {
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(area.height);
    let [top, rest] = Layout::vertical([Constraint::Length(height), Constraint::Min(0)]).areas(area);
    frame.render_widget(Paragraph::new(lines), top);
    rest
}

#[cfg(test)]
mod tests;
