//! Which pods are removed first when there are to be fewer workers: those whose worker is idle, by the annotation that
//! Kubernetes sorts by. It is set just before the number is lowered, on these pods only, and taken back from those that
//! stayed. With `scaleDown.protectBusy` no more are removed than are idle.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::state::idle_pods::IdlePods;

/// The annotation; a lower cost is removed first, and none counts as 0.
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The cost of a pod that is to be removed first.
const CHEAP: &str = "-100";

/// Fewer workers than there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScaleDown<'a> {
    /// The namespace of the queue.
    pub(super) namespace: &'a str,
    /// The label selector of the workers' pods.
    pub(super) selector: &'a str,
    /// Workers asked for now.
    pub(super) from: u32,
    /// Workers wanted.
    pub(super) to: u32,
    /// Busy ones must not be removed.
    pub(super) protect: bool,
}

/// The pods that were marked.
#[derive(Debug)]
pub(super) struct Marked {
    /// How many workers are to be asked for.
    pub(super) to: u32,
    /// The names of the pods that Kubernetes removes then.
    pub(super) pods: BTreeSet<String>,
}

/// Marks the pods to remove. Without protection a pod that cannot be marked is removed or stays by chance: it drains in any
/// case. With it, the number stays as it is then.
pub(super) async fn mark_pods(client: &Client, scale_down: ScaleDown<'_>, idle: &IdlePods) -> Marked {
    let ScaleDown { namespace, selector, from, to, protect } = scale_down;
    let unmarked = if protect { from } else { to };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match api.list(&ListParams::default().labels(selector)).await {
        Ok(pods) => pods.items,
        Err(error) => {
            tracing::warn!(%error, namespace, protect, "the pods cannot be listed");
            return Marked { to: unmarked, pods: BTreeSet::new() };
        }
    };
    let to = if protect { to.max(fewest(&pods, idle)).min(from) } else { to };
    let number = usize::try_from(from - to).unwrap_or(usize::MAX);
    let removable = removable(&pods, idle, number, protect);
    let writes = changes(&pods, &removable).into_iter().map(|(pod, cost)| {
        let api = &api;
        async move {
            let patch = json!({"metadata": {"annotations": {COST: cost}}});
            let outcome = api.patch_metadata(&pod, &PatchParams::default(), &Patch::Merge(&patch)).await;
            if let Err(error) = &outcome {
                tracing::debug!(%error, namespace, pod, "the pod cannot be marked");
            }
            outcome.is_ok()
        }
    });
    let marked = futures::future::join_all(writes).await.into_iter().all(|marked| marked);
    Marked { to: if marked { to } else { unmarked.max(to) }, pods: removable }
}

/// Those that are not being deleted already.
fn living(pods: &[Pod]) -> Vec<&Pod> {
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

/// Kubernetes removes pods that are not ready before it looks at any cost.
fn is_removed_first(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    !conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The fewest pods that can be asked for without removing one that may have a job: those that are not ready are removed
/// first, then as many as are idle.
fn fewest(pods: &[Pod], idle: &IdlePods) -> u32 {
    let living = living(pods);
    let templates: BTreeSet<Option<&String>> = living.iter().map(|pod| pod.labels().get("pod-template-hash")).collect();
    let stays = |pod: &&&Pod| !is_removed_first(pod) && !idle.is_quiet(&pod.name_any());
    let risky = |pod: &&&Pod| is_removed_first(pod) && idle.knows(&pod.name_any()) && !idle.is_quiet(&pod.name_any());
    // A worker that is busy and not ready would be removed first; and during a rollout it is not known which are.
    let unsure = templates.len() > 1 || living.iter().any(|pod| risky(&pod));
    let number = if unsure { living.len() } else { living.iter().filter(stays).count() };
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The names of at most `number` idle pods; those first that were idle at the last two polls, and with protection only those.
fn removable(pods: &[Pod], idle: &IdlePods, number: usize, protect: bool) -> BTreeSet<String> {
    let living = living(pods);
    let quiet = living.iter().filter(|pod| idle.is_quiet(&pod.name_any()));
    let only_idle = living.iter().filter(|pod| {
        let name = pod.name_any();
        !protect && idle.is_idle(&name) && !idle.is_quiet(&name)
    });
    quiet.chain(only_idle).take(number).map(|pod| pod.name_any()).collect()
}

/// The pods to write to so that the `removable` ones are marked and no others, and their cost (`None`: like any other's).
fn changes(pods: &[Pod], removable: &BTreeSet<String>) -> Vec<(String, Option<&'static str>)> {
    let mut changes = Vec::new();
    for pod in living(pods) {
        let name = pod.name_any();
        let marked = pod.annotations().get(COST).is_some_and(|cost| cost == CHEAP);
        match (removable.contains(&name), marked) {
            (true, false) => changes.push((name, Some(CHEAP))),
            (false, true) => changes.push((name, None)),
            (true, true) | (false, false) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use jobqueue_queue::WorkerStats;

    use super::*;
    use crate::state::testing;

    fn pod(name: &str, cost: Option<&str>, ready: bool) -> Pod {
        let annotations = cost.map(|cost| json!({COST: cost}));
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    fn idle(quiet: &[&str], restless: &[&str], busy: &[&str]) -> IdlePods {
        let worker = |name: &str, state: &str, succeeded| WorkerStats {
            state: state.into(),
            ..testing::worker(name, succeeded, 0)
        };
        let mut idle = IdlePods::default();
        for turn in 0..2 {
            let still = quiet.iter().map(|name| worker(name, "idle", 1));
            let moved = restless.iter().map(|name| worker(name, "idle", turn));
            let working = busy.iter().map(|name| worker(name, "busy", 1));
            idle.observe(&still.chain(moved).chain(working).collect::<Vec<_>>(), "q-worker");
        }
        idle
    }

    #[test]
    fn idle_pods_are_marked_and_those_that_stay_are_not() {
        let pods = [
            pod("busy", Some(CHEAP), true),
            pod("r", None, true),
            pod("a", None, true),
            pod("b", Some(CHEAP), true),
            pod("c", None, true),
            pod("theirs", Some("5"), true),
        ];
        let idle = idle(&["a", "b", "c"], &["r"], &["busy"]);
        let cheap = |name: &str| (name.to_owned(), Some(CHEAP));
        let dear = |name: &str| (name.to_owned(), None);
        let changes = |number, protect| super::changes(&pods, &removable(&pods, &idle, number, protect));
        assert_eq!(changes(2, false), [dear("busy"), cheap("a")]);
        assert_eq!(changes(0, false), [dear("busy"), dear("b")]);
        assert_eq!(changes(9, false), [dear("busy"), cheap("r"), cheap("a"), cheap("c")]);
        assert_eq!(changes(9, true), [dear("busy"), cheap("a"), cheap("c")]);
    }

    #[test]
    fn as_few_as_can_go_without_a_busy_one() {
        let all = [pod("a", None, true), pod("b", None, true), pod("c", None, true), pod("new", None, false)];
        assert_eq!(fewest(&all, &idle(&["a"], &["b"], &["c"])), 2, "a and the new one may go");
        assert_eq!(fewest(&all, &idle(&["a"], &[], &["c", "new"])), 4, "what is not ready goes first, busy or not");
        assert_eq!(fewest(&all, &idle(&["a", "b", "c"], &[], &[])), 0);
        let mut rolling = all.to_vec();
        rolling[0].metadata.labels = Some([("pod-template-hash".to_owned(), "x".to_owned())].into());
        assert_eq!(fewest(&rolling, &idle(&["a", "b"], &[], &[])), 4, "a rollout removes pods in its own order");
    }
}
