//! The first step: what the cluster has of a queue now, read fresh and by name.

use std::time::Duration;

use jobqueue_crds::JobQueue;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, events::v1::Event};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    names,
    reconciler::{
        error::Error,
        secrets::{RecentSecrets, Resolved, SecretError, resolve},
    },
};

/// What was found.
#[derive(Debug)]
pub(super) struct Fetched {
    /// What the Secrets say, or what is wrong with them.
    pub(super) secrets: Result<Resolved, SecretError>,
    /// The workers' Deployment; `None` if there is none.
    pub(super) deployment: Option<Deployment>,
}

/// Reads Secrets, at most `max_age` old, and the Deployment. That one is fresh: a number of workers is never taken from an
/// old version.
pub(super) async fn fetch(
    client: &Client,
    queue: &JobQueue,
    recent: &RecentSecrets,
    max_age: Duration,
) -> Result<Fetched, Error> {
    let namespace = queue.namespace().unwrap_or_default();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let name = names::object_name(queue);
    let (secrets, deployment) = tokio::join!(resolve(client, queue, recent, max_age), deployments.get_opt(&name));
    let deployment =
        deployment.map_err(|source| Error::Read { what: "the workers' Deployment", source: Box::new(source) })?;
    match secrets {
        Err(error) if error.may_pass() => Err(error.into()),
        secrets => Ok(Fetched { secrets, deployment }),
    }
}

/// The queue's pods; asked for only while workers are missing.
pub(super) async fn pods(client: &Client, queue: &JobQueue) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &queue.namespace().unwrap_or_default());
    let list = api.list(&ListParams::default().labels(&names::selector_text(queue))).await;
    list.map(|list| list.items).map_err(|source| Error::Read { what: "the workers' pods", source: Box::new(source) })
}

/// The events of one pod; asked for only while it is not created and does not say why. None without the right to list them:
/// they are for one more word in a condition.
pub(super) async fn events(client: &Client, pod: &Pod) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let of_pod = ListParams::default().fields(&format!("regarding.uid={}", pod.uid().unwrap_or_default()));
    match api.list(&of_pod).await {
        Ok(list) => list.items,
        Err(error) => {
            tracing::debug!(pod = pod.name_any(), %error, "the pod's events cannot be listed");
            Vec::new()
        }
    }
}
