//! One queue: how it does and what to do, its numbers, its last minutes, and one of its parts below.

use chrono::{DateTime, Utc};
use jobqueue_inspect::samples::{Sample, Series};
use jobqueue_inspect::source::Numbers;
use jobqueue_inspect::text;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Sparkline;

use super::theme::Theme;
use super::words::{count, facts, rate, span, wrapped};
use super::{failed, read, stacked, why, workers};
use crate::state::{Fitted, Queue, QueueData, Tab};

/// Lines of the page from which on there are curves.
const CURVES: u16 = 16;

/// The page.
pub(super) fn queue(queue: &Queue, theme: Theme, now: DateTime<Utc>, frame: &mut Frame<'_>, area: Rect) -> Fitted {
    let Some(data) = read(queue.data.as_ref(), theme, frame, area) else { return Fitted::default() };
    let mut rest = stacked(head(data, theme, area), frame, area);
    if area.height >= CURVES {
        rest = curves(&data.view.samples, theme, frame, rest);
    }
    let rest = stacked(vec![tabs(queue.tab, data, theme)], frame, rest);
    match queue.tab {
        Tab::Workers => workers::workers(data, queue.cursor, theme, frame, rest),
        Tab::Failed => failed::causes(data, queue.cursor, theme, now, frame, rest),
        Tab::Why => why::why(data, queue.cursor, theme, now, frame, rest),
    }
}

/// Its state, the sentence that explains the number of workers, what to do, and the numbers: a third of the page, or so.
fn head(data: &QueueData, theme: Theme, area: Rect) -> Vec<Line<'static>> {
    let row = &data.view.row;
    let most = usize::from(area.height / 6).clamp(1, 4);
    let explanation = data.view.explanation.as_ref();
    let sentence = explanation.and_then(|explanation| explanation.decision.as_ref()).map(|decision| &decision.message);
    let own = Some(&row.message).filter(|message| !message.is_empty() && sentence != Some(*message));
    let reason = own.map_or_else(|| row.reason.clone(), |message| format!("{}. {message}", row.reason));
    let word = row.standing.word();
    let text = format!("{word}  {}", text::line(&reason, text::SHORT));
    let mut lines = wrapped(&text, area.width, most, Style::new());
    if let Some(first) = lines.first_mut() {
        // The word alone has the colour.
        let rest = first.to_string().strip_prefix(word).unwrap_or_default().to_owned();
        *first = Line::from(vec![Span::styled(word, theme.standing(row.standing)), Span::raw(rest)]);
    }
    if let Some(sentence) = sentence {
        lines.extend(wrapped(&text::line(sentence, 1_000), area.width, most, theme.title()));
    }
    let advice = explanation.map(|explanation| explanation.advice.join(" ")).unwrap_or_default();
    if !advice.is_empty() {
        let advice = format!("To do: {}", text::line(&advice, 1_000));
        lines.extend(wrapped(&advice, area.width, most, theme.problem()));
    }
    for note in &data.view.notes {
        lines.extend(wrapped(&text::line(note, 500), area.width, 1, theme.aside()));
    }
    lines.extend(facts(&numbers(&row.numbers), area.width).into_iter().take(most.max(2)));
    lines
}

fn numbers(numbers: &Numbers) -> [(&'static str, String); 8] {
    let workers = numbers.desired.map_or_else(
        || text::count(numbers.workers),
        |desired| format!("{} of {}", text::count(numbers.workers), text::count(desired)),
    );
    [
        ("Workers", workers),
        ("Waiting", text::count(numbers.waiting)),
        ("Running", text::count(numbers.running)),
        ("Failed", text::count(numbers.failed)),
        ("Oldest wait", span(numbers.oldest_wait)),
        ("Arrive", format!("{}/s", rate(numbers.arrivals))),
        ("End", format!("{}/s", rate(numbers.completions))),
        ("Scheduled", text::count(numbers.scheduled)),
    ]
}

/// The last minutes, as many as fit, one line for each number that matters.
fn curves(samples: &[Sample], theme: Theme, frame: &mut Frame<'_>, area: Rect) -> Rect {
    let mut rest = area;
    for (name, unit, series) in [("Backlog", "", Series::Backlog), ("End", "/s", Series::Completions)] {
        let [line, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(rest);
        rest = below;
        let places = [Constraint::Length(8), Constraint::Min(8), Constraint::Length(26)];
        let [left, middle, right] = Layout::horizontal(places).spacing(1).areas(line);
        frame.render_widget(Line::raw(name), left);
        let from = samples.len().saturating_sub(usize::from(middle.width));
        let seen = &samples[from..];
        let highest = seen.iter().filter_map(|sample| sample.value(series)).fold(0.0_f32, f32::max);
        // The widget draws whole numbers; rates are below one at times.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,000")]
        let heights = seen.iter().map(|sample| {
            sample.value(series).map(|value| (f64::from(value) / f64::from(highest).max(1e-6) * 1_000.0) as u64)
        });
        frame.render_widget(Sparkline::default().data(heights).max(1_000).style(theme.curve()), middle);
        frame.render_widget(Line::styled(caption(seen, highest, unit), theme.aside()), right);
    }
    rest
}

/// What a curve is of.
fn caption(samples: &[Sample], highest: f32, unit: &str) -> String {
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
        return "samples are taken now".to_owned();
    };
    let seconds = u64::try_from(last.at - first.at).unwrap_or(0);
    let highest = match unit {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        "" => count(highest as u64),
        _ => rate(Some(f64::from(highest))),
    };
    format!("most {highest}{unit} in {}", text::span(seconds))
}

/// The parts of the page, with what there is in each.
fn tabs(open: Tab, data: &QueueData, theme: Theme) -> Line<'static> {
    let conditions = data.view.explanation.as_ref().map_or(0, |explanation| explanation.conditions.len());
    let mut spans = Vec::new();
    for tab in Tab::ALL {
        let name = match tab {
            Tab::Workers => format!(" 1 Workers {} ", text::count(data.workers.len() as u64)),
            Tab::Failed => format!(" 2 Failed {} ", count(data.view.row.numbers.failed)),
            Tab::Why if conditions > 0 => format!(" 3 Why {conditions} "),
            Tab::Why => " 3 Why ".to_owned(),
        };
        let style = if tab == open { theme.selected().patch(theme.title()) } else { theme.title() };
        spans.extend([Span::styled(name, style), Span::raw(" ")]);
    }
    Line::from(spans)
}
