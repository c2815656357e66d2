//! Why a reconcile ended early. Each error has a category out of a closed set: one word for the log and the metric alike.

use crate::{
    kube_client::{WriteError, words},
    reconciler::secrets::SecretError,
    state::health::Stall,
};

/// What failed. All of it is tried again, each time later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret could not be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Deployment, its pods or other scalers could not be read.
    #[error("{what} cannot be read: {}", words(source))]
    Read {
        /// What was asked for.
        what: &'static str,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] WriteError),
    /// What an earlier JobQueue of this name left is still being deleted.
    #[error("Deployment {0} of an earlier JobQueue of this name is still being deleted")]
    Leftover(String),
    /// The status could not be written.
    #[error("the status cannot be written: {}", words(.0))]
    Status(Box<kube::Error>),
}

impl Error {
    /// The category, for metric labels and logs.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Read { .. } => "read",
            Self::Apply(_) => "apply",
            Self::Leftover(_) => "leftover",
            Self::Status(_) => "status",
        }
    }
}

/// Why a queue cannot be served as its spec says.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A person must repair something.
    Stalled(Stall),
    /// It will pass, or a later attempt succeeds.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
