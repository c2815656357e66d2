//! Text that fits.

use jobqueue_inspect::source::QueueKey;
use jobqueue_inspect::text;
use ratatui::style::Style;
use ratatui::text::Line;

/// The namespace of queues that have none.
const NO_NAMESPACE: &str = "local";

/// Its name as it is shown.
pub(super) fn name_of(key: &QueueKey) -> String {
    if key.namespace == NO_NAMESPACE {
        return text::line(&key.name, text::SHORT);
    }
    text::line(&format!("{}/{}", key.namespace, key.name), text::SHORT)
}

/// A count in at most seven characters.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000 => text::count(number),
        100_000..10_000_000 => format!("{}k", text::count(number / 1_000)),
        10_000_000..10_000_000_000 => format!("{}M", text::count(number / 1_000_000)),
        _ => format!("{}G", text::count((number / 1_000_000_000).min(99_999))),
    }
}

/// A number of jobs in a second.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "–".to_owned(),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of more than 100, rounded")]
        Some(rate) if rate >= 100.0 => count(rate.round() as u64),
        Some(rate) => format!("{:.1}", rate.max(0.0)),
    }
}

/// A length of time, where it is known.
pub(super) fn span(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), text::span)
}

/// The text in lines of this width, `most` of them; of a longer text the last line ends in `…`.
pub(super) fn wrapped(text: &str, width: u16, most: usize, style: Style) -> Vec<Line<'static>> {
    let width = usize::from(width.max(1));
    let mut lines: Vec<String> = textwrap::wrap(text, width).into_iter().map(std::borrow::Cow::into_owned).collect();
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            while !last.is_empty() && Line::raw(last.as_str()).width() + 1 > width {
                last.pop();
            }
            last.push('…');
        }
    }
    lines.into_iter().map(|line| Line::styled(line, style)).collect()
}

/// Facts side by side, as many in a line as fit.
pub(super) fn facts(facts: &[(&str, String)], width: u16) -> Vec<Line<'static>> {
    let mut lines: Vec<String> = Vec::new();
    for (name, value) in facts {
        let fact = format!("{name} {value}");
        match lines.last_mut() {
            Some(line) if Line::raw(line.as_str()).width() + 3 + fact.chars().count() <= usize::from(width) => {
                line.push_str("   ");
                line.push_str(&fact);
            }
            _ => lines.push(fact),
        }
    }
    lines.into_iter().map(Line::raw).collect()
}

/// Eighths of a line's height.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A curve in one line, of the height of its highest point; nothing where there is nothing.
pub(super) fn bars(values: &[u64]) -> String {
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| match value {
        0 => ' ',
        value => {
            // Between 1 and 8.
            let eighths = (u128::from(*value) * 8).div_ceil(u128::from(highest));
            BARS[usize::try_from(eighths).unwrap_or(8).clamp(1, 8) - 1]
        }
    };
    values.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let short = [0, 99_999, 100_000, 1_234_567, 12_345_678, u64::MAX].map(count);
        assert_eq!(short, ["0", "99,999", "100k", "1,234k", "12M", "99,999G"]);
        assert_eq!(
            [rate(None), rate(Some(0.04)), rate(Some(99.94)), rate(Some(12_345.6))],
            ["–", "0.0", "99.9", "12,346"]
        );
    }

    #[test]
    fn long_text_is_wrapped_and_cut_with_a_mark() {
        let plain = |text: &str, width, most| {
            let lines = wrapped(text, width, most, Style::new());
            lines.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(plain("one two three", 7, 5), ["one two", "three"]);
        assert_eq!(plain("one two three", 7, 1), ["one tw…"]);
        assert_eq!(plain("一二三四", 4, 1), ["一…"], "wide characters");
        assert_eq!(plain("abc", 0, 2), ["a", "…"], "no width at all");
        assert!(plain("abc", 7, 0).is_empty());
    }

    #[test]
    fn facts_stand_side_by_side_where_there_is_room() {
        let both = [("Waiting", "2".to_owned()), ("Running", "1".to_owned())];
        let lines = |width| facts(&both, width).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(lines(21), ["Waiting 2   Running 1"]);
        assert_eq!(lines(20), ["Waiting 2", "Running 1"]);
    }

    #[test]
    fn bars_are_of_the_height_of_the_highest() {
        assert_eq!(bars(&[0, 1, 4, 8]), " ▁▄█");
        assert_eq!(bars(&[0, 1]), " █");
        assert_eq!(bars(&[1, 1_000_000]), "▁█");
        assert_eq!(bars(&[u64::MAX, 0]), "█ ");
        assert_eq!(bars(&[]), "");
    }
}
