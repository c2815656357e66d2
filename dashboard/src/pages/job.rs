//! One failed job: record, recipe and error side by side.

use axum::response::Response;
use chrono::{DateTime, Utc};
use jobqueue_json::Value;
use jobqueue_queue::admin::error_groups::cause;
use jobqueue_queue::admin::{Attempt, FailedJob};
use jobqueue_queue::payload::readable;
use maud::{Markup, html};

use super::{Frame, address, encoded, name_of};
use crate::source::QueueKey;
use crate::text;

/// What is shown of a job.
pub(crate) struct JobPage<'a> {
    pub(crate) key: &'a QueueKey,
    pub(crate) queue: &'a str,
    pub(crate) job: FailedJob,
    pub(crate) attempts: Vec<Attempt>,
    /// The section of the recipe that serves it, as it was written.
    pub(crate) recipe: Option<String>,
}

/// The page.
pub(crate) fn job(frame: &Frame<'_>, page: &JobPage<'_>, now: DateTime<Utc>) -> Response {
    let (name, at) = (name_of(page.key), address(page.key));
    let here = format!("{at}/failed");
    let job = &page.job;
    let query = format!("queue={}&id={}", encoded(page.queue), encoded(&job.id));
    let main = html! {
        dl.facts {
            @for (name, value) in facts(job, now) { div { dt { (name) } dd { (value) } } }
        }
        p.actions {
            a href={ (here) "/export?scope=one&" (query) } download { "Export" }
            @if !frame.read_only {
                " " a href={ (here) "/confirm?action=requeue&scope=one&" (query) } { "Requeue…" }
                " " a.danger href={ (here) "/confirm?action=purge&scope=one&" (query) } { "Purge…" }
            }
        }
        div.beside {
            div { h2 { "Record" } (block(&record(job), "Record")) }
            div {
                h2 { "Error" }
                // A traceback has it at its end, which may be cut.
                @let cause = cause(&job.error);
                @if !job.error.trim_start().starts_with(cause) { p.problem { (text::line(cause, text::MESSAGE)) } }
                (block(if job.error.is_empty() { "(no result is kept)" } else { &job.error }, "Error"))
            }
            div {
                h2 { "Recipe" }
                @match &page.recipe {
                    Some(recipe) => { (block(recipe, "Recipe")) }
                    None => { p { "No recipe is known here that serves this job." } }
                }
            }
        }
        @if page.attempts.len() > 1 { (attempts(&page.attempts, now)) }
    };
    let title = format!("Job {}", text::line(&job.id, 80));
    let own = format!("{here}/job?{query}");
    frame.page(&title, &[(&name, &at), ("Failed jobs", &here), ("One job", &own)], &main)
}

fn facts(job: &FailedJob, now: DateTime<Utc>) -> [(&'static str, String); 7] {
    let text = |value: &str| if value.is_empty() { "–".to_owned() } else { text::line(value, text::SHORT) };
    [
        ("Queue", text(&job.queue)),
        ("Function", text(job.function().unwrap_or_default())),
        ("Status", text(&job.status)),
        ("Worker", text(&job.worker)),
        ("Created", time(job.created_at, now)),
        ("Queued", time(job.enqueued_at, now)),
        ("Failed", time(job.failed_at, now)),
    ]
}

/// The arguments, each on lines of its own; a record that is JSON in a text is laid out.
fn record(job: &FailedJob) -> String {
    let call = match &job.call {
        Some(Ok(call)) => call,
        Some(Err(error)) => return error.to_string(),
        None => return "The record of this job is gone.".to_owned(),
    };
    let mut parts: Vec<String> = call.args.iter().map(|value| laid_out(value.clone())).collect();
    parts.extend(call.kwargs.iter().map(|(name, value)| format!("{name} = {}", laid_out(value.clone()))));
    if parts.is_empty() { "(no arguments)".to_owned() } else { parts.join("\n") }
}

fn laid_out(value: Value) -> String {
    let value = readable(value);
    let parsed = match &value {
        Value::String(text) => jobqueue_json::parse(text).ok(),
        _ => None,
    };
    match parsed.unwrap_or(value) {
        Value::String(text) => text,
        value => pretty(&value, 0),
    }
}

/// JSON with an indent, numbers with the digits they came with.
fn pretty(value: &Value, depth: usize) -> String {
    let (indent, end) = ("  ".repeat(depth + 1), "  ".repeat(depth));
    match value {
        Value::Object(fields) if !fields.is_empty() && depth < 20 => {
            let fields = fields
                .iter()
                .map(|(name, value)| format!("{indent}{}: {}", Value::String(name.clone()), pretty(value, depth + 1)));
            format!("{{\n{}\n{end}}}", fields.collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(items) if !items.is_empty() && depth < 20 => {
            let items = items.iter().map(|value| format!("{indent}{}", pretty(value, depth + 1)));
            format!("[\n{}\n{end}]", items.collect::<Vec<_>>().join(",\n"))
        }
        value => value.to_string(),
    }
}

fn block(content: &str, label: &str) -> Markup {
    html! { pre tabindex="0" role="region" aria-label=(label) { code { (text::block(content, text::LONG)) } } }
}

fn attempts(attempts: &[Attempt], now: DateTime<Utc>) -> Markup {
    html! {
        section aria-labelledby="attempts-title" {
            h2 #attempts-title { "Attempts" }
            div.beside {
                @for attempt in attempts.iter().take(20) {
                    article {
                        h3 { @if attempt.succeeded { "Succeeded " } @else { "Failed " } (time(attempt.ended_at, now)) }
                        p.message { (text::line(&attempt.worker, 100)) }
                        @if !attempt.error.is_empty() { (block(&attempt.error, "Error of this attempt")) }
                    }
                }
            }
        }
    }
}

/// When, and how long ago: that is the same in every time zone.
fn time(moment: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    let Some(at) = moment else { return "–".to_owned() };
    format!("{} UTC, {}", at.format("%Y-%m-%d %H:%M:%S"), text::ago(moment, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_laid_out_with_their_digits() {
        let text = r#"{"a": 1.10, "b": [1, {"c": "x\"y"}], "d": {}}"#;
        let expected =
            "{\n  \"a\": 1.10,\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\\\"y\"\n    }\n  ],\n  \"d\": {}\n}";
        assert_eq!(laid_out(Value::String(text.to_owned())), expected);
        assert_eq!(laid_out(Value::String("{cut".to_owned())), "{cut");
    }
}
