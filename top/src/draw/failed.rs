//! The failed jobs of a queue by cause, and the jobs of one cause.

use chrono::{DateTime, Utc};
use jobqueue_inspect::survey::Group;
use jobqueue_inspect::text;
use jobqueue_queue::admin::Failure;
use jobqueue_queue::admin::error_groups;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::table::{Column, Lines, table};
use super::theme::Theme;
use super::words::{bars, count, span, wrapped};
use super::{read, stacked};
use crate::state::{Cause, CauseData, Cursor, Fitted, QueueData};

/// A line of the causes: the jobs of a cause, and how long ago the newest failed.
struct CauseLine {
    jobs: u64,
    /// Whether there may be more.
    is_partial: bool,
    trend: String,
    age: Option<u64>,
    cause: String,
}

/// The causes, the most frequent first.
pub(super) fn causes(
    data: &QueueData,
    cursor: Cursor,
    theme: Theme,
    now: DateTime<Utc>,
    frame: &mut Frame<'_>,
    area: Rect,
) -> Fitted {
    let Some(survey) = read(data.survey.as_ref(), theme, frame, area) else { return Fitted::default() };
    let problem = survey.problem.as_deref().unwrap_or_default();
    let mut lines = wrapped(&text::line(problem, 500), area.width, 3, theme.problem());
    lines.push(Line::raw(survey.sentence()));
    let area = stacked(lines, frame, area);
    let groups = survey.groups();
    // Only what is visible becomes text.
    let visible = groups.iter().skip(cursor.skip).take(usize::from(area.height));
    let rows: Vec<CauseLine> = visible.map(|group| line(group, survey.is_partial(), now)).collect();
    let lines = Lines { rows: &rows, skip: cursor.skip, length: groups.len() };
    table(&cause_columns(), &lines, cursor, theme, frame, area)
}

fn line(group: &Group, is_partial: bool, now: DateTime<Utc>) -> CauseLine {
    CauseLine {
        jobs: group.ids.len() as u64,
        is_partial,
        trend: bars(&group.trend),
        age: age(group.newest, now),
        cause: group.cause(),
    }
}

fn age(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<u64> {
    moment.map(|moment| u64::try_from((now - moment).num_seconds()).unwrap_or(0))
}

fn cause_columns() -> Vec<Column<CauseLine>> {
    vec![
        // Of those that were counted.
        Column::number("JOBS", 8, 2, |line, _| {
            let more = if line.is_partial { "≥" } else { "" };
            Line::raw(format!("{more}{}", count(line.jobs)))
        }),
        Column::text("LAST HOUR", 12, 4, |line, theme| Line::styled(line.trend.clone(), theme.curve())),
        Column::number("NEWEST", 7, 3, |line, _| Line::raw(span(line.age))),
        Column::growing("CAUSE", 20, 1, |line, _| Line::raw(line.cause.clone())),
    ]
}

/// A line of the jobs.
struct JobLine {
    id: String,
    age: Option<u64>,
    error: String,
}

/// The jobs of one cause, the newest first.
pub(super) fn cause(cause: &Cause, theme: Theme, now: DateTime<Utc>, frame: &mut Frame<'_>, area: Rect) -> Fitted {
    let Some(data) = read(cause.data.as_ref(), theme, frame, area) else { return Fitted::default() };
    let Some(group) = data.survey.group(&cause.digest) else { return Fitted::default() };
    let area = stacked(head(group, theme, now, area), frame, area);
    let CauseData { jobs, skip, .. } = data;
    let rows: Vec<JobLine> = jobs.iter().map(|(_, failure)| job(failure, now)).collect();
    let lines = Lines { rows: &rows, skip: *skip, length: group.ids.len() };
    table(&job_columns(), &lines, cause.cursor, theme, frame, area)
}

fn head(group: &Group, theme: Theme, now: DateTime<Utc>, area: Rect) -> Vec<Line<'static>> {
    let most = usize::from(area.height / 3).max(1);
    let mut lines = wrapped(&group.cause(), area.width, most, theme.title());
    let function = group.function.as_deref().map(|name| format!(" of {}", text::line(name, 100))).unwrap_or_default();
    let newest = text::ago(group.newest, now);
    lines.push(Line::raw(format!("{}{function}, the newest {newest}", text::jobs(group.ids.len() as u64))));
    lines.push(Line::from(vec![Span::raw("Last hour "), Span::styled(bars(&group.trend), theme.curve())]));
    lines
}

fn job(failure: &Failure, now: DateTime<Utc>) -> JobLine {
    JobLine {
        id: text::line(&failure.id, 80),
        age: age(failure.failed_at, now),
        error: text::line(error_groups::cause(&failure.error), 300),
    }
}

fn job_columns() -> Vec<Column<JobLine>> {
    vec![
        Column::text("JOB", 36, 1, |line, _| Line::raw(line.id.clone())),
        Column::number("FAILED", 7, 2, |line, _| Line::raw(span(line.age))),
        Column::growing("ERROR", 20, 3, |line, _| Line::raw(line.error.clone())),
    ]
}
