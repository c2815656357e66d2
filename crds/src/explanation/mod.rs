//! Why a JobQueue has the number of workers that it has, from the status that the operator keeps, and what to do next: what
//! `jobqueue explain` and the dashboard show.

mod advice;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

pub use self::advice::of_reason;
use crate::{DecisionStatus, JobQueue, LastScale, QueueStatus, ScalingMode};

/// What there is to say, for people and programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Of the JobQueue.
    pub name: String,
    /// Of the JobQueue.
    pub namespace: String,
    /// `scaling.mode`.
    pub mode: ScalingMode,
    /// The status is of the present spec.
    pub up_to_date: bool,
    /// Workers, by what is known of them.
    pub workers: WorkerCounts,
    /// The backlog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueStatus>,
    /// How the number of workers was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionStatus>,
    /// The last change of the number of workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale: Option<LastScale>,
    /// Those that say something else than "all is well".
    pub conditions: Vec<Condition>,
    /// What to do next.
    pub advice: Vec<String>,
}

/// Workers, by what is known of them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerCounts {
    /// The work takes so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wanted: Option<i32>,
    /// The last decision asked for so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Pods.
    pub present: i32,
    /// Pods that are ready.
    pub ready: i32,
}

/// What there is to say of a JobQueue with its status.
pub fn explain(queue: JobQueue) -> Explanation {
    let status = queue.status.unwrap_or_default();
    let mode = queue.spec.scaling.mode;
    let up_to_date = status.observed_generation.is_some() && status.observed_generation == queue.metadata.generation;
    let advice = advice::advice(&status, mode, up_to_date);
    Explanation {
        name: queue.metadata.name.unwrap_or_default(),
        namespace: queue.metadata.namespace.unwrap_or_default(),
        mode,
        up_to_date,
        workers: WorkerCounts {
            wanted: status.decision.as_ref().map(|decision| decision.wanted),
            desired: status.desired_replicas,
            present: status.replicas,
            ready: status.ready_replicas,
        },
        conditions: status.conditions.into_iter().filter(advice::matters).collect(),
        queue: status.queue,
        decision: status.decision,
        last_scale: status.last_scale,
        advice,
    }
}
