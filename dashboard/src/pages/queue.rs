//! One queue: why it has as many workers as it has, its numbers, its last hour, its workers.

use axum::response::Response;
use chrono::{DateTime, Utc};
use jobqueue_crds::JobQueueSpec;
use jobqueue_crds::explanation::{Explanation, of_reason};
use maud::{Markup, html};

use super::chart::chart;
use super::queues::state;
use super::{Frame, address, name_of, number};
use crate::samples::{Sample, Series};
use crate::source::{Numbers, QueueView};
use crate::text;
use crate::workers::Worker;

/// What is shown of a queue.
pub(crate) struct QueuePage {
    pub(crate) view: QueueView,
    pub(crate) workers: Vec<Worker>,
    /// Why the workers are not known, or not all.
    pub(crate) workers_problem: Option<String>,
    /// Samples of Prometheus, where it was asked, and why there are none.
    pub(crate) more_samples: Option<Result<Vec<Sample>, String>>,
}

/// The page.
pub(crate) fn queue(frame: &Frame<'_>, page: &QueuePage, now: DateTime<Utc>) -> Response {
    let view = &page.view;
    let (key, numbers) = (&view.row.key, &view.row.numbers);
    let (name, at) = (name_of(key), address(key));
    let main = html! {
        div #summary data-swap aria-live="polite" {
            p { (state(&view.row)) }
            (sentence(view.explanation.as_ref()))
        }
        nav.sections aria-label="This queue" {
            a href={ (at) "/failed" } { "Failed jobs" } " "
            a href={ (at) "/simulate" } { "Simulator" }
        }
        div #facts data-swap {
            (numbers_table(numbers))
            @if let Some(explanation) = &view.explanation { (decision(explanation, now)) (conditions(explanation)) }
            @if !view.notes.is_empty() { ul.notes { @for note in &view.notes { li { (text::line(note, 500)) } } } }
        }
        section aria-labelledby="charts-title" {
            h2 #charts-title { @if page.more_samples.is_some() { "The last six hours" } @else { "The last hour" } }
            div #charts data-swap { (charts(page)) }
        }
        section aria-labelledby="workers-title" {
            h2 #workers-title { "Workers" }
            div #workers data-swap { (workers(page)) }
        }
        @if let Some(spec) = &view.spec { (limits(spec)) }
    };
    frame.page(&name, &[(&name, &at)], &main)
}

fn sentence(explanation: Option<&Explanation>) -> Markup {
    let Some(explanation) = explanation else { return html! {} };
    html! {
        @if let Some(decision) = &explanation.decision { p.sentence { (text::line(&decision.message, 1_000)) } }
        @if !explanation.advice.is_empty() {
            h2 { "What to do" }
            ul.advice { @for line in &explanation.advice { li { (text::line(line, 1_000)) } } }
        }
    }
}

fn numbers_table(numbers: &Numbers) -> Markup {
    let rate = |rate: Option<f64>| rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1}/s"));
    let workers = numbers.desired.map_or_else(
        || text::count(numbers.workers),
        |desired| format!("{} of {} asked for", text::count(numbers.workers), text::count(desired)),
    );
    let facts = [
        ("Workers", workers),
        ("Waiting", text::count(numbers.waiting)),
        ("Running", text::count(numbers.running)),
        ("Scheduled", text::count(numbers.scheduled)),
        ("Failed", text::count(numbers.failed)),
        ("Oldest wait", numbers.oldest_wait.map_or_else(|| "–".to_owned(), text::span)),
        ("Arrive", rate(numbers.arrivals)),
        ("End", rate(numbers.completions)),
    ];
    html! { dl.facts { @for (name, value) in facts { div { dt { (name) } dd { (value) } } } } }
}

fn decision(explanation: &Explanation, now: DateTime<Utc>) -> Markup {
    let last = explanation.last_scale.as_ref().map(|last| {
        let at = DateTime::from_timestamp(last.time.0.as_second(), 0);
        format!("{}: from {} to {} workers. {}", text::ago(at, now), last.from, last.to, last.message)
    });
    let Some(decision) = &explanation.decision else { return html! {} };
    html! {
        @if let Some(last) = last { p { "Last change " (text::line(&last, 1_000)) } }
        @if !decision.candidates.is_empty() {
            (numbers_with_reasons("What each target asks for", ["Asked by", "Workers"], decision.candidates.iter().map(|each| {
                (each.reason.as_str(), each.workers, each.message.as_str())
            })))
        }
        @if !decision.limits.is_empty() {
            (numbers_with_reasons("Limits in force", ["Limit", "Without it"], decision.limits.iter().map(|each| {
                (each.reason.as_str(), each.without, each.message.as_str())
            })))
        }
    }
}

/// A table of numbers of workers: the reason of each, the number, and the reason in a sentence.
fn numbers_with_reasons<'a>(
    caption: &str,
    [of_reasons, of_numbers]: [&str; 2],
    rows: impl Iterator<Item = (&'a str, i32, &'a str)>,
) -> Markup {
    html! {
        table {
            caption { (caption) }
            thead { tr { th scope="col" { (of_reasons) } th.number scope="col" { (of_numbers) } th scope="col" { "Because" } } }
            tbody {
                @for (reason, number, message) in rows {
                    tr {
                        th scope="row" { (text::line(reason, 60)) }
                        td.number { (number) }
                        td { (text::line(message, 500)) }
                    }
                }
            }
        }
    }
}

fn conditions(explanation: &Explanation) -> Markup {
    html! {
        @if !explanation.conditions.is_empty() {
            table {
                caption { "Conditions that need attention" }
                thead {
                    tr { th scope="col" { "Condition" } th scope="col" { "Status" } th scope="col" { "Message" } th scope="col" { "What to do" } }
                }
                tbody {
                    @for each in &explanation.conditions {
                        tr {
                            th scope="row" { (text::line(&each.type_, 60)) }
                            td { (text::line(&each.status, 20)) ", " (text::line(&each.reason, 60)) }
                            td { (text::line(&each.message, 1_000)) }
                            td { (of_reason(&each.reason).unwrap_or("–")) }
                        }
                    }
                }
            }
        }
    }
}

fn charts(page: &QueuePage) -> Markup {
    let samples = match &page.more_samples {
        Some(Ok(samples)) => samples,
        Some(Err(_)) | None => &page.view.samples,
    };
    html! {
        @if let Some(Err(problem)) = &page.more_samples { p.problem { "Prometheus: " (text::line(problem, 500)) } }
        @if samples.len() < 2 { p { "The program takes samples from now on; a chart needs some of them." } }
        @else {
            div.charts {
                (chart("Backlog", " jobs", samples, Series::Backlog))
                (chart("Oldest wait", " s", samples, Series::OldestWait))
                (chart("Arrive", "/s", samples, Series::Arrivals))
                (chart("End", "/s", samples, Series::Completions))
                (chart("Workers", "", samples, Series::Workers))
                (chart("Failed", " jobs", samples, Series::Failed))
                (chart("Database trouble", "", samples, Series::DatabaseTrouble))
            }
        }
    }
}

fn workers(page: &QueuePage) -> Markup {
    html! {
        @if let Some(problem) = &page.workers_problem { p.problem { (text::line(problem, 500)) } }
        @if page.workers.is_empty() { p { "No workers." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Workers" {
                table {
                    caption { "Workers, and what they have in hand" }
                    thead {
                        tr {
                            th scope="col" { "Worker" } th scope="col" { "State" } th scope="col" { "Job" }
                            th.number scope="col" { "Since" } th.number scope="col" { "Done" } th.number scope="col" { "Failed" }
                            th.number scope="col" { "Heard of" }
                        }
                    }
                    tbody { @for each in &page.workers { (worker(each)) } }
                }
            }
        }
    }
}

fn worker(each: &Worker) -> Markup {
    let age = |seconds: Option<u64>| seconds.map_or_else(|| "–".to_owned(), text::span);
    html! {
        tr {
            th scope="row" { (text::line(&each.name, 80)) @if !each.host.is_empty() && each.host != each.name { br; span.message { (text::line(&each.host, 80)) } } }
            td { (text::line(&each.state, 30)) @if each.draining { " " span.badge { "draining" } } }
            td {
                @if let Some(job) = &each.job {
                    (text::line(job, 60))
                    @if each.running > 1 { " and " (text::count(each.running - 1)) " more" }
                    @if let Some(description) = &each.description { br; span.message { (text::line(description, 120)) } }
                } @else if each.running > 0 { (text::jobs(each.running)) }
                @else { "–" }
            }
            td.number { (age(each.busy_for)) }
            (number(each.succeeded))
            (number(each.failed))
            td.number { (age(each.silent_for)) @if each.silent_for.is_some() { " ago" } }
        }
    }
}

fn limits(spec: &JobQueueSpec) -> Markup {
    let shown = serde_yaml::to_string(&spec.scaling).unwrap_or_default();
    html! {
        section aria-labelledby="limits-title" {
            h2 #limits-title { "Targets and limits" }
            pre tabindex="0" { code { (text::block(&shown, text::LONG)) } }
        }
    }
}
