//! The dashboard in a cluster whose API server is a function: who is let in, what each account sees, and what is refused.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Response as HttpResponse;
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::{BoxError, ServiceExt as _, service_fn};

use super::*;
use crate::App;
use crate::plans::Plans;
use crate::simulation::Simulator;
use crate::source::{ClusterSettings, ClusterSource, RedisReach};
use crate::survey::Surveys;

const HOST: &str = "jobqueue.example";
const SECRET: &str = "a secret of the proxy";

/// What an account may: verb, resource and namespace.
fn may(account: &str, verb: &str, resource: &str, namespace: &str) -> bool {
    match account {
        "root" => true,
        "bob" => namespace == "shop" && resource == "jobqueues" && verb != "update",
        "carl" => namespace == "shop" && verb != "update",
        "ann" => namespace == "shop",
        _ => false,
    }
}

fn queue(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueue",
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"},
        "spec": {"queue": {"names": ["q"], "redis": {"urlSecretKeyRef": {"name": "redis", "key": "url"}}}},
        "status": {"readyReplicas": 1, "desiredReplicas": 1, "queue": {"waiting": 7}, "conditions": []},
    })
}

fn review(path: &str, sent: &Value) -> Option<Value> {
    let spec = &sent["spec"];
    let (kind, group, status) = if path.ends_with("/tokenreviews") {
        let account = spec["token"].as_str()?.strip_prefix("token-of-").unwrap_or_default();
        let known = !account.is_empty();
        (
            "TokenReview",
            "authentication",
            json!({"authenticated": known, "user": {"username": account, "groups": ["g"]}}),
        )
    } else {
        let asked = &spec["resourceAttributes"];
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let groups = spec["groups"].to_string();
        assert!(!groups.contains("system:masters"), "{groups}");
        let allowed = may(spec["user"].as_str()?, text("verb"), text("resource"), text("namespace"));
        ("SubjectAccessReview", "authorization", json!({ "allowed": allowed }))
    };
    let version = format!("{group}.k8s.io/v1");
    Some(json!({"kind": kind, "apiVersion": version, "metadata": {}, "spec": spec, "status": status}))
}

fn client() -> Client {
    let service = service_fn(|request: axum::http::Request<kube::client::Body>| async move {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        if parts.uri.query().is_some_and(|query| query.contains("watch=")) {
            let silent = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
            return Ok::<_, BoxError>(HttpResponse::new(silent));
        }
        let sent: Value = serde_json::from_slice(&body.collect_bytes().await?).unwrap_or_default();
        let object = match path.as_str() {
            "/apis/jobqueue.dev/v1alpha1/jobqueues" => json!({
                "apiVersion": "jobqueue.dev/v1alpha1", "kind": "JobQueueList", "metadata": {"resourceVersion": "1"},
                "items": [queue("shop", "orders"), queue("mail", "letters")],
            }),
            "/apis/jobqueue.dev/v1alpha1/namespaces/shop/jobqueues/orders" => queue("shop", "orders"),
            "/apis/jobqueue.dev/v1alpha1/namespaces/mail/jobqueues/letters" => queue("mail", "letters"),
            path => review(path, &sent).unwrap_or_default(),
        };
        Ok(HttpResponse::builder().status(200).body(Body::from(object.to_string()))?)
    });
    Client::new(service, "default")
}

/// The pages, once the queues are listed.
async fn served() -> Router {
    let reach =
        RedisReach::Namespaces { names: std::collections::BTreeSet::new(), guard: jobqueue_queue::Guard::default() };
    let settings = ClusterSettings { all_namespaces: true, reach, ..ClusterSettings::default() };
    let source = ClusterSource::with_client(client(), "https://cluster", &[], settings);
    while source.namespaces().len() < 2 {
        tokio::task::yield_now().await;
    }
    let changed = watch::Sender::new(0);
    crate::routes::router(Arc::new(App {
        source,
        access: Arc::new(Access::Cluster(Cluster::new(client(), Some(SECRET.to_owned())))),
        read_only: false,
        prometheus: None,
        surveys: Surveys::new(changed.clone()),
        plans: Plans::default(),
        simulator: Simulator::default(),
        changed,
    }))
}

type Answer = (StatusCode, HeaderMap, String);

async fn send(pages: &Router, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", HOST);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = pages.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    // Events have no end.
    let is_stream = parts.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let bytes = if is_stream { axum::body::Bytes::new() } else { to_bytes(body, 1 << 20).await.expect("a body") };
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).expect("text"))
}

async fn get(pages: &Router, path: &str, account: &str) -> (StatusCode, String) {
    let token = format!("Bearer token-of-{account}");
    let (status, _, text) = send(pages, "GET", path, &[("authorization", &token)], "").await;
    (status, text)
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_anything_without_a_token() {
    let pages = served().await;
    for path in ["/", "/q/shop/orders", "/q/shop/orders/failed", "/nothing", "/plans/x", "/logout"] {
        let (status, headers, text) = send(&pages, "GET", path, &[], "").await;
        assert_eq!(
            (status, &headers["location"]),
            (StatusCode::SEE_OTHER, &HeaderValue::from_static("/login")),
            "{path}"
        );
        assert!(!text.contains("orders"), "{text}");
    }
    for headers in
        [&[("authorization", "Bearer wrong")][..], &[("cookie", "jobqueue_session=wrong"), ("accept", "*/*")]]
    {
        let (status, ..) = send(&pages, "GET", "/events", headers, "").await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
    for path in ["/healthz", "/static/dashboard.css", "/login"] {
        assert_eq!(send(&pages, "GET", path, &[], "").await.0, StatusCode::OK, "{path}");
    }
    let (status, ..) = send(&pages, "DELETE", "/", &[("authorization", "Bearer token-of-root")], "").await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test(start_paused = true)]
async fn an_account_logs_in_with_its_token_and_out() {
    let pages = served().await;
    let own = ("origin", "https://jobqueue.example");
    let log_in = |headers: Vec<(&'static str, &'static str)>, form: &'static str| {
        let pages = pages.clone();
        async move { send(&pages, "POST", LOGIN, &headers, form).await }
    };
    for headers in [vec![], vec![("origin", "https://evil.example")], vec![own, ("sec-fetch-site", "cross-site")]] {
        assert_eq!(log_in(headers, "token=token-of-ann").await.0, StatusCode::FORBIDDEN);
    }
    for form in ["token=wrong", "token=", ""] {
        let (status, headers, _) = log_in(vec![own], form).await;
        assert_eq!((status, headers.get("set-cookie")), (StatusCode::UNAUTHORIZED, None), "{form}");
    }
    let (status, headers, _) = log_in(vec![own], "token=token-of-ann").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let cookie = headers["set-cookie"].to_str().expect("text").to_owned();
    assert!(
        cookie.ends_with("; HttpOnly; SameSite=Lax; Path=/; Max-Age=43200; Secure") && !cookie.contains("ann"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a cookie");
    let (status, _, page) = send(&pages, "GET", "/", &[("cookie", cookie)], "").await;
    assert!(status == StatusCode::OK && page.contains("Logged in as ann."), "{page}");
    // Another site's form has the cookie, and no origin of ours.
    let (status, ..) =
        send(&pages, "POST", LOGOUT, &[("cookie", cookie), ("origin", "https://evil.example")], "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, ..) = send(&pages, "POST", LOGOUT, &[("cookie", cookie), own], "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(send(&pages, "GET", "/", &[("cookie", cookie)], "").await.0, StatusCode::SEE_OTHER, "it is over");
}

#[tokio::test(start_paused = true)]
async fn an_account_sees_what_it_may() {
    let pages = served().await;
    for (account, shop, mail, summary) in [
        ("root", true, true, "2 queues"),
        ("ann", true, false, "1 queue"),
        ("bob", true, false, "1 queue"),
        ("eve", false, false, "0 queues"),
    ] {
        let (status, list) = get(&pages, "/", account).await;
        assert_eq!(status, StatusCode::OK);
        let seen = (list.contains("shop/orders"), list.contains("mail/letters"), list.contains(summary));
        assert_eq!(seen, (shop, mail, true), "{account}: {list}");
        for (path, allowed) in [("/q/shop/orders", shop), ("/q/mail/letters", mail), ("/q/mail/letters/simulate", mail)]
        {
            let (status, page) = get(&pages, path, account).await;
            assert_eq!(status == StatusCode::OK, allowed, "{account} {path}: {page}");
            let missing = format!("The account {account} lacks the right to get jobqueues in namespace");
            assert_eq!(
                status == StatusCode::FORBIDDEN && page.contains(&missing),
                !allowed,
                "{account} {path}: {page}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_take_the_right_to_read_secrets_and_changes_that_to_update() {
    let pages = served().await;
    let secrets = "lacks the right to get secrets in namespace shop";
    let update = "lacks the right to update jobqueues in namespace shop";
    let confirm = "/q/shop/orders/failed/confirm?action=purge&scope=all";
    for (path, account, refused) in [
        ("/q/shop/orders/failed", "bob", secrets),
        ("/q/shop/orders/failed/cause/x", "bob", secrets),
        ("/q/shop/orders/failed/job?id=x", "bob", secrets),
        ("/q/shop/orders/failed/export?scope=all", "bob", secrets),
        (confirm, "bob", secrets),
        (confirm, "carl", update),
    ] {
        let (status, page) = get(&pages, path, account).await;
        assert!(status == StatusCode::FORBIDDEN && page.contains(refused), "{account} {path}: {page}");
    }
    // A queue is shown without what its workers have in hand.
    for (account, why) in [("bob", secrets), ("carl", "dashboard.redis.namespaces")] {
        let (status, page) = get(&pages, "/q/shop/orders", account).await;
        assert!(status == StatusCode::OK && page.contains(why), "{account}: {page}");
    }
    // Who may is told that no namespace is listed.
    for (path, account) in [("/q/shop/orders/failed", "carl"), (confirm, "ann")] {
        let (status, page) = get(&pages, path, account).await;
        assert!(
            status == StatusCode::BAD_GATEWAY && page.contains("dashboard.redis.namespaces"),
            "{account} {path}: {page}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_proxy_is_believed_with_its_secret_only() {
    let pages = served().await;
    let of = |secret: &'static str, user: &'static str| {
        let pages = pages.clone();
        async move {
            let headers =
                [("x-jobqueue-proxy-secret", secret), ("x-remote-user", user), ("x-remote-group", "system:masters")];
            send(&pages, "GET", "/", &headers, "").await.0
        }
    };
    assert_eq!(of(SECRET, "bob").await, StatusCode::OK);
    for (secret, user) in [("", "bob"), ("wrong", "bob"), (SECRET, ""), (SECRET, "system:admin")] {
        assert_eq!(of(secret, user).await, StatusCode::SEE_OTHER, "{secret} {user}");
    }
    let (status, ..) = send(&pages, "GET", "/", &[("x-remote-user", "root")], "").await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[test]
fn a_form_is_one_accounts() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _guard = runtime.enter();
    let cluster = Cluster::new(client(), None);
    let token = |name: &str| cluster.form_token(&UserInfo { username: Some(name.to_owned()), ..UserInfo::default() });
    assert_eq!(token("ann"), token("ann"));
    assert_ne!(token("ann"), token("bob"));
    assert_ne!(
        token("ann"),
        Cluster::new(client(), None).form_token(&UserInfo { username: Some("ann".into()), ..UserInfo::default() })
    );
}
