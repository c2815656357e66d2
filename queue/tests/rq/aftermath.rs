//! What follows a settlement: webhooks are posted, callbacks nobody can run are counted.

use jobqueue_queue::{Backend, Retry};
use jobqueue_testkit::unique;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::{Fixture, failed, finished};

/// Takes one request and answers it; gives its first line and its body.
async fn one_request(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut request, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.unwrap();
        request.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if body.len() >= length.unwrap_or(0) {
            let answer = (head.lines().next().unwrap().to_owned(), body.to_owned());
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
            return answer;
        }
    }
}

#[tokio::test]
async fn webhooks_are_told_the_end_and_not_the_retries() {
    let mut fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let hooks = json!([
        {"url": format!("{base}/done"), "job_status": "finished", "method": "GET", "headers": null, "timeout": 10},
        {"url": format!("{base}/broken"), "job_status": "failed", "method": "POST", "headers": {"X-Team": "a"}, "timeout": 10},
    ])
    .to_string();
    let worker = fixture.worker();
    worker.register().await.unwrap();
    let (good, bad) = (unique("good"), unique("bad"));
    fixture.enqueue(&good, &[("webhooks", &hooks)]).await;
    fixture.enqueue(&bad, &[("webhooks", &hooks), ("retries_left", "1"), ("retry_intervals", "[0]")]).await;
    let claim = worker.claim(2).await.unwrap();
    worker.settle(&[finished(&claim.deliveries[0]), failed(&claim.deliveries[1], Retry::Never)]).await.unwrap();
    let (line, _) = one_request(&listener).await;
    assert_eq!(line, "GET /done HTTP/1.1");
    let claim = worker.claim(2).await.unwrap();
    worker.settle(&[failed(&claim.deliveries[0], Retry::Never)]).await.unwrap();
    let (line, body) = one_request(&listener).await;
    assert_eq!(line, "POST /broken HTTP/1.1");
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["job_id"], &told["status"], &told["exc_info"]), (&json!(bad), &json!("failed"), &json!("boom")));
    assert_eq!(told["func_name"], "tasks.parse");
}

#[tokio::test]
async fn a_job_that_is_given_up_tells_its_webhooks_too() {
    let mut fixture = Fixture::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hooks = format!(
        r#"[{{"url": "http://{}/lost", "job_status": "failed", "method": "POST"}}]"#,
        listener.local_addr().unwrap()
    );
    let mut config = fixture.config();
    config.retry.max_attempts = 1;
    let worker = fixture.worker_with(config);
    fixture.enqueue(&unique("job"), &[("webhooks", &hooks)]).await;
    let claim = worker.claim(1).await.unwrap();
    fixture.lapse(&claim.deliveries[0]).await;
    assert_eq!(worker.maintain().await.unwrap().abandoned, 1);
    let (_, body) = one_request(&listener).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["func_name"], "tasks.parse");
    assert!(told["exc_info"].as_str().unwrap().contains("AbandonedJobError"), "{told}");
}

#[tokio::test]
async fn a_skipped_callback_is_counted() {
    let mut fixture = Fixture::new().await;
    let worker = fixture.worker();
    let callbacks = [("success_callback_name", "reports.cheer"), ("failure_callback_name", "")];
    for _ in 0..2 {
        fixture.enqueue(&unique("job"), &callbacks).await;
    }
    let claim = worker.claim(2).await.unwrap();
    worker.settle(&[finished(&claim.deliveries[0]), failed(&claim.deliveries[1], Retry::Never)]).await.unwrap();
    assert_eq!(worker.skipped_callbacks(), 1);
}
