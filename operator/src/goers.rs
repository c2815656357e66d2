//! Who goes first when there are to be fewer workers: pods whose worker is idle, by the annotation that Kubernetes
//! sorts by. Set just before the decrease, on candidates only, and taken back from those that stayed.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

/// The annotation; lower goes first, and none counts as 0.
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Of a pod that is to go first.
const CHEAP: &str = "-100";

/// Marks up to `number` of the `selector`'s pods that are among the `idle`. A pod that cannot be marked goes, or stays, as
/// chance has it: it drains in any case.
pub async fn mark(client: &Client, namespace: &str, selector: &str, idle: &BTreeSet<String>, number: usize) {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match api.list(&ListParams::default().labels(selector)).await {
        Ok(pods) => pods.items,
        Err(error) => return tracing::warn!(%error, namespace, "the pods cannot be listed; any may go first"),
    };
    let writes = changes(&pods, idle, number).into_iter().map(|(pod, cost)| {
        let api = &api;
        async move {
            let patch = json!({"metadata": {"annotations": {COST: cost}}});
            let outcome = api.patch_metadata(&pod, &PatchParams::default(), &Patch::Merge(&patch)).await;
            if let Err(error) = outcome {
                tracing::debug!(%error, namespace, pod, "the pod cannot be marked");
            }
        }
    });
    futures::future::join_all(writes).await;
}

/// The pods to write to, and their cost (none: as any other).
fn changes(pods: &[Pod], idle: &BTreeSet<String>, number: usize) -> Vec<(String, Option<&'static str>)> {
    let mut left = number;
    let mut changes = Vec::new();
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = pod.name_any();
        let marked = pod.annotations().get(COST).is_some_and(|cost| cost == CHEAP);
        let goes = left > 0 && idle.contains(&name);
        left -= usize::from(goes);
        match (goes, marked) {
            (true, false) => changes.push((name, Some(CHEAP))),
            (false, true) => changes.push((name, None)),
            (true, true) | (false, false) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, cost: Option<&str>) -> Pod {
        let annotations = cost.map(|cost| json!({COST: cost}));
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations}})).unwrap()
    }

    #[test]
    fn idle_pods_are_marked_and_those_that_stay_are_not() {
        let pods =
            [pod("busy", Some(CHEAP)), pod("a", None), pod("b", Some(CHEAP)), pod("c", None), pod("theirs", Some("5"))];
        let idle = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(changes(&pods, &idle, 2), [("busy".to_owned(), None), ("a".to_owned(), Some(CHEAP))]);
        assert_eq!(changes(&pods, &idle, 0), [("busy".to_owned(), None), ("b".to_owned(), None)]);
    }
}
