//! A campaign of random changes of a manifest. After each, and within ten seconds, the objects are those of a queue that was
//! born with that manifest.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use jobqueue_crds::{JobQueueSpec, validate, validate_update};
use jobqueue_operator::LeaseGuard;
use kube::runtime::watcher::Event;
use serde_json::Value;

use crate::{
    api_server::ApiServer,
    fixture::{DEPLOYMENT, Operator, QUEUE, SECRET, cluster_with_generation, queue, secret, waiting, watch_tells},
};

/// Fields of the spec, and what each may become; `null` leaves it out. `e2e/k8s/test_campaign.py` takes them too.
static FIELDS: LazyLock<Vec<(String, Vec<Value>)>> =
    LazyLock::new(|| serde_json::from_str(include_str!("changes.json")).unwrap());

/// A generator of random numbers in a few lines.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

fn set(spec: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('.').map_or((None, path), |(parent, name)| (Some(parent), name));
    let at = match parent {
        Some(parent) if spec.get(parent).is_none() && value.is_null() => return,
        Some(parent) => &mut spec[parent],
        None => spec,
    };
    if value.is_null() {
        at.as_object_mut().unwrap().remove(name);
    } else {
        at[name] = value;
    }
}

/// One to three changes that the API server accepts.
fn changed(old: &Value, random: &mut Random) -> Value {
    loop {
        let mut new = old.clone();
        for _ in 0..=random.below(3) {
            let (path, values) = &FIELDS[random.below(FIELDS.len())];
            set(&mut new, path, values[random.below(values.len())].clone());
        }
        let read = |spec: &Value| serde_json::from_value::<JobQueueSpec>(spec.clone());
        if let (Ok(before), Ok(after)) = (read(old), read(&new))
            && new != *old
            && validate(&after).is_empty()
            && validate_update(&before, &after).is_empty()
        {
            return new;
        }
    }
}

/// What there is ten seconds later, with the watches at work.
async fn ten_seconds_later(server: &ApiServer, operator: &Operator) -> BTreeMap<String, Value> {
    for pause in [0, 3, 3, 3] {
        tokio::time::advance(Duration::from_secs(pause)).await;
        assert!(operator.reconcile(server).await);
        operator.poll(Ok(&waiting(0))).await;
        watch_tells(server, operator, Event::Apply);
    }
    let mut objects = server.contents();
    objects.retain(|path, _| path != QUEUE && path != SECRET);
    objects
}

/// Without what has a history: generations, the versions of the Secret (which the pods' mark is one of) and, where neither the
/// spec nor the backlog decides it, the number of workers, with the surge of a rollout, which follows it.
fn comparable(mut objects: BTreeMap<String, Value>, spec: &Value) -> BTreeMap<String, Value> {
    for object in objects.values_mut() {
        object["metadata"].as_object_mut().unwrap().remove("generation");
    }
    let deployment = objects.get_mut(DEPLOYMENT).unwrap();
    for (of, name) in [
        ("/metadata/annotations", "jobqueue.dev/plan-hash"),
        ("/metadata/annotations", "jobqueue.dev/secret-version"),
        ("/metadata/annotations", "jobqueue.dev/generation"),
        ("/metadata/labels", "jobqueue.dev/generation"),
        ("/spec/template/metadata/annotations", "jobqueue.dev/secret-hash"),
    ] {
        let found = deployment.pointer_mut(of).and_then(Value::as_object_mut).unwrap();
        assert!(found.remove(name).is_some(), "{name}");
    }
    let replicas = deployment["spec"]["replicas"].as_u64().unwrap();
    let surge = deployment["spec"]["strategy"]["rollingUpdate"].as_object_mut().unwrap().remove("maxSurge");
    assert_eq!(surge, Some(surge_for(spec, replicas)), "{replicas} workers of {spec:#}");
    if spec["scaling"]["mode"] != "Manual" {
        deployment["spec"].as_object_mut().unwrap().remove("replicas");
    }
    objects
}

/// What the database has connections for, beside those of so many workers; a quarter of them at most.
fn surge_for(spec: &Value, replicas: u64) -> Value {
    let per_worker = spec["worker"]["concurrency"].as_u64().unwrap_or(4);
    let free =
        spec["database"]["maxConnections"].as_u64().map(|all| all.saturating_sub(replicas * per_worker) / per_worker);
    free.filter(|free| *free < replicas.div_ceil(4)).map_or_else(|| "25%".into(), Value::from)
}

async fn campaign(seed: u64, changes: usize) {
    let mut random = Random(seed);
    let server = cluster_with_generation();
    let operator = Operator::start(&server, LeaseGuard::unlimited());
    let (mut spec, mut password) = (queue()["spec"].clone(), "pw".to_owned());
    ten_seconds_later(&server, &operator).await;
    for number in 0..changes {
        if random.below(8) == 0 {
            password = format!("pw-{number}");
            server.put(SECRET, secret(&password));
        } else {
            spec = changed(&spec, &mut random);
            let mut object = server.get(QUEUE).unwrap();
            object["spec"] = spec.clone();
            server.put(QUEUE, object);
        }
        let found = comparable(ten_seconds_later(&server, &operator).await, &spec);
        let newborn = cluster_with_generation();
        let mut object = newborn.get(QUEUE).unwrap();
        object["spec"] = spec.clone();
        newborn.put(QUEUE, object);
        newborn.put(SECRET, secret(&password));
        let other = Operator::start(&newborn, LeaseGuard::unlimited());
        let wanted = comparable(ten_seconds_later(&newborn, &other).await, &spec);
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            wanted.keys().collect::<Vec<_>>(),
            "seed {seed}, {number}: {spec:#}"
        );
        for (path, object) in wanted {
            assert_eq!(found[&path], object, "seed {seed}, change {number}: {path}\n{spec:#}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn after_each_of_many_changes_the_objects_are_those_of_a_newborn() {
    Box::pin(campaign(1, 130)).await;
}

#[tokio::test(start_paused = true)]
async fn after_each_of_other_changes_too() {
    Box::pin(campaign(2, 130)).await;
}

#[tokio::test(start_paused = true)]
async fn and_of_a_third_hundred() {
    Box::pin(campaign(3, 130)).await;
}

#[tokio::test(start_paused = true)]
async fn and_of_a_fourth() {
    Box::pin(campaign(4, 130)).await;
}
