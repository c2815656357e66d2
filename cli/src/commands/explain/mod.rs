//! `jobqueue explain`: why a queue in a cluster has the number of workers that it has, from the status that the operator
//! keeps: the same sentence as in `kubectl describe`, with its numbers, and what to do next.

mod cluster;
mod text;

use clap::Args;
use jobqueue_crds::explanation::explain;

use crate::common::exit::{Exit, Failure};
use crate::common::global_args::GlobalArgs;
use crate::common::output::Output;
use crate::common::target::read_manifest;

/// Flags of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the JobQueue's status with your own rights: KUBECONFIG, ~/.kube/config, or a pod's service account. \
    Its numbers are up to 15 s old; changes are there at once."
)]
pub(crate) struct ExplainArgs {
    /// The JobQueue; with -f, the one of the manifest
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Its namespace [default: the context's]
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The kubeconfig's context to use
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
}

/// Explains one JobQueue.
pub(crate) async fn run(global: &GlobalArgs, args: &ExplainArgs, output: Output) -> anyhow::Result<Exit> {
    let manifest = global.manifest()?.map(|path| read_manifest(path, args.name.as_deref())).transpose()?;
    let given = manifest.as_ref().map(|manifest| &manifest.metadata);
    let name = args.name.clone().or_else(|| given?.name.clone());
    let Some(name) = name else {
        let hint = "jobqueue explain NAME, or -f FILE; kubectl get jobqueues lists them";
        return Err(Failure::new(Exit::Usage, "no JobQueue is named").hint(hint).into());
    };
    let namespace = args.namespace.clone().or_else(|| given?.namespace.clone());
    let queue = cluster::get(&name, namespace.as_deref(), args.context.as_deref()).await?;
    let explanation = explain(queue);
    if output.is_machine() {
        output.document(&explanation)?;
    } else {
        output.data(&text::text(&explanation, chrono::Utc::now()))?;
    }
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use jobqueue_crds::JobQueue;
    use serde_json::json;

    use super::*;

    /// As the operator writes it.
    fn limited() -> JobQueue {
        let condition = |kind: &str, status: &str, reason: &str, message: &str| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-03-01T12:00:00Z", "observedGeneration": 2})
        };
        let sentence = "8,400 jobs at 210/s per worker clear in 10 s with 4 workers; maxReplicas is 3, otherwise 4";
        serde_json::from_value(json!({
            "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
            "metadata": {"name": "companies", "namespace": "shop", "generation": 2},
            "spec": {"queue": {"names": ["companies"], "redis": {"url": "redis://redis"}}},
            "status": {
                "observedGeneration": 2, "replicas": 3, "readyReplicas": 2, "desiredReplicas": 3,
                "queue": {"waiting": 8200, "running": 200, "failed": 3, "scheduled": 0, "oldestWaitSeconds": 12,
                    "arrivalsPerSecond": 0.0, "completionsPerSecond": 620.5, "drainEtaSeconds": 14,
                    "observedAt": "2026-03-01T12:00:57Z"},
                "lastScale": {"time": "2026-03-01T11:59:00Z", "from": 0, "to": 3, "reason": "Drain", "message": sentence},
                "decision": {"reason": "Drain", "message": sentence, "wanted": 4,
                    "candidates": [
                        {"reason": "Drain", "workers": 4,
                            "message": "8,400 jobs at 210/s per worker clear in 10 s with 4 workers"},
                        {"reason": "AtLeastOne", "workers": 1, "message": "8,400 jobs take at least one worker"}],
                    "limits": [{"reason": "MaxReplicas", "message": "maxReplicas is 3", "without": 4}]},
                "conditions": [
                    condition("Ready", "True", "MaxReplicas", sentence),
                    condition("WorkersAvailable", "False", "WorkersStarting", "2 of 3 workers are ready"),
                    condition("ScalingLimited", "True", "MaxReplicas", sentence),
                    condition("Degraded", "False", "AsSpecified", "nothing needs a look")],
            },
        }))
        .unwrap()
    }

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:01:00Z".parse().unwrap()
    }

    #[test]
    fn says_what_was_decided_why_and_what_else_it_could_have_been() {
        let explanation = explain(limited());
        let text = text::text(&explanation, now());
        let expected = "\
JobQueue companies in namespace shop, mode Auto

8,400 jobs at 210/s per worker clear in 10 s with 4 workers; maxReplicas is 3, otherwise 4

Workers      3 asked for, 2 ready; the work takes 4
Backlog      8200 waiting, 200 running, 0 scheduled, 3 failed; the oldest waits 12s
Rates        0 arrive and 620.5 end per second; clear in 14s
Seen         3s ago
Last change  2m ago: 0 -> 3 workers, 8,400 jobs at 210/s per worker clear in 10 s with 4 workers; maxReplicas is 3, otherwise 4

ASKED BY     WORKERS   BECAUSE
Drain              4   8,400 jobs at 210/s per worker clear in 10 s with 4 workers
AtLeastOne         1   8,400 jobs take at least one worker

LIMIT         WITHOUT IT   BECAUSE
MaxReplicas            4   maxReplicas is 3

CONDITION          STATUS   REASON            MESSAGE
WorkersAvailable   False    WorkersStarting   2 of 3 workers are ready
ScalingLimited     True     MaxReplicas       as above

What to do
- Raise scaling.maxReplicas if more workers are wanted and the database can take them.
- 3 jobs are in the failed registry: jobqueue failed list -f MANIFEST groups them by cause.
";
        assert_eq!(text, expected, "\n{text}");
        let json = serde_json::to_value(&explanation).unwrap();
        assert_eq!(json["decision"]["limits"][0]["without"], 4);
        assert_eq!(json["workers"], json!({"wanted": 4, "desired": 3, "present": 3, "ready": 2}));
    }

    #[test]
    fn nobody_has_looked_at_a_queue_without_an_operator() {
        let mut queue = limited();
        queue.status = None;
        let text = text::text(&explain(queue), now());
        assert!(text.contains("No operator has looked at it"), "{text}");
        let mut edited = limited();
        edited.metadata.generation = Some(3);
        assert!(text::text(&explain(edited), now()).contains("changed since"), "of an older spec");
    }
}
