//! How many workers stay when there is less to do, and which are removed.

use jobqueue_operator::LeaseGuard;
use jobqueue_queue::QueueStats;
use serde_json::{Value, json};

use crate::fixture::{Operator, QUEUE, cluster, key, pod, pods_become_ready, reconcile_and_poll, waiting, working};

#[tokio::test(start_paused = true)]
async fn idle_workers_are_marked_to_go_before_there_are_fewer() {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    pods_become_ready(&server, 3);
    for name in ["a", "b", "c"] {
        server.put(&format!("/api/v1/namespaces/shop/pods/{name}"), pod(name, &json!({})));
    }
    for _ in 0..20 {
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        operator.poll(Ok(&working(&[("a", 0, 0), ("b", 0, 0), ("c", 1, 0)]))).await;
    }
    assert_eq!(server.replicas(), [0, 3, 1]);
    let cost = |name: &str| {
        let pod = server.get(&format!("/api/v1/namespaces/shop/pods/{name}")).unwrap();
        pod["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"].clone()
    };
    assert_eq!([cost("a"), cost("b"), cost("c")], [json!("-100"), json!("-100"), Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_no_poll_sees_keep_the_worker_they_take() {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    pods_become_ready(&server, 3);
    for tooth in 0..800 {
        tokio::time::advance(std::time::Duration::from_millis(250)).await;
        // Every second 300 jobs, done before the next poll.
        let each = 100 * (tooth / 4);
        let done = QueueStats { running: 0, ..working(&[("a", each, 0), ("b", each, 0), ("c", each, 0)]) };
        operator.poll(Ok(&done)).await;
    }
    // Three hundred at 800/s are the work of one, and that one stays.
    assert_eq!(server.replicas(), [0, 3, 1]);
}

/// A poll is answered while the pods are being marked: with `protectBusy` a worker that has begun a job in between stays.
#[tokio::test(start_paused = true)]
async fn a_job_that_begins_while_its_pod_is_marked_is_not_cut_off() {
    let server = cluster();
    let mut queue = server.get(QUEUE).unwrap();
    queue["spec"]["scaling"]["scaleDown"] = json!({"protectBusy": true});
    server.put(QUEUE, queue);
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    pods_become_ready(&server, 3);
    for name in ["a", "b", "c"] {
        let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        server.put(
            &format!("/api/v1/namespaces/shop/pods/lines-worker-{name}"),
            pod(&format!("lines-worker-{name}"), &ready),
        );
    }
    let workers = |of_b| working(&[("lines-worker-a", 0, 0), ("lines-worker-b", of_b, 0), ("lines-worker-c", 1, 0)]);
    let mut change = None;
    for _ in 0..40 {
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        let now = operator.born.elapsed().as_secs_f64();
        change = operator.term.evaluate(&key(), now, Ok(&workers(0)));
        if change.is_some() {
            break;
        }
    }
    let (lines, polled_at) = (key(), tokio::time::Instant::now());
    let begins = async {
        let now = operator.born.elapsed().as_secs_f64();
        let _ = operator.term.evaluate(&key(), now, Ok(&workers(1)));
    };
    tokio::join!(operator.term.execute(&lines, change.expect("two are too many"), polled_at), begins);
    assert_eq!(server.replicas(), [0, 3], "b has a job by now");
    // Later only a is removed.
    for _ in 0..40 {
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        operator.poll(Ok(&workers(1))).await;
    }
    assert_eq!(server.replicas(), [0, 3, 2]);
}
