//! Who is let in, and what a page may do.

use jobqueue_testkit::{redis, unique};
use reqwest::{StatusCode, header};

use crate::support::{Served, failed};

#[tokio::test]
async fn only_a_browser_with_the_token_sees_anything() {
    let queue = unique("secret-queue");
    redis().cli(&["RPUSH", &queue, "x"]);
    let served = Served::list(&queue, false).await;
    for path in ["/", &served.address(""), "/static/dashboard.js", "/events", "/nothing", "/?token=wrong", "/?token="] {
        let answer = served.bare(path).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        let text = answer.text().await.expect("text");
        assert!(!text.contains(&queue) && !text.contains(&served.token), "{text}");
    }
    let forged = served.bare("/").header(header::COOKIE, format!("jobqueue_1={}", served.token));
    assert_eq!(forged.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED, "another run's cookie");
    let page = served.page("/").await;
    assert!(page.contains(&queue) && !page.contains(&served.token), "{page}");
}

#[tokio::test]
async fn a_name_that_was_rebound_to_the_loopback_is_refused() {
    let served = Served::list(&unique("q"), false).await;
    let port = served.base.rsplit(':').next().expect("a port").to_owned();
    for host in ["evil.example", "evil.example:80", &format!("127.0.0.1.evil.example:{port}"), "127.0.0.1"] {
        let answer = served.get("/").header(header::HOST, host).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
    }
    let with_token = format!("/?token={}", served.token);
    let answer = served.bare(&with_token).header(header::HOST, "evil.example").send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "the token does not help");
    for host in [format!("localhost:{port}"), format!("[::1]:{port}")] {
        let answer = served.get("/").header(header::HOST, &host).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn pages_allow_nothing_from_elsewhere() {
    let served = Served::list(&unique("q"), false).await;
    for path in ["/", "/nothing", "/static/dashboard.css"] {
        let answer = served.get(path).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let policy = header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!((header("referrer-policy"), header("cache-control")), ("same-origin", "no-store"));
    }
    let page = served.page("/").await;
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains("onclick"), "{page}");
    let scripts: Vec<&str> = page.split("<script").skip(1).collect();
    assert_eq!(scripts.len(), 1, "{page}");
    assert!(scripts[0].starts_with(" src=\"/static/dashboard.js\""), "{page}");
}

async fn one_failed(queue: &str) {
    failed(queue, &[("{}".to_owned(), "broken".to_owned())]).await;
}

#[tokio::test]
async fn a_change_takes_a_form_of_ours() {
    let queue = unique("q");
    one_failed(&queue).await;
    let served = Served::list(&queue, false).await;
    let confirm = served.page(&served.address("/failed/confirm?action=requeue&scope=all")).await;
    assert!(confirm.contains("Requeue 1 job?"), "{confirm}");
    let (action, token) = Served::form(&confirm);
    let form = format!("form_token={token}");
    let own = served.base.clone();
    let refused = [
        served.post(&action, &form),
        served.post(&action, &form).header(header::ORIGIN, "null"),
        served.post(&action, &form).header(header::ORIGIN, "http://evil.example"),
        served.post(&action, &form).header(header::ORIGIN, "http://localhost:1"),
        served.post(&action, &form).header(header::ORIGIN, &own).header("sec-fetch-site", "cross-site"),
        served.post(&action, "form_token=wrong").header(header::ORIGIN, &own),
        served.post(&action, "").header(header::ORIGIN, &own),
        served.post(&action, &format!("form_token={}", served.token)).header(header::ORIGIN, &own),
    ];
    for (index, request) in refused.into_iter().enumerate() {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "request {index}");
    }
    let without_cookie =
        reqwest::Client::new().post(format!("{own}{action}")).header(header::ORIGIN, &own).body(form.clone());
    assert_eq!(without_cookie.send().await.expect("an answer").status(), StatusCode::UNAUTHORIZED);
    assert_eq!(redis().cli(&["LLEN", &queue]), "0", "nothing was done");

    let answer = served.post(&action, &form).header(header::ORIGIN, &own).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::SEE_OTHER);
    let page = served.wait_for(&action, "1 job requeued").await;
    assert!(page.contains("of 1."), "{page}");
    let again = served.post(&action, &form).header(header::ORIGIN, &own).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::SEE_OTHER);
    assert!(served.page(&action).await.contains("1 job requeued"), "once");
}

#[tokio::test]
async fn read_only_refuses_every_change() {
    let queue = unique("q");
    one_failed(&queue).await;
    let served = Served::list(&queue, true).await;
    let page = served.wait_for(&served.address("/failed"), "1 job of 1 cause").await;
    assert!(!page.contains("confirm?") && page.contains("read only") && page.contains("/export?"), "{page}");
    for action in ["requeue", "purge"] {
        let path = served.address(&format!("/failed/confirm?action={action}&scope=all"));
        let answer = served.get(&path).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{action}");
    }
    let answer = served.post("/plans/x", "").header(header::ORIGIN, &served.base).send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
}
