//! Who may ask for a page in a cluster: an account of the cluster, known by a token (in a session after a login, or in the header
//! `Authorization`) or by a proxy that has our secret. The API server says whose a token is, and what an account may.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, header};
use jobqueue_access::{Access as Reviews, AccessError, Right, UserInfo, bearer};
use sha2::{Digest, Sha256};

use super::{Wanted, cookies, secret, text_of};
use crate::source::{Problem, QueueKey, Visible};
use crate::text;

/// The cookie of a session.
const COOKIE: &str = "jobqueue_session";
/// A session ends after so long, whatever its token says.
const SESSION: Duration = Duration::from_secs(12 * 3_600);
/// Sessions at once; of more the oldest ends.
const MOST_SESSIONS: usize = 1_000;
/// Namespaces that are asked about for one account that may not see all.
const MOST_NAMESPACES: usize = 1_000;
/// Questions to the API server at once, and answers that are kept.
const QUESTIONS: usize = 8;
const KEPT: usize = 10_000;
/// What a proxy says of the account that it let in.
const USER: HeaderName = HeaderName::from_static("x-remote-user");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const PROXY_SECRET: HeaderName = HeaderName::from_static("x-jobqueue-proxy-secret");

/// A token of the cluster, or the secret of a proxy.
// No Debug: it lets in.
#[derive(Clone)]
struct Token(String);

/// Who is let in.
pub(crate) struct Cluster {
    reviews: Reviews,
    proxy_secret: Option<Token>,
    sessions: Mutex<HashMap<[u8; 32], Session>>,
    form_secret: String,
}

struct Session {
    token: Token,
    opened: Instant,
}

/// How somebody was known.
pub(super) enum Identity {
    /// By a cookie or a proxy, which a browser sends along whoever made the request.
    Ambient(UserInfo),
    /// By a token that the request itself has.
    Bearer(UserInfo),
    /// A token that is nobody's, or none.
    Nobody { token_given: bool },
}

impl Cluster {
    pub(crate) fn new(client: kube::Client, proxy_secret: Option<String>) -> Self {
        Self {
            reviews: Reviews::new(client, QUESTIONS, KEPT),
            proxy_secret: proxy_secret.map(Token),
            sessions: Mutex::default(),
            form_secret: secret(),
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Identity, AccessError> {
        if let Some(token) = bearer(headers) {
            let user = self.reviews.user(token).await?;
            return Ok(user.map_or(Identity::Nobody { token_given: true }, Identity::Bearer));
        }
        if let Some(user) = self.of_proxy(headers) {
            return Ok(Identity::Ambient(user));
        }
        for id in cookies(headers, COOKIE) {
            let Some(token) = self.token_of(id) else { continue };
            // Asked again and again: a token that was revoked or has expired ends its session.
            match self.reviews.user(&token.0).await? {
                Some(user) => return Ok(Identity::Ambient(user)),
                None => {
                    self.log_out(headers);
                }
            }
        }
        Ok(Identity::Nobody { token_given: false })
    }

    /// What a proxy says that has our secret. Names of the cluster's own accounts are not its to give.
    fn of_proxy(&self, headers: &HeaderMap) -> Option<UserInfo> {
        let secret = self.proxy_secret.as_ref()?;
        if Sha256::digest(text_of(headers, &PROXY_SECRET)?) != Sha256::digest(&secret.0) {
            return None;
        }
        let own = |name: &&str| !name.is_empty() && !name.starts_with("system:");
        let user = text_of(headers, &USER).filter(own)?;
        let groups = headers.get_all(&GROUP).into_iter().filter_map(|group| group.to_str().ok());
        let groups = groups.filter(own).chain(["system:authenticated"]).map(str::to_owned).collect();
        Some(UserInfo { username: Some(user.to_owned()), groups: Some(groups), ..UserInfo::default() })
    }

    fn token_of(&self, id: &str) -> Option<Token> {
        let sessions = self.sessions();
        let session = sessions.get(&digest(id)).filter(|session| session.opened.elapsed() < SESSION)?;
        Some(session.token.clone())
    }

    /// Opens a session for a token; its cookie, or `None` if the token is nobody's.
    pub(crate) async fn log_in(&self, token: &str, headers: &HeaderMap) -> Result<Option<String>, AccessError> {
        if token.is_empty() || self.reviews.user(token).await?.is_none() {
            return Ok(None);
        }
        let id = secret();
        let mut sessions = self.sessions();
        sessions.retain(|_, session| session.opened.elapsed() < SESSION);
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, session)| session.opened).map(|(id, _)| *id);
            oldest.and_then(|id| sessions.remove(&id));
        }
        sessions.insert(digest(&id), Session { token: Token(token.to_owned()), opened: Instant::now() });
        let seconds = SESSION.as_secs();
        let secure = if is_loopback(headers) { "" } else { "; Secure" };
        Ok(Some(format!("{COOKIE}={id}; HttpOnly; SameSite=Lax; Path=/; Max-Age={seconds}{secure}")))
    }

    /// Ends the session of a request; the cookie that removes its own.
    pub(crate) fn log_out(&self, headers: &HeaderMap) -> String {
        let mut sessions = self.sessions();
        for id in cookies(headers, COOKIE) {
            sessions.remove(&digest(id));
        }
        format!("{COOKIE}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0")
    }

    /// What a form of this account sends along: nobody else's page knows it.
    pub(super) fn form_token(&self, user: &UserInfo) -> String {
        use std::fmt::Write as _;
        let digest = Sha256::digest(format!("{}\0{}", self.form_secret, name_of(user)));
        digest.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether this account may do that to a queue; the answer names the right that is missing.
    pub(super) async fn may(&self, user: &UserInfo, wanted: Wanted, key: &QueueKey) -> Result<(), Problem> {
        let QueueKey { namespace, name } = key;
        let queue = |verb| Right::Resource { verb, group: "jobqueue.dev", resource: "jobqueues", namespace, name };
        // Records are in Redis, to which the Secrets of a namespace lead.
        let secrets = Right::Resource { verb: "get", group: "", resource: "secrets", namespace, name: "" };
        let rights = match wanted {
            Wanted::See => vec![queue("get")],
            Wanted::ReadJobs => vec![queue("get"), secrets],
            Wanted::ChangeJobs => vec![queue("get"), secrets, queue("update")],
        };
        for right in rights {
            if !self.reviews.may(user, right).await.map_err(|error| unknown(&error))? {
                let (Right::Resource { verb, resource, .. }, account) = (right, text::line(name_of(user), text::SHORT))
                else {
                    continue;
                };
                let namespace = text::line(namespace, text::SHORT);
                return Err(Problem::Forbidden(format!(
                    "The account {account} lacks the right to {verb} {resource} in namespace {namespace}."
                )));
            }
        }
        Ok(())
    }

    /// The namespaces, of these, whose queues this account may list.
    pub(super) async fn visible(&self, user: &UserInfo, namespaces: Vec<String>) -> Result<Visible, Problem> {
        let list = |namespace| {
            let right =
                Right::Resource { verb: "list", group: "jobqueue.dev", resource: "jobqueues", namespace, name: "" };
            self.reviews.may(user, right)
        };
        if list("").await.map_err(|error| unknown(&error))? {
            return Ok(Visible::All);
        }
        let is_cut = namespaces.len() > MOST_NAMESPACES;
        let asked = namespaces.iter().take(MOST_NAMESPACES);
        let answers = futures::future::join_all(asked.clone().map(|namespace| list(namespace.as_str()))).await;
        let mut own = BTreeSet::new();
        for (namespace, answer) in asked.zip(answers) {
            if answer.map_err(|error| unknown(&error))? {
                own.insert(namespace.clone());
            }
        }
        Ok(Visible::Namespaces { own, is_cut })
    }
}

/// The name of an account.
pub(super) fn name_of(user: &UserInfo) -> &str {
    user.username.as_deref().unwrap_or_default()
}

/// Why nothing can be said.
pub(super) fn unknown(error: &AccessError) -> Problem {
    Problem::Unavailable(text::line(&error.to_string(), 500))
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

/// Whether a browser reaches us on its own machine (`kubectl port-forward`): without TLS its cookies stay there all the same.
fn is_loopback(headers: &HeaderMap) -> bool {
    let host = text_of(headers, &header::HOST).unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host });
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Whether a browser would send a cookie of ours: over TLS, as far as a proxy says, or on its own machine.
pub(crate) fn is_secure(headers: &HeaderMap) -> bool {
    is_loopback(headers) || text_of(headers, &HeaderName::from_static("x-forwarded-proto")) == Some("https")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_session_of_another_machine_is_kept_for_tls() {
        let host = |host: &'static str| HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]);
        for own in ["localhost:8080", "127.0.0.1", "[::1]:80", "[::1]"] {
            assert!(is_loopback(&host(own)), "{own}");
        }
        for other in ["jobqueue.example", "localhost.example:80", "127.0.0.1.example", "[::2]:80", ""] {
            assert!(!is_loopback(&host(other)), "{other}");
        }
    }
}
