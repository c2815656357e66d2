//! Changes: a page that says how many jobs are meant, the form that begins it, and a page that says what came of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use jobqueue_queue::PayloadLimits;
use url::form_urlencoded;

use super::failed::chosen;
use super::{Asked, fields, frame, refused};
use crate::App;
use crate::access::{Visitor, Wanted};
use crate::pages::{self, ConfirmPage};
use crate::plans::{Action, Jobs, Plan};
use crate::source::{Problem, QueueKey, Registry};
use crate::survey::Group;
use crate::text;

/// The answer to a form waits so long for a short change to end.
const PATIENCE: Duration = Duration::from_secs(2);
/// Jobs that are read before they may be purged, to say what an export leaves out.
const MOST_READ: u64 = 1_000;

pub(super) async fn confirm(asked: Asked) -> Response {
    if asked.app.read_only {
        return read_only();
    }
    match planned(&asked).await {
        Ok((plan, unexportable)) => {
            let export = format!("{}/failed/export?{}", pages::address(&asked.key), scope(&asked));
            let shown = ConfirmPage { plan: &plan, export, unexportable };
            pages::confirm(&asked.frame(false), &shown, asked.visitor.form_token())
        }
        Err(problem) => asked.refused(&problem),
    }
}

/// The part of the query that says which jobs are meant.
fn scope(asked: &Asked) -> String {
    let fields = asked.fields.iter().filter(|(name, _)| name != "action");
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What is to be confirmed, and how many of the jobs an export would leave out, where that can be said at once.
async fn planned(asked: &Asked) -> Result<(Arc<Plan>, Option<usize>), Problem> {
    let (app, visitor, key) = (&asked.app, &asked.visitor, &asked.key);
    let action = Action::of(asked.field("action"));
    let action = action.ok_or_else(|| Problem::NotFound("The address does not say what is to be done.".to_owned()))?;
    app.access.may(visitor, Wanted::ChangeJobs, key).await?;
    let registries = asked.backlog().await?.registries()?;
    let jobs = if let Some(ids) = chosen(asked, &registries).await? {
        Jobs::These(ids)
    } else {
        let mut counts = Vec::with_capacity(registries.len());
        for (_, jobs) in &registries {
            counts.push(jobs.count().await?);
        }
        Jobs::All(counts)
    };
    let unexportable = match action {
        Action::Purge => unexportable(&registries, &jobs).await?,
        Action::Requeue => None,
    };
    let which = which(asked);
    Ok((app.plans.add(key.clone(), action, jobs, which), unexportable))
}

/// How many of these jobs have no record that is a line; `None` for more jobs than are read for a page.
async fn unexportable(registries: &[Registry], jobs: &Jobs) -> Result<Option<usize>, Problem> {
    if jobs.count() > MOST_READ {
        return Ok(None);
    }
    let mut left_out = 0;
    for (index, (_, failed)) in registries.iter().enumerate() {
        let ids: Vec<String> = match jobs {
            Jobs::These(ids) => ids.iter().filter(|(of, _)| *of == index).map(|(_, id)| id.clone()).collect(),
            Jobs::All(counts) => failed.oldest(0, usize::try_from(counts[index]).unwrap_or(0)).await?,
        };
        for part in ids.chunks(100) {
            let jobs = failed.fetch(part, &PayloadLimits::default()).await?;
            left_out += jobs.iter().filter(|job| job.line().is_err()).count();
        }
    }
    Ok(Some(left_out))
}

/// Which jobs are meant, in words.
fn which(asked: &Asked) -> String {
    match asked.field("scope") {
        "cause" => {
            let survey = asked.app.surveys.known(&asked.key);
            let cause = survey.group(asked.field("cause")).map(Group::cause).unwrap_or_default();
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
        "one" => format!("Job {}.", text::line(asked.field("id"), text::SHORT)),
        _ => format!("All failed jobs of {}.", pages::name_of(&asked.key)),
    }
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
    pages::progress(&frame(&app, &visitor, true), &plan)
}

fn forgotten() -> Problem {
    Problem::NotFound("This change is not remembered any more. Choose the jobs again.".to_owned())
}

fn read_only() -> Response {
    let reason = "This dashboard is read only, so nothing was done.";
    pages::refusal(StatusCode::FORBIDDEN, reason).into_response()
}
