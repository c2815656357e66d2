//! How the objects of a queue are called and labelled.

use std::collections::BTreeMap;

use jobqueue_crds::JobQueue;
use kube::ResourceExt;

/// The label that marks everything of a queue, with the queue's name as value.
pub(crate) const QUEUE_LABEL: &str = "jobqueue.dev/queue";

/// Annotation on the Deployment: its pods are being replaced because the operator changed, not the JobQueue.
pub(crate) const OPERATOR_ROLLOUT: &str = "jobqueue.dev/operator-rollout";

/// The name of everything that belongs to a queue, but for its configs: each of these has a name of its own.
pub(crate) fn object_name(queue: &JobQueue) -> String {
    name_of_workers(&queue.name_any())
}

/// The same, by the name of the queue.
pub(crate) fn name_of_workers(queue: &str) -> String {
    format!("{queue}-worker")
}

/// The label selector of a queue's workers.
pub(crate) fn selector_labels(queue: &JobQueue) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "jobqueue-worker"), (QUEUE_LABEL, &queue.name_any())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// The same as text, for `status.selector`.
pub(crate) fn selector_text(queue: &JobQueue) -> String {
    let labels = selector_labels(queue);
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
