//! Who may ask for a page: a browser that was given the token, over the name of this machine's loopback, and for a change
//! from a form of ours. See `docs/decisions/2026-11-29-dashboard.md`.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::pages::refusal;

/// What a form of ours sends along.
pub(crate) const FORM_TOKEN: &str = "form_token";

/// The secrets of one run.
// No Debug: they let in.
#[derive(Clone)]
pub(crate) struct Access {
    port: u16,
    token: String,
    form_token: String,
}

impl Access {
    /// New secrets for a server at this port.
    pub(crate) fn new(port: u16) -> Self {
        let secret = || uuid::Uuid::new_v4().simple().to_string();
        Self { port, token: secret(), form_token: secret() }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    pub(crate) fn form_token(&self) -> &str {
        &self.form_token
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
        let name = self.cookie();
        let given = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut cookies = given.flat_map(|list| list.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        cookies.any(|(key, value)| key == name && same(value, &self.token))
    }

    fn has_origin(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        let site = text(HeaderName::from_static("sec-fetch-site"));
        origin.is_some_and(|host| self.is_our_host(host) && text(header::HOST) == Some(host))
            && site.is_none_or(|site| site == "same-origin")
    }

    /// Whether a form is ours.
    pub(crate) fn allows_form(&self, fields: &[(String, String)]) -> bool {
        fields.iter().any(|(name, value)| name == FORM_TOKEN && same(value, &self.form_token))
    }
}

/// Compares digests, so that the time it takes says nothing of the secret.
fn same(given: &str, secret: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(secret)
}

/// Lets a request through, or answers it.
pub(crate) async fn check(State(access): State<Access>, request: Request, next: Next) -> Response {
    let mut response = admit(&access, request, next).await;
    protect(response.headers_mut());
    response
}

async fn admit(access: &Access, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !access.is_our_host(host) {
        let text = "This page answers to 127.0.0.1, [::1] and localhost only. Open the address that jobqueue dashboard printed.";
        return refusal(StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    if request.method() == Method::GET
        && let Some(response) = token_given(access, request.uri().query())
    {
        return response;
    }
    if !access.has_cookie(headers) {
        let text = "This browser has not opened the address with the token. Open the one that jobqueue dashboard printed; it \
                    is another one after each start.";
        return refusal(StatusCode::UNAUTHORIZED, text).into_response();
    }
    match *request.method() {
        Method::GET | Method::HEAD => next.run(request).await,
        Method::POST if access.has_origin(headers) => next.run(request).await,
        Method::POST => {
            let text = "This request did not come from a page of this dashboard, so nothing was done.";
            refusal(StatusCode::FORBIDDEN, text).into_response()
        }
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, "There is nothing that answers this method.").into_response(),
    }
}

/// The token becomes a cookie. The page that follows is asked for by a page of ours: a browser sends no strict cookie along
/// when a link of another site is redirected.
fn token_given(access: &Access, query: Option<&str>) -> Option<Response> {
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

fn protect(headers: &mut HeaderMap) {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                  form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Nothing to others. With `no-referrer` browsers leave the origin out of our own forms too.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
