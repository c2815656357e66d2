//! A queue in a cluster in memory, and operators that come and go.

use std::{sync::Arc, time::Duration};

use jobqueue_crds::JobQueue;
use jobqueue_operator::{
    controller::{Context, visit},
    events::Events,
    kept::Guarded,
    metrics::Metrics,
    registry::{Key, Registry},
    rivals::Rivals,
    secrets::RecentSecrets,
    sweep::Sweeper,
    tenure::Tenure,
    turns::Turns,
};
use jobqueue_queue::{QueueError, QueueStats, WorkerStats};
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    core::DeserializeGuard,
    runtime::{reflector::ObjectRef, watcher::Event},
};
use serde_json::{Value, json};
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};

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

/// One operator process.
pub(crate) struct Operator {
    pub(crate) context: Context,
    pub(crate) sweeper: Sweeper,
    /// The visits that the sweep asks for; here every visit is a step of the test.
    pub(crate) woken: UnboundedReceiver<Key>,
    pub(crate) born: Instant,
}

impl Operator {
    pub(crate) fn start(server: &ApiServer, tenure: Tenure) -> Self {
        server.revive();
        let metrics = Metrics::new();
        let client = server.client(tenure, metrics.clone());
        let (registry, woken) = Registry::new();
        let registry = Arc::new(registry);
        let events = Events::new(client.clone(), "operator-0");
        let interval = Duration::from_millis(250);
        let sweeper = Sweeper {
            client: client.clone(),
            events: events.clone(),
            registry: registry.clone(),
            metrics: metrics.clone(),
            interval,
        };
        let context = Context {
            client,
            registry,
            metrics,
            events,
            default_image: "worker:1".into(),
            in_cluster: false,
            scope: Some("shop".into()),
            rivals: Rivals::default(),
            turns: Turns::default(),
            secrets: RecentSecrets::default(),
        };
        Self { context, sweeper, woken, born: Instant::now() }
    }

    /// Visits the queue as the server has it; true if the visit went through.
    pub(crate) async fn visit(&self, server: &ApiServer) -> bool {
        let object = server.get(QUEUE).unwrap();
        self.visit_as(object).await
    }

    /// Visits the queue as a watch may have it.
    pub(crate) async fn visit_as(&self, object: Value) -> bool {
        let guarded: Guarded = serde_json::from_value(object).unwrap();
        let outcome = Box::pin(visit(&guarded, &self.context)).await;
        if let Err(error) = &outcome {
            // Shown where a test fails.
            println!("a visit failed: {error}");
        }
        outcome.is_ok()
    }

    /// One look at a Redis that answers `answer`, and its scaling.
    pub(crate) async fn sweep(&self, answer: Result<&QueueStats, &QueueError>) {
        let now = self.born.elapsed().as_secs_f64();
        if let Some(change) = self.sweeper.take_in(&key(), now, answer) {
            self.sweeper.scale(&key(), change, Instant::now()).await;
        }
    }

    /// Visits and sweeps, a second apart, until nothing was written for a while. Panics if that takes too long.
    pub(crate) async fn settle(&self, server: &ApiServer, stats: &QueueStats) {
        let mut quiet = 0;
        for _ in 0..120 {
            let before = server.writes().len();
            tokio::time::advance(Duration::from_secs(1)).await;
            let went = self.visit(server).await;
            self.sweep(Ok(stats)).await;
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
        troubles: Vec::new(),
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
    operator.context.registry.glimpse(&event(serde_json::from_value(deployment).unwrap()));
}

/// What the watch makes of an object of another version.
pub(crate) fn malformed() -> Guarded {
    let object = json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": "lines", "namespace": "shop", "uid": "u1", "generation": 3}, "spec": {"queue": 7}});
    let guarded: DeserializeGuard<JobQueue> = serde_json::from_value(object).unwrap();
    assert!(guarded.0.is_err());
    guarded
}
