//! What tells one queue from another.

use jobqueue_crds::JobQueue;
use kube::runtime::reflector::ObjectRef;

use crate::digest::fingerprint;

/// Namespace and name of a JobQueue.
pub type Key = ObjectRef<JobQueue>;

/// Tells an object from an earlier one of the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Uid(u64);

impl Uid {
    /// The uid of this object.
    pub(crate) fn of(queue: &JobQueue) -> Self {
        Self::of_text(queue.metadata.uid.as_deref().unwrap_or_default())
    }

    /// The uid that reads so.
    pub(crate) fn of_text(uid: &str) -> Self {
        Self(fingerprint(uid))
    }
}
