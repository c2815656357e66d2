//! Other autoscalers of the same Deployment: each would undo what the other does.

use std::{collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use jobqueue_crds::Reason;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde::de::DeserializeOwned;
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

/// Objects in one answer.
const PAGE: u32 = 500;

/// What `take` takes of every object, listed in pages: a tenant may have made very many.
async fn list<K, T>(api: &Api<K>, take: impl Fn(K) -> Option<T>) -> kube::Result<Vec<T>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut taken = Vec::new();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&parameters).await?;
        taken.extend(page.items.into_iter().filter_map(&take));
        match page.metadata.continue_.filter(|next| !next.is_empty()) {
            Some(next) => parameters = ListParams::default().limit(PAGE).continue_token(&next),
            None => return Ok(taken),
        }
    }
}

async fn autoscalers(client: &Client, scope: Option<&str>) -> Vec<((String, String), String)> {
    let api: Api<HorizontalPodAutoscaler> =
        scope.map_or_else(|| Api::all(client.clone()), |namespace| Api::namespaced(client.clone(), namespace));
    let of_deployment = |other: HorizontalPodAutoscaler| {
        let (namespace, name) = (namespace_of(&other, scope), other.name_any());
        let target = other.spec.scale_target_ref;
        let name = format!("HorizontalPodAutoscaler {name}");
        (target.kind == "Deployment").then_some(((namespace, target.name), name))
    };
    list(&api, of_deployment).await.unwrap_or_else(|error| {
        tracing::debug!(%error, scope, "HorizontalPodAutoscalers cannot be listed");
        Vec::new()
    })
}

async fn scaled_objects(client: &Client, scope: Option<&str>) -> Vec<((String, String), String)> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    let api: Api<DynamicObject> = match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let of_deployment = |other: DynamicObject| {
        let target = &other.data["spec"]["scaleTargetRef"];
        let is_deployment = target["kind"].as_str().is_none_or(|kind| kind == "Deployment");
        let deployment = target["name"].as_str().filter(|_| is_deployment)?.to_owned();
        let name = format!("ScaledObject {}", other.name_any());
        Some(((namespace_of(&other, scope), deployment), name))
    };
    list(&api, of_deployment).await.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn page(names: &[&str], next: &str) -> Value {
        let item = |name: &&str| {
            let target = json!({"kind": "Deployment", "name": format!("{name}-worker")});
            let spec = json!({"maxReplicas": 1, "scaleTargetRef": target});
            json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})
        };
        json!({"metadata": {"continue": next}, "items": names.iter().map(item).collect::<Vec<_>>()})
    }

    #[tokio::test]
    async fn all_pages_are_read() {
        let answer = |request: Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default();
            assert!(query.contains("limit=500"), "{query}");
            let page = if query.contains("continue=more") { page(&["c"], "") } else { page(&["a", "b"], "more") };
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(page.to_string().into_bytes())))
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let found = autoscalers(&client, Some("shop")).await;
        let names: Vec<&str> = found.iter().map(|((_, deployment), _)| deployment.as_str()).collect();
        assert_eq!(names, ["a-worker", "b-worker", "c-worker"]);
    }
}
