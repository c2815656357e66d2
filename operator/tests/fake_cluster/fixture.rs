//! A queue in a cluster in memory, and operators that come and go.

use std::time::Duration;

use jobqueue_crds::JobQueue;
use jobqueue_operator::{
    GuardedJobQueue, Key, LeaseGuard, Liveness, Metrics, Scope, Settings, Term, Traces, WorkerDefaults,
};
use jobqueue_queue::{Guard, QueueError, QueueStats, WorkerStats};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    core::DeserializeGuard,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api_server::ApiServer;

pub(crate) const QUEUE: &str = "/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/lines";
pub(crate) const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/shop/deployments/lines-worker";
pub(crate) const SECRET: &str = "/api/v1/namespaces/shop/secrets/warehouse";

/// A cluster with one queue and its Secret.
pub(crate) fn cluster() -> ApiServer {
    let server = ApiServer::default();
    server.put(QUEUE, queue());
    server.put(SECRET, secret("pw"));
    server
}

/// The same, as an API server has it.
pub(crate) fn cluster_with_generation() -> ApiServer {
    let server = cluster();
    let mut queue = server.get(QUEUE).unwrap();
    queue["metadata"]["generation"] = 1.into();
    server.put(QUEUE, queue);
    server
}

pub(crate) fn queue() -> Value {
    json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": "lines", "namespace": "shop", "uid": "u1"},
        "spec": {
            "queue": {"protocol": "List", "names": ["lines"],
                "redis": {"urlSecretKeyRef": {"name": "warehouse", "key": "redis"}}},
            "database": {"urlSecretKeyRef": {"name": "warehouse", "key": "database"}},
            "ingest": [{"tables": [{"table": "t", "columns": {"a": "record.a"}}]}],
            "scaling": {"maxReplicas": 8, "targets": {"jobsPerWorker": 100}},
        },
    })
}

pub(crate) fn secret(password: &str) -> Value {
    let text = |text: String| json!(k8s_openapi::ByteString(text.into_bytes()));
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse", "namespace": "shop"}, "data": {
        "redis": text("redis://redis:6379/0".into()),
        "database": text(format!("postgres://app:{password}@db/shop")),
    }})
}

/// One operator process that leads.
pub(crate) struct Operator {
    /// Here every reconcile and every poll is a step of the test.
    pub(crate) term: Term,
    pub(crate) born: Instant,
}

/// What an operator process has in common for all its terms.
pub(crate) fn settings(server: &ApiServer, lease: LeaseGuard, worker_image: &str) -> Settings {
    let metrics = Metrics::new();
    let client = server.client(lease, metrics.clone());
    Settings {
        scaling_client: client.clone(),
        client,
        metrics,
        identity: "operator-0".into(),
        scope: Scope::of(["shop"]),
        workers: WorkerDefaults::new(worker_image),
        password_directory: None,
        max_rollouts: 1,
        poll_interval: Duration::from_millis(250),
        in_cluster: false,
        guard: Guard::default(),
        liveness: Liveness::default(),
        traces: Traces::default(),
    }
}

impl Operator {
    pub(crate) fn start(server: &ApiServer, lease: LeaseGuard) -> Self {
        Self::of_release(server, lease, "worker:1")
    }

    /// Of a release with this image of the worker, which replaces the workers of one queue at a time.
    pub(crate) fn of_release(server: &ApiServer, lease: LeaseGuard, worker_image: &str) -> Self {
        server.revive();
        Self { term: Term::begin(&settings(server, lease, worker_image)), born: Instant::now() }
    }

    /// Reconciles the queue as the server has it; true if that went through.
    pub(crate) async fn reconcile(&self, server: &ApiServer) -> bool {
        let object = server.get(QUEUE).unwrap();
        self.reconcile_as(object).await
    }

    /// Reconciles the queue as a watch may have it.
    pub(crate) async fn reconcile_as(&self, object: Value) -> bool {
        let guarded: GuardedJobQueue = serde_json::from_value(object).unwrap();
        let outcome = Box::pin(self.term.reconcile(&guarded)).await;
        if let Err(error) = &outcome {
            // Shown where a test fails.
            println!("a reconcile failed: {error}");
        }
        outcome.is_ok()
    }

    /// One poll of a Redis that answers `answer`, and its scaling.
    pub(crate) async fn poll(&self, answer: Result<&QueueStats, &QueueError>) {
        let now = self.born.elapsed().as_secs_f64();
        if let Some(change) = self.term.evaluate(&key(), now, answer) {
            self.term.execute(&key(), change, Instant::now()).await;
        }
    }

    /// Reconciles and polls, a second apart, until nothing was written for a while. Panics if that takes too long.
    pub(crate) async fn settle(&self, server: &ApiServer, stats: &QueueStats) {
        let mut quiet = 0;
        for _ in 0..120 {
            let before = server.writes().len();
            tokio::time::advance(Duration::from_secs(1)).await;
            let went = self.reconcile(server).await;
            self.poll(Ok(stats)).await;
            if server.client_is_dead() {
                return;
            }
            quiet = if went && server.writes().len() == before { quiet + 1 } else { 0 };
            if quiet == 20 {
                return;
            }
        }
        panic!("it does not come to rest: {:#?}", server.writes());
    }
}

pub(crate) fn key() -> Key {
    ObjectRef::<JobQueue>::new("lines").within("shop")
}

/// A queue with so many jobs waiting, and nobody at work.
pub(crate) fn waiting(jobs: u64) -> QueueStats {
    QueueStats {
        observed_at: chrono::DateTime::UNIX_EPOCH,
        waiting: jobs,
        running: 0,
        scheduled: 0,
        due: 0,
        failed: 0,
        oldest_wait: None,
        workers: Vec::<WorkerStats>::new(),
        faults: Vec::new(),
    }
}

pub(crate) fn away() -> QueueError {
    QueueError::Unavailable { endpoint: "redis://redis:6379".into(), cause: "connection refused".into() }
}

/// The conditions as `Type=Status/Reason`.
pub(crate) fn conditions(server: &ApiServer) -> Vec<String> {
    let queue = server.get(QUEUE).unwrap();
    let conditions = queue["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    conditions
        .iter()
        .map(|condition| {
            format!("{}={}/{}", text(&condition["type"]), text(&condition["status"]), text(&condition["reason"]))
        })
        .collect()
}

/// As the Deployment controller and kubelet would: so many of the pods are ready.
pub(crate) fn pods_become_ready(server: &ApiServer, ready: i64) {
    let mut deployment = server.get(DEPLOYMENT).unwrap();
    let replicas = deployment["spec"]["replicas"].clone();
    deployment["status"] = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready,
    });
    server.put(DEPLOYMENT, deployment);
}

/// The watch of the Deployments tells what there is.
pub(crate) fn watch_tells(server: &ApiServer, operator: &Operator, event: fn(Deployment) -> Event<Deployment>) {
    let mut deployment = server.get(DEPLOYMENT).unwrap();
    deployment["metadata"]["namespace"] = "shop".into();
    operator.term.cache_deployment(&event(serde_json::from_value(deployment).unwrap()));
}

/// What the watch makes of an object of another version.
pub(crate) fn malformed() -> GuardedJobQueue {
    let object = json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": "lines", "namespace": "shop", "uid": "u1", "generation": 3}, "spec": {"queue": 7}});
    let guarded: DeserializeGuard<JobQueue> = serde_json::from_value(object).unwrap();
    assert!(guarded.0.is_err());
    guarded
}

/// A reconcile, some polls, and a reconcile that reports them.
pub(crate) async fn reconcile_and_poll(
    server: &ApiServer,
    operator: &Operator,
    answer: Result<&QueueStats, &QueueError>,
) {
    operator.reconcile(server).await;
    for _ in 0..3 {
        operator.poll(answer).await;
    }
    tokio::time::advance(std::time::Duration::from_secs(16)).await;
    operator.reconcile(server).await;
}

/// A pod of this name and status.
pub(crate) fn pod(name: &str, status: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"}, "status": status})
}

/// One job runs; workers by name, succeeded and failed; a worker that has succeeded with one job is still busy with it.
pub(crate) fn working(workers: &[(&str, u64, u64)]) -> QueueStats {
    let worker = |(name, succeeded, failed): &(&str, u64, u64)| WorkerStats {
        name: (*name).into(),
        hostname: (*name).into(),
        state: "idle".into(),
        concurrency: 1,
        running: u64::from(*succeeded == 1),
        succeeded: *succeeded,
        failed: *failed,
        busy_seconds: 0.0,
        silent_for: std::time::Duration::ZERO,
        job_age: None,
    };
    QueueStats { running: 1, workers: workers.iter().map(worker).collect(), ..waiting(0) }
}
