//! The failed jobs of a queue by cause, and the jobs of one cause.

use axum::response::Response;
use chrono::{DateTime, Utc};
use jobqueue_queue::admin::Failure;
use maud::{Markup, html};

use super::chart::trend;
use super::{Frame, address, encoded, name_of, pager};
use crate::source::QueueKey;
use crate::survey::{Group as Counted, Survey};
use crate::text;

/// Causes of a page.
const PAGE: usize = 100;

/// The causes that are shown.
pub(crate) struct Causes<'a> {
    pub(crate) key: &'a QueueKey,
    pub(crate) survey: &'a Survey,
    /// What a cause or a function has to have in it.
    pub(crate) query: &'a str,
    /// From 1.
    pub(crate) page: usize,
}

/// The causes.
pub(crate) fn failed(frame: &Frame<'_>, shown: &Causes<'_>, now: DateTime<Utc>) -> Response {
    let Causes { key, survey, query, page } = *shown;
    let (name, at) = (name_of(key), address(key));
    let here = format!("{at}/failed");
    let all = survey.groups();
    let groups: Vec<&Counted> = all.iter().copied().filter(|group| group.matches(query)).collect();
    let (first, pages) = ((page - 1).saturating_mul(PAGE), groups.len().div_ceil(PAGE).max(1));
    let rows: Vec<&Counted> = groups.iter().copied().skip(first).take(PAGE).collect();
    let main = html! {
        div #summary data-swap aria-live="polite" {
            (summary(survey))
            @if !query.is_empty() { p { (text::count(groups.len() as u64)) " match." } }
        }
        div #all data-swap {
            @if survey.total > 0 { p.actions { (actions(frame, &here, "scope=all", survey.total)) } }
        }
        @if all.len() > 1 || !query.is_empty() {
            form.filter method="get" action=(here) role="search" {
                label for="q" { "Cause or function" }
                input #q type="search" name="q" value=(query) maxlength="200";
                button { "Filter" }
                @if !query.is_empty() { " " a href=(here) { "Show all" } }
            }
        }
        div #causes data-swap {
            @if !rows.is_empty() { (table(frame, &here, &rows, survey.is_partial(), now)) }
            (pager(page, pages, |page| format!("{here}?q={}&page={page}", encoded(query))))
        }
    };
    frame.page(&format!("Failed jobs of {name}"), &[(&name, &at), ("Failed jobs", &here)], &main)
}

fn summary(survey: &Survey) -> Markup {
    html! {
        @if let Some(problem) = &survey.problem { p.problem role="alert" { (text::line(problem, 500)) } }
        p { (survey.sentence()) }
    }
}

/// Links to what can be done, with the number of jobs it touches.
fn actions(frame: &Frame<'_>, here: &str, scope: &str, count: u64) -> Markup {
    let link = |action: &str| format!("{here}/confirm?action={action}&{scope}");
    html! {
        a href={ (here) "/export?" (scope) } download { "Export " (text::count(count)) }
        @if !frame.read_only {
            " " a href=(link("requeue")) { "Requeue " (text::count(count)) "…" }
            " " a.danger href=(link("purge")) { "Purge " (text::count(count)) "…" }
        }
    }
}

fn table(frame: &Frame<'_>, here: &str, groups: &[&Counted], is_partial: bool, now: DateTime<Utc>) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Causes" {
            table {
                caption { "Failed jobs by cause" }
                thead {
                    tr {
                        th scope="col" { "Cause" } th.number scope="col" { "Jobs" } th scope="col" { "Last hour" }
                        th.number scope="col" { "Newest" } th scope="col" { "Actions" }
                    }
                }
                tbody {
                    @for group in groups {
                        @let scope = format!("scope=cause&cause={}", group.digest);
                        tr {
                            th scope="row" {
                                a href={ (here) "/cause/" (group.digest) } { (group.cause()) }
                                @if let Some(function) = &group.function { br; span.message { (text::line(function, 100)) } }
                            }
                            td.number { @if is_partial { "at least " } (text::count(group.ids.len() as u64)) }
                            td { (trend(&group.trend)) }
                            td.number { (text::ago(group.newest, now)) }
                            td.actions.row { (actions(frame, here, &scope, group.ids.len() as u64)) }
                        }
                    }
                }
            }
        }
    }
}

/// A page of the jobs of one cause.
pub(crate) struct Group<'a> {
    pub(crate) key: &'a QueueKey,
    pub(crate) counted: &'a Counted,
    /// With the name of their queue.
    pub(crate) jobs: &'a [(String, Failure)],
    pub(crate) page: usize,
    pub(crate) pages: usize,
}

/// The jobs of one cause.
pub(crate) fn group(frame: &Frame<'_>, shown: &Group<'_>, now: DateTime<Utc>) -> Response {
    let (name, at) = (name_of(shown.key), address(shown.key));
    let here = format!("{at}/failed");
    let own = format!("{here}/cause/{}", shown.counted.digest);
    let scope = format!("scope=cause&cause={}", shown.counted.digest);
    let count = shown.counted.ids.len() as u64;
    let main = html! {
        p { (shown.counted.cause()) }
        p.actions { (actions(frame, &here, &scope, count)) }
        div #jobs data-swap {
            table {
                caption { (text::jobs(count)) " of this cause, the newest first" }
                thead { tr { th scope="col" { "Job" } th scope="col" { "Error" } th.number scope="col" { "Failed" } } }
                tbody {
                    @for (queue, job) in shown.jobs {
                        tr {
                            th scope="row" { a href={ (here) "/job?queue=" (encoded(queue)) "&id=" (encoded(&job.id)) } { (text::line(&job.id, 80)) } }
                            td { (text::line(jobqueue_queue::admin::error_groups::cause(&job.error), 300)) }
                            td.number { (text::ago(job.failed_at, now)) }
                        }
                    }
                }
            }
            (pager(shown.page, shown.pages, |page| format!("{own}?page={page}")))
        }
    };
    frame.page("Jobs of one cause", &[(&name, &at), ("Failed jobs", &here), ("One cause", &own)], &main)
}
