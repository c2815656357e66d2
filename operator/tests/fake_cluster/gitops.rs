//! The objects that Argo CD and Flux are tried on (`e2e/k8s/test_gitops.py`): one for each state, as this operator writes it.

use std::{collections::BTreeMap, fs, path::Path};

use jobqueue_crds::crd;
use jobqueue_operator::LeaseGuard;
use jobqueue_queue::{QueueError, QueueStats};
use serde_json::{Value, json};

use crate::{
    api_server::{ApiServer, undate},
    fixture::{
        DEPLOYMENT, Operator, QUEUE, SECRET, away, cluster_with_generation, pod, pods_become_ready, queue,
        reconcile_and_poll, waiting, working,
    },
};

/// Written here with `JOBQUEUE_WRITE_OBJECTS=1`, and else compared.
const OBJECTS: &str = "../e2e/gitops/objects.json";

/// Changes the spec of the queue, as a person does.
fn edit(server: &ApiServer, edit: impl FnOnce(&mut Value)) {
    let mut object = server.get(QUEUE).unwrap();
    edit(&mut object["spec"]);
    server.put(QUEUE, object);
}

struct Case {
    server: ApiServer,
    operator: Operator,
}

impl Case {
    fn new() -> Self {
        let server = cluster_with_generation();
        let operator = Operator::start(&server, LeaseGuard::unlimited());
        Self { server, operator }
    }

    async fn polls(&self, answer: Result<&QueueStats, &QueueError>) {
        reconcile_and_poll(&self.server, &self.operator, answer).await;
    }

    /// At work with three workers, as many of them ready as are said.
    async fn at_work(ready: i64) -> Self {
        let case = Self::new();
        case.polls(Ok(&waiting(300))).await;
        pods_become_ready(&case.server, ready);
        case.polls(Ok(&waiting(300))).await;
        case
    }

    fn object(&self) -> Value {
        self.server.get(QUEUE).unwrap()
    }
}

/// As the API server stores what was just created.
fn created() -> Value {
    let mut object = queue();
    object["metadata"]["generation"] = 1.into();
    let version = crd().spec.versions.remove(0);
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).unwrap();
    object["status"] = schema.properties.unwrap()["status"].default.clone().unwrap().0;
    object
}

async fn states_of_the_spec() -> Vec<(&'static str, Value)> {
    let mut objects = vec![("created", created())];
    let case = Case::new();
    case.operator.reconcile(&case.server).await;
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    case.operator.reconcile(&case.server).await;
    objects.push(("before the first poll", case.object()));
    let case = Case::new();
    case.polls(Ok(&waiting(0))).await;
    objects.push(("idle", case.object()));
    edit(&case.server, |spec| spec["scaling"]["maxReplicas"] = 9.into());
    objects.push(("edited", case.object()));
    let mut deleted = case.object();
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    objects.push(("being deleted", deleted));
    edit(&case.server, |spec| spec["scaling"]["mode"] = "Paused".into());
    case.polls(Ok(&waiting(300))).await;
    objects.push(("paused", case.object()));
    let case = Case::at_work(3).await;
    objects.push(("at work", case.object()));
    let mut deployment = case.server.get(DEPLOYMENT).unwrap();
    deployment["status"]["updatedReplicas"] = 1.into();
    case.server.put(DEPLOYMENT, deployment);
    case.polls(Ok(&waiting(300))).await;
    objects.push(("rolling out", case.object()));
    objects
}

async fn states_of_the_world() -> Vec<(&'static str, Value)> {
    let mut objects = vec![("workers start", Case::at_work(0).await.object())];
    let case = Case::at_work(3).await;
    case.polls(Ok(&waiting(3000))).await;
    pods_become_ready(&case.server, 8);
    case.polls(Ok(&waiting(3000))).await;
    objects.push(("limited", case.object()));
    let case = Case::at_work(3).await;
    case.polls(Ok(&working(&[("a", 0, 0)]))).await;
    case.polls(Ok(&working(&[("a", 3, 40)]))).await;
    pods_become_ready(&case.server, 1);
    case.operator.reconcile(&case.server).await;
    objects.push(("jobs fail", case.object()));
    let case = Case::at_work(3).await;
    case.polls(Err(&away())).await;
    objects.push(("redis is down", case.object()));
    let case = Case::at_work(3).await;
    edit(&case.server, |spec| spec["worker"]["batchSize"] = 7.into());
    case.server.refuse(Some(("/configmaps/lines-worker", "etcdserver: too many requests")));
    for _ in 0..3 {
        case.operator.reconcile(&case.server).await;
    }
    objects.push(("reconciles fail", case.object()));
    let case = Case::at_work(3).await;
    case.server.remove(SECRET);
    edit(&case.server, |spec| spec["scaling"]["maxReplicas"] = 9.into());
    case.polls(Ok(&waiting(300))).await;
    objects.push(("without its Secret", case.object()));
    let case = Case::at_work(0).await;
    let image = json!({"containerStatuses": [{"name": "worker", "image": "worker:1", "imageID": "", "ready": false,
        "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]});
    case.server.put("/api/v1/namespaces/shop/pods/p", pod("p", &image));
    case.polls(Ok(&waiting(300))).await;
    case.polls(Ok(&waiting(300))).await;
    objects.push(("without its image", case.object()));
    objects
}

#[tokio::test(start_paused = true)]
async fn the_objects_of_gitops_tools_are_as_this_operator_writes_them() {
    let all = [Box::pin(states_of_the_spec()).await, Box::pin(states_of_the_world()).await].concat();
    let mut objects: BTreeMap<&str, Value> = all.into_iter().collect();
    objects.values_mut().for_each(undate);
    let text = format!("{:#}\n", json!(objects));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(OBJECTS);
    if std::env::var_os("JOBQUEUE_WRITE_OBJECTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written: BTreeMap<String, Value> = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (name, object) in &objects {
        assert_eq!(written.get(*name), Some(object), "{name}: write {OBJECTS} anew with JOBQUEUE_WRITE_OBJECTS=1");
    }
    assert_eq!(written.len(), objects.len());
}
