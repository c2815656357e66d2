//! Every condition and reason that the operator gives, from a cluster that shows why.

use jobqueue_operator::LeaseGuard;
use jobqueue_queue::{FaultKind, QueueError, QueueStats, WorkerFault};
use kube::runtime::reflector::ObjectRef;
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{
        DEPLOYMENT, Operator, QUEUE, SECRET, away, cluster, conditions, key, malformed, pod, pods_become_ready, queue,
        reconcile_and_poll, secret, waiting, working,
    },
};

fn operator(server: &ApiServer) -> Operator {
    Operator::start(server, LeaseGuard::unlimited())
}

fn assert_has(server: &ApiServer, wanted: &[&str]) {
    let found = conditions(server);
    for condition in wanted {
        assert!(found.iter().any(|one| one == condition), "{condition} is not among {found:#?}");
    }
    let is = |name: &str| found.iter().any(|one| one.starts_with(name));
    assert!(!(is("Stalled=True") && is("Reconciling=True")), "{found:#?}");
    assert_eq!(found.len(), 10, "{found:#?}");
}

fn with(edit: impl FnOnce(&mut Value)) -> ApiServer {
    let server = cluster();
    let mut object = queue();
    edit(&mut object["spec"]);
    server.put(QUEUE, object);
    server
}

fn waits(reason: &str) -> Value {
    json!({"containerStatuses": [{"name": "worker", "image": "worker:1", "imageID": "", "ready": false, "restartCount": 1,
        "state": {"waiting": {"reason": reason, "message": "words"}},
        "lastState": {"terminated": {"exitCode": 78, "message": "the recipe has 1 problem(s)"}}}]})
}

#[tokio::test(start_paused = true)]
async fn a_password_file_needs_a_directory_of_the_operators() {
    let server = with(|spec| spec["queue"]["redis"]["passwordFile"] = "/var/run/token".into());
    operator(&server).reconcile(&server).await;
    assert_has(&server, &["Stalled=True/InvalidSpec"]);
    assert!(server.get(QUEUE).unwrap()["status"].to_string().contains("--password-directory"));
}

#[tokio::test(start_paused = true)]
async fn idle_at_zero_is_ready() {
    let server = cluster();
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(0))).await;
    assert_has(
        &server,
        &[
            "Ready=True/Idle",
            // The Deployment has not been seen by its controller yet, but there is no pod to be replaced.
            "Reconciling=False/AsSpecified",
            "Stalled=False/AsSpecified",
            "QueueReachable=True/Reachable",
            "DatabaseReachable=Unknown/Pending",
            "WorkersAvailable=True/AsSpecified",
            "ScaledToTarget=True/OnTarget",
            "ScalingLimited=False/NotLimited",
            "Paused=False/ModeAuto",
            "Degraded=False/AsSpecified",
        ],
    );
    pods_become_ready(&server, 0);
    let successor = operator(&server);
    successor.reconcile(&server).await;
    // It has not reconcile_and_poll Redis yet: what its predecessor wrote stands.
    assert_has(&server, &["Ready=True/Idle", "QueueReachable=True/Reachable", "ScaledToTarget=True/OnTarget"]);
    reconcile_and_poll(&server, &successor, Ok(&waiting(0))).await;
    assert_has(&server, &["Ready=True/Idle", "Reconciling=False/AsSpecified"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_queue_is_reported_once() {
    let statuses = |server: &ApiServer| server.writes().iter().filter(|write| write.contains("/status")).count();
    let server = cluster();
    let operator = operator(&server);
    operator.reconcile(&server).await;
    assert_eq!(statuses(&server), 0, "not reconcile_and_poll yet");
    operator.poll(Ok(&waiting(0))).await;
    operator.reconcile(&server).await;
    assert_eq!(statuses(&server), 1);
    assert_has(&server, &["Ready=True/Idle", "Reconciling=False/AsSpecified"]);
    assert!(!server.writes().iter().any(|write| write.contains("/events")), "all is well: {:?}", server.writes());
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_is_silent_keeps_nobody_in_the_dark() {
    let server = cluster();
    let operator = operator(&server);
    operator.reconcile(&server).await;
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    operator.reconcile(&server).await;
    assert_has(&server, &["Ready=Unknown/Pending", "QueueReachable=Unknown/Pending"]);
}

#[tokio::test(start_paused = true)]
async fn at_work_and_limited() {
    let server = cluster();
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(2000))).await;
    assert_has(&server, &["Ready=True/WorkersStarting", "WorkersAvailable=False/WorkersStarting"]);
    assert_has(&server, &["ScalingLimited=True/MaxReplicas", "ScaledToTarget=False/MaxReplicas"]);
    pods_become_ready(&server, 8);
    reconcile_and_poll(&server, &operator, Ok(&waiting(2000))).await;
    assert_has(&server, &["Ready=True/MaxReplicas", "DatabaseReachable=True/Reachable"]);
    reconcile_and_poll(&server, &operator, Ok(&waiting(750))).await;
    assert_has(&server, &["Ready=True/Working", "ScalingLimited=False/NotLimited"]);
}

#[tokio::test(start_paused = true)]
async fn limits_have_their_reasons() {
    let server = with(|spec| spec["database"]["maxConnections"] = 8.into());
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(500))).await;
    assert_has(&server, &["ScalingLimited=True/ConnectionBudget"]);
    let server = with(|spec| spec["scaling"]["scaleUp"] = json!({"maxStep": 1}));
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(500))).await;
    assert_has(&server, &["ScalingLimited=True/StepLimited"]);
    let server = with(|spec| spec["scaling"]["scaleUp"] = json!({"stabilizationSeconds": 600}));
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(500))).await;
    assert_has(&server, &["ScalingLimited=True/Stabilizing"]);
}

#[tokio::test(start_paused = true)]
async fn queues_of_one_budget_share_its_connections() {
    let budget = json!({"urlSecretKeyRef": {"name": "warehouse", "key": "database"}, "budget": "b",
        "maxConnections": 20});
    let server = with(|spec| spec["database"] = budget.clone());
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(300))).await;
    let mut other = queue();
    other["metadata"]["name"] = "others".into();
    other["spec"]["database"] = budget;
    server.put("/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/others", other.clone());
    assert!(operator.reconcile_as(other).await);
    let others = ObjectRef::new("others").within("shop");
    let change = operator.term.evaluate(&others, 0.0, Ok(&waiting(800))).unwrap();
    operator.term.execute(&others, change, tokio::time::Instant::now()).await;
    let replicas = server.get("/apis/apps/v1/namespaces/shop/deployments/others-worker").unwrap();
    assert_eq!(replicas["spec"]["replicas"], 2, "three workers of the first hold 12 of 20 connections");
}

#[tokio::test(start_paused = true)]
async fn modes_have_their_reasons() {
    let server = with(|spec| spec["scaling"] = json!({"mode": "Paused"}));
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(500))).await;
    assert_has(&server, &["Ready=True/ModePaused", "Paused=True/ModePaused"]);
    assert_eq!(server.replicas(), [0]);
    let server = with(|spec| {
        spec["scaling"] = json!({"mode": "Manual"});
        spec["replicas"] = 3.into();
    });
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(0))).await;
    assert_has(&server, &["Paused=False/ModeManual"]);
    assert_eq!(server.replicas(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_redis_that_fails_holds_the_number_and_says_why() {
    let denied = QueueError::Denied { endpoint: "redis://redis".into(), cause: "WRONGPASS".into() };
    let failures = [
        (away(), "Unreachable"),
        (denied, "Denied"),
        (QueueError::Data("WRONGTYPE".into()), "WrongData"),
        (QueueError::Config("too old".into()), "InvalidUrl"),
    ];
    for (error, reason) in failures {
        let server = cluster();
        let operator = operator(&server);
        reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
        operator.poll(Err(&error)).await;
        operator.reconcile(&server).await;
        assert_has(&server, &["QueueReachable=True/Reachable"]);
        reconcile_and_poll(&server, &operator, Err(&error)).await;
        let (queue, ready) = (format!("QueueReachable=False/{reason}"), format!("Ready=False/{reason}"));
        assert_has(&server, &[&queue, &ready]);
        assert_eq!(server.replicas(), [0, 5]);
        reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
        assert_has(&server, &["QueueReachable=True/Reachable"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_fails_holds_the_number_and_says_why() {
    for (kind, reason) in [(FaultKind::Denied, "Denied"), (FaultKind::Unavailable, "Unreachable")] {
        let server = cluster();
        let operator = operator(&server);
        let fault = WorkerFault { kind, message: "refused".into() };
        let troubled = |jobs| QueueStats { faults: vec![fault.clone()], ..waiting(jobs) };
        reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
        pods_become_ready(&server, 0);
        reconcile_and_poll(&server, &operator, Ok(&troubled(800))).await;
        let (database, ready) = (format!("DatabaseReachable=False/{reason}"), format!("Ready=False/{reason}"));
        assert_has(&server, &[&database, &ready, "ScalingLimited=True/DatabaseSaturated"]);
        tokio::time::advance(std::time::Duration::from_secs(300)).await;
        reconcile_and_poll(&server, &operator, Ok(&troubled(0))).await;
        assert_eq!(server.replicas(), [0, 1], "neither more nor fewer meanwhile");
        pods_become_ready(&server, 1);
        reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
        assert_has(&server, &["DatabaseReachable=True/Reachable"]);
        assert_eq!(server.replicas(), [0, 1, 8]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_worker_finds_out_that_the_database_is_back() {
    let server = cluster();
    let operator = operator(&server);
    let fault = WorkerFault { kind: FaultKind::Denied, message: "refused".into() };
    reconcile_and_poll(&server, &operator, Ok(&QueueStats { faults: vec![fault], ..waiting(800) })).await;
    assert_eq!(server.replicas(), [0, 1]);
}

/// The operator only reads, and may: what is refused to the workers it hears from them.
#[tokio::test(start_paused = true)]
async fn what_redis_refuses_to_workers_is_reported() {
    for (kind, reason) in [(FaultKind::QueueDenied, "Denied"), (FaultKind::QueueWrongData, "WrongData")] {
        let server = cluster();
        let operator = operator(&server);
        let fault = WorkerFault { kind, message: "ZADD on rq:wip:q".into() };
        reconcile_and_poll(&server, &operator, Ok(&QueueStats { faults: vec![fault], ..waiting(800) })).await;
        let (queue, ready) = (format!("QueueReachable=False/{reason}"), format!("Ready=False/{reason}"));
        assert_has(&server, &[&queue, &ready]);
        reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
        assert_has(&server, &["QueueReachable=True/Reachable"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recipe_that_does_not_fit_stalls() {
    let server = cluster();
    let operator = operator(&server);
    let fault = WorkerFault { kind: FaultKind::SchemaMismatch, message: "table t:\n  no such table".into() };
    reconcile_and_poll(&server, &operator, Ok(&QueueStats { faults: vec![fault], ..waiting(800) })).await;
    assert_has(
        &server,
        &["Stalled=True/InvalidRecipe", "Ready=False/InvalidRecipe", "DatabaseReachable=True/Reachable"],
    );
    assert_eq!(server.replicas(), [0, 1]);
    reconcile_and_poll(&server, &operator, Ok(&waiting(800))).await;
    assert_has(&server, &["Stalled=False/AsSpecified"]);
}

#[tokio::test(start_paused = true)]
async fn secrets_that_are_missing_are_named_and_come_back() {
    let server = cluster();
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
    server.remove(SECRET);
    reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
    assert_has(&server, &["Stalled=True/SecretNotFound", "Ready=False/SecretNotFound"]);
    let mut other = secret("pw");
    other["data"].as_object_mut().unwrap().remove("database");
    server.put(SECRET, other);
    reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
    assert_has(&server, &["Stalled=True/SecretKeyNotFound"]);
    server.put(SECRET, secret("pw"));
    reconcile_and_poll(&server, &operator, Ok(&waiting(500))).await;
    assert_has(&server, &["Stalled=False/AsSpecified", "Ready=True/WorkersStarting"]);
    assert_eq!(server.replicas(), [0, 5], "the workers stay meanwhile");
}

#[tokio::test(start_paused = true)]
async fn specs_that_cannot_be_served_say_what_is_wrong() {
    type Edit = fn(&mut Value);
    let cases: [(Edit, &str); 3] = [
        (|spec| spec["scaling"]["minReplicas"] = 9.into(), "InvalidSpec"),
        (|spec| spec["queue"]["redis"] = json!({"url": "http://redis"}), "InvalidSpec"),
        (|spec| spec["worker"] = json!({"template": {"spec": {"containers": 7}}}), "InvalidSpec"),
    ];
    for (edit, reason) in cases {
        let server = with(edit);
        reconcile_and_poll(&server, &operator(&server), Ok(&waiting(0))).await;
        assert_has(&server, &[&format!("Stalled=True/{reason}"), &format!("Ready=False/{reason}")]);
        assert_eq!(server.get(DEPLOYMENT), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_secret_without_a_url_says_so_and_not_what_it_holds() {
    // A socket is a file of the operator's machine, and of the workers' as well.
    for wrong_url in ["hunter2", "unix://:hunter2@/run/redis.sock", "redis+unix:///hunter2?db=1"] {
        let server = cluster();
        let mut wrong = secret("pw");
        wrong["data"]["redis"] = json!(k8s_openapi::ByteString(wrong_url.into()));
        server.put(SECRET, wrong);
        reconcile_and_poll(&server, &operator(&server), Ok(&waiting(0))).await;
        assert_has(&server, &["Stalled=True/InvalidUrl"]);
        assert!(!server.get(QUEUE).unwrap().to_string().contains("hunter2"));
        assert_eq!(server.get(DEPLOYMENT), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let server = cluster();
    let other = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "lines-worker"},
        "spec": {"replicas": 2, "selector": {}, "template": {}}});
    server.put(DEPLOYMENT, other);
    reconcile_and_poll(&server, &operator(&server), Ok(&waiting(500))).await;
    assert_has(&server, &["Stalled=True/NameTaken"]);
    assert_eq!(server.replicas(), [2]);
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_queue_of_the_name_left_is_waited_for() {
    let server = cluster();
    let first = operator(&server);
    reconcile_and_poll(&server, &first, Ok(&waiting(500))).await;
    let mut next = queue();
    next["metadata"]["uid"] = "u2".into();
    server.remove(QUEUE);
    server.put(QUEUE, next);
    assert!(!first.reconcile(&server).await, "the garbage collector has not been there yet");
    server.remove(DEPLOYMENT);
    reconcile_and_poll(&server, &first, Ok(&waiting(0))).await;
    let owner = &server.get(DEPLOYMENT).unwrap()["metadata"]["ownerReferences"][0]["uid"];
    assert_eq!(owner, "u2");
    assert_eq!(server.replicas(), [0, 5, 0], "nothing of the first is remembered");
}

#[tokio::test(start_paused = true)]
async fn pods_that_do_not_start_say_why() {
    let unscheduled = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes"}]});
    let cases = [
        (waits("ImagePullBackOff"), "Stalled=True/ImagePullFailed", "WorkersAvailable=False/ImagePullFailed"),
        (waits("CrashLoopBackOff"), "Stalled=True/InvalidRecipe", "WorkersAvailable=False/InvalidRecipe"),
        (waits("CreateContainerConfigError"), "Stalled=True/WorkersCrashing", "Ready=False/WorkersCrashing"),
        (unscheduled, "Degraded=True/Unschedulable", "WorkersAvailable=False/Unschedulable"),
    ];
    for (status, first, second) in cases {
        let server = cluster();
        let operator = operator(&server);
        reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
        server.put("/api/v1/namespaces/shop/pods/p", pod("p", &status));
        reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
        assert_has(&server, &[first, second]);
    }
    let server = cluster();
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    let mut deployment = server.get(DEPLOYMENT).unwrap();
    deployment["status"] = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "quota"}]});
    server.put(DEPLOYMENT, deployment);
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    assert_has(&server, &["Stalled=True/WorkersForbidden"]);
}

#[tokio::test(start_paused = true)]
async fn other_autoscalers_on_the_deployment_are_named() {
    let server = cluster();
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "lines-worker"});
    let path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/mine";
    server.put(path, json!({"metadata": {"name": "mine"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}}));
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    assert_has(&server, &["Degraded=True/ScalerConflict"]);
    server.remove(path);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    assert_has(&server, &["Degraded=False/AsSpecified"]);
    let path = "/apis/keda.sh/v1alpha1/namespaces/shop/scaledobjects/theirs";
    server.put(path, json!({"metadata": {"name": "theirs"}, "spec": {"scaleTargetRef": {"name": "lines-worker"}}}));
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    assert_has(&server, &["Degraded=True/ScalerConflict"]);
}

#[tokio::test(start_paused = true)]
async fn jobs_that_fail_and_a_redis_that_evicts_degrade() {
    let server = cluster();
    let operator = operator(&server);
    reconcile_and_poll(&server, &operator, Ok(&waiting(100))).await;
    reconcile_and_poll(&server, &operator, Ok(&working(&[("a", 0, 0)]))).await;
    reconcile_and_poll(&server, &operator, Ok(&working(&[("a", 3, 40)]))).await;
    assert_has(&server, &["Degraded=True/JobsFailing", "Ready=True/WorkersStarting"]);
    reconcile_and_poll(&server, &operator, Ok(&working(&[("a", 300, 40)]))).await;
    assert_has(&server, &["Degraded=False/AsSpecified"]);
    operator.term.record_eviction_policy(&key(), Some("allkeys-lru"));
    reconcile_and_poll(&server, &operator, Ok(&working(&[("a", 300, 40)]))).await;
    assert_has(&server, &["Degraded=True/EvictionPossible"]);
}

#[tokio::test(start_paused = true)]
async fn an_object_of_another_version_is_told_so() {
    let server = cluster();
    let operator = operator(&server);
    Box::pin(operator.term.reconcile(&malformed())).await.unwrap();
    let found = conditions(&server);
    assert_eq!(found, ["Ready=False/InvalidSpec", "Stalled=True/InvalidSpec"]);
}
