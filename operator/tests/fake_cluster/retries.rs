//! Reconciles that fail again and again: the status says so, with the API server's words, and seldom.

use std::time::Duration;

use jobqueue_operator::LeaseGuard;
use serde_json::Value;

use crate::{
    api_server::ApiServer,
    fixture::{
        Operator, QUEUE, cluster_with_generation, conditions, pods_become_ready, reconcile_and_poll, waiting,
        watch_tells,
    },
};

const WORDS: &str = "etcdserver: mvcc: database space exceeded";

fn reconciling(server: &ApiServer) -> Value {
    let queue = server.get(QUEUE).unwrap();
    let conditions = queue["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == "Reconciling").unwrap_or_default()
}

fn statuses(server: &ApiServer) -> usize {
    server.writes().iter().filter(|write| write.ends_with("/lines/status")).count()
}

/// A queue at work whose spec was changed, so that its objects are to be applied.
async fn edited() -> (ApiServer, Operator) {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    pods_become_ready(&server, 3);
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    watch_tells(&server, &operator, kube::runtime::watcher::Event::Apply);
    let mut object = server.get(QUEUE).unwrap();
    object["spec"]["worker"]["batchSize"] = 7.into();
    server.put(QUEUE, object);
    (server, operator)
}

#[tokio::test(start_paused = true)]
async fn several_failures_in_a_row_are_told_and_forgotten() {
    let (server, operator) = edited().await;
    server.refuse(Some(("/poddisruptionbudgets/lines-worker", WORDS)));
    for failures in 1..=2 {
        assert!(!operator.reconcile(&server).await);
        assert_eq!(reconciling(&server)["reason"], "AsSpecified", "{failures} are no news");
    }
    assert!(!operator.reconcile(&server).await);
    let told = reconciling(&server);
    assert_eq!([&told["status"], &told["reason"]], ["True", "Retrying"], "{told:#}");
    assert_eq!(told["message"], format!("PodDisruptionBudget lines-worker: {WORDS}"));
    let found = conditions(&server);
    for wanted in ["Ready=True/Working", "Stalled=False/AsSpecified", "WorkersAvailable=True/AsSpecified"] {
        assert!(found.iter().any(|one| one == wanted), "{wanted} is not among {found:#?}: the workers go on");
    }
    server.refuse(None);
    assert!(operator.reconcile(&server).await);
    assert_eq!(reconciling(&server)["reason"], "RollingOut");
    // The row begins anew.
    server.refuse(Some(("/poddisruptionbudgets/lines-worker", WORDS)));
    let mut object = server.get(QUEUE).unwrap();
    object["spec"]["worker"]["batchSize"] = 8.into();
    server.put(QUEUE, object);
    assert!(!operator.reconcile(&server).await);
    assert_eq!(reconciling(&server)["reason"], "RollingOut");
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_never_became_ready_says_what_fails() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    server.refuse(Some(("/deployments/lines-worker", WORDS)));
    for _ in 0..3 {
        assert!(!operator.reconcile(&server).await);
    }
    let told = reconciling(&server);
    assert_eq!([&told["reason"], &told["message"]], ["Retrying", &format!("Deployment lines-worker: {WORDS}")[..]]);
    server.refuse(None);
    reconcile_and_poll(&server, &operator, Ok(&waiting(0))).await;
    assert_eq!(reconciling(&server)["reason"], "AsSpecified");
}

#[tokio::test(start_paused = true)]
async fn however_often_it_fails_the_status_is_written_seldom() {
    // The second refuses the status too.
    for refused in ["/poddisruptionbudgets/lines-worker", ""] {
        let (server, operator) = edited().await;
        server.refuse(Some((refused, WORDS)));
        let before = statuses(&server);
        for _ in 0..120 {
            // As every poll may wake it.
            tokio::time::advance(Duration::from_millis(250)).await;
            assert!(!operator.reconcile(&server).await);
        }
        let written = statuses(&server) - before;
        assert!((1..=3).contains(&written), "{refused}: {written} in half a minute");
    }
}
