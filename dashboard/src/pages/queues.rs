//! The list of all queues.

use axum::response::Response;
use maud::{Markup, html};

use super::{Frame, address, encoded, name_of, number, pager};
use crate::source::{Overview, Row, Standing};
use crate::text;

/// Rows of a page.
pub(crate) const PAGE: usize = 100;

/// The list; `page` counts from 1.
pub(crate) fn queues(frame: &Frame<'_>, overview: &Overview, query: &str, page: usize) -> Response {
    let pages = overview.matching.div_ceil(PAGE).max(1);
    let link = |page: usize| format!("/?q={}&page={page}", encoded(query));
    let main = html! {
        form.filter method="get" action="/" role="search" {
            label for="q" { "Name, state or reason" }
            input #q type="search" name="q" value=(query) maxlength="200";
            button { "Filter" }
            @if !query.is_empty() { " " a href="/" { "Show all" } }
        }
        div #summary data-swap aria-live="polite" { (summary(overview, query)) }
        div #queues data-swap {
            @if overview.rows.is_empty() {
                @if !overview.is_unknown() {
                    p { @if overview.total == 0 { "There are no queues." } @else { "No queue matches." } }
                }
            } @else { (table(&overview.rows)) }
            (pager(page, pages, link))
        }
    };
    frame.page("Queues", &[], &main)
}

fn summary(overview: &Overview, query: &str) -> Markup {
    html! {
        @if let Some(problem) = &overview.problem { p.problem role="alert" { (text::line(problem, 500)) } }
        @if !overview.is_unknown() {
            p {
                (overview.sentence())
                @if !query.is_empty() { " " (text::count(overview.matching as u64)) " match." }
            }
        }
    }
}

fn table(rows: &[Row]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Queues" {
            table {
                caption { "Queues, those with trouble first" }
                thead {
                    tr {
                        th scope="col" { "Queue" }
                        th scope="col" { "State" }
                        th.number scope="col" { "Workers" }
                        th.number scope="col" { "Waiting" }
                        th.number scope="col" { "Running" }
                        th.number scope="col" { "Oldest wait" }
                        th.number scope="col" { "Failed" }
                    }
                }
                tbody { @for row in rows { (line(row)) } }
            }
        }
    }
}

fn line(row: &Row) -> Markup {
    let numbers = &row.numbers;
    html! {
        tr {
            th scope="row" { a href=(address(&row.key)) { (name_of(&row.key)) } }
            td { (state(row)) }
            td.number {
                (text::count(numbers.workers))
                @if let Some(desired) = numbers.desired { " of " (text::count(desired)) }
            }
            (number(numbers.waiting))
            (number(numbers.running))
            td.number { (numbers.oldest_wait.map_or_else(|| "–".to_owned(), text::span)) }
            td.number {
                @if numbers.failed > 0 {
                    a href={ (address(&row.key)) "/failed" } aria-label={ (text::jobs(numbers.failed)) " failed in " (name_of(&row.key)) } {
                        (text::count(numbers.failed))
                    }
                } @else { "0" }
            }
        }
    }
}

/// The state in words; colour says nothing that they do not.
pub(super) fn state(row: &Row) -> Markup {
    let class = match row.standing {
        Standing::Stalled | Standing::NotReady => "bad",
        Standing::Degraded | Standing::Failures => "warn",
        Standing::Fine => "good",
    };
    html! {
        span.state.(class) { (row.standing.word()) } " "
        span.reason { (text::line(&row.reason, 60)) }
        @if !row.message.is_empty() { br; span.message { (text::line(&row.message, text::MESSAGE)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_answer_nothing_is_said_of_how_many_there_are() {
        let problem = Some("Redis is away".to_owned());
        let text = summary(&Overview { problem: problem.clone(), ..Overview::default() }, "").into_string();
        assert!(text.contains("Redis is away") && !text.contains("queues"), "{text}");
        let text = summary(&Overview { problem, total: 2, ..Overview::default() }, "").into_string();
        assert!(text.contains("2 queues"), "{text}");
    }
}
