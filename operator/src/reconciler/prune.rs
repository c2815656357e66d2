//! The configs of earlier recipes: each is kept as long as a `ReplicaSet` of the queue refers to it, for pods that start again
//! and for `kubectl rollout undo`, and is deleted then.

use std::collections::BTreeSet;

use jobqueue_crds::JobQueue;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ConfigMap};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use crate::names;

/// Deletes the configs of a queue that nothing refers to. The one that is called `keep` stays in any case: its
/// `ReplicaSet` may not exist yet. What cannot be deleted now is deleted after a later apply.
pub(super) async fn prune(client: &Client, queue: &JobQueue, keep: Option<&str>) {
    if let Err(error) = try_prune(client, queue, keep).await {
        let (name, namespace) = (queue.name_any(), queue.namespace().unwrap_or_default());
        tracing::warn!(namespace, name, %error, "configs of earlier recipes cannot be deleted yet");
    }
}

async fn try_prune(client: &Client, queue: &JobQueue, keep: Option<&str>) -> kube::Result<()> {
    let namespace = queue.namespace().unwrap_or_default();
    let of_queue = ListParams::default().labels(&names::selector_text(queue));
    let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let mut old = config_maps.list_metadata(&of_queue).await?.items;
    old.retain(|config| {
        config.owner_references().iter().any(|owner| queue.uid().is_some_and(|uid| uid == owner.uid))
            && Some(config.name_any().as_str()) != keep
    });
    if old.is_empty() {
        return Ok(());
    }
    let replica_sets: Api<ReplicaSet> = Api::namespaced(client.clone(), &namespace);
    let replica_sets = replica_sets.list(&of_queue).await?;
    let used: BTreeSet<String> = replica_sets.items.iter().flat_map(configs).collect();
    for config in old.iter().filter(|config| !used.contains(&config.name_any())) {
        let only_this = Preconditions { uid: config.uid(), resource_version: None };
        let parameters = DeleteParams::background().preconditions(only_this);
        match config_maps.delete(&config.name_any(), &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The names of the config maps that the pods of a replica set mount.
fn configs(replica_set: &ReplicaSet) -> Vec<String> {
    let template = replica_set.spec.template.as_ref();
    let volumes = template.and_then(|template| template.spec.as_ref()?.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(|volume| volume.config_map.as_ref().map(|config| config.name.clone())).collect()
}
