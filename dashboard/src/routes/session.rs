//! In a cluster: logging in and out, and the page for the kubelet.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::{field, fields};
use crate::App;
use crate::access::{Access, LOGIN, is_secure};
use crate::pages;

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn form(headers: HeaderMap) -> Response {
    pages::login(is_secure(&headers), None).into_response()
}

pub(super) async fn log_in(State(app): State<Arc<App>>, headers: HeaderMap, form: String) -> Response {
    let Access::Cluster(cluster) = &*app.access else { return StatusCode::NOT_FOUND.into_response() };
    let fields = fields(&form);
    let refused = |status, problem: &str| (status, pages::login(is_secure(&headers), Some(problem))).into_response();
    match cluster.log_in(field(&fields, "token").trim(), &headers).await {
        Ok(Some(cookie)) => with_cookie(Redirect::to("/").into_response(), &cookie),
        Ok(None) => {
            let problem = "This is no token of this cluster that is valid now.";
            refused(StatusCode::UNAUTHORIZED, problem)
        }
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

pub(super) async fn log_out(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let Access::Cluster(cluster) = &*app.access else { return StatusCode::NOT_FOUND.into_response() };
    with_cookie(Redirect::to(LOGIN).into_response(), &cluster.log_out(&headers))
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}
