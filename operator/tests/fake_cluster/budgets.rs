//! Database connections: pods that drain, or that a rollout replaces, hold theirs.

use jobqueue_operator::LeaseGuard;
use jobqueue_queue::QueueStats;
use kube::runtime::{reflector::ObjectRef, watcher::Event};
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{
        DEPLOYMENT, Operator, QUEUE, cluster_with_generation, pods_become_ready, queue, reconcile_and_poll, waiting,
        watch_tells, working,
    },
};

/// A queue whose database has so many connections; a worker takes four.
fn with_connections(connections: u32, budget: Option<&str>) -> ApiServer {
    let server = cluster_with_generation();
    let mut object = server.get(QUEUE).unwrap();
    object["spec"]["database"]["maxConnections"] = connections.into();
    object["spec"]["database"]["budget"] = json!(budget);
    server.put(QUEUE, object);
    server
}

fn surge(server: &ApiServer) -> Value {
    server.get(DEPLOYMENT).unwrap()["spec"]["strategy"]["rollingUpdate"]["maxSurge"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_drains_holds_its_connections() {
    for (pods, left) in [(3, 2), (4, 1), (5, 0)] {
        let server = with_connections(20, Some("b"));
        let operator = Operator::start(&server, LeaseGuard::unlimited());
        reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
        let mut other = queue();
        other["metadata"]["name"] = "others".into();
        other["spec"]["database"] = server.get(QUEUE).unwrap()["spec"]["database"].clone();
        assert!(operator.reconcile_as(other).await);
        // Three workers are asked for; the others are on their way out.
        let names: Vec<String> = (0..pods).map(|pod| format!("lines-worker-1-{pod}")).collect();
        let workers: Vec<_> = names.iter().map(|name| (name.as_str(), 1, 0)).collect();
        let QueueStats { workers, .. } = working(&workers);
        operator.poll(Ok(&QueueStats { workers, ..waiting(300) })).await;
        assert_eq!(server.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 3);
        let others = ObjectRef::new("others").within("shop");
        if let Some(change) = operator.term.evaluate(&others, 0.0, Ok(&waiting(800))) {
            operator.term.execute(&others, change, tokio::time::Instant::now()).await;
        }
        let deployment = server.get("/apis/apps/v1/namespaces/shop/deployments/others-worker").unwrap();
        assert_eq!(deployment["spec"]["replicas"], left, "{pods} pods of the first hold four each of 20");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rollout_makes_no_more_pods_than_the_database_has_connections_for() {
    for (connections, expected) in [(20, json!(0)), (24, json!(1)), (100, json!("25%"))] {
        let server = with_connections(connections, None);
        let operator = Operator::start(&server, LeaseGuard::unlimited());
        operator.settle(&server, &waiting(500)).await;
        assert_eq!(server.replicas(), [0, 5]);
        let mut edited = server.get(QUEUE).unwrap();
        edited["metadata"]["generation"] = 2.into();
        edited["spec"]["ingest"][0]["tables"][0]["columns"]["b"] = "record.b".into();
        server.put(QUEUE, edited);
        operator.settle(&server, &waiting(500)).await;
        assert_eq!(surge(&server), expected, "{connections} connections, and 5 workers of 4");
        assert_eq!(server.replicas(), [0, 5]);
    }
}

/// Nothing of the manifest changes; the next rollout may be anybody's (`kubectl rollout restart`).
#[tokio::test(start_paused = true)]
async fn the_surge_follows_the_number_of_workers_and_what_other_queues_of_the_budget_have() {
    let server = with_connections(24, Some("b"));
    let mut operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(0))).await;
    assert_eq!(surge(&server), json!("25%"), "none are there");
    reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
    assert_eq!((server.replicas(), surge(&server)), (vec![0, 5], json!(1)), "one of four is left of 24");
    pods_become_ready(&server, 5);
    watch_tells(&server, &operator, Event::Apply);
    assert!(operator.reconcile(&server).await);
    let reads = server.reads(DEPLOYMENT);
    assert!(operator.reconcile(&server).await);
    assert_eq!(server.reads(DEPLOYMENT), reads, "what was applied is as the watch has it");
    while operator.term.next_request().is_some() {}
    // Another queue takes what is left. The first is asked nothing but its numbers.
    let mut other = queue();
    other["metadata"]["name"] = "others".into();
    other["spec"]["database"] = server.get(QUEUE).unwrap()["spec"]["database"].clone();
    assert!(operator.reconcile_as(other).await);
    let others = ObjectRef::new("others").within("shop");
    let change = operator.term.evaluate(&others, 0.0, Ok(&waiting(800))).expect("jobs wait");
    operator.term.execute(&others, change, tokio::time::Instant::now()).await;
    while operator.term.next_request().is_some() {}
    operator.poll(Ok(&waiting(500))).await;
    assert_eq!(operator.term.next_request(), Some(crate::fixture::key()), "its surge is too large now");
    assert!(operator.reconcile(&server).await);
    assert_eq!(surge(&server), json!(0));
    operator.poll(Ok(&waiting(500))).await;
    assert_eq!(operator.term.next_request(), None, "once");
}
