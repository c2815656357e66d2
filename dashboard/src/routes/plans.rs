//! Changes: a page that says how many jobs are meant, the form that begins it, and a page that says what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};

use super::failed::chosen;
use super::{field, fields, frame, key, refused};
use crate::App;
use crate::access::{Visitor, Wanted};
use crate::pages;
use crate::plans::{Action, Jobs, Plan};
use crate::source::{Problem, QueueKey};
use crate::survey::Group;
use crate::text;

/// The answer to a form waits so long for a short change to end.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn confirm(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(path): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    if app.read_only {
        return read_only();
    }
    let fields = fields(query.as_deref().unwrap_or_default());
    match planned(&app, &visitor, &key(path), &fields).await {
        Ok(plan) => {
            let source = app.source.title();
            pages::confirm(&frame(&app, &visitor, &source, false), &plan, visitor.form_token())
        }
        Err(problem) => refused(&app, &visitor, &problem),
    }
}

async fn planned(
    app: &App,
    visitor: &Visitor,
    key: &QueueKey,
    fields: &[(String, String)],
) -> Result<Arc<Plan>, Problem> {
    let action = Action::of(field(fields, "action"));
    let action = action.ok_or_else(|| Problem::NotFound("The address does not say what is to be done.".to_owned()))?;
    app.access.may(visitor, Wanted::ChangeJobs, key).await?;
    let registries = app.backlog(visitor, key).await?.registries()?;
    let jobs = if let Some(ids) = chosen(app, visitor, key, &registries, fields).await? {
        Jobs::These(ids)
    } else {
        let mut counts = Vec::with_capacity(registries.len());
        for (_, jobs) in &registries {
            counts.push(jobs.count().await?);
        }
        Jobs::All(counts)
    };
    let which = match field(fields, "scope") {
        "cause" => {
            let survey = app.surveys.known(key);
            let cause = survey.group(field(fields, "cause")).map(Group::cause).unwrap_or_default();
            let bound = if survey.is_partial() {
                format!(
                    " They are those among the newest {} of {}.",
                    text::count(survey.counted),
                    text::jobs(survey.total)
                )
            } else {
                String::new()
            };
            format!("Jobs that failed with: {cause}.{bound}")
        }
        "one" => format!("Job {}.", text::line(field(fields, "id"), text::SHORT)),
        _ => format!("All failed jobs of {}.", pages::name_of(key)),
    };
    Ok(app.plans.add(key.clone(), action, jobs, which))
}

pub(super) async fn carry_out(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    form: String,
) -> Response {
    if app.read_only {
        return read_only();
    }
    if !visitor.sent(&fields(&form)) {
        let reason = "This form was not made by this dashboard, so nothing was done.";
        return pages::refusal(StatusCode::FORBIDDEN, reason).into_response();
    }
    let Some(plan) = app.plans.get(&id) else { return refused(&app, &visitor, &forgotten()) };
    let allowed = app.access.may(&visitor, Wanted::ChangeJobs, &plan.key).await;
    if let Err(problem) = allowed {
        return refused(&app, &visitor, &problem);
    }
    let backlog = match app.backlog(&visitor, &plan.key).await {
        Ok(backlog) => backlog,
        Err(problem) => return refused(&app, &visitor, &problem),
    };
    if let Some(account) = visitor.name() {
        let QueueKey { namespace, name } = &plan.key;
        let jobs = plan.jobs.count();
        tracing::info!(account, action = ?plan.action, namespace, jobqueue = name, jobs, "changes failed jobs");
    }
    let (task, own) = (Arc::clone(&plan), Arc::clone(&app));
    tokio::spawn(async move {
        task.carry_out(backlog, &own.changed).await;
        own.surveys.expire(&task.key);
    });
    let began = Instant::now();
    while !plan.progress().finished && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Redirect::to(&format!("/plans/{id}")).into_response()
}

pub(super) async fn progress(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    let Some(plan) = app.plans.get(&id) else { return refused(&app, &visitor, &forgotten()) };
    if let Err(problem) = app.access.may(&visitor, Wanted::ReadJobs, &plan.key).await {
        return refused(&app, &visitor, &problem);
    }
    let source = app.source.title();
    pages::progress(&frame(&app, &visitor, &source, true), &plan)
}

fn forgotten() -> Problem {
    Problem::NotFound("This change is not remembered any more. Choose the jobs again.".to_owned())
}

fn read_only() -> Response {
    let reason = "This dashboard is read only, so nothing was done.";
    pages::refusal(StatusCode::FORBIDDEN, reason).into_response()
}
