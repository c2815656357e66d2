//! With an API server that is a function.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::BoxError;

use super::answers::FRESH;
use super::*;

const GET: Right<'static> =
    Right::Resource { verb: "get", group: "jobqueue.dev", resource: "jobqueues", namespace: "shop", name: "" };

/// Knows the tokens `ann` and `bob`, of which the first may do what is asked.
fn access(asked: &Arc<AtomicUsize>, kept: usize) -> Access {
    let asked = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let is_token = request.uri().path().ends_with("/tokenreviews");
            let sent: Value = serde_json::from_slice(&request.into_body().collect_bytes().await?)?;
            let token = sent["spec"]["token"].as_str().unwrap_or_default();
            if token == "broken" {
                return Err(BoxError::from("the API server is away"));
            }
            let (kind, version, status) = if is_token {
                let known = ["ann", "bob"].contains(&token);
                (
                    "TokenReview",
                    "authentication.k8s.io/v1",
                    json!({"authenticated": known, "user": {"username": token}}),
                )
            } else {
                let spec = &sent["spec"];
                assert!(
                    spec["nonResourceAttributes"] == json!({"path": "/metrics", "verb": "get"})
                        || spec["resourceAttributes"]
                            == json!({"verb": "get", "group": "jobqueue.dev", "resource": "jobqueues", "namespace": "shop"}),
                    "{spec}"
                );
                let allowed = json!({"allowed": sent["spec"]["user"] == "ann"});
                ("SubjectAccessReview", "authorization.k8s.io/v1", allowed)
            };
            let object =
                json!({"kind": kind, "apiVersion": version, "metadata": {}, "spec": sent["spec"], "status": status});
            Ok(Response::builder().status(201).body(Body::from(serde_json::to_vec(&object)?))?)
        }
    });
    Access::new(Client::new(service, "default"), 2, kept)
}

#[tokio::test(start_paused = true)]
async fn the_api_server_says_who_it_is_and_what_it_may() {
    let access = access(&Arc::default(), 16);
    assert!(access.user("stranger").await.unwrap().is_none());
    assert!(access.user("broken").await.is_err());
    for (token, may) in [("ann", true), ("bob", false)] {
        let user = access.user(token).await.unwrap().unwrap();
        for right in [GET, Right::Path("/metrics")] {
            assert_eq!(access.may(&user, right).await.unwrap(), may, "{token} {right:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_asked_for_once_in_a_while() {
    let asked = Arc::new(AtomicUsize::new(0));
    let access = access(&asked, 1);
    for _ in 0..5 {
        let ann = access.user("ann").await.unwrap().unwrap();
        assert!(access.may(&ann, GET).await.unwrap());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    // One more than are kept.
    for _ in 0..2 {
        access.user("bob").await.unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    tokio::time::advance(FRESH).await;
    access.user("ann").await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[test]
fn a_bearer_token_is_read_from_its_header() {
    let token = |value: &'static str| {
        bearer(&HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))])).map(str::to_owned)
    };
    assert_eq!(token("Bearer ann").as_deref(), Some("ann"));
    assert_eq!(token("bearer  ann ").as_deref(), Some("ann"));
    for wrong in ["ann", "Basic ann", "Bearer "] {
        assert_eq!(token(wrong), None, "{wrong}");
    }
}
