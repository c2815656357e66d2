//! On a person's machine: a browser that was given the token, over the name of this machine's loopback, and for a change
//! from a form of ours. See `docs/decisions/2026-11-29-dashboard.md`.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use url::form_urlencoded;

use super::{Visitor, cookies, forged, has_origin, same, secret, wrong_method};
use crate::pages::refusal;

/// The secrets of one run.
// No Debug: they let in.
pub(crate) struct Loopback {
    port: u16,
    token: String,
    form_token: String,
}

impl Loopback {
    /// New secrets for a server at this port.
    pub(crate) fn new(port: u16) -> Self {
        Self { port, token: secret(), form_token: secret() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Cookies are shared by all ports of a host: each run has a name of its own.
    fn cookie(&self) -> String {
        format!("jobqueue_{}", self.port)
    }

    /// A name that another host's page cannot have, whatever its address resolves to.
    fn is_our_host(&self, host: &str) -> bool {
        let port = self.port;
        [format!("127.0.0.1:{port}"), format!("[::1]:{port}"), format!("localhost:{port}")]
            .iter()
            .any(|own| own == host)
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        cookies(headers, &self.cookie()).any(|value| same(value, &self.token))
    }

    pub(super) async fn admit(&self, mut request: Request, next: Next) -> Response {
        let headers = request.headers();
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_our_host(host) {
            let text = "This page answers to 127.0.0.1, [::1] and localhost only. Open the address that jobqueue dashboard printed.";
            return refusal(StatusCode::MISDIRECTED_REQUEST, text).into_response();
        }
        if request.method() == Method::GET
            && let Some(response) = token_given(self, request.uri().query())
        {
            return response;
        }
        if !self.has_cookie(headers) {
            let text = "This browser has not opened the address with the token. Open the one that jobqueue dashboard printed; it \
                        is another one after each start.";
            return refusal(StatusCode::UNAUTHORIZED, text).into_response();
        }
        match *request.method() {
            Method::GET | Method::HEAD => {}
            Method::POST if has_origin(headers) => {}
            Method::POST => return forged(),
            _ => return wrong_method(),
        }
        request.extensions_mut().insert(Visitor { user: None, form_token: self.form_token.clone() });
        next.run(request).await
    }
}

/// The token becomes a cookie. The page that follows is asked for by a page of ours: a browser sends no strict cookie along
/// when a link of another site is redirected.
fn token_given(access: &Loopback, query: Option<&str>) -> Option<Response> {
    let given = form_urlencoded::parse(query?.as_bytes()).find(|(name, _)| name == "token")?.1;
    if !same(&given, access.token()) {
        return None;
    }
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", access.cookie(), access.token());
    let mut response =
        Html(r#"<!DOCTYPE html><html lang="en"><title>JobQueue</title><p><a href="/">To the queues</a></p></html>"#)
            .into_response();
    let headers = response.headers_mut();
    headers.insert(header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    headers.insert(header::REFRESH, HeaderValue::from_static("0; url=/"));
    Some(response)
}
