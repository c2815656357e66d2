//! Other autoscalers aimed at our Deployment: both would take turns at changing the number of workers.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jobqueue_crds::Reason;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};

use tokio::{sync::Mutex, time::Instant};

use crate::status::Blocked;

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);

/// Namespace and Deployment, and who else scales it.
type Found = HashMap<(String, String), Vec<String>>;

/// The other autoscalers of all namespaces that are served, looked up for all queues together.
#[derive(Default)]
pub struct Rivals {
    found: Mutex<Option<(Instant, Arc<Found>)>>,
}

impl Rivals {
    /// Those that are aimed at one Deployment. `scope` is the namespace that is served (none: all). What may not be
    /// listed, or is not installed, is not there.
    pub async fn of(&self, client: &Client, scope: Option<&str>, namespace: &str, deployment: &str) -> Vec<Blocked> {
        let found = self.look(client, scope).await;
        let rivals = found.get(&(namespace.to_owned(), deployment.to_owned())).into_iter().flatten();
        rivals.map(|rival| Blocked { reason: Reason::ScalerConflict, message: message(rival, deployment) }).collect()
    }

    /// One look at a time; who comes meanwhile shares its answer.
    async fn look(&self, client: &Client, scope: Option<&str>) -> Arc<Found> {
        let mut known = self.found.lock().await;
        if let Some((at, found)) = &*known
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let (autoscalers, scaled_objects) = tokio::join!(autoscalers(client, scope), scaled_objects(client, scope));
        let mut found = Found::new();
        for (target, rival) in autoscalers.into_iter().chain(scaled_objects) {
            found.entry(target).or_default().push(rival);
        }
        let found = Arc::new(found);
        *known = Some((Instant::now(), found.clone()));
        found
    }
}

fn message(rival: &str, deployment: &str) -> String {
    format!(
        "{rival} scales Deployment {deployment} too, and each undoes what the other does: delete it, or set scaling.mode: \
         Manual and aim it at the JobQueue"
    )
}

fn namespace_of(rival: &impl ResourceExt, scope: Option<&str>) -> String {
    rival.namespace().or_else(|| scope.map(ToOwned::to_owned)).unwrap_or_default()
}

/// From the API server's cache: nobody waits for the newest.
fn listing() -> ListParams {
    ListParams::default().match_any()
}

async fn autoscalers(client: &Client, scope: Option<&str>) -> Vec<((String, String), String)> {
    let api: Api<HorizontalPodAutoscaler> =
        scope.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    let list = match api.list(&listing()).await {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(%error, scope, "HorizontalPodAutoscalers cannot be listed");
            return Vec::new();
        }
    };
    let aimed = list.items.into_iter().filter(|rival| rival.spec.scale_target_ref.kind == "Deployment");
    aimed
        .map(|rival| {
            let name = format!("HorizontalPodAutoscaler {}", rival.name_any());
            ((namespace_of(&rival, scope), rival.spec.scale_target_ref.name), name)
        })
        .collect()
}

async fn scaled_objects(client: &Client, scope: Option<&str>) -> Vec<((String, String), String)> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let Ok(list) = api.list(&listing()).await else { return Vec::new() };
    let aimed = list.items.into_iter().filter_map(|rival| {
        let target = &rival.data["spec"]["scaleTargetRef"];
        let at_deployments = target["kind"].as_str().is_none_or(|kind| kind == "Deployment");
        let deployment = target["name"].as_str().filter(|_| at_deployments)?.to_owned();
        let name = format!("ScaledObject {}", rival.name_any());
        Some(((namespace_of(&rival, scope), deployment), name))
    });
    aimed.collect()
}
