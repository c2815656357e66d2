//! Other autoscalers aimed at our Deployment: both would take turns at changing the number of workers.

use jobqueue_crds::Reason;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};

use crate::status::Blocked;

/// Finds them. What may not be listed, or is not installed, is not there.
pub async fn rivals(client: &Client, namespace: &str, deployment: &str) -> Vec<Blocked> {
    let (autoscalers, scaled_objects) =
        tokio::join!(autoscalers(client, namespace, deployment), scaled_objects(client, namespace, deployment));
    let names = autoscalers.into_iter().chain(scaled_objects);
    names.map(|rival| Blocked { reason: Reason::ScalerConflict, message: message(&rival, deployment) }).collect()
}

fn message(rival: &str, deployment: &str) -> String {
    format!(
        "{rival} scales Deployment {deployment} too, and each undoes what the other does: delete it, or set scaling.mode: \
         Manual and aim it at the JobQueue"
    )
}

async fn autoscalers(client: &Client, namespace: &str, deployment: &str) -> Vec<String> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    let list = match api.list(&ListParams::default()).await {
        Ok(list) => list,
        Err(error) => {
            tracing::debug!(%error, namespace, "HorizontalPodAutoscalers cannot be listed");
            return Vec::new();
        }
    };
    let ours = list.items.into_iter().filter(|rival| {
        let target = &rival.spec.scale_target_ref;
        target.kind == "Deployment" && target.name == deployment
    });
    ours.map(|rival| format!("HorizontalPodAutoscaler {}", rival.name_any())).collect()
}

async fn scaled_objects(client: &Client, namespace: &str, deployment: &str) -> Vec<String> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("keda.sh", "v1alpha1", "ScaledObject"));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let Ok(list) = api.list(&ListParams::default()).await else { return Vec::new() };
    let ours = list.items.into_iter().filter(|rival| {
        let target = &rival.data["spec"]["scaleTargetRef"];
        target["name"] == deployment && target["kind"].as_str().is_none_or(|kind| kind == "Deployment")
    });
    ours.map(|rival| format!("ScaledObject {}", rival.name_any())).collect()
}
