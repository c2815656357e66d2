//! `/healthz`, `/readyz` and `/metrics`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::state::instruments::Instruments;

/// `OpenMetrics` text, which Prometheus asks for.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers until dropped.
pub async fn serve(listener: TcpListener, instruments: Instruments) -> std::io::Result<()> {
    axum::serve(listener, router(instruments)).await
}

fn router(instruments: Instruments) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(instruments)
}

async fn healthz(State(instruments): State<Instruments>) -> impl IntoResponse {
    if instruments.health.is_alive() {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the worker's loop stands still\n")
    }
}

async fn readyz(State(instruments): State<Instruments>) -> impl IntoResponse {
    match instruments.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(instruments): State<Instruments>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], instruments.metrics.text())
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::state::health::Health;
    use crate::state::shutdown::Shutdown;

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_follow_the_worker() {
        let instruments = Instruments::new(Health::new(Duration::from_secs(10)), Shutdown::new(Duration::from_secs(1)));
        let listener = jobqueue_listen::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, instruments.clone()));
        assert!(fetch(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        let starting = fetch(address, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("starting\n"), "{starting}");
        instruments.health.set_registered(true);
        assert!(fetch(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(fetch(address, "/metrics").await.contains("jobqueue_worker_jobs_in_flight 0"));
        assert!(fetch(address, "/other").await.starts_with("HTTP/1.1 404"));
        server.abort();
    }
}
