//! `jobqueue failed` and `jobqueue status` on what workers leave in a real Redis.

use crate::support::{Ran, jobqueue, jobqueue_with};
use jobqueue_queue::{
    Completion, Connection, ConnectionUrl, Outcome, Protocol, QueueConfig, Retry, Timeouts, TlsOptions,
};
use jobqueue_testkit::{redis, unique};
use serde_json::Value;

/// Enqueues three records and lets our backend fail them: two for one reason, one for another.
fn failed(protocol: Protocol, queue: &str) {
    failed_with(protocol, queue, ["n is 1, not 'x'", "n is 2, not 'y'", "not JSON: line 1"]);
}

fn failed_with(protocol: Protocol, queue: &str, errors: [&str; 3]) {
    let (name, url) = (protocol.to_string(), redis().url());
    let mut args = vec!["enqueue", "-", "--protocol", &name, "--queue", queue, "--redis", &url];
    if protocol == Protocol::Rq {
        args.extend(["--function", "a.b"]);
    }
    assert_eq!(jobqueue_with(&args, "{\"n\": 1}\n{\"n\": 2}\nthree\n").code, 0);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url: ConnectionUrl = url.parse().unwrap();
        let connection = Connection::new(&url, &TlsOptions::default(), Timeouts::default()).unwrap();
        let config = QueueConfig::new(protocol, vec![queue.to_owned()], unique("worker"));
        let backend = jobqueue_queue::connect(&connection, config).unwrap();
        backend.register().await.unwrap();
        let claim = backend.claim(10).await.unwrap();
        assert_eq!(claim.deliveries.len(), 3);
        let completions: Vec<Completion> = claim
            .deliveries
            .into_iter()
            .zip(errors)
            .map(|(delivery, error)| Completion {
                delivery,
                outcome: Outcome::Failed { error: error.into(), retry: Retry::Never },
                started_at: chrono::Utc::now(),
                ended_at: chrono::Utc::now(),
            })
            .collect();
        backend.settle(&completions).await.unwrap();
    });
}

const PROTOCOLS: [Protocol; 3] = [Protocol::Rq, Protocol::List, Protocol::Stream];

fn run(protocol: Protocol, queue: &str, args: &[&str]) -> Ran {
    let (name, url) = (protocol.to_string(), redis().url());
    jobqueue(&[args, &["--protocol", &name, "--queue", queue, "--redis", &url]].concat())
}

#[test]
fn failures_are_grouped_by_cause_with_an_example() {
    for protocol in PROTOCOLS {
        let queue = unique("q");
        failed(protocol, &queue);
        let ran = run(protocol, &queue, &["failed", "list", "-o", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let groups: Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((&groups[0]["pattern"], &groups[0]["count"]), (&"n is N, not '…'".into(), &2.into()));
        let error = groups[0]["error"].as_str().unwrap();
        assert!(["n is 1, not 'x'", "n is 2, not 'y'"].contains(&error), "{error}");
        assert_eq!((&groups[1]["error"], &groups[1]["count"]), (&"not JSON: line 1".into(), &1.into()));
        assert!(ran.err.contains("3 failed job(s) of 2 kind(s)"), "{}", ran.err);

        let ran = run(protocol, &queue, &["failed", "show", groups[0]["example"].as_str().unwrap()]);
        assert!(ran.out.contains(error), "the error shown is that of the example: {}", ran.out);
        let example = groups[1]["example"].as_str().unwrap();
        let ran = run(protocol, &queue, &["failed", "show", example]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        assert!(ran.out.contains("three") && ran.out.contains("not JSON: line 1"), "{}", ran.out);

        let ran = run(protocol, &queue, &["failed", "list"]);
        let header: Vec<&str> = ran.out.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(header, ["COUNT", "LAST", "EXAMPLE", "ERROR"]);
        assert_eq!(ran.out.lines().count(), 3);
        assert!(ran.out.contains(error) && !ran.out.contains('…'), "{}", ran.out);
        let ran = run(protocol, &queue, &["failed", "list", "--each", "--error", "n is", "--limit", "1"]);
        assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    }
}

#[test]
fn records_are_exported_as_they_came_and_can_be_enqueued_again() {
    for protocol in PROTOCOLS {
        let queue = unique("q");
        failed(protocol, &queue);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("errors.jsonl");
        let ran = run(protocol, &queue, &["failed", "export", crate::support::text(&path)]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let mut lines: Vec<String> = std::fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        lines.sort_unstable();
        assert_eq!(lines, ["three", "{\"n\": 1}", "{\"n\": 2}"]);
        let again = run(protocol, &queue, &["failed", "export", crate::support::text(&path)]);
        assert_eq!(again.code, 1);
        assert!(again.err.contains("--overwrite"), "{}", again.err);
    }
}

#[test]
fn requeued_jobs_wait_again_and_purged_ones_are_gone() {
    for protocol in PROTOCOLS {
        let queue = unique("q");
        failed(protocol, &queue);
        let ran = run(protocol, &queue, &["failed", "requeue"]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        let ran = run(protocol, &queue, &["failed", "requeue", "--error", "n is"]);
        assert!(ran.code == 0 && ran.err.contains("requeued 2 job(s)"), "{}", ran.err);
        let ran = run(protocol, &queue, &["failed", "purge", "--all"]);
        assert_eq!(ran.code, 2, "it must not purge unasked: {}", ran.err);
        let ran = run(protocol, &queue, &["failed", "purge", "--all", "--yes", "-o", "json"]);
        assert_eq!((ran.code, ran.out.as_str()), (0, "{\n  \"purged\": 1\n}\n"), "{}", ran.err);
        let ran = run(protocol, &queue, &["status", "-o", "json"]);
        let status: Value = serde_json::from_str(&ran.out).unwrap();
        let row = &status["queues"][0];
        assert_eq!((&row["name"], &row["waiting"], &row["failed"]), (&queue.as_str().into(), &2.into(), &0.into()));
        let ran = run(protocol, &queue, &["failed", "requeue", "--id", "nothing-like-it"]);
        assert_eq!(ran.code, 5, "{}", ran.err);
    }
}

#[test]
fn an_error_of_a_megabyte_leaves_the_list_readable_and_is_whole_for_programs() {
    let queue = unique("q");
    let long = "M".repeat(1_000_000);
    failed_with(Protocol::List, &queue, [&long, "b", "c"]);
    for args in [&["failed", "list"][..], &["failed", "list", "--each"], &["failed", "list", "-o", "wide"]] {
        let ran = run(Protocol::List, &queue, args);
        assert!(ran.out.len() < 2_000 && ran.out.contains("MMM… ("), "{args:?}: {} bytes", ran.out.len());
    }
    let groups: Value =
        serde_json::from_str(&run(Protocol::List, &queue, &["failed", "list", "-o", "json"]).out).unwrap();
    let longest = groups.as_array().unwrap().iter().map(|group| group["error"].as_str().unwrap().len()).max();
    assert!(longest.is_some_and(|longest| longest > 10_000), "{longest:?}");
}

#[test]
fn status_shows_queues_and_workers_in_columns() {
    for protocol in PROTOCOLS {
        let queue = unique("q");
        failed(protocol, &queue);
        let ran = run(protocol, &queue, &["status"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["QUEUE", "WAITING", "RUNNING", "SCHEDULED", "FAILED", "OLDEST"]);
        assert_eq!(rows[1], [&queue, "0", "0", "0", "3", "-"]);
        assert_eq!(rows[3], ["WORKER", "STATE", "RUNNING", "DONE", "FAILED", "HEARTBEAT"]);
        assert_eq!(rows[4][2..5], ["0", "0", "3"]);
        let ran = run(protocol, &queue, &["status", "-o", "yaml"]);
        assert!(ran.out.contains("\n  failed: 3\n"), "{}", ran.out);
    }
}

#[test]
fn without_names_every_rq_queue_is_shown() {
    let queue = unique("q");
    failed(Protocol::Rq, &queue);
    let ran = jobqueue(&["status", "--redis", &redis().url()]);
    assert!(ran.code == 0 && ran.out.contains(&queue), "{} {}", ran.out, ran.err);
}
