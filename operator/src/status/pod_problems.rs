//! What keeps workers from starting, read from their pods and the Deployment: one reason, the worst first.

use jobqueue_crds::Reason;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ContainerStatus, Pod},
};

use kube::ResourceExt;

use crate::state::workers::PodProblem;
use crate::status::text::{LONGEST, beginning, end};

/// The worst problem of a queue's pods; `None` if they have none.
pub(crate) fn problem(deployment: &Deployment, pods: &[Pod]) -> Option<PodProblem> {
    let found = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).filter_map(pod_problem);
    found.max_by_key(|problem| problem.stalls).map(|worst| weighed(worst, deployment, pods))
}

/// The problem, which does not stall a queue with a worker at work.
fn weighed(problem: PodProblem, deployment: &Deployment, pods: &[Pod]) -> PodProblem {
    PodProblem { stalls: problem.stalls && !has_worker_at_work(deployment, pods), ..problem }
}

/// What keeps the Deployment from having its pods; `None` if nothing does.
pub(crate) fn deployment_problem(deployment: &Deployment, pods: &[Pod]) -> Option<PodProblem> {
    let found = forbidden(deployment).or_else(|| paused(deployment)).or_else(|| overdue(deployment));
    found.map(|problem| weighed(problem, deployment, pods))
}

/// Whether a pod of the present template is ready: then it is not the template that keeps others from it.
fn has_worker_at_work(deployment: &Deployment, pods: &[Pod]) -> bool {
    let present: Vec<&Pod> = pods.iter().filter(|pod| is_of_template(deployment, pod)).collect();
    // Of templates that cannot be told apart here, the youngest pod has the present one.
    let youngest = present.iter().max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    let hash = youngest.and_then(|pod| pod.labels().get(TEMPLATE_HASH));
    present.iter().filter(|pod| pod.labels().get(TEMPLATE_HASH) == hash).any(|pod| is_ready(pod))
}

/// The label by which Kubernetes tells the pods of one template from those of another.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Whether the pod has the annotations and the images of the Deployment's template.
fn is_of_template(deployment: &Deployment, pod: &Pod) -> bool {
    let template = &deployment.spec.template;
    let annotations = template.metadata.iter().flat_map(|metadata| metadata.annotations.iter().flatten());
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    let found = pod.spec.as_ref().map_or(&[][..], |spec| &spec.containers);
    annotations.into_iter().all(|(name, value)| pod.annotations().get(name) == Some(value))
        && containers.into_iter().all(|wanted| {
            found.iter().any(|container| container.name == wanted.name && container.image == wanted.image)
        })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// A quota or a Pod Security level that refuses the pods shows on the Deployment.
fn forbidden(deployment: &Deployment) -> Option<PodProblem> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let failure = conditions.iter().find(|condition| {
        condition.type_.as_deref() == Some("ReplicaFailure") && condition.status.as_deref() == Some("True")
    })?;
    let message = failure.message.clone().unwrap_or_default();
    Some(PodProblem { reason: Reason::WorkersForbidden, message, stalls: true })
}

/// `kubectl rollout pause`, while pods of the present template are missing.
fn paused(deployment: &Deployment) -> Option<PodProblem> {
    deployment.spec.paused.filter(|paused| *paused)?;
    let name = deployment.name_any();
    let message = format!("Deployment {name} is paused: kubectl rollout resume deployment/{name}");
    Some(PodProblem { reason: Reason::DeploymentPaused, message, stalls: false })
}

/// A rollout that makes no progress, for whatever reason.
fn overdue(deployment: &Deployment) -> Option<PodProblem> {
    let conditions = deployment.status.as_ref()?.conditions.as_deref()?;
    let progressing = conditions.iter().find(|condition| {
        condition.type_.as_deref() == Some("Progressing")
            && condition.reason.as_deref() == Some("ProgressDeadlineExceeded")
    })?;
    let message = progressing.message.clone().unwrap_or_default();
    Some(PodProblem { reason: Reason::ProgressDeadlineExceeded, message, stalls: false })
}

fn pod_problem(pod: &Pod) -> Option<PodProblem> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let status = pod.status.as_ref()?;
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    containers.find_map(|container| container_problem(name, container)).or_else(|| {
        let conditions = status.conditions.as_deref()?;
        let unscheduled = conditions.iter().find(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("Unschedulable")
        })?;
        let words = unscheduled.message.as_deref().unwrap_or_default();
        Some(PodProblem {
            reason: Reason::Unschedulable,
            message: format!("pod {name} finds no node: {words}"),
            stalls: false,
        })
    })
}

fn container_problem(pod: &str, container: &ContainerStatus) -> Option<PodProblem> {
    let state = container.state.as_ref()?;
    if let Some(end) = state.terminated.as_ref().filter(|end| end.exit_code == INVALID_RECIPE) {
        let output = end.message.as_deref().map(last_lines).unwrap_or_default();
        return Some(PodProblem {
            reason: Reason::InvalidRecipe,
            message: format!("pod {pod} ends with exit code {INVALID_RECIPE}: {output}"),
            stalls: true,
        });
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref()?;
    let words = waiting.message.as_deref().unwrap_or_default();
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => Some(PodProblem {
            reason: Reason::ImagePullFailed,
            message: format!("pod {pod} cannot pull image {}: {}", container.image, first_line(words)),
            stalls: true,
        }),
        "CreateContainerConfigError" | "CreateContainerError" => Some(PodProblem {
            reason: Reason::WorkersCrashing,
            message: format!("pod {pod}, container {}: {}", container.name, first_line(words)),
            stalls: true,
        }),
        "CrashLoopBackOff" => {
            let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let output = last.and_then(|end| end.message.as_deref()).map(last_lines).unwrap_or_default();
            let code = last.map_or(0, |end| end.exit_code);
            Some(PodProblem {
                // The worker's exit code for a recipe that does not fit its database.
                reason: if code == INVALID_RECIPE { Reason::InvalidRecipe } else { Reason::WorkersCrashing },
                message: format!("pod {pod} ends with exit code {code}: {output}"),
                stalls: true,
            })
        }
        _ => None,
    }
}

/// `jobqueue-worker`'s exit code when its config or recipe is wrong (sysexits' `EX_CONFIG`).
const INVALID_RECIPE: i32 = 78;

fn first_line(text: &str) -> String {
    beginning(text.lines().next().unwrap_or_default(), LONGEST)
}

/// The end of a container's message, bounded: conditions are read on one screen.
fn last_lines(text: &str) -> String {
    let tail: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let text = tail.into_iter().rev().collect::<Vec<_>>().join(" ");
    end(&text, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(status: &serde_json::Value) -> Deployment {
        serde_json::from_value(
            json!({"metadata": {"generation": 2}, "spec": {"replicas": 3, "selector": {}, "template": {}},
            "status": status}),
        )
        .unwrap()
    }

    fn waiting(reason: &str, message: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "worker",
            "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 78, "message": "table t: no such table\n"}}}]}}))
        .unwrap()
    }

    #[test]
    fn an_image_that_cannot_be_pulled_stalls() {
        let pods = [waiting("ContainerCreating", ""), waiting("ImagePullBackOff", "not found")];
        let problem = problem(&deployment(&json!({})), &pods).unwrap();
        assert_eq!((problem.reason, problem.stalls), (Reason::ImagePullFailed, true));
        assert!(problem.message.contains("not found"), "{}", problem.message);
    }

    #[test]
    fn a_worker_that_rejects_its_recipe_says_why() {
        let problem = problem(&deployment(&json!({})), &[waiting("CrashLoopBackOff", "")]).unwrap();
        assert_eq!(problem.reason, Reason::InvalidRecipe);
        assert!(problem.message.contains("no such table"), "{}", problem.message);
    }

    #[test]
    fn a_quota_shows_on_the_deployment() {
        let status = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]});
        let problem = deployment_problem(&deployment(&status), &[]).unwrap();
        assert_eq!(problem.reason, Reason::WorkersForbidden);
    }
}
