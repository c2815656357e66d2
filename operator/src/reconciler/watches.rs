//! The watches of several namespaces as one stream of events. Each has its own back-off, and one that fails (the namespace
//! has no Role) stops none of the others.

use std::{collections::HashMap, time::Duration};

use futures::{Stream, StreamExt, stream, stream::BoxStream};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    liveness::Liveness,
    reconciler::{compact_object::CompactObject, interruption::Interruption},
};

/// What is watched.
pub(super) trait Watched:
    Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static
{
    /// What is kept of an object to tell of its deletion.
    fn tombstone(&self) -> Self;
}

impl Watched for CompactObject {
    fn tombstone(&self) -> Self {
        self.without_content()
    }
}

impl Watched for Deployment {
    fn tombstone(&self) -> Self {
        let ObjectMeta { name, namespace, owner_references, .. } = self.metadata.clone();
        let metadata = ObjectMeta { name, namespace, owner_references, ..ObjectMeta::default() };
        Self { metadata, ..Self::default() }
    }
}

impl<K> Watched for PartialObjectMeta<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    fn tombstone(&self) -> Self {
        let ObjectMeta { name, namespace, owner_references, .. } = self.metadata.clone();
        let metadata = ObjectMeta { name, namespace, owner_references, ..ObjectMeta::default() };
        Self { metadata, types: self.types.clone(), _phantom: std::marker::PhantomData }
    }
}

/// The watch of one namespace.
type NamespaceWatch<K> = BoxStream<'static, watcher::Result<Event<K>>>;

/// The events of all namespaces, as if one watch had made them. Each watch waits longer after each failure, on its own, and
/// logs what goes wrong.
pub(super) fn watch<K: Watched>(
    apis: Vec<Api<K>>,
    config: &watcher::Config,
    liveness: &Liveness,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K> {
    let watches = apis.into_iter().map(|api| {
        let path = api.resource_url().to_owned();
        let (pulse, mut interruption) = (liveness.begin_watch(&path), Interruption::default());
        let events = watcher(api, config.clone()).inspect(move |event| {
            if is_answer(event) {
                pulse.beat();
            }
            interruption.log(&path, event);
        });
        events.backoff(PatientBackoff::default()).boxed()
    });
    merged(watches.collect())
}

/// The library's back-off, which begins anew when two minutes have passed since the last failure, and not with each event:
/// the watcher says `Init` before each list, so that a list that fails every time would be asked for every second.
#[derive(Default)]
struct PatientBackoff(watcher::DefaultBackoff);

impl Iterator for PatientBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for PatientBackoff {
    fn reset(&mut self) {}
}

/// Whether the API server answered, be it with a refusal.
fn is_answer<K>(event: &watcher::Result<Event<K>>) -> bool {
    match event {
        // A list is about to be asked for.
        Ok(Event::Init) => false,
        Ok(_) | Err(watcher::Error::WatchError(_)) => true,
        Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) => {
            matches!(error, kube::Error::Api(_))
        }
        Err(_) => false,
    }
}

fn merged<K: Watched>(mut watches: Vec<NamespaceWatch<K>>) -> BoxStream<'static, watcher::Result<Event<K>>> {
    if watches.len() == 1 {
        return watches.remove(0);
    }
    let mut merge = Merge::new(watches.len());
    let watches =
        watches.into_iter().enumerate().map(|(index, events)| events.map(move |event| (index, event)).boxed());
    let events = stream::select_all(watches);
    events.flat_map(move |(index, event)| stream::iter(merge.take(index, event))).boxed()
}

/// What one namespace has.
struct Namespace<K> {
    /// It was listed, or could not be.
    answered: bool,
    /// The objects that were told of.
    known: HashMap<String, K>,
    /// The names of the list that is being read; `None` if none is.
    listed: Option<Vec<String>>,
    /// Objects that went before the first list of all namespaces was complete.
    gone: HashMap<String, K>,
}

/// Makes one list of the first lists of all namespaces, and of later ones the changes.
struct Merge<K> {
    namespaces: Vec<Namespace<K>>,
    begun: bool,
    complete: bool,
}

impl<K: Watched> Merge<K> {
    fn new(namespaces: usize) -> Self {
        let empty = || Namespace { answered: false, known: HashMap::new(), listed: None, gone: HashMap::new() };
        Self { namespaces: std::iter::repeat_with(empty).take(namespaces).collect(), begun: false, complete: false }
    }

    /// The events to pass on when the watch of one namespace has an event.
    fn take(&mut self, index: usize, event: watcher::Result<Event<K>>) -> Vec<watcher::Result<Event<K>>> {
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            events.push(Event::Init);
        }
        let namespace = &mut self.namespaces[index];
        match event {
            Err(_) => namespace.answered = true,
            Ok(Event::Init) => namespace.listed = Some(Vec::new()),
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                let name = object.name_any();
                if let Some(listed) = &mut namespace.listed {
                    listed.push(name.clone());
                }
                namespace.gone.remove(&name);
                namespace.known.insert(name, object.tombstone());
                events.push(if self.complete { Event::Apply(object) } else { Event::InitApply(object) });
            }
            Ok(Event::Delete(object)) => {
                namespace.known.remove(&object.name_any());
                namespace.gone.insert(object.name_any(), object);
            }
            Ok(Event::InitDone) => {
                namespace.answered = true;
                namespace.forget_unlisted();
            }
        }
        if !self.complete && self.namespaces.iter().all(|namespace| namespace.answered) {
            self.complete = true;
            events.push(Event::InitDone);
        }
        if self.complete {
            let gone = self.namespaces.iter_mut().flat_map(|namespace| namespace.gone.drain());
            events.extend(gone.map(|(_, object)| Event::Delete(object)));
        }
        events.into_iter().map(Ok).collect()
    }
}

impl<K> Namespace<K> {
    /// What is not in the new list was deleted while nobody watched.
    fn forget_unlisted(&mut self) {
        let Some(listed) = self.listed.take() else { return };
        let listed: std::collections::HashSet<String> = listed.into_iter().collect();
        self.gone.extend(self.known.extract_if(|name, _| !listed.contains(name)));
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};
    use kube::{Client, client::Body};
    use serde_json::{Value, json};
    use tower::BoxError;

    use super::*;

    fn object(namespace: &str, name: &str) -> Deployment {
        let owner = json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue", "name": "q", "uid": "u"});
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner]}}))
            .unwrap()
    }

    fn told(events: &[watcher::Result<Event<Deployment>>]) -> Vec<String> {
        let name = |object: &Deployment| format!("{}/{}", object.namespace().unwrap(), object.name_any());
        let told = events.iter().map(|event| match event.as_ref().unwrap() {
            Event::Init => "init".into(),
            Event::InitDone => "done".into(),
            Event::InitApply(object) => format!("list {}", name(object)),
            Event::Apply(object) => format!("apply {}", name(object)),
            Event::Delete(object) => format!("delete {}, of {}", name(object), object.owner_references()[0].name),
        });
        told.collect()
    }

    fn forbidden() -> watcher::Error {
        watcher::Error::WatchError(Box::new(serde_json::from_value(json!({"code": 403, "message": "no"})).unwrap()))
    }

    #[test]
    fn the_first_lists_are_one_list_and_a_namespace_that_fails_is_not_waited_for() {
        let mut merge = Merge::new(3);
        assert_eq!(told(&merge.take(0, Ok(Event::Init))), ["init"]);
        assert_eq!(told(&merge.take(0, Ok(Event::InitApply(object("a", "x"))))), ["list a/x"]);
        assert!(merge.take(1, Ok(Event::Init)).is_empty());
        assert!(merge.take(0, Ok(Event::InitDone)).is_empty(), "two are missing");
        assert_eq!(told(&merge.take(0, Ok(Event::Apply(object("a", "y"))))), ["list a/y"]);
        assert!(merge.take(0, Ok(Event::Delete(object("a", "x")))).is_empty(), "later");
        assert!(merge.take(2, Err(forbidden())).is_empty());
        assert_eq!(told(&merge.take(1, Ok(Event::InitDone))), ["done", "delete a/x, of q"]);
        assert_eq!(told(&merge.take(2, Ok(Event::InitApply(object("c", "x"))))), ["apply c/x"], "it has a Role now");
    }

    #[test]
    fn what_a_later_list_of_a_namespace_lacks_was_deleted_there_and_nowhere_else() {
        let mut merge = Merge::new(2);
        for (index, namespace) in ["a", "b"].into_iter().enumerate() {
            merge.take(index, Ok(Event::Init));
            for name in ["x", "y"] {
                merge.take(index, Ok(Event::InitApply(object(namespace, name))));
            }
            merge.take(index, Ok(Event::InitDone));
        }
        assert!(merge.take(1, Ok(Event::Init)).is_empty());
        assert_eq!(told(&merge.take(1, Ok(Event::InitApply(object("b", "y"))))), ["apply b/y"]);
        assert_eq!(told(&merge.take(1, Ok(Event::InitDone))), ["delete b/x, of q"]);
    }

    /// An API server with one Deployment in each namespace, that forbids `b`.
    async fn serve(request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let path = request.uri().path().to_owned();
        let namespace = path.split('/').nth(5).unwrap_or_default();
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            std::future::pending::<()>().await;
        }
        let (code, body): (u16, Value) = if namespace == "b" {
            (403, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "message": "no"}))
        } else {
            let mut items = json!([object(namespace, "x")]);
            items[0]["spec"] = json!({"selector": {}, "template": {}});
            let (kind, version) = ("DeploymentList", "apps/v1");
            let list =
                json!({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items});
            (200, list)
        };
        Ok(Response::builder().status(code).body(Body::from(serde_json::to_vec(&body)?))?)
    }

    /// Two watches of the operator, on an API server that refuses one of them.
    #[tokio::test(start_paused = true)]
    async fn a_watch_that_fails_waits_longer_each_time_and_the_others_do_not_wait_with_it() {
        let asked = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let (began, noted) = (tokio::time::Instant::now(), asked.clone());
        let client = Client::new(
            tower::service_fn(move |request: Request<Body>| {
                if request.uri().path().contains("/b/") {
                    noted.lock().unwrap().push(began.elapsed().as_secs_f64());
                }
                serve(request)
            }),
            "default",
        );
        let watch_of = |namespace: &str| {
            let apis: Vec<Api<Deployment>> = crate::scope::Scope::of([namespace]).apis(&client);
            watch(apis, &watcher::Config::default(), &Liveness::default())
        };
        let mut both = stream::select(watch_of("b"), watch_of("a"));
        let limit = tokio::time::sleep(std::time::Duration::from_secs(300));
        let (mut failures, mut listed_at) = (0, None);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                Some(event) = both.next() => match event {
                    Ok(Event::InitDone) => listed_at = Some(began.elapsed().as_secs_f64()),
                    Ok(_) => {}
                    Err(_) => failures += 1,
                },
                () = &mut limit => break,
            }
        }
        assert!(listed_at.is_some_and(|at| at < 1.0), "{listed_at:?}");
        let asked = asked.lock().unwrap();
        assert!((5..30).contains(&failures) && (5..30).contains(&asked.len()), "{failures} failures: {asked:?}");
        let longest = asked.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
        assert!(longest > 10.0, "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_namespace_is_watched_by_itself() {
        let client = Client::new(tower::service_fn(serve), "default");
        let apis: Vec<Api<Deployment>> = crate::scope::Scope::of(["a", "b", "c"]).apis(&client);
        let events = watch(apis, &watcher::Config::default(), &Liveness::default());
        let until_done = events.take_while(|event| {
            let done = matches!(event, Ok(Event::InitDone));
            async move { !done }
        });
        let mut seen = told(&until_done.collect::<Vec<_>>().await);
        seen[1..].sort();
        assert_eq!(seen, ["init", "list a/x", "list c/x"]);
    }
}
