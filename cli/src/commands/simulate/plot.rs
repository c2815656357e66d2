//! The picture: a column for each load; backlog, oldest wait, workers and cost below one another, a line for each policy.
//!
//! SVG by hand: straight lines and text are all it takes, and it looks the same without a font or a C library.

use std::fmt::Write;
use std::path::Path;

use jobqueue_simulator::{Point, Report, Row};

use crate::common::exit::{Exit, Failure};

/// Okabe and Ito's colours, which people see apart whatever their eyes are like, and a pattern of dashes for print.
const LINES: [(&str, &str); 6] =
    [("#0072B2", ""), ("#000000", "2 3"), ("#D55E00", ""), ("#E69F00", "7 3"), ("#009E73", "4 2"), ("#CC79A7", "")];
const LEFT: f64 = 78.0;
const TOP: f64 = 86.0;
const WIDTH: f64 = 430.0;
const HEIGHT: f64 = 128.0;
const ACROSS: f64 = 84.0;
const DOWN: f64 = 44.0;

/// What a panel shows of a point.
struct Panel {
    title: &'static str,
    unit: &'static str,
    of: fn(&Point) -> f64,
    /// Whether the bound is a height in it.
    bounded: bool,
}

const PANELS: [Panel; 5] = [
    Panel { title: "waiting", unit: "jobs", of: |point| point.waiting, bounded: false },
    Panel { title: "oldest wait", unit: "seconds", of: |point| point.oldest_wait, bounded: false },
    Panel { title: "desired", unit: "pods asked for", of: |point| point.desired, bounded: false },
    Panel { title: "workers", unit: "pods that exist", of: |point| point.workers, bounded: false },
    Panel { title: "cost", unit: "worker-seconds", of: |point| point.worker_seconds, bounded: true },
];

/// Draws the report into a file.
pub(super) fn write(path: &Path, report: &Report) -> anyhow::Result<()> {
    if path.extension().is_none_or(|extension| extension != "svg") {
        let message = format!("cannot draw {}: pictures are SVG", path.display());
        return Err(Failure::new(Exit::Usage, message)
            .hint("name a file that ends in .svg; rsvg-convert makes a PNG of it")
            .into());
    }
    let failure = |error| Failure::new(Exit::Failure, format!("cannot write {}: {error}", path.display()));
    Ok(std::fs::write(path, svg(report)).map_err(failure)?)
}

/// The picture.
fn svg(report: &Report) -> String {
    let mut loads: Vec<&str> = Vec::new();
    let mut policies: Vec<&str> = Vec::new();
    for row in &report.rows {
        for (names, name) in [(&mut loads, row.load.as_str()), (&mut policies, row.policy.as_str())] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let width = LEFT + loads.len() as f64 * (WIDTH + ACROSS) - ACROSS + 30.0;
    let height = TOP + PANELS.len() as f64 * (HEIGHT + DOWN) + 4.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    legend(&mut svg, &policies);
    for (column, load) in loads.iter().enumerate() {
        let rows: Vec<&Row> = report.rows.iter().filter(|row| row.load == *load).collect();
        let left = LEFT + column as f64 * (WIDTH + ACROSS);
        text(&mut svg, (left, 60.0), "font-size=\"15\" font-weight=\"bold\"", load);
        for (index, panel) in PANELS.iter().enumerate() {
            let top = TOP + index as f64 * (HEIGHT + DOWN);
            draw(&mut svg, panel, (left, top), &rows, &policies, index + 1 == PANELS.len());
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, policies: &[&str]) {
    let mut left = LEFT;
    for (index, policy) in policies.iter().enumerate() {
        let (colour, dashes) = LINES[index % LINES.len()];
        line(svg, &format!("M{left:.0} 24h30"), colour, dashes, 2.5);
        text(svg, (left + 36.0, 28.0), "font-size=\"13\"", policy);
        left += 60.0 + 8.0 * policy.chars().count() as f64;
    }
}

fn draw(svg: &mut String, panel: &Panel, (left, top): (f64, f64), rows: &[&Row], policies: &[&str], last: bool) {
    let seconds = rows.iter().map(|row| row.seconds).fold(1.0, f64::max);
    let runs = || rows.iter().filter_map(|row| Some((*row, &row.outcome()?.series)));
    let bounds: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((*row, row.bound()?))).collect();
    let bounds = if panel.bounded { &bounds[..] } else { &[] };
    let points = runs().flat_map(|(_, series)| series.points.iter().map(panel.of));
    let most = points.chain(bounds.iter().map(|(_, bound)| *bound)).fold(1.0, f64::max);
    let step = round_step(most / 4.0);
    let most = (most / step).ceil() * step;
    let bottom = top + HEIGHT;
    text(svg, (left, top - 8.0), "font-weight=\"bold\"", &format!("{}, {}", panel.title, panel.unit));
    let mut value = 0.0;
    while value <= most + step / 2.0 {
        let at = bottom - HEIGHT * value / most;
        line(svg, &format!("M{left:.0} {at:.1}h{WIDTH:.0}"), "#ddd", "", 1.0);
        text(svg, (left - 6.0, at + 4.0), "text-anchor=\"end\" font-size=\"11\"", &short(value));
        value += step;
    }
    let (unit, length) = if seconds > 7200.0 { ("hours", 3600.0) } else { ("minutes", 60.0) };
    let step = round_step(seconds / length / 6.0);
    let mut tick = 0.0;
    while tick * length <= seconds + 1.0 {
        let at = left + WIDTH * tick * length / seconds;
        line(svg, &format!("M{at:.1} {bottom:.0}v4"), "#888", "", 1.0);
        text(svg, (at, bottom + 16.0), "text-anchor=\"middle\" font-size=\"11\"", &short(tick));
        tick += step;
    }
    if last {
        text(svg, (left + WIDTH / 2.0, bottom + 32.0), "text-anchor=\"middle\"", &format!("{unit} since the start"));
    }
    line(svg, &format!("M{left:.0} {bottom:.0}h{WIDTH:.0}"), "#888", "", 1.0);
    let index = |row: &Row| policies.iter().position(|policy| *policy == row.policy).unwrap_or(0);
    // No run that keeps to the target ends below it.
    for (row, bound) in bounds {
        let (colour, dashes) = LINES[index(row) % LINES.len()];
        line(svg, &format!("M{left:.0} {:.1}h{WIDTH:.0}", bottom - HEIGHT * bound / most), colour, dashes, 1.6);
    }
    // The first policy is drawn last, over the others.
    for (row, series) in runs().collect::<Vec<_>>().into_iter().rev() {
        let index = index(row);
        let (colour, dashes) = LINES[index % LINES.len()];
        let height = |point: &Point| bottom - HEIGHT * (panel.of)(point) / most;
        let heights: Vec<String> = series.points.iter().map(|point| format!("{:.1}", height(point))).collect();
        let mut path = String::new();
        for (number, y) in heights.iter().enumerate() {
            // Within a level stretch there is nothing to draw.
            let level = number > 0 && heights[number - 1] == *y && heights.get(number + 1) == Some(y);
            if !level {
                let x = left + WIDTH * series.step * number as f64 / seconds;
                let _ = write!(path, "{}{x:.1} {y}", if number == 0 { "M" } else { "L" });
            }
        }
        line(svg, &path, colour, dashes, if index == 0 { 2.2 } else { 1.6 });
    }
}

fn line(svg: &mut String, path: &str, colour: &str, dashes: &str, width: f64) {
    let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
    let _ = writeln!(
        svg,
        "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dashes}/>"
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>");
}

/// The next of 1, 2, 5, 10, ... that is at least `value`.
fn round_step(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(1e-9).log10().floor());
    let steps = [1.0, 2.0, 5.0].map(|digit| digit * power);
    steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

/// `12000` as `12k`.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e4 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{}{unit}", (value * 100.0).round() / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_numbers_are_round() {
        assert_eq!([0.3, 2.0, 2.1, 70.0].map(|value| short(round_step(value))), ["0.5", "2", "5", "100"]);
        assert_eq!([0.0, 2.5, 9000.0, 12_000.0, 2.5e6].map(short), ["0", "2.5", "9000", "12k", "2.5M"]);
    }
}
