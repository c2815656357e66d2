//! `jobqueue stop` on a worker's backend that obeys, in every protocol.

use crate::support::{Ran, jobqueue, jobqueue_with};
use jobqueue_queue::{
    Backend, Command, Completion, Connection, ConnectionUrl, Delivery, Outcome, Protocol, QueueConfig, Timeouts,
    TlsOptions,
};
use jobqueue_testkit::{redis, unique};
use serde_json::Value;
use std::sync::Arc;

fn run(protocol: Protocol, queue: &str, args: &[&str]) -> Ran {
    let (name, url) = (protocol.to_string(), redis().url());
    jobqueue(&[args, &["--protocol", &name, "--queue", queue, "--redis", &url]].concat())
}

/// A queue with one job, and a backend that has it in hand.
async fn in_hand(protocol: Protocol, queue: &str) -> (Arc<dyn Backend>, Delivery) {
    let (name, url) = (protocol.to_string(), redis().url());
    let mut args = vec!["enqueue", "-", "--protocol", &name, "--queue", queue, "--redis", &url];
    if protocol == Protocol::Rq {
        args.extend(["--function", "a.b"]);
    }
    assert_eq!(jobqueue_with(&args, "{\"n\": 1}\n").code, 0);
    let url: ConnectionUrl = url.parse().unwrap();
    let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
    let config = QueueConfig::new(protocol, vec![queue.to_owned()], unique("worker"));
    let backend = jobqueue_queue::connect(&connection, config).unwrap();
    backend.register().await.unwrap();
    let job = backend.claim(1).await.unwrap().deliveries.pop().unwrap();
    (backend, job)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_job_is_stopped_and_shown_among_the_failed() {
    for protocol in [Protocol::Rq, Protocol::List, Protocol::Stream] {
        let queue = unique("q");
        let (backend, job) = in_hand(protocol, &queue).await;
        let id = job.id.clone();
        let stopping = tokio::task::spawn_blocking({
            let (id, queue) = (id.clone(), queue.clone());
            move || run(protocol, &queue, &["stop", &id, "-o", "json"])
        });
        let (Command::StopJob(asked) | Command::StopJobOf { job: asked, .. }) = backend.next_command().await else {
            panic!("another command");
        };
        assert_eq!(asked, id);
        let (started_at, ended_at) = (chrono::Utc::now(), chrono::Utc::now());
        backend.settle(&[Completion { delivery: job, outcome: Outcome::Stopped, started_at, ended_at }]).await.unwrap();
        let ran = stopping.await.unwrap();
        assert_eq!(ran.code, 0, "{protocol}: {}", ran.err);
        let told: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&told[0]["id"], &told[0]["stopped"]), (&Value::from(id.as_str()), &true.into()), "{}", ran.out);
        assert!(ran.err.contains(&format!("stopped job {id}")), "{}", ran.err);
        let ran = run(protocol, &queue, &["failed", "show", &id]);
        assert!(ran.code == 0 && ran.out.contains("stopped"), "{protocol}: {} {}", ran.out, ran.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_run_or_does_not_listen_is_told() {
    for protocol in [Protocol::Rq, Protocol::List, Protocol::Stream] {
        let queue = unique("q");
        let (backend, job) = in_hand(protocol, &queue).await;
        let stop = |id: &str| {
            let (id, queue) = (id.to_owned(), queue.clone());
            tokio::task::spawn_blocking(move || run(protocol, &queue, &["stop", &id]))
        };
        let ran = stop("nonsense").await.unwrap();
        assert_eq!(ran.code, 5, "{protocol}: {}", ran.err);
        assert!(ran.err.contains("nonsense"), "{}", ran.err);

        let released = Completion {
            delivery: job.clone(),
            outcome: Outcome::Released,
            started_at: chrono::Utc::now(),
            ended_at: chrono::Utc::now(),
        };
        backend.settle(&[released]).await.unwrap();
        let ran = stop(&job.id).await.unwrap();
        assert_eq!(ran.code, 3, "{protocol}: {}", ran.err);
        assert!(ran.err.contains("queued"), "{protocol}: {}", ran.err);

        let again = backend.claim(1).await.unwrap().deliveries.pop().unwrap();
        assert_eq!(again.id, job.id);
        // As a worker that was killed: it has the job, and its ear is gone.
        drop(backend);
        let redis = redis();
        jobqueue_testkit::until("the subscription is gone", std::time::Duration::from_secs(10), || {
            !redis.cli(&["PUBSUB", "CHANNELS"]).contains(&queue)
        });
        if protocol != Protocol::Rq {
            let ran = stop(&job.id).await.unwrap();
            assert_eq!(ran.code, 3, "{protocol}: {}", ran.err);
            assert!(ran.err.contains("does not listen"), "{protocol}: {}", ran.err);
        }
    }
}
