//! The workers of a queue, and what they have in hand.

use std::collections::BTreeMap;
use std::time::Duration;

use jobqueue_queue::admin::current_jobs;
use jobqueue_queue::{Protocol, QueueError, WorkerStats, stats};

use crate::source::{Backlog, Pod, Problem, with_remedy};

/// Workers of a queue that are read.
const MOST_WORKERS: usize = 500;
/// Redis is waited for so long before a page goes without the workers.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// A worker, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// As it calls itself.
    pub name: String,
    /// The host, or the pod, it runs on.
    pub host: String,
    /// In one word.
    pub state: String,
    /// Whether it was asked to end.
    pub draining: bool,
    /// Jobs in its hands.
    pub running: u64,
    /// One of them.
    pub job: Option<String>,
    /// What the producer says of that job.
    pub description: Option<String>,
    /// Seconds since the job began.
    pub busy_for: Option<u64>,
    /// Jobs that it did.
    pub succeeded: u64,
    /// Jobs that failed with it.
    pub failed: u64,
    /// Seconds since it was heard of.
    pub silent_for: Option<u64>,
}

/// The workers of the queue with this Redis, the busy ones first, with what `pods` say of them; and why they are not known,
/// or not all.
pub async fn workers(
    backlog: impl Future<Output = Result<Backlog, Problem>>,
    pods: &[Pod],
) -> (Vec<Worker>, Option<String>) {
    let known = async {
        let backlog = backlog.await.map_err(|problem| problem.to_string())?;
        let known = tokio::time::timeout(PATIENCE, read(&backlog)).await;
        let late = |_| format!("Redis did not answer within {} s.", PATIENCE.as_secs());
        known.map_err(late)?.map_err(|error| with_remedy(&error))
    };
    match known.await {
        Ok(workers) => (with_pods(workers, pods), None),
        Err(problem) => (with_pods(Vec::new(), pods), Some(problem)),
    }
}

/// The workers as their records say, the busy ones first.
async fn read(backlog: &Backlog) -> Result<Vec<Worker>, QueueError> {
    let mut answers = stats(&backlog.connection, &[&backlog.query]).await?;
    let mut known = answers.pop().map(|answer| answer.map(|stats| stats.workers)).transpose()?.unwrap_or_default();
    known.sort_by(|one, other| other.is_busy().cmp(&one.is_busy()).then_with(|| one.name.cmp(&other.name)));
    known.truncate(MOST_WORKERS);
    let names: Vec<&str> = known.iter().map(|worker| worker.name.as_str()).collect();
    let jobs = match backlog.query.protocol {
        Protocol::Rq => current_jobs(&backlog.connection, &backlog.query.key_prefix, &names).await?,
        Protocol::List | Protocol::Stream => Vec::new(),
    };
    let mut jobs = jobs.into_iter();
    let worker = |worker: WorkerStats| {
        let job = jobs.next().unwrap_or_default();
        let busy = worker.is_busy();
        Worker {
            job: job.id.filter(|_| busy),
            description: job.description.filter(|_| busy),
            draining: job.is_ending,
            busy_for: worker.job_age.map(|age| age.as_secs()),
            silent_for: Some(worker.silent_for).filter(|age| *age < Duration::MAX).map(|age| age.as_secs()),
            name: worker.name,
            host: worker.hostname,
            state: worker.state,
            running: worker.running,
            succeeded: worker.succeeded,
            failed: worker.failed,
        }
    };
    Ok(known.into_iter().map(worker).collect())
}

/// Adds what the pods say: which workers drain, and pods that no record speaks of yet.
fn with_pods(mut workers: Vec<Worker>, pods: &[Pod]) -> Vec<Worker> {
    let mut left: BTreeMap<&str, &Pod> = pods.iter().map(|pod| (pod.name.as_str(), pod)).collect();
    for worker in &mut workers {
        if let Some(pod) = left.remove(worker.host.as_str()) {
            worker.draining |= pod.draining;
        }
    }
    workers.extend(left.into_values().map(|pod| Worker {
        name: pod.name.clone(),
        host: String::new(),
        state: if pod.ready { "ready".to_owned() } else { pod.phase.clone() },
        draining: pod.draining,
        running: 0,
        job: None,
        description: None,
        busy_for: None,
        succeeded: 0,
        failed: 0,
        silent_for: None,
    }));
    workers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_say_who_drains_and_who_is_not_there_yet() {
        let pod = |name: &str, ready, draining| Pod { name: name.into(), phase: "Pending".into(), ready, draining };
        let worker = with_pods(Vec::new(), &[pod("a", true, false)]).remove(0);
        let known = Worker { host: "a".into(), name: "w".into(), state: "busy".into(), ..worker };
        let workers = with_pods(vec![known], &[pod("a", true, true), pod("b", false, false)]);
        let shown: Vec<_> = workers.iter().map(|worker| (worker.name.as_str(), worker.draining)).collect();
        assert_eq!(shown, [("w", true), ("b", false)]);
        assert_eq!(workers[1].state, "Pending");
    }
}
