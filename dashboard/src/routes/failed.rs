//! Failed jobs: their causes, the jobs of one, one job, and their records as a file.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use futures::stream::{self, StreamExt};
use jobqueue_queue::PayloadLimits;

use super::{Asked, page_of};
use crate::pages::{self, CausesPage, GroupPage, JobPage};
use crate::source::{Problem, Registry};
use crate::survey::{Group, JobId};

/// Jobs of a page.
const PAGE: usize = 50;
/// Jobs in a step of an export.
const STEP: usize = 200;

pub(super) async fn causes(asked: Asked) -> Response {
    let answer = async {
        let backlog = asked.backlog().await?;
        asked.app.surveys.of(&asked.key, &backlog).await
    };
    match answer.await {
        Ok(survey) => {
            let shown =
                CausesPage { key: &asked.key, survey: &survey, query: asked.field("q"), page: page_of(&asked.fields) };
            pages::failed(&asked.frame(true), &shown, Utc::now())
        }
        Err(problem) => asked.refused(&problem),
    }
}

pub(super) async fn cause(asked: Asked, Path((_, _, digest)): Path<(String, String, String)>) -> Response {
    let page = page_of(&asked.fields);
    let answer = async {
        let registries = asked.backlog().await?.registries()?;
        let group = group(&asked, &digest).await?;
        let jobs = group.failures(&registries, (page - 1) * PAGE, PAGE).await?;
        Ok::<_, Problem>((group, jobs))
    };
    match answer.await {
        Ok((group, jobs)) => {
            let pages = group.ids.len().div_ceil(PAGE).max(1);
            let shown = GroupPage { key: &asked.key, counted: &group, jobs: &jobs, page, pages };
            pages::group(&asked.frame(false), &shown, Utc::now())
        }
        Err(problem) => asked.refused(&problem),
    }
}

/// The jobs of one cause, as they were counted.
async fn group(asked: &Asked, digest: &str) -> Result<Group, Problem> {
    let backlog = asked.backlog().await?;
    let survey = asked.app.surveys.of(&asked.key, &backlog).await?;
    survey.group(digest).cloned().ok_or_else(|| {
        Problem::NotFound("No failed job of this cause is left among those that were counted.".to_owned())
    })
}

/// The registry that has this job: the one that is named, else the first.
async fn registry_of(registries: &[Registry], queue: &str, id: &str) -> Result<usize, Problem> {
    for (index, (name, jobs)) in registries.iter().enumerate() {
        if (queue.is_empty() || name == queue) && jobs.contains(id).await? {
            return Ok(index);
        }
    }
    let id = crate::text::line(id, crate::text::SHORT);
    Err(Problem::NotFound(format!("Job {id} is not among the failed jobs of this queue.")))
}

pub(super) async fn job(asked: Asked) -> Response {
    let (queue, id) = (asked.field("queue"), asked.field("id"));
    let answer = async {
        let registries = asked.backlog().await?.registries()?;
        let (queue, jobs) = &registries[registry_of(&registries, queue, id).await?];
        let attempts = jobs.attempts(id).await?;
        let job = jobs.fetch(&[id.to_owned()], &PayloadLimits::default()).await?.pop();
        let job = job.ok_or_else(|| Problem::NotFound("This job is gone.".to_owned()))?;
        let recipe = recipe(&asked, job.function()).await;
        let page = JobPage { key: &asked.key, queue, job, attempts, recipe };
        Ok::<_, Problem>(pages::job(&asked.frame(false), &page, Utc::now()))
    };
    answer.await.unwrap_or_else(|problem| asked.refused(&problem))
}

/// The section of the manifest that serves this function: the one that names it, else one that names none.
async fn recipe(asked: &Asked, function: Option<&str>) -> Option<String> {
    let sections = asked.queue().await.ok()?.spec?.ingest?;
    let named = sections.iter().find(|section| section.functions.iter().any(|name| Some(name.as_str()) == function));
    let section = named.or_else(|| sections.iter().find(|section| section.functions.is_empty()))?;
    serde_yaml::to_string(section).ok()
}

/// The jobs that a query means: `scope` is `one`, `cause` or `all`; `None` stands for all.
pub(super) async fn chosen(asked: &Asked, registries: &[Registry]) -> Result<Option<Vec<JobId>>, Problem> {
    match asked.field("scope") {
        "one" => {
            let id = asked.field("id");
            let registry = registry_of(registries, asked.field("queue"), id).await?;
            Ok(Some(vec![(registry, id.to_owned())]))
        }
        "cause" => Ok(Some(group(asked, asked.field("cause")).await?.ids)),
        "all" => Ok(None),
        _ => Err(Problem::NotFound("The address does not say which jobs are meant.".to_owned())),
    }
}

pub(super) async fn export(asked: Asked) -> Response {
    let answer = async {
        let registries = asked.backlog().await?.registries()?;
        let chosen = chosen(&asked, &registries).await?;
        Ok::<_, Problem>((registries, chosen))
    };
    let (registries, chosen) = match answer.await {
        Ok(answer) => answer,
        Err(problem) => return asked.refused(&problem),
    };
    let export = Export { registries, chosen, registry: 0, skip: 0 };
    let steps = stream::unfold(Some(export), |export| async move {
        let mut export = export?;
        match export.step().await {
            Ok(Some(lines)) => Some((Ok(lines), Some(export))),
            Ok(None) => None,
            // The browser says that the file is not whole.
            Err(problem) => Some((Err(std::io::Error::other(problem.to_string())), None)),
        }
    });
    let name: String =
        asked.key.name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).take(60).collect();
    let mut response = Body::from_stream(steps.boxed()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let disposition = format!("attachment; filename=\"failed-{name}.jsonl\"");
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::from_str(&disposition).unwrap_or(HeaderValue::from_static("attachment")),
    );
    response
}

/// How far an export is.
struct Export {
    registries: Vec<Registry>,
    chosen: Option<Vec<JobId>>,
    registry: usize,
    skip: usize,
}

impl Export {
    /// The next lines; `None` at the end. Jobs without a record that is a line are left out.
    async fn step(&mut self) -> Result<Option<String>, Problem> {
        loop {
            let Some((_, jobs)) = self.registries.get(self.registry) else { return Ok(None) };
            let ids: Vec<String> = match &self.chosen {
                Some(chosen) => {
                    let own = chosen.iter().filter(|(registry, _)| *registry == self.registry);
                    own.skip(self.skip).take(STEP).map(|(_, id)| id.clone()).collect()
                }
                None => jobs.oldest(self.skip, STEP).await?,
            };
            if ids.is_empty() {
                (self.registry, self.skip) = (self.registry + 1, 0);
                continue;
            }
            self.skip += ids.len();
            let jobs = jobs.fetch(&ids, &PayloadLimits::default()).await?;
            let lines: String = jobs.iter().filter_map(|job| Some(job.line().ok()? + "\n")).collect();
            if !lines.is_empty() {
                return Ok(Some(lines));
            }
        }
    }
}
