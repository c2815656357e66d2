//! Who goes first when there are to be fewer workers: pods whose worker is idle, by the annotation that Kubernetes
//! sorts by. Set just before the decrease, on candidates only, and taken back from those that stayed. With
//! `scaleDown.protectBusy` no more go than are idle.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::idle::Idle;

/// The annotation; lower goes first, and none counts as 0.
const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Of a pod that is to go first.
const CHEAP: &str = "-100";

/// Fewer workers than there are.
#[derive(Debug, Clone, Copy)]
pub struct Decrease<'a> {
    /// Where.
    pub namespace: &'a str,
    /// The workers' pods.
    pub selector: &'a str,
    /// Workers asked for now.
    pub from: u32,
    /// Workers wanted.
    pub to: u32,
    /// Busy ones must not go.
    pub protect: bool,
}

/// Marks who is to go, and answers how many workers there may be. Without protection a pod that cannot be marked goes, or
/// stays, as chance has it: it drains in any case. With it, nobody goes then.
pub async fn mark(client: &Client, decrease: Decrease<'_>, idle: &Idle) -> u32 {
    let Decrease { namespace, selector, from, to, protect } = decrease;
    let unmarked = if protect { from } else { to };
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let pods = match api.list(&ListParams::default().labels(selector)).await {
        Ok(pods) => pods.items,
        Err(error) => {
            tracing::warn!(%error, namespace, protect, "the pods cannot be listed");
            return unmarked;
        }
    };
    let to = if protect { to.max(fewest(&pods, idle)).min(from) } else { to };
    let number = usize::try_from(from - to).unwrap_or(usize::MAX);
    let writes = changes(&pods, idle, number, protect).into_iter().map(|(pod, cost)| {
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
    if marked { to } else { unmarked.max(to) }
}

/// Those that are not on their way out already.
fn living(pods: &[Pod]) -> Vec<&Pod> {
    pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

/// Kubernetes takes pods that are not ready before it looks at any mark.
fn goes_anyway(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    !conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The fewest pods that can be asked for without one going that may have a job in hand: those that are not ready go first,
/// then as many as are idle.
fn fewest(pods: &[Pod], idle: &Idle) -> u32 {
    let living = living(pods);
    let templates: BTreeSet<Option<&String>> = living.iter().map(|pod| pod.labels().get("pod-template-hash")).collect();
    let stays = |pod: &&&Pod| !goes_anyway(pod) && !idle.is_quiet(&pod.name_any());
    let risky = |pod: &&&Pod| goes_anyway(pod) && idle.knows(&pod.name_any()) && !idle.is_quiet(&pod.name_any());
    // A worker that is busy and not ready would go first; and while a rollout goes on, nobody can say who goes.
    let unsure = templates.len() > 1 || living.iter().any(|pod| risky(&pod));
    let number = if unsure { living.len() } else { living.iter().filter(stays).count() };
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The pods to write to, and their cost (none: as any other).
fn changes(pods: &[Pod], idle: &Idle, number: usize, protect: bool) -> Vec<(String, Option<&'static str>)> {
    let living = living(pods);
    let quiet = living.iter().filter(|pod| idle.is_quiet(&pod.name_any()));
    let only_idle = living.iter().filter(|pod| {
        let name = pod.name_any();
        !protect && idle.is_idle(&name) && !idle.is_quiet(&name)
    });
    let goers: BTreeSet<String> = quiet.chain(only_idle).take(number).map(|pod| pod.name_any()).collect();
    let mut changes = Vec::new();
    for pod in living {
        let name = pod.name_any();
        let marked = pod.annotations().get(COST).is_some_and(|cost| cost == CHEAP);
        match (goers.contains(&name), marked) {
            (true, false) => changes.push((name, Some(CHEAP))),
            (false, true) => changes.push((name, None)),
            (true, true) | (false, false) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jobqueue_queue::WorkerStats;

    use super::*;

    fn pod(name: &str, cost: Option<&str>, ready: bool) -> Pod {
        let annotations = cost.map(|cost| json!({COST: cost}));
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({"metadata": {"name": name, "annotations": annotations},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
        .unwrap()
    }

    fn idle(quiet: &[&str], restless: &[&str], busy: &[&str]) -> Idle {
        let worker = |name: &str, state: &str, succeeded| WorkerStats {
            name: name.into(),
            hostname: name.into(),
            state: state.into(),
            concurrency: 1,
            running: 0,
            succeeded,
            failed: 0,
            busy_seconds: 0.0,
            silent_for: Duration::ZERO,
        };
        let mut idle = Idle::default();
        for turn in 0..2 {
            let still = quiet.iter().map(|name| worker(name, "idle", 1));
            let moved = restless.iter().map(|name| worker(name, "idle", turn));
            let working = busy.iter().map(|name| worker(name, "busy", 1));
            idle.look(&still.chain(moved).chain(working).collect::<Vec<_>>());
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
        assert_eq!(changes(&pods, &idle, 2, false), [dear("busy"), cheap("a")]);
        assert_eq!(changes(&pods, &idle, 0, false), [dear("busy"), dear("b")]);
        assert_eq!(changes(&pods, &idle, 9, false), [dear("busy"), cheap("r"), cheap("a"), cheap("c")]);
        assert_eq!(changes(&pods, &idle, 9, true), [dear("busy"), cheap("a"), cheap("c")]);
    }

    #[test]
    fn as_few_as_can_go_without_a_busy_one() {
        let all = [pod("a", None, true), pod("b", None, true), pod("c", None, true), pod("new", None, false)];
        assert_eq!(fewest(&all, &idle(&["a"], &["b"], &["c"])), 2, "a and the new one may go");
        assert_eq!(fewest(&all, &idle(&["a"], &[], &["c", "new"])), 4, "what is not ready goes first, busy or not");
        assert_eq!(fewest(&all, &idle(&["a", "b", "c"], &[], &[])), 0);
        let mut rolling = all.to_vec();
        rolling[0].metadata.labels = Some([("pod-template-hash".to_owned(), "x".to_owned())].into());
        assert_eq!(fewest(&rolling, &idle(&["a", "b"], &[], &[])), 4, "a rollout takes whom it wants");
    }
}
