//! Watches that fall silent, and an API server that accepts and never answers: `/healthz` follows.

use std::time::Duration;

use axum::body::Body;
use futures::{StreamExt, stream};
use http::{Request, Response};
use jobqueue_operator::{LeaseGuard, Liveness, Metrics, Settings, WriteGuard};
use kube::Client;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, Layer};

use crate::{api_server::ApiServer, fixture::settings};

/// What an API server does with a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watches {
    /// Sends a bookmark each minute, and never ends.
    Bookmarks,
    /// Says nothing, and ends it when its time is over.
    End,
    /// Accepts the request and never answers.
    Silence,
    /// Never answers lists either.
    NoLists,
}

async fn serve(watches: Watches, request: Request<kube::client::Body>) -> Result<Response<Body>, BoxError> {
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    let body = match (is_watch, watches) {
        (false, Watches::NoLists) | (true, Watches::Silence | Watches::NoLists) => std::future::pending().await,
        (false, _) => {
            let list = json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []});
            Body::from(list.to_string())
        }
        (true, Watches::Bookmarks) => {
            let object = json!({"kind": "Any", "apiVersion": "v1", "metadata": {"resourceVersion": "2"}});
            let line = json!({"type": "BOOKMARK", "object": object}).to_string() + "\n";
            let bookmarks = stream::repeat(line).then(|line| async {
                tokio::time::sleep(Duration::from_secs(60)).await;
                Ok::<_, BoxError>(line)
            });
            Body::from_stream(bookmarks)
        }
        (true, Watches::End) => Body::from_stream(stream::once(async {
            tokio::time::sleep(Duration::from_secs(290)).await;
            Ok::<_, BoxError>("")
        })),
    };
    Ok(Response::new(body))
}

/// What hangs after each of these seconds of a term.
async fn hung(watches: Watches, seconds: &[u64]) -> Vec<bool> {
    let (metrics, liveness) = (Metrics::new(), Liveness::default());
    let guard = WriteGuard::new(LeaseGuard::unlimited(), metrics.clone(), liveness.clone());
    let client = Client::new(guard.layer(tower::service_fn(move |request| serve(watches, request))), "default");
    let settings = Settings {
        scaling_client: client.clone(),
        client,
        liveness: liveness.clone(),
        poll_interval: Duration::from_secs(5),
        ..settings(&ApiServer::default(), LeaseGuard::unlimited(), "worker:1")
    };
    let (_leading, is_leading) = watch::channel(true);
    let stop = CancellationToken::new();
    let terms = tokio::spawn(settings.serve_terms(is_leading, stop.clone()));
    let (mut found, mut passed) = (Vec::new(), 0);
    for second in seconds {
        tokio::time::sleep(Duration::from_secs(second - passed)).await;
        passed = *second;
        let what = liveness.hung();
        assert!(what.as_ref().is_none_or(|what| what.starts_with("the watch of /api")), "{what:?}");
        found.push(what.is_some());
    }
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(11), terms).await;
    ended.expect("the operator ends, whatever it waits for").expect("no panic");
    found
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_events_is_no_silence() {
    for watches in [Watches::Bookmarks, Watches::End] {
        assert_eq!(hung(watches, &[60, 360, 1000, 3600]).await, [false; 4], "{watches:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_accepts_and_never_answers_is_noticed() {
    for watches in [Watches::Silence, Watches::NoLists] {
        assert_eq!(hung(watches, &[60, 340, 360]).await, [false, false, true], "{watches:?}");
    }
}
