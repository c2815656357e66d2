//! The pages as HTML. Whatever came from elsewhere goes through [`crate::text`] and is escaped by the templates.

mod chart;
mod failed;
mod job;
mod login;
mod plan;
mod queue;
mod queues;
mod simulation;

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use self::failed::{Causes as CausesPage, Group as GroupPage, failed, group};
pub(crate) use self::job::{JobPage, job};
pub(crate) use self::login::login;
pub(crate) use self::plan::{ConfirmPage, confirm, progress};
pub(crate) use self::queue::{QueuePage, queue};
pub(crate) use self::queues::{PAGE, queues};
pub(crate) use self::simulation::{SimulationPage, simulation};
use crate::access::LOGOUT;
use crate::source::QueueKey;
use crate::text;

/// What all pages have in common.
pub(crate) struct Frame<'a> {
    /// Of the source.
    pub(crate) source: String,
    /// Who is logged in, in a cluster.
    pub(crate) account: Option<&'a str>,
    /// Whether changes are refused.
    pub(crate) read_only: bool,
    /// Whether the page is to follow what it shows.
    pub(crate) live: bool,
}

impl Frame<'_> {
    /// What an open page says when it is let in no more.
    fn ended(&self) -> &'static str {
        if self.account.is_some() {
            "You are logged in no more. This page shows what it was last told; load it again to log in."
        } else {
            "The dashboard was started again. This page shows what it was last told, and goes on once you have opened the \
             address that jobqueue dashboard printed."
        }
    }

    /// A whole page. `trail` leads to it: names and addresses.
    pub(crate) fn page(&self, title: &str, trail: &[(&str, &str)], main: &Markup) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(title, self.live))
                body data-live[self.live] data-ended=(self.ended()) {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        nav aria-label="You are here" {
                            ol {
                                li { a href="/" { "Queues" } }
                                @for (name, address) in trail { li { a href=(address) { (name) } } }
                            }
                        }
                        p.source {
                            (text::line(&self.source, text::SHORT))
                            @if self.read_only { " " span.badge { "read only" } }
                        }
                    }
                    main #main tabindex="-1" {
                        h1 { (title) }
                        (main)
                    }
                    footer {
                        @if let Some(account) = self.account {
                            form method="post" action=(LOGOUT) {
                                span { "Logged in as " (text::line(account, text::SHORT)) "." } " "
                                button { "Log out" }
                            }
                        } @else { p { "Served from your own machine with your own rights." } }
                        @if self.live { p #connection role="status" { "This page is loaded again by itself where scripts run." } }
                    }
                }
            }
        };
        Html(page.into_string()).into_response()
    }
}

fn head(title: &str, live: bool) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " – JobQueue" }
            link rel="stylesheet" href="/static/dashboard.css";
            link rel="icon" href="/static/icon.svg" type="image/svg+xml";
            script src="/static/dashboard.js" defer {}
            @if live { noscript { meta http-equiv="refresh" content="15"; } }
        }
    }
}

/// A page that says why there is none, for who has no access to any other.
pub(crate) fn refusal(status: StatusCode, reason: &str) -> impl IntoResponse + use<> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "JobQueue" }
            }
            body {
                main {
                    h1 { (status.canonical_reason().unwrap_or("Refused")) }
                    p { (reason) }
                }
            }
        }
    };
    (status, Html(page.into_string()))
}

/// A part of a path, or of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The address of a queue's page.
pub(crate) fn address(key: &QueueKey) -> String {
    format!("/q/{}/{}", encoded(&key.namespace), encoded(&key.name))
}

/// Its name as it is shown.
pub(crate) fn name_of(key: &QueueKey) -> String {
    text::line(&format!("{}/{}", key.namespace, key.name), text::SHORT)
}

/// Links to the pages before and after.
fn pager(page: usize, pages: usize, link: impl Fn(usize) -> String) -> Markup {
    html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 1 { a rel="prev" href=(link(page - 1)) { "Previous page" } " " }
                span { "Page " (text::count(page as u64)) " of " (text::count(pages as u64)) }
                @if page < pages { " " a rel="next" href=(link(page + 1)) { "Next page" } }
            }
        }
    }
}

fn number(value: u64) -> Markup {
    html! { td.number { (text::count(value)) } }
}
