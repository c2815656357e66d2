//! The JobQueue API: types, conditions and validation rules.
//!
//! [`JobQueue`] is what `kubectl apply` and `jobqueue local` take. [`JobQueue::from_yaml`] reads manifests and reports
//! every problem at once, with the same rules that the API server enforces from `jobqueue.yaml` (the generated
//! CustomResourceDefinition). [`worker_config`] is what a worker process needs to know of a queue. What a worker's config file
//! has too comes from the crate `api`.

mod condition;
mod connection;
mod database;
pub mod explanation;
mod manifest;
mod queue;
mod reference;
mod scaling;
mod schema;
mod spec;
mod status;
mod validate;
mod worker;
mod worker_config;
mod yaml_words;

pub use condition::{ConditionType, Reason};
pub use connection::{Connection, SecretKeyRef, SecretRef, TlsSpec};
pub use database::DatabaseSpec;
pub use manifest::ManifestError;
pub use queue::QueueSpec;
pub use reference::reference;
pub use scaling::{OnQueueFailure, ScaleDownSpec, ScaleUpSpec, ScalingMode, ScalingSpec, ScheduleSpec, TargetsSpec};
pub use schema::{crd, crd_yaml};
pub use spec::{JobQueue, JobQueueSpec};
pub use status::{CandidateStatus, DecisionStatus, JobQueueStatus, LastScale, LimitStatus, QueueStatus};
pub use validate::{Problem, database_url_problem, redis_url_problem, validate, validate_update};
pub use worker::{WorkerNetworkPolicy, WorkerSpec};
pub use worker_config::{worker_config, worker_file, worker_file_in_full, worker_file_of_first};
