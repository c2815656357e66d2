//! What the keys do.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph};

use super::theme::Theme;
use crate::state::SORTS;

const KEYS: [(&str, &str); 14] = [
    ("Up Down  k j", "a line up or down"),
    ("PgUp PgDn", "a page up or down"),
    ("Home End  g G", "the first or the last line"),
    ("Enter", "open the queue, or the jobs of a cause"),
    ("Esc", "back; on the list: all queues again"),
    ("Tab  1 2 3", "in a queue: workers, failed jobs by cause, why"),
    ("/", "filter by name, state or reason"),
    ("s", "sort by the next column"),
    ("r", "reverse the order"),
    ("Ctrl-L", "draw everything anew"),
    ("Ctrl-Z", "stop; fg goes on"),
    ("?", "this help"),
    ("q  Ctrl-C", "quit"),
    ("", "Nothing can be changed here: see jobqueue failed, jobqueue dashboard."),
];

/// The page, over another.
pub(super) fn help(theme: Theme, frame: &mut Frame<'_>, area: Rect) {
    let mut lines = vec![Line::styled("Keys", theme.title())];
    lines.extend(KEYS.iter().map(|(keys, what)| Line::raw(format!("  {keys:<15}{what}"))));
    lines.push(Line::styled("Sort by", theme.title()));
    let sorts: Vec<String> = SORTS.iter().map(|(letter, _, word)| format!("{letter} {word}")).collect();
    lines.extend(sorts.chunks(4).map(|some| Line::raw(format!("  {}", some.join("   ")))));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines), area);
}
