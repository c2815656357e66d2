//! Other autoscalers of the same Deployment: each would undo what the other does.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jobqueue_crds::Reason;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};

use tokio::{sync::Mutex, time::Instant};

use crate::{scope::Scope, state::health::Warning};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);

/// By namespace and Deployment, the other autoscalers.
type Found = HashMap<(String, String), Vec<String>>;

/// The other autoscalers of all namespaces that are served, listed for all queues together.
#[derive(Default)]
pub(crate) struct CompetingScalers {
    found: Mutex<Option<(Instant, Arc<Found>)>>,
}

impl CompetingScalers {
    /// Warnings of those that scale one Deployment. Kinds that may not be listed, or are not installed, count as
    /// absent.
    pub(crate) async fn of(&self, client: &Client, scope: &Scope, namespace: &str, deployment: &str) -> Vec<Warning> {
        let found = self.list(client, scope).await;
        let others = found.get(&(namespace.to_owned(), deployment.to_owned())).into_iter().flatten();
        others.map(|other| Warning { reason: Reason::ScalerConflict, message: message(other, deployment) }).collect()
    }

    /// Lists one at a time; a call that comes meanwhile shares the answer.
    async fn list(&self, client: &Client, scope: &Scope) -> Arc<Found> {
        let mut known = self.found.lock().await;
        if let Some((at, found)) = &*known
            && at.elapsed() < FRESH
        {
            return found.clone();
        }
        let mut found = Found::new();
        for namespace in scope.namespaces() {
            let (autoscalers, scaled_objects) =
                tokio::join!(autoscalers(client, namespace), scaled_objects(client, namespace));
            for (target, other) in autoscalers.into_iter().chain(scaled_objects) {
                found.entry(target).or_default().push(other);
            }
        }
        let found = Arc::new(found);
        *known = Some((Instant::now(), found.clone()));
        found
    }
}

fn message(other: &str, deployment: &str) -> String {
    format!(
        "{other} scales Deployment {deployment} too, and each undoes what the other does: delete it, or set scaling.mode: \
         Manual and aim it at the JobQueue"
    )
}

fn namespace_of(other: &impl ResourceExt, scope: Option<&str>) -> String {
    other.namespace().or_else(|| scope.map(ToOwned::to_owned)).unwrap_or_default()
}

/// From the API server's cache, which is new enough.
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
    let of_deployments = list.items.into_iter().filter(|other| other.spec.scale_target_ref.kind == "Deployment");
    of_deployments
        .map(|other| {
            let name = format!("HorizontalPodAutoscaler {}", other.name_any());
            ((namespace_of(&other, scope), other.spec.scale_target_ref.name), name)
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
    let of_deployments = list.items.into_iter().filter_map(|other| {
        let target = &other.data["spec"]["scaleTargetRef"];
        let is_deployment = target["kind"].as_str().is_none_or(|kind| kind == "Deployment");
        let deployment = target["name"].as_str().filter(|_| is_deployment)?.to_owned();
        let name = format!("ScaledObject {}", other.name_any());
        Some(((namespace_of(&other, scope), deployment), name))
    });
    of_deployments.collect()
}
