//! Asking whether to go on with a change, and what came of it.

use axum::response::Response;
use maud::{Markup, html};

use super::{Frame, address, name_of};
use crate::access::FORM_TOKEN;
use crate::plans::{Action, Plan};
use crate::text;

/// What is asked.
pub(crate) struct ConfirmPage<'a> {
    pub(crate) plan: &'a Plan,
    /// The address of an export of the same jobs.
    pub(crate) export: String,
    /// How many of them it would leave out, where that is known.
    pub(crate) unexportable: Option<usize>,
}

/// Asks.
pub(crate) fn confirm(frame: &Frame<'_>, shown: &ConfirmPage<'_>, form_token: &str) -> Response {
    let plan = shown.plan;
    let (name, at) = (name_of(&plan.key), address(&plan.key));
    let here = format!("{at}/failed");
    let jobs = text::jobs(plan.jobs.count());
    let title = match plan.action {
        Action::Requeue => format!("Requeue {jobs}?"),
        Action::Purge => format!("Purge {jobs}?"),
    };
    let main = html! {
        p { (text::line(&plan.which, 500)) }
        @match plan.action {
            Action::Requeue => { p { "They go back to the end of their queue and run again." } }
            Action::Purge => { (no_way_back(shown, &jobs)) }
        }
        form method="post" action={ "/plans/" (plan.id) } {
            input type="hidden" name=(FORM_TOKEN) value=(form_token);
            button.danger[plan.action == Action::Purge] {
                @match plan.action { Action::Requeue => { "Requeue " (jobs) } Action::Purge => { "Purge " (jobs) } }
            }
            " " a href=(here) { "Cancel" }
        }
    };
    frame.page(&title, &[(&name, &at), ("Failed jobs", &here)], &main)
}

/// What a purge takes away, and what can be kept of it before.
fn no_way_back(shown: &ConfirmPage<'_>, jobs: &str) -> Markup {
    html! {
        p { "They and their records are removed for good. " strong { "There is no way back." } }
        p {
            a href=(shown.export) download { "Export " (jobs) }
            " first to keep their records, the first argument of each job, as lines that jobqueue enqueue takes."
        }
        @match shown.unexportable {
            Some(0) => {}
            Some(count) => { p.problem { (text::jobs(count as u64)) " of these cannot be exported: the record is not a line of text or JSON." } }
            None => { p { "Jobs whose record is not a line of text or JSON are left out of an export." } }
        }
    }
}

/// Says how far it is.
pub(crate) fn progress(frame: &Frame<'_>, plan: &Plan) -> Response {
    let (name, at) = (name_of(&plan.key), address(&plan.key));
    let here = format!("{at}/failed");
    let progress = plan.progress();
    let (done, word) = match plan.action {
        Action::Requeue => (text::jobs(progress.done), "requeued"),
        Action::Purge => (text::jobs(progress.done), "removed"),
    };
    let title = match plan.action {
        Action::Requeue => "Requeue",
        Action::Purge => "Purge",
    };
    let main = html! {
        p { (text::line(&plan.which, 500)) }
        div #outcome data-swap aria-live="polite" {
            @if let Some(problem) = &progress.problem {
                p.problem role="alert" { "It ended early: " (text::line(problem, 500)) }
            }
            p {
                strong { (done) " " (word) }
                " of " (text::count(plan.jobs.count()))
                @if progress.finished { "." } @else if progress.started { " so far." } @else { "; it has not begun." }
            }
            @if progress.gone > 0 { p { (text::jobs(progress.gone)) " had no record any more, and are forgotten now." } }
            @let elsewhere = plan.elsewhere();
            @if elsewhere > 0 { p { (text::jobs(elsewhere)) " had been dealt with by somebody else." } }
        }
        p { a href=(here) { "Back to the failed jobs" } }
    };
    frame.page(title, &[(&name, &at), ("Failed jobs", &here)], &main)
}
