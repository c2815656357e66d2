//! Hundreds of queues with one operator: the small form of `./dev bench scale`, which runs thousands on a real API server.

use std::{collections::BTreeSet, time::Duration};

use jobqueue_crds::JobQueue;
use jobqueue_operator::LeaseGuard;
use kube::runtime::reflector::ObjectRef;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    api_server::ApiServer,
    fixture::{Operator, SECRET, queue, secret, waiting},
};

const QUEUES: usize = 500;
const BURST: usize = 100;

fn path(number: usize) -> String {
    format!("/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/q{number}")
}

fn deployment(number: usize) -> String {
    format!("/apis/apps/v1/namespaces/shop/deployments/q{number}-worker")
}

/// A cluster with `QUEUES` queues that share a Secret, and an operator that has made what belongs to them.
async fn served() -> (ApiServer, Operator) {
    let server = ApiServer::default();
    server.put(SECRET, secret("pw"));
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    for number in 0..QUEUES {
        let mut object = queue();
        object["metadata"]["name"] = format!("q{number}").into();
        object["metadata"]["uid"] = format!("u{number}").into();
        server.put(&path(number), object);
    }
    reconcile_all(&server, &operator).await;
    (server, operator)
}

async fn reconcile_all(server: &ApiServer, operator: &Operator) {
    for number in 0..QUEUES {
        assert!(operator.reconcile_as(server.get(&path(number)).unwrap()).await);
    }
}

/// One poll of all queues: those of `busy` have jobs waiting, the others none. Returns how many were scaled.
async fn poll(operator: &Operator, busy: &BTreeSet<usize>) -> usize {
    let mut scaled = 0;
    for number in 0..QUEUES {
        let key = ObjectRef::<JobQueue>::new(&format!("q{number}")).within("shop");
        let jobs = if busy.contains(&number) { 150 } else { 0 };
        let now = operator.born.elapsed().as_secs_f64();
        if let Some(change) = operator.term.evaluate(&key, now, Ok(&waiting(jobs))) {
            operator.term.execute(&key, change, Instant::now()).await;
            scaled += 1;
        }
    }
    scaled
}

fn replicas(server: &ApiServer, number: usize) -> Value {
    server.get(&deployment(number)).unwrap()["spec"]["replicas"].clone()
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_queues_are_made_with_four_writes_each_and_rest_without_one() {
    let (server, operator) = served().await;
    poll(&operator, &BTreeSet::new()).await;
    reconcile_all(&server, &operator).await;
    let made = server.writes().len();
    assert!(made <= 4 * QUEUES, "{made} writes for {QUEUES} queues: {:#?}", &server.writes()[..12]);
    for number in 0..QUEUES {
        assert_eq!(replicas(&server, number), 0);
        assert_eq!(server.get(&path(number)).unwrap()["status"]["conditions"][0]["status"], "True");
    }
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(poll(&operator, &BTreeSet::new()).await, 0);
        reconcile_all(&server, &operator).await;
    }
    assert_eq!(server.writes().len(), made, "{:#?}", &server.writes()[made..]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_scales_those_it_came_to_in_one_poll_and_no_others() {
    let (server, operator) = served().await;
    poll(&operator, &BTreeSet::new()).await;
    let busy: BTreeSet<usize> = (0..QUEUES).step_by(QUEUES / BURST).collect();
    tokio::time::advance(Duration::from_secs(1)).await;
    let before = server.writes().len();
    assert_eq!(poll(&operator, &busy).await, BURST);
    let scales = server.writes()[before..].iter().filter(|write| write.ends_with("/scale")).count();
    assert_eq!(scales, BURST);
    for number in 0..QUEUES {
        assert_eq!(replicas(&server, number), if busy.contains(&number) { 2 } else { 0 }, "q{number}");
    }
}
