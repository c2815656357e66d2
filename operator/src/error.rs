//! Why a visit ended early. Each error has a closed category: one word for the log and the metric alike.

use crate::{apply::ApplyError, secrets::SecretError};

/// What failed. All of it is tried again, later and later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A Secret could not be asked for.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Deployment, its pods or other scalers could not be read.
    #[error("{what} cannot be read: {source}")]
    Read {
        /// What was asked for.
        what: &'static str,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// An object could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// What an earlier JobQueue of this name left is still being deleted.
    #[error("Deployment {0} of an earlier JobQueue of this name is still being deleted")]
    Leftover(String),
    /// The status could not be written.
    #[error("the status cannot be written: {0}")]
    Status(Box<kube::Error>),
}

impl Error {
    /// A closed set, for metric labels and logs.
    pub fn category(&self) -> &'static str {
        match self {
            Self::Secret(_) => "secret",
            Self::Read { .. } => "read",
            Self::Apply(_) => "apply",
            Self::Leftover(_) => "leftover",
            Self::Status(_) => "status",
        }
    }
}
