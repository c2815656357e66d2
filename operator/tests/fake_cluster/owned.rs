//! What a queue has beside its Deployment: put back when it is deleted, and left alone when it is somebody else's.

use jobqueue_operator::{LeaseGuard, OwnedKind};
use k8s_openapi::api::{core::v1::ConfigMap, networking::v1::NetworkPolicy, policy::v1::PodDisruptionBudget};
use kube::{Resource, core::PartialObjectMeta, runtime::watcher::Event};
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, Operator, QUEUE, cluster_with_generation, conditions, key, waiting, watch_tells},
};

const BUDGET: &str = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/lines-worker";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/lines-worker";

fn config_map(server: &ApiServer) -> String {
    let name = &server.get(DEPLOYMENT).unwrap()["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"];
    format!("/api/v1/namespaces/shop/configmaps/{}", name.as_str().unwrap())
}

/// A queue that has one object of each kind.
fn with_policy() -> ApiServer {
    let server = cluster_with_generation();
    let mut queue = server.get(QUEUE).unwrap();
    queue["spec"]["worker"] = json!({"networkPolicy": {}});
    server.put(QUEUE, queue);
    server
}

fn metadata<K>(object: &Value) -> PartialObjectMeta<K> {
    serde_json::from_value(json!({"metadata": object["metadata"]})).unwrap()
}

/// The watch of one kind lists these objects.
fn lists<K>(operator: &Operator, kind: OwnedKind, objects: &[&Value]) -> usize
where
    PartialObjectMeta<K>: Resource,
{
    operator.term.observe_owned::<K>(kind, &Event::Init);
    for object in objects {
        operator.term.observe_owned::<K>(kind, &Event::InitApply(metadata(object)));
    }
    operator.term.observe_owned::<K>(kind, &Event::InitDone).len()
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_is_back_as_soon_as_its_watch_tells() {
    let server = with_policy();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(0)).await;
    let paths = [config_map(&server), BUDGET.to_owned(), POLICY.to_owned()];
    let [config, budget, policy] = paths.clone().map(|path| server.get(&path).unwrap());
    lists::<ConfigMap>(&operator, OwnedKind::ConfigMap, &[&config]);
    lists::<PodDisruptionBudget>(&operator, OwnedKind::PodDisruptionBudget, &[&budget]);
    lists::<NetworkPolicy>(&operator, OwnedKind::NetworkPolicy, &[&policy]);
    watch_tells(&server, &operator, Event::Apply);
    let (writes, reads) = (server.writes().len(), server.reads(""));
    assert!(operator.reconcile(&server).await);
    assert_eq!((server.writes().len(), server.reads("")), (writes, reads), "nothing is missing, and nothing asked for");
    for path in &paths {
        server.remove(path);
        let told = match path {
            path if *path == BUDGET => operator.term.observe_owned(
                OwnedKind::PodDisruptionBudget,
                &Event::Delete(metadata::<PodDisruptionBudget>(&budget)),
            ),
            path if *path == POLICY => operator
                .term
                .observe_owned(OwnedKind::NetworkPolicy, &Event::Delete(metadata::<NetworkPolicy>(&policy))),
            _ => operator.term.observe_owned(OwnedKind::ConfigMap, &Event::Delete(metadata::<ConfigMap>(&config))),
        };
        assert_eq!(told, [key()]);
        assert!(operator.reconcile(&server).await);
        assert!(server.get(path).is_some(), "{path}");
        watch_tells(&server, &operator, Event::Apply);
        let writes = server.writes().len();
        assert!(operator.reconcile(&server).await);
        assert_eq!(server.writes().len(), writes, "and once is enough");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_while_nobody_watched_is_missing_in_the_list() {
    let server = with_policy();
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    server.remove(BUDGET);
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    assert!(operator.reconcile(&server).await);
    assert!(server.get(BUDGET).is_none(), "not known yet, and not asked for of each queue");
    let config = server.get(&config_map(&server)).unwrap();
    assert_eq!(lists::<ConfigMap>(&operator, OwnedKind::ConfigMap, &[&config]), 0);
    assert_eq!(lists::<PodDisruptionBudget>(&operator, OwnedKind::PodDisruptionBudget, &[]), 1);
    watch_tells(&server, &operator, Event::Apply);
    assert!(operator.reconcile(&server).await);
    assert!(server.get(BUDGET).is_some());
}

/// The object of somebody else, which has our name.
fn foreign(path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap();
    json!({"metadata": {"name": name, "namespace": "shop", "labels": {"jobqueue.dev/queue": "lines"}}, "spec": {"theirs": true}})
}

#[tokio::test(start_paused = true)]
async fn an_object_of_somebody_else_is_neither_written_nor_deleted() {
    let known = with_policy();
    Operator::start(&known, LeaseGuard::unlimited()).settle(&known, &waiting(0)).await;
    for path in [config_map(&known), BUDGET.to_owned(), POLICY.to_owned()] {
        let server = with_policy();
        server.put(&path, foreign(&path));
        let theirs = server.get(&path);
        let operator = Operator::start(&server, LeaseGuard::unlimited());
        for _ in 0..3 {
            operator.reconcile(&server).await;
        }
        let found = conditions(&server);
        assert!(found.contains(&"Stalled=True/NameTaken".to_owned()), "{path}: {found:?}");
        assert_eq!(server.get(&path), theirs);
        // It makes room.
        server.remove(&path);
        operator.settle(&server, &waiting(0)).await;
        assert!(server.get(&path).is_some() && conditions(&server).contains(&"Ready=True/Idle".to_owned()), "{path}");
        // Somebody took the place of a NetworkPolicy that is no longer asked for.
        server.put(&path, foreign(&path));
        let mut queue = server.get(QUEUE).unwrap();
        queue["metadata"]["generation"] = 2.into();
        queue["spec"]["worker"] = json!({});
        server.put(QUEUE, queue);
        Operator::start(&server, LeaseGuard::unlimited()).reconcile(&server).await;
        assert_eq!(server.get(&path).unwrap()["spec"]["theirs"], true, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disruption_budget_that_is_switched_off_is_deleted_once() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(0)).await;
    assert!(server.get(BUDGET).is_some());
    let edit = |generation: i64, worker: Value| {
        let mut queue = server.get(QUEUE).unwrap();
        queue["metadata"]["generation"] = generation.into();
        queue["spec"]["worker"] = worker;
        server.put(QUEUE, queue);
    };
    edit(2, json!({"podDisruptionBudget": {"enabled": false}}));
    for operator in [operator, Operator::start(&server, LeaseGuard::unlimited())] {
        operator.settle(&server, &waiting(0)).await;
        tokio::time::advance(std::time::Duration::from_secs(200)).await;
        operator.settle(&server, &waiting(0)).await;
        assert!(server.get(BUDGET).is_none());
    }
    edit(3, json!({"podDisruptionBudget": {"enabled": false}, "drainSeconds": 7}));
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    let deletions = server.writes().into_iter().filter(|write| *write == format!("DELETE {BUDGET}"));
    assert_eq!(deletions.count(), 1);
    assert_eq!(server.reads(BUDGET), 1, "it is not looked for again");
    edit(4, json!({}));
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    assert!(server.get(BUDGET).is_some());
}
