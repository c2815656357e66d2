//! Who a client is, and what it may: the API server decides both (`TokenReview`, `SubjectAccessReview`), and its answers are kept
//! for a moment. For the operator's metrics and for the dashboard in a cluster.

mod answers;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
pub use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::Semaphore;

use self::answers::Answers;

/// How long the API server may take.
const LIMIT: Duration = Duration::from_secs(5);

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right<'a> {
    /// To `get` a path of a server.
    Path(&'a str),
    /// To do `verb` with objects.
    Resource {
        /// Such as `get`.
        verb: &'a str,
        /// The group of their API.
        group: &'a str,
        /// Their plural.
        resource: &'a str,
        /// Their namespace; empty for all.
        namespace: &'a str,
        /// The name of one; empty for all.
        name: &'a str,
    },
}

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The API server refused the question, or could not be asked.
    #[error("the API server does not say who may do what: {0}")]
    Kube(#[from] kube::Error),
    /// It did not answer in time.
    #[error("the API server did not say within {} s who may do what", LIMIT.as_secs())]
    Late,
}

/// Asks the API server; clones share what was answered.
#[derive(Clone)]
pub struct Access {
    client: Client,
    users: Arc<Answers<Option<UserInfo>>>,
    rights: Arc<Answers<bool>>,
    questions: Arc<Semaphore>,
}

impl Access {
    /// At most `questions` are under way at once: nobody makes this program ask the API server without end. At most `kept`
    /// answers of each kind are remembered.
    pub fn new(client: Client, questions: usize, kept: usize) -> Self {
        let questions = Arc::new(Semaphore::new(questions));
        Self { client, users: Arc::new(Answers::new(kept)), rights: Arc::new(Answers::new(kept)), questions }
    }

    /// Whose token it is; `None` if it is nobody's.
    ///
    /// # Errors
    /// If the API server does not say.
    pub async fn user(&self, token: &str) -> Result<Option<UserInfo>, AccessError> {
        self.users.get(token, &self.questions, || limited(self.review(token))).await
    }

    /// Whether this account may do that.
    ///
    /// # Errors
    /// If the API server does not say.
    pub async fn may(&self, user: &UserInfo, right: Right<'_>) -> Result<bool, AccessError> {
        // All that the answer depends on.
        let question = format!("{user:?} {right:?}");
        self.rights.get(&question, &self.questions, || limited(self.authorize(user, right))).await
    }

    async fn review(&self, token: &str) -> kube::Result<Option<UserInfo>> {
        let spec = TokenReviewSpec { token: token.to_owned(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn authorize(&self, user: &UserInfo, right: Right<'_>) -> kube::Result<bool> {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (mut path, mut object) = (None, None);
        match right {
            Right::Path(wanted) => {
                path = Some(NonResourceAttributes { path: some(wanted), verb: some("get") });
            }
            Right::Resource { verb, group, resource, namespace, name } => {
                object = Some(ResourceAttributes {
                    verb: some(verb),
                    group: some(group),
                    resource: some(resource),
                    namespace: some(namespace),
                    name: some(name),
                    ..ResourceAttributes::default()
                });
            }
        }
        let UserInfo { username, uid, groups, extra } = user.clone();
        let spec = SubjectAccessReviewSpec {
            user: username,
            uid,
            groups,
            extra,
            non_resource_attributes: path,
            resource_attributes: object,
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &review).await?.status;
        Ok(status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }
}

async fn limited<T>(question: impl Future<Output = kube::Result<T>>) -> Result<T, AccessError> {
    tokio::time::timeout(LIMIT, question).await.map_err(|_| AccessError::Late)?.map_err(AccessError::from)
}

/// The token of the header `Authorization`.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

#[cfg(test)]
mod tests;
