//! Queues of a cluster, seen with the rights of the person's kubeconfig: listed in pages and watched. Of each only its row is
//! in memory; a queue that somebody opens is read anew.

mod forward;
mod redis_of;
mod row;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use jobqueue_crds::JobQueue;
use jobqueue_crds::explanation::explain;
use jobqueue_queue::TlsOptions;
use k8s_openapi::api::core::v1::Pod as CorePod;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher;
use kube::{Api, Client, Config};
use tokio::sync::watch;

use self::redis_of::Connections;
pub use self::redis_of::RedisReach;
use self::row::{numbers, row};
use super::{Backlog, Order, Overview, Pod, Problem, QueueKey, QueueView, Row, Source, Visible, select};
use crate::samples::Samples;
use crate::text;

/// Queues in one answer of the API server.
const PAGE: u32 = 500;
/// Between a watch that failed and the next.
const RETRY: Duration = Duration::from_secs(5);
/// Pods of a queue that a page shows.
const MOST_PODS: u32 = 1_000;

/// Which cluster, and which part of it.
#[derive(Clone, Default)]
pub struct ClusterSettings {
    /// A context of the kubeconfig; its present one for `None`.
    pub context: Option<String>,
    /// Namespaces, each watched for itself; the context's where there is none.
    pub namespaces: Vec<String>,
    /// All namespaces.
    pub all_namespaces: bool,
    /// To which Redis it connects.
    pub reach: RedisReach,
    /// The Redis of all queues, in the place of what their manifests say.
    pub redis: Option<String>,
    /// Certificates for it.
    pub tls: TlsOptions,
}

/// Queues of a cluster.
pub struct ClusterSource {
    title: String,
    client: Client,
    state: Mutex<State>,
    connections: Connections,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<QueueKey, Row>,
    /// While all are listed: what has been listed so far.
    listed: HashMap<QueueKey, Row>,
    samples: Samples,
    problem: Option<String>,
}

impl ClusterSource {
    /// Reads the kubeconfig and begins to watch.
    ///
    /// # Errors
    /// If there is no cluster to ask.
    pub async fn start(settings: ClusterSettings) -> Result<Arc<Self>, Problem> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = config(settings.context.as_deref()).await?;
        let mut namespaces = settings.namespaces.clone();
        if namespaces.is_empty() {
            namespaces.push(config.default_namespace.clone());
        }
        let server = config.cluster_url.to_string();
        let client = Client::try_from(config).map_err(|error| no_cluster(&error))?;
        Ok(Self::with_client(client, &server, &namespaces, settings))
    }

    /// The queues of these namespaces, as this client of `server` sees them.
    pub fn with_client(client: Client, server: &str, namespaces: &[String], settings: ClusterSettings) -> Arc<Self> {
        let watched: Vec<Option<String>> =
            if settings.all_namespaces { vec![None] } else { namespaces.iter().cloned().map(Some).collect() };
        let of = match watched.as_slice() {
            [None] => "all namespaces".to_owned(),
            [Some(namespace)] => format!("namespace {namespace}"),
            _ => format!("namespaces {}", namespaces.join(", ")),
        };
        let source = Arc::new(Self {
            title: format!("{}, {of}", server.trim_end_matches('/')),
            connections: Connections::new(client.clone(), settings.redis, settings.tls, settings.reach),
            client,
            state: Mutex::default(),
            changed: watch::Sender::new(0),
        });
        for namespace in watched {
            source.watch(namespace);
        }
        source
    }

    /// Follows the queues of a namespace, or of all, as long as this value lives.
    fn watch(self: &Arc<Self>, namespace: Option<String>) {
        let (weak, client) = (Arc::downgrade(self), self.client.clone());
        let api: Api<JobQueue> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default().page_size(PAGE)));
            while let Some(event) = events.next().await {
                let Some(source) = weak.upgrade() else { return };
                let failed = event.is_err();
                source.note(event, namespace.as_deref());
                drop(source);
                if failed {
                    tokio::time::sleep(RETRY).await;
                }
            }
        });
    }

    /// A client with the rights of this source.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a watch says; `of` is its namespace.
    fn note(&self, event: Result<watcher::Event<JobQueue>, watcher::Error>, of: Option<&str>) {
        let is_other = |key: &QueueKey| of.is_some_and(|of| of != key.namespace);
        let mut state = self.state();
        match event {
            Ok(watcher::Event::Init) => {
                state.listed.retain(|key, _| is_other(key));
                return;
            }
            Ok(watcher::Event::InitApply(queue)) => {
                let row = row(&queue);
                state.listed.insert(row.key.clone(), row);
                // The list grows while it is read: nobody waits for 10,000.
                if !state.listed.len().is_multiple_of(PAGE as usize) || !state.rows.is_empty() {
                    return;
                }
            }
            Ok(watcher::Event::InitDone) => {
                let listed = std::mem::take(&mut state.listed);
                let (other, listed): (HashMap<_, _>, HashMap<_, _>) =
                    listed.into_iter().partition(|(key, _)| is_other(key));
                state.listed = other;
                state.rows.retain(|key, _| is_other(key));
                state.rows.extend(listed);
                state.problem = None;
            }
            Ok(watcher::Event::Apply(queue)) => {
                let row = row(&queue);
                let seen = queue.status.as_ref().and_then(|status| status.queue.as_ref()?.observed_at.as_ref());
                if let Some(seen) = seen {
                    state.samples.add(&row.key, seen.0.as_second(), &row.numbers);
                }
                state.rows.insert(row.key.clone(), row);
                state.problem = None;
            }
            Ok(watcher::Event::Delete(queue)) => {
                state.rows.remove(&row(&queue).key);
            }
            Err(error) => {
                let of = of.map_or_else(|| "all namespaces".to_owned(), |of| format!("namespace {of}"));
                let problem = Some(watch_problem(&error, &of));
                if state.problem == problem {
                    return;
                }
                state.problem = problem;
            }
        }
        drop(state);
        self.changed.send_modify(|number| *number += 1);
    }

    /// The queue as the API server has it now.
    async fn read(&self, key: &QueueKey) -> Result<JobQueue, Problem> {
        let api: Api<JobQueue> = Api::namespaced(self.client.clone(), &key.namespace);
        let what = format!("JobQueue {}", text::line(&key.name, text::SHORT));
        api.get(&key.name)
            .await
            .map_err(|error| refusal(&error, "get", "jobqueues.jobqueue.dev", &what, &key.namespace))
    }

    async fn pods(&self, queue: &JobQueue, namespace: &str) -> Result<Vec<Pod>, Problem> {
        let Some(selector) = queue.status.as_ref().and_then(|status| status.selector.as_deref()) else {
            return Ok(Vec::new());
        };
        let api: Api<CorePod> = Api::namespaced(self.client.clone(), namespace);
        let list = api.list(&ListParams::default().labels(selector).limit(MOST_PODS)).await;
        let list = list.map_err(|error| refusal(&error, "list", "pods", "the pods of the workers", namespace))?;
        Ok(list.items.iter().map(pod).collect())
    }
}

fn pod(pod: &CorePod) -> Pod {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        phase: status.and_then(|status| status.phase.clone()).unwrap_or_default(),
        ready: conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        draining: pod.metadata.deletion_timestamp.is_some(),
    }
}

async fn config(context: Option<&str>) -> Result<Config, Problem> {
    let Some(context) = context else {
        return Config::infer().await.map_err(|error| no_cluster(&error));
    };
    let kubeconfig = Kubeconfig::read().map_err(|error| no_cluster(&error))?;
    let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
    Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| no_cluster(&error))
}

fn no_cluster(error: &dyn std::fmt::Display) -> Problem {
    Problem::Unavailable(format!("there is no cluster to ask: {error}"))
}

/// What an error of the API server means for who asked, and which right would help.
fn refusal(error: &kube::Error, verb: &str, resource: &str, what: &str, namespace: &str) -> Problem {
    match error {
        kube::Error::Api(answer) if answer.code == 404 => {
            Problem::NotFound(format!("There is no {what} in namespace {namespace}."))
        }
        kube::Error::Api(answer) if answer.code == 403 => Problem::Unavailable(format!(
            "The account that asks lacks the right to {verb} {resource} in namespace {namespace}, so {what} cannot be read."
        )),
        kube::Error::Api(answer) => Problem::Unavailable(format!("{what}: the API server says: {}", answer.message)),
        other => Problem::Unavailable(format!("{what}: the API server does not answer: {other}")),
    }
}

fn watch_problem(error: &watcher::Error, of: &str) -> String {
    let inner = match error {
        watcher::Error::InitialListFailed(inner)
        | watcher::Error::WatchStartFailed(inner)
        | watcher::Error::WatchFailed(inner) => inner,
        watcher::Error::WatchError(status) if status.code == 410 => return "The list is read again.".to_owned(),
        other => return format!("The list may be old: {other}"),
    };
    match inner {
        kube::Error::Api(answer) if answer.code == 403 => {
            format!("The account that asks lacks the rights to list and watch jobqueues.jobqueue.dev in {of}.")
        }
        kube::Error::Api(answer) if answer.code == 404 => {
            "The cluster knows no JobQueues: the operator is not installed there.".to_owned()
        }
        other => format!("The list may be old: the API server does not answer: {other}"),
    }
}

#[async_trait]
impl Source for ClusterSource {
    fn title(&self) -> String {
        self.title.clone()
    }

    async fn overview(&self, query: &str, order: Order, skip: usize, count: usize, visible: &Visible) -> Overview {
        let state = self.state();
        let problem = state.problem.clone();
        let overview = if state.rows.is_empty() {
            select(state.listed.values(), query, order, (skip, count), visible)
        } else {
            select(state.rows.values(), query, order, (skip, count), visible)
        };
        Overview { problem: problem.or(overview.problem.clone()), ..overview }
    }

    fn namespaces(&self) -> Vec<String> {
        let state = self.state();
        let keys =
            if state.rows.is_empty() { state.listed.keys().collect() } else { state.rows.keys().collect::<Vec<_>>() };
        let names: BTreeSet<&String> = keys.into_iter().map(|key| &key.namespace).collect();
        names.into_iter().cloned().collect()
    }

    async fn queue(&self, key: &QueueKey) -> Result<QueueView, Problem> {
        let queue = self.read(key).await?;
        let (pods, notes) = match self.pods(&queue, &key.namespace).await {
            Ok(pods) => (pods, Vec::new()),
            Err(problem) => (Vec::new(), vec![problem.to_string()]),
        };
        let samples = {
            let mut state = self.state();
            state.samples.open(key);
            let seen = queue.status.as_ref().and_then(|status| status.queue.as_ref()?.observed_at.as_ref());
            if let Some(seen) = seen {
                state.samples.add(key, seen.0.as_second(), &numbers(&queue));
            }
            state.samples.of(key)
        };
        let (row, spec) = (row(&queue), queue.spec.clone());
        Ok(QueueView { row, explanation: Some(explain(queue)), spec: Some(spec), pods, notes, samples })
    }

    async fn backlog(&self, key: &QueueKey) -> Result<Backlog, Problem> {
        let queue = self.read(key).await?;
        self.connections.of(key, &queue).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
