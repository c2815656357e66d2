//! The first step: what the cluster has of a queue now, read fresh and by name.

use std::time::Duration;

use jobqueue_crds::JobQueue;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Client, ResourceExt, api::ListParams};

use crate::{
    error::Error,
    plan,
    secrets::{RecentSecrets, Resolved, SecretError, resolve},
};

/// What was found.
#[derive(Debug)]
pub struct Fetched {
    /// The connections, or what is wrong with the Secrets.
    pub connections: Result<Resolved, SecretError>,
    /// The workers' Deployment, if there is one.
    pub deployment: Option<Deployment>,
}

/// Reads Secrets and the Deployment. Fresh, not from a cache: a number of workers is never taken from an old version.
pub async fn fetch(
    client: &Client,
    queue: &JobQueue,
    recent: &RecentSecrets,
    patience: Duration,
) -> Result<Fetched, Error> {
    let namespace = queue.namespace().unwrap_or_default();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let name = plan::object_name(queue);
    let (connections, deployment) = tokio::join!(resolve(client, queue, recent, patience), deployments.get_opt(&name));
    let deployment =
        deployment.map_err(|source| Error::Read { what: "the workers' Deployment", source: Box::new(source) })?;
    match connections {
        Err(error) if error.may_pass() => Err(error.into()),
        connections => Ok(Fetched { connections, deployment }),
    }
}

/// The queue's pods; asked for only while workers are missing.
pub async fn pods(client: &Client, queue: &JobQueue) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &queue.namespace().unwrap_or_default());
    let list = api.list(&ListParams::default().labels(&plan::selector_text(queue))).await;
    list.map(|list| list.items).map_err(|source| Error::Read { what: "the workers' pods", source: Box::new(source) })
}
