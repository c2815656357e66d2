//! What is wrong with a queue, or with a server that it needs.

use jobqueue_crds::Reason;

/// Whether a server answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) enum Reachability {
    /// It was not tried yet.
    #[default]
    Unknown,
    /// It answers.
    Reachable,
    /// It has not answered for long enough to say so.
    Failed {
        /// `Unreachable`, `Denied`, `WrongData` or `InvalidUrl`.
        reason: Reason,
        /// The error, in the server's or the client's words.
        message: Box<str>,
    },
    /// The queue has no such server.
    NotApplicable,
}

impl Reachability {
    /// True if the server does not answer.
    pub(crate) fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// Something that keeps a queue from being served until a person repairs it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Stall {
    /// The condition's reason.
    pub(crate) reason: Reason,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

/// Something that a person should look at while the queue is served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Warning {
    /// The condition's reason.
    pub(crate) reason: Reason,
    /// What is wrong and what to do.
    pub(crate) message: String,
}
