//! An API server in memory: strict about what it is asked, and scripted to fail, to crash its client, or to fall silent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use http::{Method, Request, Response, StatusCode};
use jobqueue_operator::{LeaseGuard, Liveness, Metrics, WriteGuard};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::{BoxError, Layer};

/// The longest note of an event that an API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// What goes wrong with a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The client dies before the write arrives.
    CrashBefore,
    /// The client dies after the write was done, without hearing of it.
    CrashAfter,
    /// The server answers with this status and does nothing.
    Status(u16),
    /// The server does it, and never answers.
    Silence,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// What was applied last at each path: fields that are not applied again go.
    applied: BTreeMap<String, Value>,
    version: u64,
    /// `METHOD path` of every write that arrived.
    writes: Vec<String>,
    /// The path of every read.
    reads: Vec<String>,
    fault: Option<(usize, Fault)>,
    /// Which paths are refused, and with which words.
    refusal: Option<(&'static str, &'static str)>,
    /// The same for paths with the first part in them that end with the second.
    refused_within: Vec<(&'static str, &'static str, &'static str)>,
    /// Every request is answered with 429, and this `Retry-After` in seconds.
    busy: Option<u64>,
    /// The client is dead: nothing gets through any more.
    dead: bool,
    /// Every number of workers that the Deployment was given.
    replicas: Vec<i64>,
}

/// The server; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

impl ApiServer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// A client, as the operator has it.
    pub(crate) fn client(&self, lease: LeaseGuard, metrics: Arc<Metrics>) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request| {
            let server = server.clone();
            async move { server.serve(request).await }
        });
        Client::new(WriteGuard::new(lease, metrics, Liveness::default()).layer(service), "default")
    }

    /// Lets the `number`th write from now on (from 0) go wrong, once.
    pub(crate) fn inject(&self, number: usize, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.writes.len() + number, fault));
    }

    /// Refuses every write to paths that end so with a status of 500 and these words, until there are others; `None`: no longer.
    pub(crate) fn refuse(&self, refusal: Option<(&'static str, &'static str)>) {
        self.lock().refusal = refusal;
    }

    /// Refuses every write to paths that have `part` in them and end so, for good.
    pub(crate) fn refuse_within(&self, part: &'static str, end: &'static str, words: &'static str) {
        self.lock().refused_within.push((part, end, words));
    }

    /// How many requests arrived so far.
    pub(crate) fn requests(&self) -> usize {
        let state = self.lock();
        state.writes.len() + state.reads.len()
    }

    /// Answers every request with 429 and this `Retry-After`; `None`: no longer.
    pub(crate) fn be_busy(&self, seconds: Option<u64>) {
        self.lock().busy = seconds;
    }

    /// A new client process starts.
    pub(crate) fn revive(&self) {
        self.lock().dead = false;
    }

    /// True after an injected crash.
    pub(crate) fn client_is_dead(&self) -> bool {
        self.lock().dead
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        let mut state = self.lock();
        store(&mut state, path, object);
    }

    /// Deletes an object, as somebody else would.
    pub(crate) fn remove(&self, path: &str) {
        self.lock().objects.remove(path);
    }

    /// All objects right below a path.
    pub(crate) fn below(&self, path: &str) -> Vec<Value> {
        let is_below = |other: &str| other.strip_prefix(path).is_some_and(|rest| rest.rfind('/') == Some(0));
        self.lock().objects.iter().filter(|(other, _)| is_below(other)).map(|(_, object)| object.clone()).collect()
    }

    /// What is there.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.lock().objects.get(path).cloned()
    }

    /// All objects, without what differs between two runs.
    pub(crate) fn contents(&self) -> BTreeMap<String, Value> {
        let mut objects = self.lock().objects.clone();
        objects.retain(|path, _| !path.contains("/events/"));
        objects.values_mut().for_each(undate);
        objects
    }

    /// The events that were written, in no particular order.
    pub(crate) fn events(&self) -> Vec<Value> {
        let state = self.lock();
        let events = state.objects.iter().filter(|(path, _)| path.contains("/events/"));
        events.map(|(_, event)| event.clone()).collect()
    }

    /// The writes so far.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.lock().writes.clone()
    }

    /// The reads so far of paths that end so.
    pub(crate) fn reads(&self, end: &str) -> usize {
        self.lock().reads.iter().filter(|path| path.ends_with(end)).count()
    }

    /// Every number of workers that was asked for, in order.
    pub(crate) fn replicas(&self) -> Vec<i64> {
        self.lock().replicas.clone()
    }

    /// Answers a request.
    pub(crate) async fn serve(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await?;
        let (method, path) = (parts.method, parts.uri.path().to_owned());
        if self.lock().dead {
            return Err("the process is dead".into());
        }
        if let Some(seconds) = self.busy_for(&method, &path) {
            let mut answer = failure(429);
            answer.headers_mut().insert("Retry-After", seconds.into());
            return Ok(answer);
        }
        if method == Method::GET {
            return Ok(self.read(&path, parts.uri.query().unwrap_or_default()));
        }
        let fault = {
            let mut state = self.lock();
            let number = state.writes.len();
            state.writes.push(format!("{method} {path}"));
            match state.fault {
                Some((at, fault)) if at == number => {
                    state.fault = None;
                    state.dead = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
                    Some(fault)
                }
                _ => None,
            }
        };
        if let Some(words) = self.refusal(&path) {
            return Ok(failure_saying(500, words));
        }
        let write = || self.write(&method, &path, parts.headers.get("content-type"), &body);
        match fault {
            None => Ok(write()),
            Some(Fault::CrashBefore) => Err("the process is dead".into()),
            Some(Fault::CrashAfter) => {
                write();
                Err("the process is dead".into())
            }
            Some(Fault::Status(code)) => Ok(failure(code)),
            Some(Fault::Silence) => {
                write();
                std::future::pending().await
            }
        }
    }

    /// With which words a write to a path is refused, if it is.
    fn refusal(&self, path: &str) -> Option<&'static str> {
        let state = self.lock();
        let of_all = state.refusal.filter(|(end, _)| path.ends_with(end)).map(|(_, words)| words);
        let is_within =
            |(part, end, _): &&(&str, &'static str, &'static str)| path.contains(part) && path.ends_with(end);
        of_all.or_else(|| state.refused_within.iter().find(is_within).map(|(_, _, words)| *words))
    }

    /// For how long the client is asked to wait, if it is; the request counts.
    fn busy_for(&self, method: &Method, path: &str) -> Option<u64> {
        let mut state = self.lock();
        let seconds = state.busy?;
        if *method == Method::GET {
            state.reads.push(path.into());
        } else {
            state.writes.push(format!("{method} {path}"));
        }
        Some(seconds)
    }

    fn read(&self, path: &str, query: &str) -> Response<Body> {
        let mut state = self.lock();
        state.reads.push(path.to_owned());
        if let Some(object) = state.objects.get(path) {
            return answer(StatusCode::OK, object);
        }
        let collections = ["pods", "events", "configmaps", "replicasets", "horizontalpodautoscalers", "scaledobjects"];
        if collections.iter().any(|kind| path.ends_with(&format!("/{kind}"))) {
            let inside = format!("{path}/");
            let found = state.objects.iter().filter(|(path, _)| path.starts_with(&inside)).map(|(_, object)| object);
            // Pods have no labels here.
            let items: Vec<&Value> =
                found.filter(|object| path.ends_with("/pods") || is_selected(object, query)).collect();
            return answer(
                StatusCode::OK,
                &json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": items}),
            );
        }
        failure(404)
    }

    fn write(
        &self,
        method: &Method,
        path: &str,
        content_type: Option<&http::HeaderValue>,
        body: &[u8],
    ) -> Response<Body> {
        let mut state = self.lock();
        let (object_path, is_status) = match path.strip_suffix("/status") {
            Some(object) => (object.to_owned(), true),
            // A Deployment's number of workers stands in the same place as that of its `scale`.
            None => (path.strip_suffix("/scale").unwrap_or(path).to_owned(), false),
        };
        let present = state.objects.get(&object_path).cloned();
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let sent: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
        match (method.as_str(), content_type, present) {
            ("DELETE" | "PUT", _, None) | ("PATCH", "application/merge-patch+json", None) => failure(404),
            ("DELETE", _, Some(object)) => {
                state.objects.remove(&object_path);
                answer(StatusCode::OK, &object)
            }
            ("POST", ..) => {
                if path.ends_with("/events") && sent["note"].as_str().unwrap_or_default().len() > LONGEST_NOTE {
                    return failure(422);
                }
                let name = sent["metadata"]["name"].as_str().unwrap().to_owned();
                let path = format!("{path}/{name}");
                if state.objects.contains_key(&path) {
                    return failure(409);
                }
                answer(StatusCode::CREATED, &store(&mut state, &path, made(sent)))
            }
            ("PUT", _, Some(object)) => {
                if sent["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"] {
                    return failure(409);
                }
                answer(StatusCode::OK, &store(&mut state, path, sent))
            }
            ("PATCH", _, None) if is_status => failure(404),
            ("PATCH", "application/apply-patch+yaml", Some(mut object)) if is_status => {
                let uid = &sent["metadata"]["uid"];
                if !uid.is_null() && *uid != object["metadata"]["uid"] {
                    return failure(409);
                }
                object["status"] = sent["status"].clone();
                answer(StatusCode::OK, &store(&mut state, &object_path, object))
            }
            ("PATCH", "application/apply-patch+yaml", present) => {
                let last = state.applied.insert(path.to_owned(), sent.clone());
                let mut object = present.unwrap_or_else(|| json!({"metadata": {"uid": "made"}}));
                if let Some(last) = &last {
                    remove_unapplied(&mut object, last, &sent);
                }
                merge(&mut object, &sent);
                answer(StatusCode::OK, &store(&mut state, path, object))
            }
            ("PATCH", "application/merge-patch+json", Some(mut object)) => {
                merge(&mut object, &sent);
                let stored = store(&mut state, &object_path, object);
                let scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {},
                    "spec": {"replicas": stored["spec"]["replicas"]}});
                answer(StatusCode::OK, if object_path == path { &stored } else { &scale })
            }
            other => panic!("no such call: {other:?} {path}"),
        }
    }
}

/// An object as it is made, with a uid.
fn made(mut object: Value) -> Value {
    object["metadata"]["uid"] = "made".into();
    object
}

fn store(state: &mut State, path: &str, mut object: Value) -> Value {
    let before = state.objects.get(path).cloned();
    if let Some(before) = &before {
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        if *before == object {
            return object;
        }
    }
    state.version += 1;
    object["metadata"]["resourceVersion"] = json!(state.version.to_string());
    let is_new = before.as_ref().is_none_or(|before| before["spec"] != object["spec"]);
    if is_new {
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
    }
    if path.contains("/deployments/") {
        let replicas = object["spec"]["replicas"].as_i64().unwrap();
        if state.replicas.last() != Some(&replicas) {
            state.replicas.push(replicas);
        }
    }
    state.objects.insert(path.to_owned(), object.clone());
    object
}

/// Whether an object has the labels that a request asks for.
fn is_selected(object: &Value, query: &str) -> bool {
    let asked = query.split('&').find_map(|part| part.strip_prefix("labelSelector=")).unwrap_or_default();
    let asked = asked.replace("%2C", ",").replace("%2F", "/").replace("%3D", "=");
    let labels = &object["metadata"]["labels"];
    asked.split(',').filter(|one| !one.is_empty()).all(|one| {
        let (name, value) = one.split_once('=').unwrap();
        labels[name] == value
    })
}

/// Removes what was applied last time and is not this time.
fn remove_unapplied(object: &mut Value, last: &Value, now: &Value) {
    let (Value::Object(object), Value::Object(last)) = (object, last) else { return };
    for (name, last) in last {
        match now.get(name) {
            None => drop(object.remove(name)),
            Some(now) => {
                if let Some(object) = object.get_mut(name) {
                    remove_unapplied(object, last, now);
                }
            }
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    merge(target.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// Without what differs between two runs.
pub(crate) fn undate(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["resourceVersion", "lastTransitionTime", "observedAt", "time"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(undate);
        }
        Value::Array(items) => items.iter_mut().for_each(undate),
        _ => {}
    }
}

fn answer(code: StatusCode, object: &Value) -> Response<Body> {
    let body = Body::from(serde_json::to_vec(object).unwrap());
    Response::builder().status(code).header("content-type", "application/json").body(body).unwrap()
}

fn failure(code: u16) -> Response<Body> {
    failure_saying(code, &format!("scripted {code}"))
}

fn failure_saying(code: u16, message: &str) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "message": message, "reason": if code == 404 { "NotFound" } else { "Scripted" }});
    answer(StatusCode::from_u16(code).unwrap(), &status)
}
