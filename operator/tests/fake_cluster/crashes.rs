//! The operator dies before and after every write, or every write goes wrong once: the cluster ends the same, and the
//! number of workers never goes the wrong way.

use std::time::Duration;

use jobqueue_operator::LeaseGuard;
use kube::runtime::watcher::Event;

use crate::{
    api_server::{ApiServer, Fault},
    fixture::{
        DEPLOYMENT, Operator, QUEUE, SECRET, away, cluster, cluster_with_generation, key, pods_become_ready, secret,
        waiting, watch_tells,
    },
};

/// What a run without faults makes of it, and how many writes that takes.
async fn undisturbed() -> (ApiServer, usize) {
    let server = cluster();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    let writes = server.writes().len();
    (server, writes)
}

fn assert_same_end(server: &ApiServer, expected: &ApiServer, what: &str) {
    let (found, wanted) = (server.contents(), expected.contents());
    let paths = |contents: &std::collections::BTreeMap<String, serde_json::Value>| -> Vec<String> {
        contents.keys().cloned().collect()
    };
    assert_eq!(paths(&found), paths(&wanted), "{what}");
    for (path, object) in &wanted {
        let (mut found, mut object) = (found[path].clone(), object.clone());
        if path == QUEUE {
            // A crash between the scaling and its record leaves an older account of it.
            for status in [&mut found["status"], &mut object["status"]] {
                status.as_object_mut().unwrap().remove("lastScale");
            }
        }
        if path == DEPLOYMENT {
            // How often it was written.
            for metadata in [&mut found["metadata"], &mut object["metadata"]] {
                metadata.as_object_mut().unwrap().remove("generation");
            }
        }
        assert_eq!(found, object, "{what}: {path}");
    }
    assert_eq!(server.replicas(), [0, 5], "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_new_queue_with_a_backlog_takes_few_writes_and_then_none() {
    let (server, _) = undisturbed().await;
    let writes: Vec<String> = server.writes().into_iter().filter(|write| !write.contains("/events")).collect();
    assert_eq!(writes.iter().filter(|write| write.contains("/deployments/")).count(), 2, "{writes:#?}");
    assert!(writes.len() <= 9, "{writes:#?}");
    assert_eq!(server.replicas(), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_or_after_any_write_converges() {
    let (expected, writes) = undisturbed().await;
    assert!(writes >= 6, "{writes}");
    for number in 0..writes {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let what = format!("{fault:?} at write {number}");
            let server = cluster();
            server.inject(number, fault);
            let first = Operator::start(&server, LeaseGuard::unlimited());
            first.settle(&server, &waiting(500)).await;
            assert!(server.client_is_dead(), "{what}");
            let second = Operator::start(&server, LeaseGuard::unlimited());
            second.settle(&server, &waiting(500)).await;
            assert_same_end(&server, &expected, &what);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_goes_wrong_once_is_made_good() {
    let (expected, writes) = undisturbed().await;
    for number in 0..writes {
        let statuses = [409, 429, 500, 503].map(Fault::Status);
        for fault in statuses.into_iter().chain([Fault::Silence]) {
            let server = cluster();
            server.inject(number, fault);
            let operator = Operator::start(&server, LeaseGuard::unlimited());
            operator.settle(&server, &waiting(500)).await;
            assert_same_end(&server, &expected, &format!("{fault:?} at write {number}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fresh_operator_begins_with_the_number_that_it_finds() {
    let (server, _) = undisturbed().await;
    // Redis is away while it starts, and an old status is all that the watch has.
    let second = Operator::start(&server, LeaseGuard::unlimited());
    for _ in 0..10 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(second.reconcile(&server).await);
        second.poll(Err(&away())).await;
    }
    assert_eq!(server.replicas(), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_old_version_of_the_queue_changes_no_number_back() {
    let server = cluster();
    let old = server.get(QUEUE).unwrap();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    for _ in 0..5 {
        assert!(operator.reconcile_as(old.clone()).await);
        operator.poll(Ok(&waiting(500))).await;
    }
    assert_eq!(server.replicas(), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn what_is_edited_or_deleted_by_hand_is_put_back() {
    let (server, _) = undisturbed().await;
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    let mut edited = server.get(DEPLOYMENT).unwrap();
    edited["spec"]["replicas"] = 1.into();
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "other:2".into();
    server.put(DEPLOYMENT, edited);
    assert!(operator.reconcile(&server).await);
    let deployment = server.get(DEPLOYMENT).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 5);
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "worker:1");
    server.remove(DEPLOYMENT);
    assert!(operator.reconcile(&server).await);
    assert_eq!(server.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 5);
    assert_eq!(server.replicas(), [0, 5, 1, 5]);
}

#[tokio::test(start_paused = true)]
async fn two_that_both_believe_to_lead_agree() {
    let server = cluster();
    let first = Operator::start(&server, LeaseGuard::unlimited());
    let second = Operator::start(&server, LeaseGuard::unlimited());
    for _ in 0..60 {
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        for operator in [&first, &second] {
            operator.reconcile(&server).await;
            operator.poll(Ok(&waiting(500))).await;
        }
    }
    assert_eq!(server.replicas(), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn one_whose_lease_is_over_writes_nothing() {
    let server = cluster();
    let lease = LeaseGuard::default();
    lease.extend(tokio::time::Instant::now(), std::time::Duration::from_secs(5));
    let operator = Operator::start(&server, lease);
    assert!(operator.reconcile(&server).await);
    let writes = server.writes();
    // As a process that is stopped and goes on.
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    operator.poll(Ok(&waiting(500))).await;
    server.remove(DEPLOYMENT);
    assert!(!operator.reconcile(&server).await);
    assert_eq!(server.writes(), writes);
}

#[tokio::test(start_paused = true)]
async fn a_rotated_secret_rolls_the_workers_out_once() {
    let (server, _) = undisturbed().await;
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    pods_become_ready(&server, 5);
    let mark = |server: &ApiServer| {
        let deployment = server.get(DEPLOYMENT).unwrap();
        deployment["spec"]["template"]["metadata"]["annotations"]["jobqueue.dev/secret-hash"].to_string()
    };
    let before = mark(&server);
    server.put(SECRET, secret("new"));
    operator.settle(&server, &waiting(500)).await;
    let after = mark(&server);
    assert_ne!(before, after);
    server.put(SECRET, secret("pw"));
    operator.settle(&server, &waiting(500)).await;
    assert_ne!(mark(&server), before, "pods of the first template may have read the password in between");
    assert_eq!(server.replicas(), [0, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_queue_is_let_go() {
    let (server, _) = undisturbed().await;
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    let writes = server.writes();
    let mut queue = server.get(QUEUE).unwrap();
    queue["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    assert!(operator.reconcile_as(queue).await);
    operator.poll(Ok(&waiting(800))).await;
    assert_eq!(server.writes(), writes);
    assert!(!operator.term.serves(&key()));
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_starts_where_all_is_applied_applies_nothing() {
    let (server, _) = undisturbed().await;
    let writes = server.writes();
    let second = Operator::start(&server, LeaseGuard::unlimited());
    second.settle(&server, &waiting(500)).await;
    let more = server.writes().split_off(writes.len());
    let applied = |write: &&String| {
        ["/deployments/", "/configmaps/", "/poddisruptionbudgets/"].iter().any(|kind| write.contains(kind))
    };
    assert_eq!(more.iter().filter(applied).count(), 0, "{more:#?}");
    // Somebody edits it while no operator is there.
    let mut edited = server.get(DEPLOYMENT).unwrap();
    edited["spec"]["template"]["spec"]["containers"][0]["image"] = "other:2".into();
    server.put(DEPLOYMENT, edited);
    let third = Operator::start(&server, LeaseGuard::unlimited());
    assert!(third.reconcile(&server).await);
    let image = server.get(DEPLOYMENT).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image, "worker:1");
}

#[tokio::test(start_paused = true)]
async fn one_that_starts_where_all_is_reported_reconciles_not_at_every_poll() {
    let server = cluster_with_generation();
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    let writes = server.writes();
    let mut second = Operator::start(&server, LeaseGuard::unlimited());
    assert!(second.reconcile(&server).await);
    let mut reconciles = 0;
    for poll in 0..400 {
        tokio::time::advance(Duration::from_millis(250)).await;
        second.poll(Ok(&waiting(0))).await;
        // Where thousands of queues wait for a reconcile it comes some polls later.
        if poll > 4 && second.term.next_request().is_some() {
            reconciles += 1;
            assert!(second.reconcile(&server).await);
        }
    }
    // The first polls asked for one each.
    assert!(reconciles < 10, "{reconciles} reconciles in 400 polls");
    assert_eq!(server.writes(), writes);
}

#[tokio::test(start_paused = true)]
async fn at_rest_the_watch_is_asked_and_not_the_cluster() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(500)).await;
    pods_become_ready(&server, 5);
    watch_tells(&server, &operator, Event::Apply);
    operator.settle(&server, &waiting(500)).await;
    let writes = server.writes();
    // Deleted, and the watch has not told yet.
    let deployment = server.get(DEPLOYMENT).unwrap();
    server.remove(DEPLOYMENT);
    assert!(operator.reconcile(&server).await);
    assert_eq!(server.writes(), writes);
    server.put(DEPLOYMENT, deployment);
    watch_tells(&server, &operator, Event::Delete);
    server.remove(DEPLOYMENT);
    assert!(operator.reconcile(&server).await);
    assert_eq!(server.get(DEPLOYMENT).unwrap()["spec"]["replicas"], 5);
}
