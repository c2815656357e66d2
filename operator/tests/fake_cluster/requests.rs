//! What one queue costs the API server, where thousands of them do the same at one moment.

use std::time::Duration;

use jobqueue_crds::crd;
use jobqueue_operator::LeaseGuard;
use k8s_openapi::jiff::{Timestamp, ToSpan};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{
        DEPLOYMENT, Operator, QUEUE, SECRET, cluster, cluster_with_generation, conditions, pods_become_ready, queue,
        secret, waiting, watch_tells,
    },
};

#[tokio::test(start_paused = true)]
async fn missing_pods_are_listed_now_and_then_however_often_their_deployment_changes() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    let status = json!({"containerStatuses": [{"name": "worker", "image": "worker:1", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "words"}}}]});
    let pod = json!({"metadata": {"name": "p", "namespace": "shop"}, "status": status});
    server.put("/api/v1/namespaces/shop/pods/p", pod);
    let reads = || [DEPLOYMENT, SECRET, "/pods"].map(|path| server.reads(path));
    let statuses = || server.writes().iter().filter(|write| write.ends_with("/status")).count();
    let (mut read, mut written) = (reads(), statuses());
    for change in 0..600 {
        if change == 200 {
            // By now they have been listed, and the status says so.
            (read, written) = (reads(), statuses());
        }
        tokio::time::advance(Duration::from_millis(100)).await;
        let mut deployment = server.get(DEPLOYMENT).unwrap();
        deployment["metadata"]["annotations"]["change"] = change.to_string().into();
        server.put(DEPLOYMENT, deployment);
        watch_tells(&server, &operator, Event::Apply);
        assert!(operator.reconcile(&server).await);
        if change > 200 {
            let found = conditions(&server);
            assert!(found.iter().any(|one| one == "Stalled=True/ImagePullFailed"), "{change}: {found:#?}");
        }
    }
    let now = reads();
    let [deployments, secrets, pods] = [0, 1, 2].map(|of| now[of] - read[of]);
    // Every two seconds at first, which everything that is applied again begins anew, and every sixteen at last.
    assert!((2..=14).contains(&pods) && deployments == pods, "{deployments} and {pods} in 40 s");
    assert!(secrets <= pods + 40 / 5, "{secrets}; one every five seconds follows the Secret");
    assert!(statuses() - written <= 4, "numbers every 15 s: {} statuses", statuses() - written);
}

#[tokio::test(start_paused = true)]
async fn that_a_new_queue_is_well_is_no_event() {
    let server = cluster();
    let mut object = queue();
    let version = crd().spec.versions.remove(0);
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).unwrap();
    // As the API server adds it.
    object["status"] = schema.properties.unwrap()["status"].default.clone().unwrap().0;
    assert!(object["status"]["conditions"].is_array());
    server.put(QUEUE, object);
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    assert!(conditions(&server).iter().any(|one| one == "Ready=True/Idle"));
    assert!(!server.writes().iter().any(|write| write.contains("/events")), "{:#?}", server.writes());
}

/// Reconciles two queues that share a Secret and were created so long ago; how often it was read.
async fn secret_reads(age_seconds: i64) -> usize {
    let server = ApiServer::default();
    server.put(SECRET, secret("pw"));
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    for name in ["one", "two"] {
        let mut object = queue();
        object["metadata"]["name"] = name.into();
        object["metadata"]["creationTimestamp"] = json!(Timestamp::now() - age_seconds.seconds());
        assert!(operator.reconcile_as(object).await);
    }
    server.reads(SECRET)
}

#[tokio::test(start_paused = true)]
async fn new_queues_share_a_secret_that_was_read_since_they_exist() {
    assert_eq!(secret_reads(10).await, 1);
    assert_eq!(secret_reads(0).await, 2, "what was read before may be what the Secret was before");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_did_not_change_takes_what_was_read_a_moment_ago() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    let mut object = server.get(QUEUE).unwrap();
    let mut reads = Vec::new();
    for (generation, pause) in [(1, 0), (1, 1), (1, 3), (2, 0)] {
        object["metadata"]["generation"] = generation.into();
        tokio::time::advance(Duration::from_secs(pause)).await;
        assert!(operator.reconcile_as(object.clone()).await);
        reads.push(server.reads(SECRET));
    }
    assert_eq!(reads, [1, 1, 2, 3], "what it changed to may go with another Secret");
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_was_of_no_use_is_read_anew() {
    let server = cluster();
    let mut without = secret("pw");
    without["data"].as_object_mut().unwrap().remove("database");
    server.put(SECRET, without);
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    assert!(operator.reconcile(&server).await);
    assert!(conditions(&server).iter().any(|one| one == "Stalled=True/SecretKeyNotFound"));
    server.put(SECRET, secret("pw"));
    assert!(operator.reconcile(&server).await);
    assert!(server.get(DEPLOYMENT).is_some());
}

#[tokio::test(start_paused = true)]
async fn among_many_queues_states_are_reported_together() {
    let server = ApiServer::default();
    server.put(SECRET, secret("pw"));
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    for number in 0..600 {
        let mut object = queue();
        object["metadata"]["name"] = format!("q{number}").into();
        assert!(operator.reconcile_as(object).await);
    }
    server.put(QUEUE, queue());
    operator.settle(&server, &waiting(300)).await;
    let statuses = || server.writes().iter().filter(|write| write.ends_with("/lines/status")).count();
    let before = statuses();
    for ready in 1..=3 {
        pods_become_ready(&server, ready);
        assert!(operator.reconcile(&server).await);
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    tokio::time::advance(Duration::from_millis(400)).await;
    assert!(operator.reconcile(&server).await);
    assert_eq!(statuses() - before, 2, "the first of the pods, and half a second later all of them");
    let ready: Value = server.get(QUEUE).unwrap()["status"]["readyReplicas"].clone();
    assert_eq!(ready, 3);
}
