//! Pods that are not created for long, although nothing in their status says why: volumes and the sandbox. The kubelet says
//! that in events only.

use jobqueue_crds::Reason;
use k8s_openapi::{
    api::{core::v1::Pod, events::v1::Event},
    jiff::{SignedDuration, Timestamp},
};

use crate::{
    state::workers::PodProblem,
    status::text::{LONGEST, beginning},
};

/// How long the creation of containers may take before events are asked for.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// A pod whose containers are not created yet, though it has had a node for a while; `None` if there is none.
pub(crate) fn slow_pod(pods: &[Pod], now: Timestamp) -> Option<&Pod> {
    let is_slow = |pod: &&Pod| {
        let Some(status) = pod.status.as_ref() else { return false };
        let containers: Vec<_> =
            status.init_container_statuses.iter().chain(&status.container_statuses).flatten().collect();
        let waits = containers.iter().all(|container| {
            let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
            let reason = waiting.and_then(|waiting| waiting.reason.as_deref());
            matches!(reason, Some("ContainerCreating" | "PodInitializing"))
        });
        let since = status.start_time.as_ref().map(|time| now.duration_since(time.0));
        pod.metadata.deletion_timestamp.is_none()
            && waits
            && !containers.is_empty()
            && since.is_some_and(|since| since >= PATIENCE)
    };
    pods.iter().find(is_slow)
}

/// What the last of a pod's `events` says; `None` if that is no problem. An earlier one was overcome.
pub(crate) fn event_problem(pod: &Pod, events: &[Event]) -> Option<PodProblem> {
    let uid = pod.metadata.uid.as_deref();
    let of_pod =
        events.iter().filter(|event| event.regarding.as_ref().is_some_and(|about| about.uid.as_deref() == uid));
    let last = of_pod.max_by_key(|event| seen_at(event))?;
    let reason = match last.reason.as_deref()? {
        "FailedMount" | "FailedAttachVolume" | "FailedMapVolume" => Reason::MountFailed,
        "FailedCreatePodSandBox" => Reason::SandboxFailed,
        _ => return None,
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let words = beginning(last.note.as_deref().unwrap_or_default(), LONGEST);
    Some(PodProblem { reason, message: format!("pod {name} cannot be created: {words}"), stalls: false })
}

/// When it was seen last, as its writer says it.
fn seen_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let times = [
        series,
        event.deprecated_last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event.metadata.creation_timestamp.as_ref().map(|time| time.0),
    ];
    times.into_iter().flatten().next()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(uid: &str, reason: &str, time: &str) -> Event {
        serde_json::from_value(json!({"metadata": {}, "eventTime": null, "reason": reason, "note": "words",
            "regarding": {"uid": uid}, "deprecatedLastTimestamp": time}))
        .expect("an event")
    }

    fn pod(reason: &str, started: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "status": {"startTime": started,
            "containerStatuses": [{"name": "worker", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}}}]}}))
        .expect("a pod")
    }

    #[test]
    fn a_pod_is_slow_when_its_containers_are_not_created_for_a_while() {
        let now = "2026-01-01T00:01:00Z".parse().expect("a time");
        let is_slow = |pod: Pod| slow_pod(&[pod], now).is_some();
        assert!(is_slow(pod("ContainerCreating", "2026-01-01T00:00:50Z")));
        assert!(!is_slow(pod("ContainerCreating", "2026-01-01T00:00:51Z")), "it may be about to be created");
        assert!(!is_slow(pod("ImagePullBackOff", "2026-01-01T00:00:00Z")), "that says it all");
    }

    #[test]
    fn the_last_event_of_the_pod_counts() {
        let pod = pod("ContainerCreating", "2026-01-01T00:00:00Z");
        let mounts = event("u", "FailedMount", "2026-01-01T00:00:10Z");
        let of = |events: &[Event]| event_problem(&pod, events).map(|problem| problem.reason);
        assert_eq!(of(&[mounts.clone(), event("u", "Scheduled", "2026-01-01T00:00:01Z")]), Some(Reason::MountFailed));
        let other = event("other", "FailedCreatePodSandBox", "2026-01-01T00:00:20Z");
        assert_eq!(of(&[other, mounts.clone()]), Some(Reason::MountFailed), "that was another pod's");
        assert_eq!(of(&[mounts, event("u", "Pulling", "2026-01-01T00:00:12Z")]), None, "it was overcome");
        assert_eq!(of(&[event("u", "FailedCreatePodSandBox", "2026-01-01T00:00:20Z")]), Some(Reason::SandboxFailed));
    }
}
