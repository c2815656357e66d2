//! The simulator: sliders, what came of them beside the present settings, and the manifest's lines.

use axum::response::Response;
use jobqueue_crds::JobQueueSpec;
use jobqueue_simulator::{Outcome, Point};
use maud::{Markup, html};

use super::chart::compared;
use super::{Frame, address, name_of};
use crate::simulation::{Position, Recent, Simulated, SimulationError, Sliders, Source, seconds};
use crate::source::QueueKey;
use crate::text;

/// What is shown.
pub(crate) struct SimulationPage<'a> {
    pub(crate) key: &'a QueueKey,
    /// Whether the present settings are of a manifest, and not the defaults.
    pub(crate) has_manifest: bool,
    pub(crate) spec: &'a JobQueueSpec,
    pub(crate) sliders: &'a Sliders,
    pub(crate) recent: &'a Recent,
    pub(crate) is_job_measured: bool,
    pub(crate) prometheus_problem: Option<String>,
    pub(crate) result: Result<Simulated, SimulationError>,
}

/// The page.
pub(crate) fn simulation(frame: &Frame<'_>, page: &SimulationPage<'_>) -> Response {
    let (name, at) = (name_of(page.key), address(page.key));
    let here = format!("{at}/simulate");
    let (settings, others): (Vec<_>, Vec<_>) = page.sliders.0.iter().partition(|position| position.slider.is_setting());
    let main = html! {
        (load(page))
        form.sliders method="get" action=(here) data-follow {
            fieldset { legend { "Targets and limits" } @for position in settings { (slider(position)) } }
            fieldset { legend { "Jobs, workers and database" } @for position in others { (slider(position)) } }
            p { button { "Simulate" } " " a href=(here) { "Present settings" } }
        }
        div #result data-swap aria-live="polite" { (result(page)) }
    };
    frame.page(&format!("Simulator of {name}"), &[(&name, &at), ("Simulator", &here)], &main)
}

/// What the simulation knows, and what it assumes.
fn load(page: &SimulationPage<'_>) -> Markup {
    let recent = page.recent;
    html! {
        p {
            @match recent.source {
                Source::Seen => {
                    "What arrived in the last " (seconds(recent.seconds)) " arrives once more: "
                    (text::jobs(text::whole(recent.jobs()))) ", " (text::count(recent.waiting)) " of them at the start."
                }
                Source::Present => {
                    "Too little was seen so far: a load takes samples of five minutes. Instead the present rate of "
                    (format!("{:.1}", recent.arrivals.first().map_or(0.0, |rate| rate.per_second)))
                    " jobs/s goes on for " (seconds(recent.seconds)) ", with " (text::jobs(recent.waiting)) " at the start."
                }
                Source::Unknown => {
                    "How many jobs arrive is not known yet, so none do, with " (text::jobs(recent.waiting)) " at the start. "
                    "Load the page again in a moment."
                }
            }
            " There are no workers at first. "
            @if page.is_job_measured { "How long a job takes is what the present workers took on average." }
            @else { "No worker says how long a job takes: it is assumed." }
            " How long a worker takes to start is assumed."
        }
        @if !page.has_manifest { p { "This queue has no manifest here: the present settings are the defaults." } }
        @if let Some(problem) = &page.prometheus_problem { p.problem { "Prometheus: " (text::line(problem, 500)) } }
    }
}

fn slider(position: &Position) -> Markup {
    let Position { slider, values, index, .. } = position;
    let words: Vec<String> = values.iter().map(|value| slider.shown(*value)).collect();
    let name = slider.name();
    html! {
        div.slider {
            label for=(name) { (slider.label()) }
            input #(name) type="range" name=(name) min="0" max=(values.len().saturating_sub(1)) value=(index)
                aria-valuetext=(words[*index]) data-words=(words.join("|"));
            output for=(name) { (words[*index]) }
            span.range { "now " (Sliders::now(position)) }
        }
    }
}

fn result(page: &SimulationPage<'_>) -> Markup {
    match &page.result {
        Err(error) => html! { p.problem role="alert" { (text::line(&error.to_string(), 500)) } },
        Ok(simulated) => html! {
            (figures(simulated))
            (charts(simulated))
            (manifest(page))
        },
    }
}

fn figures(simulated: &Simulated) -> Markup {
    let runs: Vec<&Outcome> = [&simulated.present].into_iter().chain(&simulated.changed).collect();
    let row = |name: &str, of: &dyn Fn(&Outcome) -> String| {
        html! { tr { th scope="row" { (name) } @for run in &runs { td.number { (of(run)) } } } }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="What came of it" { table {
            caption { "What came of it" }
            thead {
                tr {
                    th scope="col" { "Figure" } th.number scope="col" { "Present settings" }
                    @if simulated.changed.is_some() { th.number scope="col" { "These settings" } }
                }
            }
            tbody {
                (row("Half of the jobs waited at most", &|run| seconds(run.p50_wait_seconds)))
                (row("95 of 100 jobs waited at most", &|run| seconds(run.p95_wait_seconds)))
                (row("The longest wait", &|run| seconds(run.max_wait_seconds)))
                (row("Worker-seconds", &|run| text::count(text::whole(run.worker_seconds))))
                (row("Workers started", &|run| text::count(starts(run))))
                (row("Workers at most", &|run| text::count(run.most_workers.into())))
                (row("Jobs done", &|run| text::count(run.done)))
                (row("Jobs left at the end", &|run| text::count(run.left)))
            }
        } }
        @if simulated.changed.is_none() { p { "Move a slider, and other settings stand beside the present ones." } }
    }
}

/// Workers that were asked for in addition to those that were there.
fn starts(run: &Outcome) -> u64 {
    run.scalings.iter().map(|change| u64::from(change.to.saturating_sub(change.from))).sum()
}

fn charts(simulated: &Simulated) -> Markup {
    let runs = [("present", Some(&simulated.present)), ("these", simulated.changed.as_ref())];
    let lines = |of: fn(&Point) -> f64| {
        let runs = runs.iter().filter_map(|(name, run)| Some((*name, &(*run)?.series)));
        #[expect(clippy::cast_possible_truncation, reason = "a chart is a few hundred points wide")]
        let line = |points: &[Point]| (0_i64..).zip(points).map(|(at, point)| (at, of(point) as f32)).collect();
        runs.map(|(name, series)| (name, line(&series.points))).collect::<Vec<(&str, Vec<(i64, f32)>)>>()
    };
    let chart = |name, unit, of| compared(name, unit, simulated.seconds, &lines(of));
    html! {
        @if simulated.changed.is_some() { p.legend { span.present { "present settings" } " " span.other { "these settings" } } }
        div.charts {
            (chart("Oldest wait", " s", |point| point.oldest_wait))
            (chart("Workers", "", |point| point.workers))
            (chart("Waiting jobs", "", |point| point.waiting))
            (chart("Worker-seconds", "", |point| point.worker_seconds))
        }
    }
}

fn manifest(page: &SimulationPage<'_>) -> Markup {
    let lines = page.sliders.manifest(page.spec);
    html! {
        @if !lines.is_empty() {
            h2 #manifest-title { "The manifest's lines for these settings" }
            pre tabindex="0" role="region" aria-labelledby="manifest-title" { code { (lines) } }
        }
    }
}
