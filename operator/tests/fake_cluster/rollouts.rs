//! Another release of the operator: it replaces no worker without need, and where it must, those of one queue after the other.

use jobqueue_operator::LeaseGuard;
use k8s_openapi::api::apps::v1::Deployment;
use kube::runtime::watcher::Event;
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, Operator, QUEUE, SECRET, cluster_with_generation, conditions, queue, secret, waiting},
};

const CONFIG_MAP: &str = "/api/v1/namespaces/shop/configmaps/lines-worker";
const NETWORK_POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/lines-worker";
const NAMES: [&str; 3] = ["one", "two", "three"];

fn path(name: &str) -> String {
    format!("/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/{name}")
}

fn deployment(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/shop/deployments/{name}-worker")
}

fn image(server: &ApiServer, name: &str) -> Value {
    server.get(&deployment(name)).unwrap()["spec"]["template"]["spec"]["containers"][0]["image"].clone()
}

/// As the Deployment controller would: all pods are replaced and available.
fn rolled_out(server: &ApiServer, path: &str) {
    let mut deployment = server.get(path).unwrap();
    let replicas = deployment["spec"]["replicas"].clone();
    deployment["status"] = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
    });
    server.put(path, deployment);
}

/// The watch of the Deployments brings what there is.
fn watch_lists(server: &ApiServer, operator: &Operator, names: &[&str]) {
    operator.term.cache_deployment(&Event::Init);
    for name in names {
        let mut object = server.get(&deployment(name)).unwrap();
        object["metadata"]["namespace"] = "shop".into();
        let object: Deployment = serde_json::from_value(object).unwrap();
        operator.term.cache_deployment(&Event::InitApply(object));
    }
    operator.term.cache_deployment(&Event::InitDone);
}

async fn reconcile_all(server: &ApiServer, operator: &Operator) {
    for name in NAMES {
        assert!(operator.reconcile_as(server.get(&path(name)).unwrap()).await);
    }
}

/// Three queues with a worker each, of the first release.
async fn three_queues(edit: impl Fn(&mut Value)) -> ApiServer {
    let server = ApiServer::default();
    server.put(SECRET, secret("pw"));
    for name in NAMES {
        let mut object = queue();
        object["metadata"]["name"] = name.into();
        object["metadata"]["generation"] = 1.into();
        object["spec"]["scaling"]["minReplicas"] = 1.into();
        edit(&mut object["spec"]);
        server.put(&path(name), object);
    }
    let first = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:1");
    reconcile_all(&server, &first).await;
    for name in NAMES {
        rolled_out(&server, &deployment(name));
    }
    server
}

fn new_images(server: &ApiServer) -> Vec<&'static str> {
    NAMES.into_iter().filter(|name| image(server, name) == "worker:2").collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_default_image_replaces_the_workers_of_one_queue_after_the_other() {
    let server = three_queues(|_| {}).await;
    let second = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
    reconcile_all(&server, &second).await;
    assert_eq!(new_images(&server), [""; 0], "what an earlier leader began is not known yet");
    watch_lists(&server, &second, &NAMES);
    reconcile_all(&server, &second).await;
    assert_eq!(new_images(&server), ["one"]);
    // Another leader, which finds a rollout under way.
    let third = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
    watch_lists(&server, &third, &NAMES);
    reconcile_all(&server, &third).await;
    assert_eq!(new_images(&server), ["one"]);
    third.term.evaluate(&kube::runtime::reflector::ObjectRef::new("two").within("shop"), 0.0, Ok(&waiting(0)));
    assert!(third.reconcile_as(server.get(&path("two")).unwrap()).await);
    let two = server.get(&path("two")).unwrap();
    let reconciling = two["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "Reconciling");
    assert_eq!(reconciling.unwrap()["reason"], "RolloutQueued");
    rolled_out(&server, &deployment("one"));
    watch_lists(&server, &third, &NAMES);
    reconcile_all(&server, &third).await;
    assert_eq!(new_images(&server), ["one", "two"]);
    // What a person changes waits for nobody.
    let mut edited = server.get(&path("three")).unwrap();
    edited["metadata"]["generation"] = 2.into();
    edited["spec"]["worker"]["drainSeconds"] = 7.into();
    server.put(&path("three"), edited);
    reconcile_all(&server, &third).await;
    assert_eq!(new_images(&server), NAMES);
}

#[tokio::test(start_paused = true)]
async fn queues_without_pods_and_pinned_ones_wait_for_nothing() {
    let server = three_queues(|spec| spec["scaling"]["minReplicas"] = 0.into()).await;
    let second = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
    watch_lists(&server, &second, &NAMES);
    reconcile_all(&server, &second).await;
    assert_eq!(new_images(&server), NAMES);
    let server = three_queues(|spec| spec["worker"] = json!({"image": "mine:1"})).await;
    let writes = server.writes().len();
    let second = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
    watch_lists(&server, &second, &NAMES);
    reconcile_all(&server, &second).await;
    assert_eq!(server.writes()[writes..], [""; 0]);
}

/// A cluster with a pinned queue and what an operator of an earlier release made for it, as that one wrote it. `edit` makes the
/// spec the one that it was made for.
fn left_by(made: &str, edit: impl Fn(&mut Value)) -> ApiServer {
    let server = cluster_with_generation();
    let mut pinned = server.get(QUEUE).unwrap();
    pinned["spec"]["worker"] = json!({"image": "mine:7"});
    edit(&mut pinned["spec"]);
    server.put(QUEUE, pinned);
    let made: Value = serde_json::from_str(made).unwrap();
    for (path, object) in [
        (DEPLOYMENT, "deployment"),
        (CONFIG_MAP, "configMap"),
        (NETWORK_POLICY, "networkPolicy"),
        ("/apis/policy/v1/namespaces/shop/poddisruptionbudgets/lines-worker", "disruptionBudget"),
    ] {
        if let Some(object) = made.get(object) {
            server.put(path, object.clone());
        }
    }
    server
}

/// As `first_release.json` was made: by the operator of the first version, on a cluster.
fn first_release() -> ApiServer {
    left_by(include_str!("first_release.json"), |spec| {
        spec["scaling"]["minReplicas"] = 1.into();
        spec["scaling"]["scaleDown"] = json!({"protectBusy": true});
        spec["worker"]["networkPolicy"] = json!({});
    })
}

fn template(server: &ApiServer) -> Value {
    server.get(DEPLOYMENT).unwrap()["spec"]["template"].clone()
}

/// Changes the spec, as a person does.
fn change(server: &ApiServer, edit: impl Fn(&mut Value)) {
    let mut queue = server.get(QUEUE).unwrap();
    edit(&mut queue["spec"]);
    server.put(QUEUE, queue);
}

/// Settles twice, so that everything is applied once more.
async fn settle_twice(server: &ApiServer, operator: &Operator) {
    operator.settle(server, &waiting(0)).await;
    tokio::time::advance(std::time::Duration::from_secs(200)).await;
    operator.settle(server, &waiting(0)).await;
}

#[tokio::test(start_paused = true)]
async fn workers_of_earlier_releases_stay_until_there_is_a_reason() {
    for server in [first_release(), left_by(include_str!("second_release.json"), |_| {})] {
        let before = template(&server);
        let operator = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
        settle_twice(&server, &operator).await;
        assert_eq!(template(&server), before);
        let found = conditions(&server);
        assert!(found.contains(&"Stalled=False/AsSpecified".to_owned()), "{found:?}");
        let metadata = server.get(DEPLOYMENT).unwrap()["metadata"].clone();
        assert_ne!(metadata["annotations"]["jobqueue.dev/generation"], Value::Null, "it was applied: {metadata:#}");
        // What is no reason.
        change(&server, |spec| spec["scaling"]["maxReplicas"] = 7.into());
        settle_twice(&server, &operator).await;
        assert_eq!(template(&server), before);
        change(&server, |spec| spec["ingest"][0]["tables"][0]["columns"]["b"] = "record.b".into());
        operator.settle(&server, &waiting(0)).await;
        let now = template(&server);
        assert_ne!(now, before);
        assert!(now.to_string().contains("JOBQUEUE_CONFIG_VERSION"), "{now}");
        settle_twice(&server, &operator).await;
        assert!(server.get(CONFIG_MAP).is_none(), "no ReplicaSet needs the config of the earlier release any more");
    }
}

/// The first operators did not annotate protected pods for the autoscalers of nodes. That is no reason to replace them, until a
/// person switches it on.
#[tokio::test(start_paused = true)]
async fn annotations_of_protected_pods_come_with_the_next_rollout() {
    let server = first_release();
    let before = template(&server);
    let operator = Operator::of_release(&server, LeaseGuard::unlimited(), "worker:2");
    settle_twice(&server, &operator).await;
    change(&server, |spec| spec["scaling"]["scaleDown"]["protectBusy"] = false.into());
    settle_twice(&server, &operator).await;
    assert_eq!(template(&server), before);
    change(&server, |spec| spec["scaling"]["scaleDown"]["protectBusy"] = true.into());
    settle_twice(&server, &operator).await;
    let annotations = template(&server)["metadata"]["annotations"].clone();
    assert_eq!(annotations["karpenter.sh/do-not-disrupt"], "true", "{annotations}");
}
