//! What the workers of RQ queues have in hand, as their records name it.

use redis::{Cmd, cmd};

use crate::{Connection, QueueError};

/// What the record of a worker says of its work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CurrentJob {
    /// The id of the job; the first one of a batch.
    pub id: Option<String>,
    /// The call, as RQ describes it.
    pub description: Option<String>,
    /// Whether it was asked to end: it takes no further job.
    pub is_ending: bool,
}

/// The jobs in the hands of these workers, in order, in two round trips; `prefix` is RQ's key prefix.
pub async fn current_jobs(
    connection: &Connection,
    prefix: &str,
    workers: &[&str],
) -> Result<Vec<CurrentJob>, QueueError> {
    let read = |worker: &&str| {
        cmd("HMGET")
            .arg(format!("{prefix}:worker:{worker}"))
            .arg(&["current_job", "shutdown_requested_date"])
            .to_owned()
    };
    let commands: Vec<Cmd> = workers.iter().map(read).collect();
    let mut jobs = Vec::with_capacity(workers.len());
    for answer in connection.pipeline(&commands).await? {
        let (id, asked): (Option<String>, Option<String>) = connection.read(answer?)?;
        jobs.push(CurrentJob { id, description: None, is_ending: asked.is_some() });
    }
    let described: Vec<usize> = (0..jobs.len()).filter(|index| jobs[*index].id.is_some()).collect();
    let describe = |index: &usize| {
        let id = jobs[*index].id.as_deref().unwrap_or_default();
        cmd("HGET").arg(format!("{prefix}:job:{id}")).arg("description").to_owned()
    };
    let commands: Vec<Cmd> = described.iter().map(describe).collect();
    for (index, answer) in described.into_iter().zip(connection.pipeline(&commands).await?) {
        let description: Option<Vec<u8>> = connection.read(answer?)?;
        jobs[index].description = description.map(|text| String::from_utf8_lossy(&text).into_owned());
    }
    Ok(jobs)
}
