//! Who may read `/metrics`, where `--metrics-authentication` asks for it: a client with a token of this cluster whose account may
//! `get` the path `/metrics`. The API server decides both; its answers are kept for a moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec, UserInfo},
    authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec},
};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::{sync::Semaphore, time::Instant};

/// How long an answer of the API server holds.
const FRESH: Duration = Duration::from_secs(30);
/// How long the API server may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Questions under way at once: nobody makes the operator ask the API server without end.
const MAX_QUESTIONS: usize = 2;
/// Answers that are kept.
const MAX_ANSWERS: usize = 256;

/// By the digest of a token: when it was asked for, and what the API server said.
type Answers = HashMap<[u8; 32], (Instant, StatusCode)>;

/// Asks the API server who may read the metrics; clones share what was answered.
#[derive(Clone)]
pub struct MetricsAccess {
    client: Client,
    /// By the SHA-256 of the token.
    answers: Arc<Mutex<Answers>>,
    questions: Arc<Semaphore>,
}

impl MetricsAccess {
    /// `client` needs no lease for its writes: every replica serves metrics.
    pub fn new(client: Client) -> Self {
        Self { client, answers: Arc::default(), questions: Arc::new(Semaphore::new(MAX_QUESTIONS)) }
    }

    /// `OK`, or the status that refuses a request: without a valid token 401, without the right 403, and 503 while the API server
    /// does not answer.
    pub(crate) async fn check(&self, headers: &HeaderMap) -> StatusCode {
        let Some(token) = bearer(headers) else { return StatusCode::UNAUTHORIZED };
        let key: [u8; 32] = Sha256::digest(token).into();
        if let Some(known) = self.known(&key) {
            return known;
        }
        let Ok(_permit) = self.questions.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE };
        // Somebody may have asked the same meanwhile.
        if let Some(known) = self.known(&key) {
            return known;
        }
        match tokio::time::timeout(LIMIT, self.ask(token)).await {
            Ok(Ok(answer)) => {
                let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
                answers.retain(|_, (at, _)| at.elapsed() < FRESH);
                if answers.len() < MAX_ANSWERS {
                    answers.insert(key, (Instant::now(), answer));
                }
                answer
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "whether a client may read the metrics cannot be found out");
                StatusCode::SERVICE_UNAVAILABLE
            }
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn known(&self, key: &[u8; 32]) -> Option<StatusCode> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.get(key).filter(|(at, _)| at.elapsed() < FRESH).map(|(_, answer)| *answer)
    }

    async fn ask(&self, token: &str) -> kube::Result<StatusCode> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        let Some(UserInfo { username, uid, groups, extra }) = user else { return Ok(StatusCode::UNAUTHORIZED) };
        let path = NonResourceAttributes { path: Some("/metrics".into()), verb: Some("get".into()) };
        let spec = SubjectAccessReviewSpec {
            user: username,
            uid,
            groups,
            extra,
            non_resource_attributes: Some(path),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status;
        let allowed = status.is_some_and(|status| status.allowed && status.denied != Some(true));
        Ok(if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN })
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_asked_for_once_in_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let access = access(&asked);
        for _ in 0..5 {
            assert_eq!(access.check(&headers("bearer prometheus")).await, StatusCode::OK);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "who it is, and whether it may");
        tokio::time::advance(FRESH).await;
        access.check(&headers("bearer prometheus")).await;
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }
}
