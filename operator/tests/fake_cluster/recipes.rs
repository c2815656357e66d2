//! A recipe is in a ConfigMap of its own: another one reaches new pods only, and the one before can be put back.

use std::time::Duration;

use jobqueue_operator::LeaseGuard;
use serde_json::{Value, json};

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, Operator, QUEUE, cluster_with_generation, conditions, waiting},
};

const CONFIG_MAPS: &str = "/api/v1/namespaces/shop/configmaps/";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/shop/replicasets/";

/// The names of the config maps, in order.
fn config_maps(server: &ApiServer) -> Vec<String> {
    server.contents().keys().filter_map(|path| path.strip_prefix(CONFIG_MAPS).map(ToOwned::to_owned)).collect()
}

/// The config map that the pods mount.
fn mounted(server: &ApiServer) -> String {
    let template = &server.get(DEPLOYMENT).unwrap()["spec"]["template"];
    template["spec"]["volumes"][0]["configMap"]["name"].as_str().unwrap().to_owned()
}

/// As the Deployment controller would: a replica set of the Deployment's template.
fn make_replica_set(server: &ApiServer, name: &str) {
    let template = server.get(DEPLOYMENT).unwrap()["spec"]["template"].clone();
    let labels = template["metadata"]["labels"].clone();
    let metadata = json!({"name": name, "namespace": "shop", "labels": labels});
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata,
        "spec": {"selector": {}, "template": template}});
    server.put(&format!("{REPLICA_SETS}{name}"), set);
}

/// Another recipe, with this column.
fn edit_recipe(server: &ApiServer, generation: i64, column: &str) {
    let mut queue = server.get(QUEUE).unwrap();
    queue["metadata"]["generation"] = generation.into();
    queue["spec"]["ingest"][0]["tables"][0]["columns"] = json!({"a": "record.a", column: "record.b"});
    server.put(QUEUE, queue);
}

async fn applied_again(server: &ApiServer, operator: &Operator) {
    tokio::time::advance(Duration::from_secs(200)).await;
    operator.settle(server, &waiting(0)).await;
}

#[tokio::test(start_paused = true)]
async fn each_recipe_has_a_config_that_stays_while_a_replica_set_needs_it() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(0)).await;
    let first = mounted(&server);
    assert_eq!(config_maps(&server), [first.as_str()]);
    let before = server.get(&format!("{CONFIG_MAPS}{first}")).unwrap();
    assert_eq!(before["immutable"], true);
    make_replica_set(&server, "lines-worker-1");
    let mut theirs = before.clone();
    theirs["metadata"] = json!({"name": "theirs", "namespace": "shop", "labels": before["metadata"]["labels"]});
    server.put(&format!("{CONFIG_MAPS}theirs"), theirs);

    edit_recipe(&server, 2, "b");
    operator.settle(&server, &waiting(0)).await;
    let second = mounted(&server);
    assert_ne!(second, first);
    assert_eq!(server.get(&format!("{CONFIG_MAPS}{first}")), Some(before), "healthy pods that start again read theirs");
    make_replica_set(&server, "lines-worker-2");
    applied_again(&server, &operator).await;
    assert!(config_maps(&server).contains(&first), "kept for a rollback");

    server.remove(&format!("{REPLICA_SETS}lines-worker-1"));
    applied_again(&server, &operator).await;
    assert_eq!(config_maps(&server), [second.as_str(), "theirs"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_rolled_back_by_hand_stays_until_the_queue_is_changed() {
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    operator.settle(&server, &waiting(0)).await;
    let good = server.get(DEPLOYMENT).unwrap();
    make_replica_set(&server, "lines-worker-1");
    edit_recipe(&server, 2, "b");
    operator.settle(&server, &waiting(0)).await;
    assert_ne!(mounted(&server), good["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"]);

    // As `kubectl rollout undo` does: the template and the annotations of an earlier ReplicaSet.
    let mut undone = server.get(DEPLOYMENT).unwrap();
    undone["spec"]["template"] = good["spec"]["template"].clone();
    undone["metadata"]["annotations"] = good["metadata"]["annotations"].clone();
    server.put(DEPLOYMENT, undone);
    let template = |server: &ApiServer| -> Value { server.get(DEPLOYMENT).unwrap()["spec"]["template"].clone() };
    for operator in [operator, Operator::start(&server, LeaseGuard::unlimited())] {
        applied_again(&server, &operator).await;
        assert_eq!(template(&server), good["spec"]["template"]);
        let found = conditions(&server);
        assert!(found.contains(&"Degraded=True/RolledBack".to_owned()), "{found:?}");
        assert!(server.get(&format!("{CONFIG_MAPS}{}", mounted(&server))).is_some());
    }
    edit_recipe(&server, 3, "c");
    Operator::start(&server, LeaseGuard::unlimited()).settle(&server, &waiting(0)).await;
    assert_ne!(template(&server), good["spec"]["template"]);
    assert!(conditions(&server).contains(&"Degraded=False/AsSpecified".to_owned()));
}
