//! The rules between fields, for those who have no API server: whoever changes one changes the CEL rule of the same
//! message beside the type, and the other way round.

use std::fmt;

use crate::{DatabaseSpec, JobQueueSpec, OnConflict, OnQueueFailure, Protocol, ScalingMode};

/// Something wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, e.g. `spec.queue.names`.
    pub path: String,
    /// What.
    pub message: String,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What the CEL rules say of a new object: every problem, in the order of the fields.
pub fn validate(spec: &JobQueueSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut rule = |holds: bool, path: &str, message: &str| {
        if !holds {
            problems.push(Problem::new(path, message));
        }
    };
    queue_rules(spec, &mut rule);
    database_rules(spec, &mut rule);
    ingest_rules(spec, &mut rule);
    rule(
        spec.retry.backoff_seconds <= spec.retry.max_backoff_seconds,
        "spec.retry",
        "backoffSeconds may not exceed maxBackoffSeconds",
    );
    scaling_rules(spec, &mut rule);
    worker_rules(spec, &mut rule);
    problems
}

/// What the CEL rules say of a change from `old` to `new`, in addition to [`validate`].
pub fn validate_update(old: &JobQueueSpec, new: &JobQueueSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if new.queue.protocol != old.queue.protocol {
        problems.push(Problem::new("spec.queue.protocol", "protocol is immutable: make a new JobQueue instead"));
    }
    if new.scaling.mode != ScalingMode::Manual && new.replicas != old.replicas {
        problems.push(Problem::new("spec.replicas", "replicas can be changed in scaling.mode: Manual only"));
    }
    problems
}

const ONE_URL: &str = "give exactly one of url and urlSecretKeyRef";

fn queue_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let names = &spec.queue.names;
    let unique = names.iter().enumerate().all(|(index, name)| !names[..index].contains(name));
    rule(unique, "spec.queue.names", "each name may appear once");
    let redis = &spec.queue.redis;
    rule(redis.url.is_some() != redis.url_secret_key_ref.is_some(), "spec.queue.redis", ONE_URL);
}

fn database_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    rule(spec.ingest.is_none() || spec.database.is_some(), "spec", "ingest needs database");
    rule(
        spec.ingest.is_some() || spec.database.is_none(),
        "spec",
        "database is used by ingest only: give ingest too, or remove database",
    );
    let Some(DatabaseSpec { url, url_secret_key_ref, max_connections, budget, .. }) = &spec.database else { return };
    rule(url.is_some() != url_secret_key_ref.is_some(), "spec.database", ONE_URL);
    rule(budget.is_none() || max_connections.is_some(), "spec.database", "a budget needs maxConnections");
    rule(
        max_connections.is_none_or(|connections| connections >= spec.worker.concurrency),
        "spec.database.maxConnections",
        "database.maxConnections allows no worker: it must be at least worker.concurrency",
    );
}

fn ingest_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    const UPDATE: &str = "onConflict: Update needs key, the columns that identify a row";
    let recipes = spec.ingest.as_deref().unwrap_or_default();
    rule(
        spec.queue.protocol == Protocol::Rq || recipes.iter().all(|recipe| recipe.functions.is_empty()),
        "spec",
        "ingest[].functions are RQ function names: remove them, or use protocol: RQ",
    );
    for (r, recipe) in recipes.iter().enumerate() {
        for (t, table) in recipe.tables.iter().enumerate() {
            let at = format!("spec.ingest[{r}].tables[{t}]");
            rule(table.on_conflict != OnConflict::Update || !table.key.is_empty(), &at, UPDATE);
            for (c, child) in table.children.iter().enumerate() {
                let at = format!("{at}.children[{c}]");
                rule(child.on_conflict != OnConflict::Update || !child.key.is_empty(), &at, UPDATE);
            }
        }
    }
}

fn scaling_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let scaling = &spec.scaling;
    let (min, max) = (scaling.min_replicas, scaling.max_replicas);
    rule(min <= max, "spec.scaling", "minReplicas may not exceed maxReplicas");
    rule(
        (scaling.on_queue_failure == OnQueueFailure::Static) == scaling.static_replicas.is_some(),
        "spec.scaling",
        "staticReplicas goes with onQueueFailure: Static, and only with it",
    );
    rule(
        scaling.static_replicas.is_none_or(|replicas| replicas >= min && replicas <= max),
        "spec.scaling",
        "staticReplicas must lie between minReplicas and maxReplicas",
    );
}

fn worker_rules(spec: &JobQueueSpec, rule: &mut impl FnMut(bool, &str, &str)) {
    let grace = spec.worker.template.as_ref().and_then(|template| template.get("spec"));
    let grace = grace.and_then(|pod| pod.get("terminationGracePeriodSeconds")).and_then(serde_json::Value::as_i64);
    rule(
        grace.is_none_or(|seconds| i64::from(spec.worker.drain_seconds) < seconds),
        "spec.worker",
        "drainSeconds must be less than template.spec.terminationGracePeriodSeconds, or the kubelet kills workers that \
         are still draining",
    );
}

/// A valid spec for tests to break.
#[cfg(test)]
pub(crate) mod fixtures {
    use crate::JobQueue;

    /// The design's example.
    pub(crate) const COMPANIES: &str = include_str!("../tests/companies.yaml");

    pub(crate) fn companies() -> JobQueue {
        JobQueue::one_from_yaml(COMPANIES, None).expect("a valid manifest")
    }
}
