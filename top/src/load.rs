//! Reads what a page needs from the source.

use std::sync::Arc;

use jobqueue_inspect::source::{Backlog, Overview, Problem, QueueKey, Source, Visible};
use jobqueue_inspect::survey::Surveys;
use jobqueue_inspect::workers::workers;

use crate::state::{CauseData, Need, QueueData};

/// What was read.
pub(crate) enum Loaded {
    Queues(Overview),
    Queue(Box<Result<QueueData, String>>),
    Cause(Box<Result<CauseData, String>>),
}

/// Reads it.
pub(crate) async fn load(source: Arc<dyn Source>, surveys: Surveys, need: Need) -> Loaded {
    match need {
        Need::Queues { query, order, skip, count } => {
            Loaded::Queues(source.overview(&query, order, skip, count, &Visible::All).await)
        }
        Need::Queue { key, causes } => {
            // Boxed: together they would be one type that is too deep for the compiler.
            let read = Box::pin(queue(source.as_ref(), &surveys, &key, causes)).await;
            Loaded::Queue(Box::new(read.map_err(|problem| problem.to_string())))
        }
        Need::Cause { key, digest, skip, count } => {
            let read = Box::pin(cause(source.as_ref(), &surveys, &key, &digest, (skip, count))).await;
            Loaded::Cause(Box::new(read.map_err(|problem| problem.to_string())))
        }
    }
}

async fn queue(source: &dyn Source, surveys: &Surveys, key: &QueueKey, causes: bool) -> Result<QueueData, Problem> {
    let view = source.queue(key).await?;
    let counted = async {
        if !causes {
            return None;
        }
        let survey = async { surveys.of(key, &source.backlog(key).await?).await };
        Some(Box::pin(survey).await.map_err(|problem: Problem| problem.to_string()))
    };
    let ((workers, workers_problem), survey) =
        tokio::join!(Box::pin(workers(source.backlog(key), &view.pods)), Box::pin(counted));
    Ok(QueueData { view, workers, workers_problem, survey })
}

async fn cause(
    source: &dyn Source,
    surveys: &Surveys,
    key: &QueueKey,
    digest: &str,
    (skip, count): (usize, usize),
) -> Result<CauseData, Problem> {
    let backlog: Backlog = source.backlog(key).await?;
    let survey = surveys.of(key, &backlog).await?;
    let Some(group) = survey.group(digest) else {
        let gone = "No failed job of this cause is left among those that were counted.";
        return Err(Problem::NotFound(gone.to_owned()));
    };
    let jobs = group.failures(&backlog.registries()?, skip, count).await?;
    Ok(CauseData { survey: Arc::clone(&survey), jobs, skip })
}
