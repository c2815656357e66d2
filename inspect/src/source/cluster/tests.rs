//! The source with an API server that is a function.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tower::service_fn;
use url::form_urlencoded;

use super::*;
use crate::source::Standing;

/// A client whose requests go to this function; it answers a status and a body.
fn client(answer: impl Fn(&str, &[(String, String)]) -> (u16, Value) + Clone + Send + 'static) -> Client {
    let service = service_fn(move |request: Request<kube::client::Body>| {
        let uri = request.uri().clone();
        let query: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let watches = query.iter().any(|(name, value)| name == "watch" && (value == "true" || value == "1"));
        let (status, body) = answer(uri.path(), &query);
        let body = if watches && status == 200 {
            // A watch that stays open, and has nothing to say.
            Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>())
        } else {
            Body::from(body.to_string())
        };
        let response = Response::builder().status(status).body(body).expect("a response");
        async move { Ok::<_, Infallible>(response) }
    });
    Client::new(service, "default")
}

fn refused() -> (u16, Value) {
    (403, json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}))
}

fn queue(index: usize) -> Value {
    let ready = if index == 7_777 { "False" } else { "True" };
    json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": format!("q-{index:05}"), "namespace": format!("n-{}", index % 10), "resourceVersion": "1"},
        "spec": {"queue": {"names": ["q"], "redis": {"urlSecretKeyRef": {"name": "redis", "key": "url"}}}},
        "status": {"observedGeneration": 1, "readyReplicas": 1, "desiredReplicas": 1, "selector": "app=q",
            "queue": {"waiting": index, "running": 0, "failed": 0},
            "conditions": [{"type": "Ready", "status": ready, "reason": "Unreachable", "message": "Redis is away",
                "lastTransitionTime": "2026-03-01T12:00:00Z"}]},
    })
}

fn started(client: Client) -> Arc<ClusterSource> {
    let settings = ClusterSettings { all_namespaces: true, ..ClusterSettings::default() };
    ClusterSource::with_client(client, "https://cluster", &["default".to_owned()], settings)
}

async fn until(source: &ClusterSource, wanted: impl Fn(&Overview) -> bool) -> Overview {
    let began = Instant::now();
    loop {
        let overview = source.overview("", Order::default(), 0, 100, &Visible::All).await;
        if wanted(&overview) {
            return overview;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{overview:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn ten_thousand_queues_are_listed_in_pages_with_the_worst_first() {
    const COUNT: usize = 10_000;
    static LISTS: AtomicUsize = AtomicUsize::new(0);
    let source = started(client(|_, query| {
        let field = |name: &str| query.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        LISTS.fetch_add(1, Ordering::Relaxed);
        let start: usize = field("continue").parse().unwrap_or(0);
        let limit: usize = field("limit").parse().unwrap_or(COUNT);
        let end = (start + limit).min(COUNT);
        let more = if end < COUNT { json!(end.to_string()) } else { Value::Null };
        let items: Vec<Value> = (start..end).map(queue).collect();
        let metadata = json!({"resourceVersion": "5", "continue": more});
        (
            200,
            json!({"apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueueList", "metadata": metadata, "items": items}),
        )
    }));
    let all = until(&source, |overview| overview.total == COUNT).await;
    assert!(LISTS.load(Ordering::Relaxed) >= COUNT / PAGE as usize, "in pages");
    let names: Vec<&str> = all.rows.iter().take(3).map(|row| row.key.name.as_str()).collect();
    assert_eq!((names, all.rows.len()), (vec!["q-07777", "q-09999", "q-09998"], 100));
    assert_eq!((all.rows[0].standing, all.troubled), (Standing::NotReady, [0, 1, 0, 0]));
    let began = Instant::now();
    let some = source.overview("n-3/q-0", Order::default(), 100, 100, &Visible::All).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((some.matching, some.rows.len()), (1_000, 100));
}

#[tokio::test]
async fn a_missing_right_is_named_and_the_rest_is_shown() {
    let source = started(client(|path, _| match path {
        "/apis/jobqueue.dev/v1alpha1/jobqueues" => refused(),
        path if path.ends_with("/jobqueues/q-00001") => (200, queue(1)),
        _ => refused(),
    }));
    let overview = until(&source, |overview| overview.problem.is_some()).await;
    let problem = overview.problem.expect("a problem");
    assert!(problem.contains("list and watch jobqueues.jobqueue.dev in all namespaces"), "{problem}");
    let key = QueueKey { namespace: "n-1".into(), name: "q-00001".into() };
    let view = source.queue(&key).await.expect("the queue itself may be read");
    assert_eq!(view.row.numbers.waiting, 1);
    assert!(view.notes[0].contains("lacks the right to list pods in namespace n-1"), "{:?}", view.notes);
    let problem = source.backlog(&key).await.err().expect("the Secret may not be read").to_string();
    assert!(problem.contains("get secrets in namespace n-1") && problem.contains("--redis URL"), "{problem}");
    let missing = QueueKey { namespace: "n-1".into(), name: "other".into() };
    let problem = source.queue(&missing).await.err().expect("refused").to_string();
    assert!(problem.contains("get jobqueues.jobqueue.dev"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_refused_is_asked_for_now_and_then_and_is_news_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let source = started(client(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        refused()
    }));
    let mut changes = source.changes();
    let before = *changes.borrow_and_update();
    tokio::time::sleep(Duration::from_secs(61)).await;
    let lists = asked.load(Ordering::Relaxed);
    assert!((10..=14).contains(&lists), "{lists} lists in a minute");
    assert!(*changes.borrow() <= before + 1, "a page is loaded anew once");
}
