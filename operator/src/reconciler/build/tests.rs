//! The objects of a queue, field by field where something depends on it.

use jobqueue_crds::JobQueue;
use serde_json::{Value, json};

use super::{BuildInput, DesiredObjects, Rendition, build};
use crate::reconciler::worker_defaults::WorkerDefaults;

fn queue(edit: impl FnOnce(&mut Value)) -> JobQueue {
    let mut object = json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": "lines", "namespace": "shop", "uid": "u1"},
        "spec": {
            "queue": {"names": ["lines"], "redis": {"url": "redis://redis"}},
            "database": {"urlSecretKeyRef": {"name": "warehouse", "key": "database"}},
            "ingest": [{"tables": [{"table": "t", "columns": {"a": "record.a"}}]}],
        },
    });
    edit(&mut object);
    serde_json::from_value(object).unwrap()
}

fn input<'a>(queue: &'a JobQueue, workers: &'a WorkerDefaults) -> BuildInput<'a> {
    BuildInput {
        queue,
        workers,
        secret_mark: "s-1",
        secret_version: "v",
        replicas: 3,
        room: None,
        rendition: Rendition::Present,
    }
}

fn built(queue: &JobQueue) -> DesiredObjects {
    built_with(queue, &WorkerDefaults::new("worker:1"))
}

fn built_with(queue: &JobQueue, workers: &WorkerDefaults) -> DesiredObjects {
    build(&input(queue, workers)).unwrap()
}

fn deployment(queue: &JobQueue) -> Value {
    serde_json::to_value(built(queue).deployment).unwrap()
}

fn config_hash(queue: &JobQueue) -> Value {
    deployment(queue)["spec"]["template"]["metadata"]["annotations"][super::CONFIG_HASH].clone()
}

#[test]
fn everything_is_owned_and_named_after_the_queue() {
    let DesiredObjects { config_map, deployment, disruption_budget, network_policy } =
        built(&queue(|object| object["spec"]["worker"] = json!({"networkPolicy": {}})));
    let policy = network_policy.unwrap().metadata;
    let config = config_map.unwrap().metadata;
    let hash =
        deployment.spec.template.metadata.as_ref().unwrap().annotations.as_ref().unwrap()[super::CONFIG_HASH].clone();
    let names = [format!("lines-worker-{hash}"), "lines-worker".into(), "lines-worker".into(), "lines-worker".into()];
    for (metadata, name) in
        [config, deployment.metadata, disruption_budget.unwrap().metadata, policy].into_iter().zip(names)
    {
        assert_eq!(metadata.name, Some(name));
        assert_eq!(metadata.namespace.as_deref(), Some("shop"));
        let owner = &metadata.owner_references.unwrap()[0];
        assert_eq!((owner.name.as_str(), owner.uid.as_str(), owner.controller), ("lines", "u1", Some(true)));
        assert_eq!(metadata.labels.unwrap()[crate::names::QUEUE_LABEL], "lines");
    }
}

/// The rules of the Pod Security level `restricted`, and what goes beyond it.
#[test]
fn pods_are_restricted() {
    let deployment = deployment(&queue(|_| {}));
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert!(pod["containers"][0]["resources"]["requests"]["cpu"].is_string());
    assert_eq!(pod["topologySpreadConstraints"][0]["whenUnsatisfiable"], "ScheduleAnyway");
}

#[test]
fn the_grace_period_follows_the_drain() {
    let deployment = deployment(&queue(|object| object["spec"]["worker"] = json!({"drainSeconds": 90})));
    assert_eq!(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 95);
}

#[test]
fn the_same_queue_gives_the_same_objects_and_no_password() {
    let queue = queue(|_| {});
    assert_eq!(deployment(&queue), deployment(&queue));
    let container = &deployment(&queue)["spec"]["template"]["spec"]["containers"][0];
    let names: Vec<&str> = container["env"].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.contains(&"JOBQUEUE_REDIS_URL") && names.contains(&"JOBQUEUE_DATABASE_URL"), "{names:?}");
    let database = container["env"].as_array().unwrap().iter().find(|one| one["name"] == "JOBQUEUE_DATABASE_URL");
    assert_eq!(database.unwrap()["valueFrom"]["secretKeyRef"], json!({"name": "warehouse", "key": "database"}));
}

#[test]
fn the_recipe_rolls_out_and_scaling_does_not() {
    let before = config_hash(&queue(|_| {}));
    assert!(before.is_string());
    let scaled = queue(|object| object["spec"]["scaling"] = json!({"maxReplicas": 99, "targets": {"drainSeconds": 5}}));
    assert_eq!(config_hash(&scaled), before);
    let recipe = queue(|object| object["spec"]["ingest"][0]["tables"][0]["columns"]["b"] = "record.b".into());
    assert_ne!(config_hash(&recipe), before);
}

#[test]
fn an_image_of_ones_own_is_scaled_and_nothing_else() {
    let own = queue(|object| {
        let spec = object["spec"].as_object_mut().unwrap();
        spec.remove("ingest");
        spec.remove("database");
        spec.insert("worker".into(), json!({"image": "python-worker:2"}));
    });
    assert!(built(&own).config_map.is_none());
    let container = &deployment(&own)["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "python-worker:2");
    assert_eq!(container["readinessProbe"], Value::Null);
    assert_eq!(container["volumeMounts"], Value::Null);
}

#[test]
fn the_template_is_merged_and_the_selector_stays() {
    let merged = queue(|object| {
        object["spec"]["worker"] = json!({"template": {
            "metadata": {"labels": {"team": "data", "jobqueue.dev/queue": "else"}},
            "spec": {"nodeSelector": {"disk": "fast"}, "containers": [
                {"name": "worker", "env": [{"name": "TZ", "value": "UTC"}], "resources": {"limits": {"memory": "1Gi"}}},
                {"name": "sidecar", "image": "proxy:1"}]}}});
    });
    let template = &deployment(&merged)["spec"]["template"];
    assert_eq!(template["metadata"]["labels"]["team"], "data");
    assert_eq!(template["metadata"]["labels"]["jobqueue.dev/queue"], "lines");
    let pod = &template["spec"];
    assert_eq!(pod["nodeSelector"]["disk"], "fast");
    assert_eq!(pod["containers"][0]["image"], "worker:1");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod["containers"][0]["resources"]["requests"]["cpu"], "100m");
    assert_eq!(pod["containers"][1]["name"], "sidecar");
}

#[test]
fn the_template_of_all_workers_goes_under_the_queues_own() {
    let of_all = json!({
        "metadata": {"labels": {"team": "platform", "cost": "batch"}},
        "spec": {
            "priorityClassName": "batch", "nodeSelector": {"disk": "slow", "zone": "a"}, "imagePullSecrets": [{"name": "mirror"}],
            "tolerations": [{"key": "batch", "operator": "Exists"}],
            "containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}]}});
    let workers = WorkerDefaults::new("worker:1").with_template(&of_all.to_string()).unwrap();
    let pods = |queue: &JobQueue| serde_json::to_value(built_with(queue, &workers).deployment.spec.template).unwrap();
    let plain = pods(&queue(|_| {}));
    assert_eq!(plain["metadata"]["labels"]["team"], "platform");
    assert_eq!(plain["metadata"]["labels"]["jobqueue.dev/queue"], "lines");
    assert_eq!(plain["spec"]["priorityClassName"], "batch");
    assert_eq!(plain["spec"]["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(plain["spec"]["containers"][0]["image"], "worker:1");
    let own = pods(&queue(|object| {
        object["spec"]["worker"] = json!({"template": {
            "metadata": {"labels": {"team": "data"}},
            "spec": {"priorityClassName": null, "nodeSelector": {"disk": "fast"}, "imagePullSecrets": [{"name": "own"}]}}});
    }));
    assert_eq!(
        (&own["metadata"]["labels"]["team"], &own["metadata"]["labels"]["cost"]),
        (&json!("data"), &json!("batch"))
    );
    assert_eq!(own["spec"]["priorityClassName"], Value::Null);
    assert_eq!(own["spec"]["nodeSelector"], json!({"disk": "fast", "zone": "a"}));
    assert_eq!(own["spec"]["imagePullSecrets"], json!([{"name": "mirror"}, {"name": "own"}]));
    assert_eq!(own["spec"]["tolerations"][0]["key"], "batch");
}

#[test]
fn nodes_with_protected_workers_are_not_emptied() {
    let annotations = |protect: bool, template: Value| {
        let queue = queue(|object| {
            object["spec"]["scaling"] = json!({"maxReplicas": 8, "scaleDown": {"protectBusy": protect}});
            object["spec"]["worker"] = json!({"template": template});
        });
        deployment(&queue)["spec"]["template"]["metadata"]["annotations"].clone()
    };
    let (karpenter, autoscaler) = ("karpenter.sh/do-not-disrupt", "cluster-autoscaler.kubernetes.io/safe-to-evict");
    let protected = annotations(true, json!({}));
    assert_eq!((&protected[karpenter], &protected[autoscaler]), (&json!("true"), &json!("false")));
    let own = annotations(true, json!({"metadata": {"annotations": {karpenter: null}}}));
    assert_eq!((&own[karpenter], &own[autoscaler]), (&Value::Null, &json!("false")), "the manifest wins");
    assert_eq!(annotations(false, json!({}))[karpenter], Value::Null);
}

#[test]
fn the_platform_may_choose_the_user_and_where_dns_listens() {
    let mut workers = WorkerDefaults::new("worker:1");
    (workers.platform_user, workers.dns_ports) = (true, vec![53, 5353]);
    let narrow = queue(|object| object["spec"]["worker"] = json!({"networkPolicy": {"egress": []}}));
    let DesiredObjects { deployment, network_policy, .. } = built_with(&narrow, &workers);
    let pod = serde_json::to_value(deployment.spec.template.spec).unwrap();
    assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
    assert_eq!(pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"], true);
    let policy = serde_json::to_value(network_policy.unwrap().spec).unwrap();
    let port = |protocol: &str, port: u16| json!({"protocol": protocol, "port": port});
    let ports = json!([port("UDP", 53), port("TCP", 53), port("UDP", 5353), port("TCP", 5353)]);
    assert_eq!(policy["egress"], json!([{"ports": ports}]));
}

#[test]
fn certificates_are_files_of_the_worker() {
    let secured = queue(|object| {
        object["spec"]["queue"]["redis"] = json!({"url": "rediss://redis", "tls": {
            "caSecretKeyRef": {"name": "authority", "key": "ca.pem"}, "clientCertificateSecretRef": {"name": "client"}}});
    });
    let pod = &deployment(&secured)["spec"]["template"]["spec"];
    let sources = pod["volumes"][1]["projected"]["sources"].as_array().unwrap();
    assert_eq!(sources[0]["secret"]["items"], json!([{"key": "ca.pem", "path": "ca.crt"}]));
    assert_eq!(sources[1]["secret"]["name"], "client");
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    assert!(variables.iter().any(|one| one["name"] == "JOBQUEUE_REDIS_KEY"));
    let secured = queue(|object| {
        object["spec"]["database"]["tls"] = json!({"caSecretKeyRef": {"name": "authority", "key": "ca.pem"}});
    });
    let pod = &deployment(&secured)["spec"]["template"]["spec"];
    let variables = pod["containers"][0]["env"].as_array().unwrap();
    let file = variables.iter().find(|one| one["name"] == "JOBQUEUE_DATABASE_CA").unwrap();
    assert_eq!(file["value"], "/etc/jobqueue-database-tls/ca.crt");
    assert_eq!(pod["containers"][0]["volumeMounts"][1]["mountPath"], "/etc/jobqueue-database-tls");
    assert_eq!(pod["volumes"][1]["name"], "database-tls");
}

#[test]
fn passwords_in_files_are_read_by_the_worker() {
    let queue = queue(|object| {
        object["spec"]["queue"]["redis"]["passwordFile"] = "/tokens/redis".into();
        object["spec"]["database"]["passwordFile"] = "/tokens/database".into();
    });
    let container = &deployment(&queue)["spec"]["template"]["spec"]["containers"][0];
    let value = |name: &str| {
        let variables = container["env"].as_array().unwrap().iter();
        variables.clone().find(|one| one["name"] == name).map(|one| one["value"].clone())
    };
    assert_eq!(value("JOBQUEUE_REDIS_PASSWORD_FILE"), Some(json!("/tokens/redis")));
    assert_eq!(value("JOBQUEUE_DATABASE_PASSWORD_FILE"), Some(json!("/tokens/database")));
}

#[test]
fn a_network_policy_is_made_for_whoever_asks() {
    assert!(built(&queue(|_| {})).network_policy.is_none());
    let policy = |asked: Value| {
        let asking = queue(|object| object["spec"]["worker"] = json!({"networkPolicy": asked}));
        serde_json::to_value(built(&asking).network_policy.unwrap().spec).unwrap()
    };
    let closed = policy(json!({}));
    assert_eq!(closed["podSelector"]["matchLabels"]["jobqueue.dev/queue"], "lines");
    assert_eq!(closed["policyTypes"], json!(["Ingress"]));
    assert_eq!(closed["ingress"], json!([{"ports": [{"port": 9090, "protocol": "TCP"}]}]));
    let peer = json!({"namespaceSelector": {"matchLabels": {"a": "b"}}});
    let redis = json!({"ports": [{"port": 6379}], "to": [{"podSelector": {}}]});
    let narrow = policy(json!({"metricsFrom": [peer], "egress": [redis]}));
    assert_eq!(narrow["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(narrow["ingress"][0]["from"], json!([peer]));
    assert_eq!(narrow["egress"][0], redis);
    assert_eq!(narrow["egress"][1]["ports"][0], json!({"port": 53, "protocol": "UDP"}));
    let wrong = queue(|object| object["spec"]["worker"] = json!({"networkPolicy": {"egress": [{"ports": 5}]}}));
    let workers = WorkerDefaults::new("w");
    let error = build(&input(&wrong, &workers)).unwrap_err();
    assert!(error.to_string().starts_with("spec.worker.networkPolicy.egress[0]: "), "{error}");
}

/// What differs between two releases of the operator is the default image, and nothing else reaches an object.
#[test]
fn another_release_changes_nothing_but_an_image_that_is_left_to_it() {
    let json = |DesiredObjects { config_map, deployment, disruption_budget, network_policy }| {
        json!([config_map, deployment, disruption_budget, network_policy])
    };
    let releases =
        |queue: &JobQueue| ["worker:1", "worker:2"].map(|image| json(built_with(queue, &WorkerDefaults::new(image))));
    let policy = json!({"networkPolicy": {}, "image": "mine:7"});
    let [before, after] = releases(&queue(|object| object["spec"]["worker"] = policy));
    assert_eq!(before, after);
    let version = env!("CARGO_PKG_VERSION");
    assert!(!before.to_string().contains(version), "{version} in {before}");
    let [mut before, after] = releases(&queue(|_| {}));
    let image = &mut before[1]["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, "worker:1");
    *image = "worker:2".into();
    assert_eq!(before, after);
}

/// A worker of the first release reads what the first operators wrote, and says nothing of a version.
#[test]
fn what_the_first_operators_rendered_can_still_be_rendered() {
    let queue = queue(|object| object["spec"]["worker"] = json!({"image": "mine:7"}));
    let workers = WorkerDefaults::new("worker:1");
    let first = build(&BuildInput { rendition: Rendition::First, ..input(&queue, &workers) }).unwrap();
    let expected: Value = serde_json::from_str(include_str!("first_template.json")).unwrap();
    assert_eq!(json!(first.deployment.spec.template), expected);
    let config_map = first.config_map.unwrap();
    assert_eq!(config_map.metadata.name.as_deref(), Some("lines-worker"));
    assert!(config_map.data.unwrap()["worker.yaml"].contains("leaseSeconds: 30"), "every default");
}

#[test]
fn a_rollout_surges_as_far_as_the_database_has_connections() {
    let queue = queue(|_| {});
    let workers = WorkerDefaults::new("worker:1");
    let surge = |replicas, room| {
        let built = build(&BuildInput { replicas, room, ..input(&queue, &workers) }).unwrap();
        json!(built.deployment.spec.strategy.unwrap().rolling_update.unwrap().max_surge)
    };
    assert_eq!(surge(8, None), "25%");
    assert_eq!([2, 1, 0].map(|room| surge(8, Some(room))), [json!("25%"), json!(1), json!(0)]);
    assert_eq!(surge(0, Some(0)), "25%");
}

#[test]
fn a_manifest_can_do_without_a_disruption_budget() {
    let budget = |asked: Value| {
        built(&queue(|object| object["spec"]["worker"] = json!({"podDisruptionBudget": asked}))).disruption_budget
    };
    assert!(budget(json!({})).is_some() && budget(json!({"enabled": true})).is_some());
    assert!(budget(json!({"enabled": false})).is_none());
}
