//! What to do next, by the reasons of the conditions. `docs/conditions.md` says more.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{ConditionType, JobQueueStatus, Reason, ScalingMode};

/// Whether a condition says something that its reader should know.
pub(super) fn matters(condition: &Condition) -> bool {
    let bad_when_true = [
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::ScalingLimited,
        ConditionType::Paused,
        ConditionType::Degraded,
    ];
    let bad = if bad_when_true.iter().any(|kind| kind.to_string() == condition.type_) { "True" } else { "False" };
    condition.status == bad || condition.status == "Unknown"
}

/// Every piece of advice once, the gravest first, as the conditions are sorted.
pub(super) fn advice(status: &JobQueueStatus, mode: ScalingMode, up_to_date: bool) -> Vec<String> {
    if status.observed_generation.is_none() {
        return vec![
            "No operator has looked at it: is one installed, and does it serve this namespace? kubectl get pods -A \
             -l app.kubernetes.io/component=operator"
                .into(),
        ];
    }
    let mut advice = Vec::new();
    if !up_to_date {
        advice.push("The spec has changed since the operator looked: ask again in a moment.".to_owned());
    }
    let reasons = status.conditions.iter().filter(|condition| matters(condition)).map(|condition| &condition.reason);
    for text in reasons.filter_map(|reason| of_reason(reason)) {
        if !advice.iter().any(|given| given == text) {
            advice.push(text.to_owned());
        }
    }
    if mode == ScalingMode::Manual {
        advice.push("In mode Manual, kubectl scale jobqueue/NAME --replicas=N decides.".into());
    }
    let failed = status.queue.as_ref().map_or(0, |queue| queue.failed);
    if failed > 0 {
        let jobs = if failed == 1 { "1 job is".to_owned() } else { format!("{failed} jobs are") };
        advice.push(format!("{jobs} in the failed registry: jobqueue failed list -f MANIFEST groups them by cause."));
    }
    advice
}

/// The advice for a reason, where there is something to do.
pub fn of_reason(reason: &str) -> Option<&'static str> {
    Some(match reason.parse::<Reason>().ok()? {
        Reason::InvalidSpec => "Correct the field that the message names, and apply again.",
        Reason::InvalidRecipe => {
            "Create what the message says is missing, or correct the recipe: jobqueue try -f MANIFEST --database URL shows all \
             problems at once."
        }
        Reason::SecretNotFound => "Create the Secret in this namespace; it is noticed within seconds.",
        Reason::SecretKeyNotFound => "Add the key to the Secret, or name one that it has.",
        Reason::InvalidUrl => "Correct the connection URL; the message says what cannot be understood.",
        Reason::ImagePullFailed => "Check the image's name, and that the nodes may pull it.",
        Reason::WorkersForbidden => "Raise the quota, or make spec.worker.template pass the namespace's policies.",
        Reason::NameTaken => "Rename the JobQueue, or delete the Deployment that has its name.",
        Reason::Unschedulable => "Add nodes, or lower the workers' requests.",
        Reason::WorkersCrashing => "kubectl logs of a worker pod, with --previous, says more than the message.",
        Reason::ScalerConflict => "Delete the other autoscaler, or aim it at the JobQueue in mode Manual.",
        Reason::Unreachable => {
            "Bring the server back; the number of workers is held meanwhile, and no job fails because of it."
        }
        Reason::Denied => "Correct user, password or certificate in the Secret; a change is followed within seconds.",
        Reason::WrongData => {
            "A key in Redis is of another kind than the protocol's: check queue.names and queue.protocol."
        }
        Reason::EvictionPossible => "Set maxmemory-policy noeviction in Redis.",
        Reason::JobsFailing => "See which jobs fail and why: jobqueue failed list -f MANIFEST.",
        Reason::MaxReplicas => "Raise scaling.maxReplicas if more workers are wanted and the database can take them.",
        Reason::ConnectionBudget => {
            "Raise database.maxConnections if the database has more connections to give, or lower worker.concurrency."
        }
        Reason::DatabaseSaturated => {
            "More workers would not help: look at the database. They are tried again when it has recovered."
        }
        Reason::ProtectBusy => "Nothing: workers go as they become idle.",
        Reason::ModePaused => "Set scaling.mode to Auto to go on scaling.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_condition_that_matters_has_its_advice_or_needs_none() {
        for reason in
            ["SecretNotFound", "InvalidRecipe", "ImagePullFailed", "Denied", "DatabaseSaturated", "ProtectBusy"]
        {
            assert!(of_reason(reason).is_some(), "{reason}");
        }
    }
}
