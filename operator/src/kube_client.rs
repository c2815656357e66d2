//! The client of the API server: every write is counted, and none is sent without the lease.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tokio::{sync::Semaphore, time::Instant};
use tower::{BoxError, Layer, Service};

use crate::{
    lease_guard::LeaseGuard,
    liveness::Liveness,
    metrics::{ApiLabels, Metrics},
};

/// A request that takes longer has failed, as far as we know.
const LIMIT: Duration = Duration::from_secs(10);

/// Requests under way at once. Each takes a connection, and each connection a handshake and memory on both sides: a
/// thousand queues that want something in the same moment wait for a free one instead.
const MAX_REQUESTS: usize = 32;

/// The field manager of everything that the operator writes.
pub(crate) const FIELD_MANAGER: &str = "jobqueue-operator";

/// A write was held back: another operator leads, or may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not written: this operator does not hold the lease")]
pub(crate) struct NotLeading;

/// What the API server said, or why it said nothing.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// A write that failed.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name}: {}", words(source))]
pub struct WriteError {
    /// What was written.
    pub(crate) kind: &'static str,
    /// Its name.
    pub(crate) name: String,
    /// The API server's answer.
    pub(crate) source: Box<kube::Error>,
}

impl WriteError {
    /// True if it is not known whether it was written.
    pub(crate) fn is_ambiguous(&self) -> bool {
        match &*self.source {
            kube::Error::Api(_) => false,
            kube::Error::Service(error) => !error.is::<NotLeading>(),
            _ => true,
        }
    }

    /// True if the API server understood it and said no (quota, policy, invalid template): a person must act.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
    }
}

/// A client whose writes need the lease that `lease` guards, and whose watches keep `liveness` informed.
pub fn client(config: Config, lease: LeaseGuard, metrics: Arc<Metrics>, liveness: Liveness) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&WriteGuard::new(lease, metrics, liveness)).build())
}

/// The layer that checks and counts the writes of a client.
#[derive(Debug, Clone)]
pub struct WriteGuard {
    lease: LeaseGuard,
    metrics: Arc<Metrics>,
    liveness: Liveness,
    requests: Arc<Semaphore>,
    pause: Pause,
}

impl WriteGuard {
    /// Asks `lease` before every write, counts writes in `metrics`, and tells `liveness` what is heard of watches.
    pub fn new(lease: LeaseGuard, metrics: Arc<Metrics>, liveness: Liveness) -> Self {
        Self { lease, metrics, liveness, requests: Arc::new(Semaphore::new(MAX_REQUESTS)), pause: Pause::default() }
    }
}

impl<S> Layer<S> for WriteGuard {
    type Service = GuardedService<S>;

    fn layer(&self, inner: S) -> GuardedService<S> {
        GuardedService { guard: self.clone(), inner }
    }
}

/// A service whose writes are checked and counted.
#[derive(Debug, Clone)]
pub struct GuardedService<S> {
    guard: WriteGuard,
    inner: S,
}

impl<S, B> Service<Request<Body>> for GuardedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<AnyBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnyBody<B>>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (requests, pause) = (self.guard.requests.clone(), self.guard.pause.clone());
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let path = request.uri().path().to_owned();
            let answer = self.inner.call(request);
            let liveness = self.guard.liveness.clone();
            return Box::pin(async move {
                if watches {
                    return Ok(heard(answer.await.map_err(Into::into)?, liveness, path));
                }
                let _permit = requests.acquire().await?;
                pause.over().await;
                let answer = within_limit(answer, LIMIT).await;
                pause.heed(&answer);
                answer.map(any)
            });
        }
        let writes = self.guard.metrics.api_writes.clone();
        // 0: no answer at all.
        let (method, resource) = (method(request.method()), resource(request.uri().path()));
        let mut labels = ApiLabels { method, resource, code: 0 };
        let lease = self.guard.lease.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _permit = requests.acquire().await?;
            pause.over().await;
            // After the wait; nothing has left yet, since a future does nothing before it is polled.
            if !lease.holds() {
                return Err(NotLeading.into());
            }
            // What the server does later than that, it does perhaps beside another leader's writes.
            let answer = within_limit(answer, LIMIT.min(lease.remaining())).await;
            pause.heed(&answer);
            labels.code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            writes.get_or_create(&labels).inc();
            answer.map(any)
        })
    }
}

/// The body of an answer, whoever made it.
type AnyBody<B> = UnsyncBoxBody<<B as http_body::Body>::Data, BoxError>;

fn any<B>(answer: Response<B>) -> Response<AnyBody<B>>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// The answer to a watch of `path`, of which every piece is a sign of life: bookmarks come about once a minute.
fn heard<B>(answer: Response<B>, liveness: Liveness, path: String) -> Response<AnyBody<B>>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    liveness.hear(&path);
    let hear = move |frame| {
        liveness.hear(&path);
        frame
    };
    any(answer.map(|body| body.map_frame(hear)))
}

/// The answer, or an error if it takes longer than `limit`.
async fn within_limit<T, E: Into<BoxError>>(
    answer: impl Future<Output = Result<T, E>>,
    limit: Duration,
) -> Result<T, BoxError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(format!("no answer within {:.1} s", limit.as_secs_f64()).into()),
    }
}

/// The longest pause that the API server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Until when the API server wants to be left alone (`Retry-After`): all requests of a client wait, not only the one that was
/// told so.
#[derive(Debug, Clone, Default)]
struct Pause(Arc<Mutex<Option<Instant>>>);

impl Pause {
    async fn over(&self) {
        loop {
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match until {
                Some(until) if until > Instant::now() => tokio::time::sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// Takes in what an answer says of it.
    fn heed<B>(&self, answer: &Result<Response<B>, BoxError>) {
        let Ok(answer) = answer else { return };
        if !matches!(answer.status().as_u16(), 429 | 503) {
            return;
        }
        let header = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        if let Some(seconds) = header.and_then(|value| value.trim().parse().ok()) {
            let until = Instant::now() + Duration::from_secs(seconds).min(LONGEST_PAUSE);
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *known = known.map_or(Some(until), |known| Some(known.max(until)));
        }
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::PATCH => "patch",
        Method::POST => "create",
        Method::PUT => "update",
        Method::DELETE => "delete",
        _ => "other",
    }
}

/// The resource of an API path, with its subresource: `deployments`, `jobqueues/status`.
fn resource(path: &str) -> String {
    let mut parts = path.trim_start_matches('/').split('/');
    // Past /api/v1 or /apis/GROUP/VERSION.
    let skip = if parts.next() == Some("api") { 1 } else { 2 };
    let rest: Vec<&str> = parts.skip(skip).collect();
    let rest = if rest.first() == Some(&"namespaces") && rest.len() > 2 { &rest[2..] } else { &rest[..] };
    match rest {
        [resource, _, sub, ..] => format!("{resource}/{sub}"),
        [resource, ..] => (*resource).to_owned(),
        [] => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_their_resource() {
        let cases = [
            ("/apis/apps/v1/namespaces/shop/deployments/a-worker", "deployments"),
            ("/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/a/status", "jobqueues/status"),
            ("/api/v1/namespaces/shop/configmaps/a", "configmaps"),
            ("/apis/events.k8s.io/v1/namespaces/shop/events", "events"),
        ];
        for (path, expected) in cases {
            assert_eq!(resource(path), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn without_the_lease_reads_pass_and_writes_do_not() {
        let metrics = Metrics::new();
        let guard = WriteGuard::new(LeaseGuard::default(), metrics.clone(), Liveness::default());
        let answer = |_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::empty())) };
        let mut service = guard.layer(tower::service_fn(answer));
        let request = |method: Method| {
            let path = "/apis/apps/v1/namespaces/n/deployments/d";
            Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
        };
        service.call(request(Method::GET)).await.unwrap();
        let refused = service.call(request(Method::PATCH)).await.unwrap_err();
        assert!(refused.is::<NotLeading>(), "{refused}");
        let mut service = WriteGuard::new(LeaseGuard::unlimited(), metrics.clone(), Liveness::default())
            .layer(tower::service_fn(answer));
        service.call(request(Method::PATCH)).await.unwrap();
        let line = r#"api_writes_total{method="patch",resource="deployments",code="200"} 1"#;
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }

    #[tokio::test(start_paused = true)]
    async fn all_requests_wait_as_long_as_the_api_server_asks() {
        let guard = WriteGuard::new(LeaseGuard::unlimited(), Metrics::new(), Liveness::default());
        let answer = |request: Request<Body>| async move {
            let busy = request.uri().path() == "/busy";
            let answer = Response::builder().status(if busy { 429 } else { 200 });
            let answer = if busy { answer.header("Retry-After", "7") } else { answer };
            Ok::<_, BoxError>(answer.body(Body::empty()).unwrap())
        };
        let mut service = guard.layer(tower::service_fn(answer));
        let request = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
        let began = Instant::now();
        service.call(request("/busy")).await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO, "the answer itself is passed on");
        service.call(request("/other")).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 7);
        service.call(request("/other")).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 7, "and no longer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_ends_with_the_lease() {
        let lease = LeaseGuard::default();
        lease.extend(Instant::now(), Duration::from_secs(3));
        let never = |_: Request<Body>| std::future::pending::<Result<Response<Body>, BoxError>>();
        let mut service =
            WriteGuard::new(lease.clone(), Metrics::new(), Liveness::default()).layer(tower::service_fn(never));
        let request = Request::builder().method(Method::PATCH).uri("/").body(Body::empty()).unwrap();
        let began = Instant::now();
        let error = service.call(request).await.unwrap_err();
        assert!(!error.is::<NotLeading>(), "it may have been written: {error}");
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
