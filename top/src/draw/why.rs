//! Why a queue has as many workers as it has: the decision with its targets and limits, the conditions, what to do.

use chrono::{DateTime, Utc};
use jobqueue_crds::explanation::{Explanation, of_reason};
use jobqueue_inspect::text;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::theme::Theme;
use super::words::wrapped;
use crate::state::{Cursor, Fitted, QueueData};

/// The text; the cursor is its first line that is visible.
pub(super) fn why(
    data: &QueueData,
    cursor: Cursor,
    theme: Theme,
    now: DateTime<Utc>,
    frame: &mut Frame<'_>,
    area: Rect,
) -> Fitted {
    let mut page = Page { theme, width: area.width, lines: Vec::new() };
    if let Some(explanation) = &data.view.explanation {
        page.explanation(explanation, now);
    }
    if let Some(spec) = &data.view.spec {
        page.title("Targets and limits");
        let shown = serde_yaml::to_string(&spec.scaling).unwrap_or_default();
        page.lines
            .extend(shown.lines().take(200).map(|line| Line::raw(format!("  {}", text::line(line, text::SHORT)))));
    }
    if page.lines.is_empty() {
        page.text("Nothing is known of it: no operator decides here, and there is no manifest.");
    }
    let (height, length) = (usize::from(area.height), page.lines.len());
    let shown: Vec<Line<'static>> = page.lines.into_iter().skip(cursor.at).take(height).collect();
    frame.render_widget(Paragraph::new(shown), area);
    // A line down moves the text by one.
    Fitted { rows: 1, page: height, length: (length + 1).saturating_sub(height).max(1) }
}

struct Page {
    theme: Theme,
    width: u16,
    lines: Vec<Line<'static>>,
}

impl Page {
    fn title(&mut self, title: &'static str) {
        if !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
        self.lines.push(Line::styled(title, self.theme.title()));
    }

    fn text(&mut self, text: &str) {
        self.styled(text, Style::new());
    }

    fn styled(&mut self, text: &str, style: Style) {
        self.lines.extend(wrapped(&text::line(text, 1_000), self.width, 20, style));
    }

    fn explanation(&mut self, explanation: &Explanation, now: DateTime<Utc>) {
        if let Some(decision) = &explanation.decision {
            self.title("The number of workers");
            self.text(&decision.message);
        }
        if let Some(last) = &explanation.last_scale {
            let at = DateTime::from_timestamp(last.time.0.as_second(), 0);
            let ago = text::ago(at, now);
            self.text(&format!("Last change {ago}: from {} to {} workers. {}", last.from, last.to, last.message));
        }
        if let Some(decision) = explanation.decision.as_ref().filter(|decision| !decision.candidates.is_empty()) {
            self.title("What each target asks for");
            for each in &decision.candidates {
                self.text(&format!("{}: {}. {}", each.reason, each.workers, each.message));
            }
        }
        if let Some(decision) = explanation.decision.as_ref().filter(|decision| !decision.limits.is_empty()) {
            self.title("Limits in force");
            for each in &decision.limits {
                self.text(&format!("{}: {} without it. {}", each.reason, each.without, each.message));
            }
        }
        if !explanation.advice.is_empty() {
            self.title("What to do");
            for line in &explanation.advice {
                self.styled(line, self.theme.problem());
            }
        }
        if !explanation.conditions.is_empty() {
            self.title("Conditions that need attention");
        }
        for each in &explanation.conditions {
            self.text(&format!("{} {}, {}: {}", each.type_, each.status, each.reason, each.message));
            if let Some(remedy) = of_reason(&each.reason) {
                self.styled(&format!("To do: {remedy}"), self.theme.problem());
            }
        }
    }
}
