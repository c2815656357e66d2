//! What is answered at which address.

mod failed;
mod plans;
mod queues;
mod session;
mod simulation;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use futures::{Stream, StreamExt};
use maud::html;
use url::form_urlencoded;

use crate::App;
use crate::access::{Access, HEALTH, LOGIN, LOGOUT, Visitor, check};
use crate::pages::Frame;
use crate::source::{Backlog, Problem, QueueKey, QueueView};

/// Bytes of a form.
const LARGEST_FORM: usize = 16 * 1024;
/// Between two events of one page.
const EVENTS: Duration = Duration::from_secs(1);

/// All routes, behind the check of access.
pub(crate) fn router(app: Arc<App>) -> Router {
    let access = Arc::clone(&app.access);
    let pages = Router::new()
        .route("/", get(queues::list))
        .route("/q/{namespace}/{name}", get(queues::one))
        .route("/q/{namespace}/{name}/simulate", get(simulation::simulate))
        .route("/q/{namespace}/{name}/failed", get(failed::causes))
        .route("/q/{namespace}/{name}/failed/cause/{digest}", get(failed::cause))
        .route("/q/{namespace}/{name}/failed/job", get(failed::job))
        .route("/q/{namespace}/{name}/failed/export", get(failed::export))
        .route("/q/{namespace}/{name}/failed/confirm", get(plans::confirm))
        .route("/plans/{id}", post(plans::carry_out).get(plans::progress))
        .route("/events", get(events))
        .route("/static/dashboard.css", get(|| asset("text/css", include_str!("../../static/dashboard.css"))))
        .route("/static/dashboard.js", get(|| asset("text/javascript", include_str!("../../static/dashboard.js"))))
        .route("/static/icon.svg", get(|| asset("image/svg+xml", include_str!("../../static/icon.svg"))))
        // Asked for by browsers on a page without a link to the icon, which the first one is.
        .route("/favicon.ico", get(|| asset("image/svg+xml", include_str!("../../static/icon.svg"))))
        .fallback(|State(app): State<Arc<App>>, Extension(visitor): Extension<Visitor>| async move {
            refused(&app, &visitor, &Problem::NotFound("There is no such page.".to_owned()))
        });
    let pages = match &*access {
        Access::Loopback(_) => pages,
        Access::Cluster(_) => pages
            .route(HEALTH, get(session::health))
            .route(LOGIN, get(session::form).post(session::log_in))
            .route(LOGOUT, post(session::log_out)),
    };
    pages.with_state(app).layer(DefaultBodyLimit::max(LARGEST_FORM)).layer(from_fn_with_state(access, check))
}

fn asset(kind: &'static str, content: &'static str) -> std::future::Ready<Response> {
    std::future::ready(([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], content).into_response())
}

/// Says that there is something new, at most once a second. The page asks for it then.
async fn events(State(app): State<Arc<App>>) -> Sse<impl Stream<Item = Result<Event, std::convert::Infallible>>> {
    let (mut source, mut own) = (app.source.changes(), app.changed.subscribe());
    source.mark_unchanged();
    own.mark_unchanged();
    let stream = futures::stream::unfold((source, own), |(mut source, mut own)| async move {
        let change = tokio::select! {
            change = source.changed() => change,
            change = own.changed() => change,
        };
        change.ok()?;
        tokio::time::sleep(EVENTS).await;
        source.mark_unchanged();
        own.mark_unchanged();
        Some((Event::default().event("changed").data("changed"), (source, own)))
    });
    Sse::new(stream.map(Ok)).keep_alive(KeepAlive::default())
}

/// What is asked for of a queue, and by whom.
struct Asked {
    app: Arc<App>,
    visitor: Visitor,
    key: QueueKey,
    /// Of the query.
    fields: Vec<(String, String)>,
}

impl FromRequestParts<Arc<App>> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Response> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, app).await;
        let Path(mut path) = path.map_err(IntoResponse::into_response)?;
        let visitor = Extension::<Visitor>::from_request_parts(parts, app).await;
        let Extension(visitor) = visitor.map_err(IntoResponse::into_response)?;
        let mut part = |name: &str| path.remove(name).unwrap_or_default();
        let key = QueueKey { namespace: part("namespace"), name: part("name") };
        let fields = fields(parts.uri.query().unwrap_or_default());
        Ok(Self { app: Arc::clone(app), visitor, key, fields })
    }
}

impl Asked {
    fn field(&self, name: &str) -> &str {
        field(&self.fields, name)
    }

    fn frame(&self, live: bool) -> Frame<'_> {
        frame(&self.app, &self.visitor, live)
    }

    fn refused(&self, problem: &Problem) -> Response {
        refused(&self.app, &self.visitor, problem)
    }

    async fn backlog(&self) -> Result<Backlog, Problem> {
        self.app.backlog(&self.visitor, &self.key).await
    }

    async fn queue(&self) -> Result<QueueView, Problem> {
        self.app.queue(&self.visitor, &self.key).await
    }
}

/// The part of all pages that is the same.
fn frame<'a>(app: &App, visitor: &'a Visitor, live: bool) -> Frame<'a> {
    Frame { source: app.source.title(), account: visitor.name(), read_only: app.read_only, live }
}

/// A page that says what is missing.
fn refused(app: &App, visitor: &Visitor, problem: &Problem) -> Response {
    let (status, title) = match problem {
        Problem::NotFound(_) => (StatusCode::NOT_FOUND, "Not found"),
        Problem::Forbidden(_) => (StatusCode::FORBIDDEN, "Not allowed"),
        Problem::Unavailable(_) => (StatusCode::BAD_GATEWAY, "Not available"),
    };
    let main = html! { p.problem role="alert" { (crate::text::line(&problem.to_string(), 1_000)) } };
    (status, frame(app, visitor, false).page(title, &[], &main)).into_response()
}

/// The fields of a query or a form.
fn fields(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().take(20).collect()
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// A page's number, from 1.
fn page_of(fields: &[(String, String)]) -> usize {
    field(fields, "page").parse().unwrap_or(1).clamp(1, 1_000_000)
}
