//! Pods that do not start, beside others that do, and Deployments that are held up.

use jobqueue_operator::LeaseGuard;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, Operator, cluster, conditions, pod, pods_become_ready, reconcile_and_poll, waiting},
};

const PODS: &str = "/api/v1/namespaces/shop/pods";

fn assert_has(server: &ApiServer, wanted: &[&str]) {
    let found = conditions(server);
    for condition in wanted {
        assert!(found.iter().any(|one| one == condition), "{condition} is not among {found:#?}");
    }
}

/// A queue that asked for eight workers, some of which are ready.
async fn eight_workers(ready: i64) -> (ApiServer, Operator) {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
    pods_become_ready(&server, ready);
    (server, operator)
}

/// A pod of the Deployment's template.
fn worker(server: &ApiServer, name: &str, hash: &str, status: &Value) {
    let deployment = server.get(DEPLOYMENT).unwrap();
    let template = &deployment["spec"]["template"];
    let mut made = pod(name, status);
    made["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
    made["metadata"]["labels"] = json!({"pod-template-hash": hash});
    made["metadata"]["creationTimestamp"] =
        json!(if hash == "new" { "2026-01-02T00:00:00Z" } else { "2026-01-01T00:00:00Z" });
    made["metadata"]["uid"] = name.into();
    made["spec"] = template["spec"].clone();
    server.put(&format!("{PODS}/{name}"), made);
}

fn ready() -> Value {
    json!({"conditions": [{"type": "Ready", "status": "True"}]})
}

fn waits(reason: &str) -> Value {
    json!({"startTime": Timestamp::now() - 60.seconds(), "containerStatuses": [{"name": "worker", "image": "worker:1",
        "imageID": "", "ready": false, "restartCount": 0, "state": {"waiting": {"reason": reason, "message": "words"}}}]})
}

#[tokio::test(start_paused = true)]
async fn one_bad_pod_among_many_degrades_and_does_not_stall() {
    let (server, operator) = eight_workers(7).await;
    for number in 1..8 {
        worker(&server, &format!("good-{number}"), "new", &ready());
    }
    worker(&server, "bad", "new", &waits("ImagePullBackOff"));
    reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
    let all = ["Stalled=False/AsSpecified", "Degraded=True/ImagePullFailed", "WorkersAvailable=False/ImagePullFailed"];
    assert_has(&server, &all);
    assert_has(&server, &["Ready=True/WorkersStarting", "Reconciling=False/AsSpecified"]);
}

#[tokio::test(start_paused = true)]
async fn workers_of_an_older_template_do_not_hide_that_the_present_one_fails() {
    for seen in [false, true] {
        let (server, operator) = eight_workers(7).await;
        worker(&server, "old", "old", &ready());
        if seen {
            // Its image is another; else only its hash tells.
            let mut old = server.get(&format!("{PODS}/old")).unwrap();
            old["spec"]["containers"][0]["image"] = "worker:0".into();
            old["metadata"]["labels"] = json!({});
            server.put(&format!("{PODS}/old"), old);
        }
        worker(&server, "bad", "new", &waits("ImagePullBackOff"));
        reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
        assert_has(&server, &["Stalled=True/ImagePullFailed", "Ready=False/ImagePullFailed"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_events_of_a_pod_say() {
    for (event, reason) in [("FailedMount", "MountFailed"), ("FailedCreatePodSandBox", "SandboxFailed")] {
        let (server, operator) = eight_workers(0).await;
        worker(&server, "slow", "new", &waits("ContainerCreating"));
        let event = json!({"metadata": {"name": "e"}, "eventTime": null, "reason": event, "type": "Warning",
            "note": "secret \"x\" not found", "regarding": {"kind": "Pod", "name": "slow", "uid": "slow"},
            "deprecatedLastTimestamp": "2026-01-01T00:00:00Z"});
        server.put("/apis/events.k8s.io/v1/namespaces/shop/events/e", event);
        reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
        let wanted = ["Degraded", "WorkersAvailable"].map(|kind| {
            let status = if kind == "Degraded" { "True" } else { "False" };
            format!("{kind}={status}/{reason}")
        });
        assert_has(&server, &wanted.each_ref().map(String::as_str));
        assert_has(&server, &["Stalled=False/AsSpecified"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_held_up_says_why() {
    let (server, operator) = eight_workers(0).await;
    let mut deployment = server.get(DEPLOYMENT).unwrap();
    deployment["status"]["conditions"] = json!([{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "ReplicaSet has timed out progressing."}]);
    server.put(DEPLOYMENT, deployment);
    reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
    assert_has(&server, &["Degraded=True/ProgressDeadlineExceeded", "Stalled=False/AsSpecified"]);
    let mut deployment = server.get(DEPLOYMENT).unwrap();
    deployment["spec"]["paused"] = true.into();
    server.put(DEPLOYMENT, deployment);
    reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
    assert_has(&server, &["Degraded=True/DeploymentPaused", "WorkersAvailable=False/DeploymentPaused"]);
}
