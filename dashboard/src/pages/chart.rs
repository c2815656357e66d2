//! Charts as SVG, made on the server: no script draws, and the numbers stand beside the line.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::samples::{Sample, Series};
use crate::survey::PARTS;
use crate::text;

/// In units of the picture.
const WIDTH: f32 = 600.0;
const HEIGHT: f32 = 100.0;
/// The unit of times.
const SECONDS: &str = " s";
/// Seconds without a sample that break the line.
const GAP: i64 = 90;

/// One series of the samples, the oldest first.
pub(super) fn chart(name: &str, unit: &str, samples: &[Sample], series: Series) -> Markup {
    let points: Vec<(i64, f32)> =
        samples.iter().filter_map(|sample| Some((sample.at, sample.value(series)?))).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return html! { figure.chart { figcaption { (name) } p { "Nothing is known of it yet." } } };
    };
    let most = points.iter().fold(0.0_f32, |most, (_, value)| most.max(*value));
    let lowest = points.iter().fold(f32::INFINITY, |lowest, (_, value)| lowest.min(*value));
    let bare = |value| if unit == SECONDS { measure(value, unit) } else { short(value) };
    let length = text::span(u64::try_from(last.0 - first.0).unwrap_or(0));
    let said = format!(
        "{name}: now {}, between {} and {} in the last {length}",
        measure(last.1, unit),
        measure(lowest, unit),
        measure(most, unit)
    );
    html! {
        figure.chart {
            figcaption { (name) ": " strong { (measure(last.1, unit)) } span.range { " (" (bare(lowest)) " to " (bare(most)) ")" } }
            svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label=(said) {
                path.grid d="M0 0.5H600M0 50H600M0 99.5H600" {}
                path.line d=(path(&points, most)) {}
            }
            p.axis { span { (length) " ago" } span { "now" } }
        }
    }
}

/// Lines of one simulated time, named: the first is the one that others are compared with.
pub(super) fn compared(name: &str, unit: &str, seconds: f64, lines: &[(&str, Vec<(i64, f32)>)]) -> Markup {
    let highest = |points: &[(i64, f32)]| points.iter().fold(0.0_f32, |most, (_, value)| most.max(*value));
    let most = lines.iter().map(|(_, points)| highest(points)).fold(0.0, f32::max);
    let each: Vec<String> =
        lines.iter().map(|(line, points)| format!("{line} at most {}", measure(highest(points), unit))).collect();
    let length = text::span(text::whole(seconds));
    html! {
        figure.chart {
            figcaption { (name) span.range { " (" (each.join("; ")) ")" } }
            svg viewBox="0 0 600 100" preserveAspectRatio="none" role="img" aria-label={ (name) " over " (length) ": " (each.join("; ")) } {
                path.grid d="M0 0.5H600M0 50H600M0 99.5H600" {}
                @for (index, (_, points)) in lines.iter().enumerate() {
                    @if !points.is_empty() { path.line.other[index > 0] d=(path(points, most)) {} }
                }
            }
            p.axis { span { "start" } span { (length) } }
        }
    }
}

/// The line, broken where nothing is known. A single point is a short stroke.
#[expect(clippy::cast_possible_truncation, reason = "a chart is a few hundred points wide")]
fn path(points: &[(i64, f32)], most: f32) -> String {
    let (start, end) = (points[0].0, points[points.len() - 1].0);
    let length = (end - start).max(1) as f32;
    let mut path = String::new();
    let mut before: Option<i64> = None;
    for (at, value) in points {
        let x = (at - start) as f64 as f32 / length * WIDTH;
        let y = HEIGHT - 1.0 - if most > 0.0 { value / most * (HEIGHT - 4.0) } else { 0.0 };
        let joined = before.is_some_and(|before| at - before <= GAP);
        let _ = write!(path, "{}{x:.1} {y:.1}", if joined { "L" } else { "M" });
        if !joined {
            let _ = write!(path, "h1");
        }
        before = Some(*at);
    }
    path
}

/// How often in each part of the last hour.
pub(super) fn trend(parts: &[u64; PARTS]) -> Markup {
    let most = parts.iter().copied().max().unwrap_or(0).max(1) as f32;
    let total: u64 = parts.iter().sum();
    let said = format!("{total} in the last hour, {} of them in the last five minutes", parts[PARTS - 1]);
    html! {
        svg.trend viewBox="0 0 60 20" role="img" aria-label=(said) {
            @for (index, count) in parts.iter().enumerate() {
                @let height = if *count == 0 { 0.5 } else { (*count as f32 / most * 19.0).max(1.5) };
                rect x=(index * 5) y=(format!("{:.1}", 20.0 - height)) width="4" height=(format!("{height:.1}")) {}
            }
        }
    }
}

/// A value with its unit; a long time as the rest of the page has it.
fn measure(value: f32, unit: &str) -> String {
    if unit == SECONDS && value >= 120.0 {
        text::span(text::whole(f64::from(value)))
    } else {
        format!("{}{unit}", short(value))
    }
}

/// A number with as many digits as are read.
fn short(value: f32) -> String {
    match value {
        value if value >= 1e6 => format!("{:.1}M", value / 1e6),
        value if value >= 1e4 => format!("{:.1}k", value / 1e3),
        value if value >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_breaks_where_nothing_is_known() {
        let points = [(0, 0.0), (10, 50.0), (500, 100.0), (510, 100.0)];
        assert_eq!(path(&points, 100.0), "M0.0 99.0h1L11.8 51.0M588.2 3.0h1L600.0 3.0");
        assert_eq!(path(&[(7, 3.0)], 3.0), "M0.0 3.0h1");
        assert_eq!([measure(2608.0, " s"), measure(39.0, " s"), measure(2608.0, "/s")], ["43 min", "39 s", "2608/s"]);
        assert_eq!([short(0.0), short(12.34), short(1234.5), short(25_000.0)], ["0", "12.3", "1234", "25.0k"]);
    }
}
