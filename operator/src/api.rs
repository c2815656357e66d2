//! The client for the API server: every write is counted, and none leaves without the lease.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service};

use crate::{
    metrics::{ApiLabels, Metrics},
    tenure::Tenure,
};

/// A request that takes longer has failed, as far as we know.
const LIMIT: Duration = Duration::from_secs(10);

/// Requests under way at once. Each takes a connection, and each connection a handshake and memory on both sides: a
/// thousand queues that want something in the same moment wait for a free one instead.
const AT_ONCE: usize = 32;

/// A write was held back: another operator leads, or may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("not written: this operator does not hold the lease")]
pub struct NotLeading;

/// A client whose writes need `tenure`.
pub fn client(config: Config, tenure: Tenure, metrics: Arc<Metrics>) -> kube::Result<Client> {
    Ok(ClientBuilder::try_from(config)?.with_layer(&Guard::new(tenure, metrics)).build())
}

/// Wraps the connection to the API server.
#[derive(Debug, Clone)]
pub struct Guard {
    tenure: Tenure,
    metrics: Arc<Metrics>,
    at_once: Arc<Semaphore>,
}

impl Guard {
    /// Asks `tenure` before every write, and counts writes in `metrics`.
    pub fn new(tenure: Tenure, metrics: Arc<Metrics>) -> Self {
        Self { tenure, metrics, at_once: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { guard: self.clone(), inner }
    }
}

/// The guarded connection.
#[derive(Debug, Clone)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S, B> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let at_once = self.guard.at_once.clone();
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let watches = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let answer = self.inner.call(request);
            return Box::pin(async move {
                if watches {
                    return answer.await.map_err(Into::into);
                }
                let _place = at_once.acquire().await?;
                soon(answer).await
            });
        }
        let writes = self.guard.metrics.api_writes.clone();
        // 0: no answer at all.
        let (method, resource) = (method(request.method()), resource(request.uri().path()));
        let mut labels = ApiLabels { method, resource, code: 0 };
        let tenure = self.guard.tenure.clone();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _place = at_once.acquire().await?;
            // After the wait; nothing has left yet, since a future does nothing before it is polled.
            if !tenure.holds() {
                return Err(NotLeading.into());
            }
            let answer = soon(answer).await;
            labels.code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            writes.get_or_create(&labels).inc();
            answer
        })
    }
}

/// The answer, if it comes in time.
async fn soon<T, E: Into<BoxError>>(answer: impl Future<Output = Result<T, E>>) -> Result<T, BoxError> {
    match tokio::time::timeout(LIMIT, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs()).into()),
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
        let guard = Guard::new(Tenure::default(), metrics.clone());
        let answer = |_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::empty())) };
        let mut service = guard.layer(tower::service_fn(answer));
        let request = |method: Method| {
            let path = "/apis/apps/v1/namespaces/n/deployments/d";
            Request::builder().method(method).uri(path).body(Body::empty()).unwrap()
        };
        service.call(request(Method::GET)).await.unwrap();
        let refused = service.call(request(Method::PATCH)).await.unwrap_err();
        assert!(refused.is::<NotLeading>(), "{refused}");
        let mut service = Guard::new(Tenure::endless(), metrics.clone()).layer(tower::service_fn(answer));
        service.call(request(Method::PATCH)).await.unwrap();
        let line = r#"api_writes_total{method="patch",resource="deployments",code="200"} 1"#;
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
}
