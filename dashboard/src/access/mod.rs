//! Who may ask for a page: on a person's machine a browser that was given the token ([`Loopback`]), in a cluster an account of it
//! ([`Cluster`]). And what a page may do.

mod cluster;
mod loopback;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use jobqueue_access::UserInfo;
use sha2::{Digest, Sha256};

use self::cluster::Identity;
pub(crate) use self::cluster::{Cluster, is_secure};
pub(crate) use self::loopback::Loopback;
use crate::pages::refusal;
use crate::source::{Problem, QueueKey, Source, Visible};

/// What a form of ours sends along.
pub(crate) const FORM_TOKEN: &str = "form_token";
/// Where an account of a cluster logs in, and out.
pub(crate) const LOGIN: &str = "/login";
pub(crate) const LOGOUT: &str = "/logout";
/// For the kubelet.
pub(crate) const HEALTH: &str = "/healthz";

/// Who is let in.
pub(crate) enum Access {
    Loopback(Loopback),
    Cluster(Cluster),
}

/// Who was let in: the person whose machine it is, or an account of the cluster.
#[derive(Clone)]
pub(crate) struct Visitor {
    user: Option<Arc<UserInfo>>,
    form_token: String,
}

/// What somebody wants to do with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To see it.
    See,
    /// To read its jobs and workers in Redis.
    ReadJobs,
    /// To requeue or purge failed jobs.
    ChangeJobs,
}

impl Visitor {
    /// The account; `None` for the person whose machine it is.
    pub(crate) fn name(&self) -> Option<&str> {
        self.user.as_deref().map(cluster::name_of)
    }

    /// What a form for this visitor sends along.
    pub(crate) fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether a form is ours, and this visitor's.
    pub(crate) fn sent(&self, fields: &[(String, String)]) -> bool {
        fields.iter().any(|(name, value)| name == FORM_TOKEN && same(value, &self.form_token))
    }
}

impl Access {
    /// Whether this visitor may do that; if not, which right is missing. On a person's machine the source decides, which asks
    /// with the person's own rights.
    pub(crate) async fn may(&self, visitor: &Visitor, wanted: Wanted, key: &QueueKey) -> Result<(), Problem> {
        match (self, &visitor.user) {
            (Self::Cluster(cluster), Some(user)) => cluster.may(user, wanted, key).await,
            (Self::Cluster(_), None) => Err(Problem::Forbidden("Nobody is logged in.".to_owned())),
            (Self::Loopback(_), _) => Ok(()),
        }
    }

    /// The queues that this visitor may see in the list.
    pub(crate) async fn visible(&self, visitor: &Visitor, source: &dyn Source) -> Result<Visible, Problem> {
        match (self, &visitor.user) {
            (Self::Cluster(cluster), Some(user)) => cluster.visible(user, source.namespaces()).await,
            (Self::Cluster(_), None) => Err(Problem::Forbidden("Nobody is logged in.".to_owned())),
            (Self::Loopback(_), _) => Ok(Visible::All),
        }
    }

    async fn admit(&self, request: Request, next: Next) -> Response {
        match self {
            Self::Loopback(loopback) => loopback.admit(request, next).await,
            Self::Cluster(cluster) => admit(cluster, request, next).await,
        }
    }
}

async fn admit(cluster: &Cluster, mut request: Request, next: Next) -> Response {
    let (headers, path, method) = (request.headers(), request.uri().path(), request.method());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if !reads && *method != Method::POST {
        return wrong_method();
    }
    if path == HEALTH || path.starts_with("/static/") || path == "/favicon.ico" || (path == LOGIN && reads) {
        return next.run(request).await;
    }
    let identity = match cluster.identify(headers).await {
        Ok(identity) => identity,
        Err(error) => {
            return refusal(StatusCode::SERVICE_UNAVAILABLE, &cluster::unknown(&error).to_string()).into_response();
        }
    };
    let is_our_form = has_origin(headers);
    let user = match identity {
        Identity::Bearer(user) => user,
        _ if !reads && !is_our_form => return forged(),
        // Nobody is needed to log in.
        _ if path == LOGIN => return next.run(request).await,
        Identity::Ambient(user) => user,
        Identity::Nobody { token_given } => return log_in_first(token_given || !reads || path == "/events"),
    };
    let form_token = cluster.form_token(&user);
    request.extensions_mut().insert(Visitor { user: Some(Arc::new(user)), form_token });
    next.run(request).await
}

/// A person is led to the page for it; a program is told so.
fn log_in_first(is_program: bool) -> Response {
    if !is_program {
        return Redirect::to(LOGIN).into_response();
    }
    let text = "The request has no token of this cluster that is valid.";
    let mut response = refusal(StatusCode::UNAUTHORIZED, text).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn forged() -> Response {
    let text = "This request did not come from a page of this dashboard, so nothing was done.";
    refusal(StatusCode::FORBIDDEN, text).into_response()
}

fn wrong_method() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "There is nothing that answers this method.").into_response()
}

/// Whether a form was sent by a page of the host that the request is for.
fn has_origin(headers: &HeaderMap) -> bool {
    let origin = text_of(headers, &header::ORIGIN);
    let origin = origin.and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    let site = text_of(headers, &HeaderName::from_static("sec-fetch-site"));
    origin.is_some() && origin == text_of(headers, &header::HOST) && site.is_none_or(|site| site == "same-origin")
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The values of a cookie.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a str> {
    let given = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let cookies = given.flat_map(|list| list.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
    cookies.filter(move |(key, _)| *key == name).map(|(_, value)| value)
}

/// 122 random bits.
fn secret() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Compares digests, so that the time it takes says nothing of the secret.
fn same(given: &str, secret: &str) -> bool {
    Sha256::digest(given) == Sha256::digest(secret)
}

/// Lets a request through, or answers it.
pub(crate) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let mut response = access.admit(request, next).await;
    protect(response.headers_mut());
    response
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
