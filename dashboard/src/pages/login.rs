//! Where an account of the cluster logs in.

use axum::response::{Html, IntoResponse};
use maud::html;

use super::head;
use crate::access::LOGIN;
use crate::text;

/// The page; `is_secure` is whether the browser will send the cookie of a session.
pub(crate) fn login(is_secure: bool, problem: Option<&str>) -> impl IntoResponse + use<> {
    let main = html! {
        @if let Some(problem) = problem { p.problem role="alert" { (text::line(problem, 500)) } }
        @if !is_secure {
            p.problem {
                "This page came without TLS, so a session will not hold. Open it with https://, or by kubectl port-forward and "
                "http://localhost."
            }
        }
        form method="post" action=(LOGIN) {
            label for="token" { "Token of this cluster" }
            input #token type="password" name="token" autocomplete="off" required maxlength="16000";
            button { "Log in" }
        }
        p { "For a service account with rights on JobQueues, this prints one: " code { "kubectl create token ACCOUNT -n NAMESPACE" } }
        p { "You see the queues that this account may get. The token stays in the dashboard's memory until you log out, for twelve hours at most." }
    };
    let page = html! {
        (maud::DOCTYPE)
        html lang="en" {
            (head("Log in", false))
            body { main #main { h1 { "JobQueue: log in" } (main) } }
        }
    };
    Html(page.into_string())
}
