//! Health, readiness and metrics over HTTP.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{liveness::Liveness, metrics::Metrics, metrics_access::MetricsAccess};

/// What the endpoints show.
#[derive(Clone)]
pub struct Health {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// True once the API server was reached: a standby is ready too.
    pub ready: watch::Receiver<bool>,
    /// The loops of a leader.
    pub liveness: Liveness,
    /// Who may read the metrics; `None`: everybody who reaches the port.
    pub access: Option<MetricsAccess>,
}

/// Serves until `stop`.
pub async fn serve(address: SocketAddr, health: Health, stop: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health);
    let listener = jobqueue_listen::bind(address)?;
    tracing::info!(address = %listener.local_addr()?, "health and metrics");
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn alive(State(health): State<Health>) -> (StatusCode, String) {
    match health.liveness.hung() {
        None => (StatusCode::OK, "ok\n".into()),
        Some(name) => (StatusCode::SERVICE_UNAVAILABLE, format!("{name} hangs\n")),
    }
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if *health.ready.borrow() { (StatusCode::OK, "ok\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "starting\n") }
}

async fn metrics(State(health): State<Health>, headers: HeaderMap) -> Response {
    if let Some(access) = &health.access {
        match access.check(&headers).await {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => {
                return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
            }
            refused => return refused.into_response(),
        }
    }
    let openmetrics = (CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    if accepts_gzip(&headers) {
        ([openmetrics, (CONTENT_ENCODING, "gzip")], health.metrics.gzip()).into_response()
    } else {
        ([openmetrics], health.metrics.text()).into_response()
    }
}

/// Prometheus does. A weight of zero means no (RFC 9110, 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && weight != Some(0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_not_alive() {
        let liveness = Liveness::default();
        let (_, ready) = watch::channel(true);
        let health = Health { metrics: Metrics::new(), ready, liveness: liveness.clone(), access: None };
        let _pulse = liveness.begin("poll", std::time::Duration::ZERO);
        assert_eq!(alive(State(health.clone())).await.0, StatusCode::OK);
        tokio::time::advance(std::time::Duration::from_secs(100)).await;
        let (status, text) = alive(State(health)).await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "the poll loop hangs\n"));
    }

    #[tokio::test]
    async fn metrics_are_for_clients_with_a_token_where_that_is_asked_for() {
        // A client without a token is refused without a question.
        let never = |_: http::Request<kube::client::Body>| {
            std::future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
        };
        let client = kube::Client::new(tower::service_fn(never), "default");
        for (access, expected) in [(None, StatusCode::OK), (Some(MetricsAccess::new(client)), StatusCode::UNAUTHORIZED)]
        {
            let (_, ready) = watch::channel(true);
            let health = Health { metrics: Metrics::new(), ready, liveness: Liveness::default(), access };
            assert_eq!(metrics(State(health), HeaderMap::new()).await.status(), expected);
        }
    }

    #[test]
    fn gzip_is_for_clients_that_ask_for_it() {
        let asks = |value: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value.parse().expect("a header"))]);
            accepts_gzip(&headers)
        };
        assert!(asks("gzip") && asks("deflate, gzip;q=0.5, br") && asks("GZIP;q=1"));
        assert!(!asks("identity") && !asks("gzip;q=0, br") && !asks("gzip; q=0.0") && !asks("x-gzip-not"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
