//! The whole term of an operator, with its watches and its own pace, on an API server in memory that takes a while for each
//! answer.

use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt, stream};
use http::{Request, Response};
use jobqueue_operator::{LeaseGuard, Liveness, Metrics, Settings, WriteGuard};
use kube::Client;
use serde_json::{Value, json};
use tokio::{sync::broadcast, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer};

use crate::{api_server::ApiServer, fixture::settings};

/// What each answer takes.
const LATENCY: Duration = Duration::from_millis(10);

/// An operator that leads until this is dropped.
pub(crate) struct Live {
    server: ApiServer,
    /// What the watch of JobQueues tells.
    changes: broadcast::Sender<String>,
    _term: AbortOnDrop,
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Live {
    /// Starts it on what is there.
    pub(crate) fn start(server: &ApiServer) -> Self {
        let (changes, _) = broadcast::channel(1024);
        let (server, told) = (server.clone(), changes.clone());
        let answering = server.clone();
        let service = tower::service_fn(move |request| serve(answering.clone(), told.clone(), request));
        let (metrics, liveness) = (Metrics::new(), Liveness::default());
        let guard = WriteGuard::new(LeaseGuard::unlimited(), metrics.clone(), liveness.clone());
        let client = Client::new(guard.layer(service), "default");
        let settings = Settings {
            scaling_client: client.clone(),
            client,
            metrics,
            liveness,
            ..settings(&server, LeaseGuard::unlimited(), "worker:1")
        };
        let term = tokio::spawn(async move {
            let (leading, is_leading) = tokio::sync::watch::channel(true);
            settings.serve_terms(is_leading, CancellationToken::new()).await;
            drop(leading);
        });
        Self { server, changes, _term: AbortOnDrop(term) }
    }

    /// Makes a JobQueue, or changes it, as a person would.
    pub(crate) fn apply(&self, path: &str, object: Value) {
        self.server.put(path, object);
        let event = json!({"type": "MODIFIED", "object": self.server.get(path).unwrap()});
        // Nobody watches yet: the list has it.
        let _ = self.changes.send(event.to_string() + "\n");
    }

    /// How long it takes until `found`; panics after `limit`.
    pub(crate) async fn until(&self, limit: Duration, found: impl Fn(&ApiServer) -> bool) -> Duration {
        let began = Instant::now();
        while !found(&self.server) {
            assert!(began.elapsed() < limit, "not within {limit:?}: {:#?}", last(&self.server.writes()));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        began.elapsed()
    }
}

fn last(writes: &[String]) -> &[String] {
    &writes[writes.len().saturating_sub(10)..]
}

async fn serve(
    server: ApiServer,
    changes: broadcast::Sender<String>,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, BoxError> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    if query.contains("watch=true") {
        if !path.ends_with("/jobqueues") {
            return Ok(Response::new(Body::from_stream(stream::pending::<Result<String, BoxError>>())));
        }
        let events = stream::unfold(changes.subscribe(), |mut told| async move {
            told.recv().await.ok().map(|line| (Ok::<_, BoxError>(line), told))
        });
        return Ok(Response::new(Body::from_stream(events.boxed())));
    }
    tokio::time::sleep(LATENCY).await;
    if query.contains("limit=") && request.method() == http::Method::GET {
        let (kind, version) = ("List", "v1");
        let mut items = server.below(&path);
        for item in &mut items {
            item["metadata"]["namespace"] = "shop".into();
        }
        let list = json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items});
        return Ok(Response::new(Body::from(list.to_string())));
    }
    let answer = server.serve(request).await?;
    Ok(answer.map(Body::new))
}
