//! Who may read `/metrics`, where `--metrics-authentication` asks for it: a client with a token of this cluster whose account may
//! `get` the path `/metrics`. The API server decides both; its answers are kept for a moment.

use axum::http::{HeaderMap, StatusCode};
use jobqueue_access::{Access, AccessError, Right, bearer};
use kube::Client;

/// Questions under way at once, and answers that are kept.
const MAX_QUESTIONS: usize = 2;
const MAX_ANSWERS: usize = 256;

/// Asks the API server who may read the metrics; clones share what was answered.
#[derive(Clone)]
pub struct MetricsAccess(Access);

impl MetricsAccess {
    /// `client` needs no lease for its writes: every replica serves metrics.
    pub fn new(client: Client) -> Self {
        Self(Access::new(client, MAX_QUESTIONS, MAX_ANSWERS))
    }

    /// `OK`, or the status that refuses a request: without a valid token 401, without the right 403, and 503 while the API server
    /// does not answer.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> StatusCode {
        let Some(token) = bearer(headers) else { return StatusCode::UNAUTHORIZED };
        self.ask(token).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether a client may read the metrics cannot be found out");
            StatusCode::SERVICE_UNAVAILABLE
        })
    }

    async fn ask(&self, token: &str) -> Result<StatusCode, AccessError> {
        let Some(user) = self.0.user(token).await? else { return Ok(StatusCode::UNAUTHORIZED) };
        let allowed = self.0.may(&user, Right::Path("/metrics")).await?;
        Ok(if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::http::header::AUTHORIZATION;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};
    use tower::BoxError;

    use super::*;

    /// An API server that knows the tokens `prometheus` and `somebody`, of which the first may read metrics.
    fn access(asked: &Arc<AtomicUsize>) -> MetricsAccess {
        let asked = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            asked.fetch_add(1, Ordering::SeqCst);
            async move {
                let path = request.uri().path().to_owned();
                let sent: Value = serde_json::from_slice(&request.into_body().collect_bytes().await?)?;
                let (kind, version, status) = if path.ends_with("/tokenreviews") {
                    let token = sent["spec"]["token"].as_str().unwrap_or_default().to_owned();
                    let known = ["prometheus", "somebody"].contains(&token.as_str());
                    (
                        "TokenReview",
                        "authentication.k8s.io/v1",
                        json!({"authenticated": known, "user": {"username": token}}),
                    )
                } else {
                    assert_eq!(sent["spec"]["nonResourceAttributes"], json!({"path": "/metrics", "verb": "get"}));
                    let allowed = sent["spec"]["user"] == "prometheus";
                    ("SubjectAccessReview", "authorization.k8s.io/v1", json!({"allowed": allowed}))
                };
                if sent["spec"]["token"] == "broken" {
                    return Err(BoxError::from("the API server is away"));
                }
                let object = json!({"kind": kind, "apiVersion": version, "metadata": {}, "spec": sent["spec"], "status": status});
                Ok(Response::builder().status(201).body(Body::from(serde_json::to_vec(&object)?))?)
            }
        });
        MetricsAccess::new(Client::new(service, "default"))
    }

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_needs_a_token_and_the_right() {
        let asked = Arc::new(AtomicUsize::new(0));
        let access = access(&asked);
        for wrong in ["prometheus", "Basic prometheus", "Bearer "] {
            assert_eq!(access.check(&headers(wrong)).await, StatusCode::UNAUTHORIZED, "{wrong}");
        }
        assert_eq!(access.check(&HeaderMap::new()).await, StatusCode::UNAUTHORIZED);
        assert_eq!(asked.load(Ordering::SeqCst), 0, "the API server is not asked for nothing");
        assert_eq!(access.check(&headers("Bearer stranger")).await, StatusCode::UNAUTHORIZED);
        assert_eq!(access.check(&headers("Bearer somebody")).await, StatusCode::FORBIDDEN);
        assert_eq!(access.check(&headers("Bearer prometheus")).await, StatusCode::OK);
        assert_eq!(access.check(&headers("Bearer broken")).await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
