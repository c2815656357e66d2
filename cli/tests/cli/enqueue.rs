//! `jobqueue enqueue` against a real Redis, read back; interrupted at any moment and resumed, nothing is lost or twice.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{command, file, jobqueue, jobqueue_with, text};
use jobqueue_testkit::{Redis, redis, unique, until};

fn lines(count: usize) -> String {
    (0..count).map(|i| format!("{{\"n\": {i}}}")).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_line_is_printed_with_its_job_id() {
    let queue = unique("queue");
    let ran = jobqueue_with(
        &["enqueue", "-", "--queue", &queue, "--function", "a.b", "--redis", &redis().url()],
        "one\n\ntwo\n",
    );
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ids = redis().cli(&["LRANGE", &format!("rq:queue:{queue}"), "0", "-1"]);
    let ids: Vec<&str> = ids.lines().collect();
    assert_eq!(ran.out, format!("1 : {}\n3 : {}\n", ids[0], ids[1]));
    assert!(ran.err.contains("enqueued 2 job(s)"), "{}", ran.err);
    assert_eq!(redis().cli(&["HGET", &format!("rq:job:{}", ids[1]), "description"]), "a.b('two')");
}

#[test]
fn options_become_the_fields_that_rq_reads() {
    let queue = unique("queue");
    let url = redis().url();
    let mut args = vec!["enqueue", "-", "--queue", &queue, "--function", "a.b", "--redis", &url, "--quiet"];
    args.extend(["--retry", "2:5,9", "--timeout", "-1", "--result-ttl", "60", "--failure-ttl", "-1"]);
    args.push("--json-serializer");
    let ran = jobqueue_with(&args, "x");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let id = redis().cli(&["LINDEX", &format!("rq:queue:{queue}"), "0"]);
    let key = format!("rq:job:{id}");
    for (field, value) in [
        ("retries_left", "2"),
        ("retry_intervals", "[5,9]"),
        ("timeout", "-1"),
        ("result_ttl", "60"),
        ("failure_ttl", "-1"),
        ("status", "queued"),
        ("origin", queue.as_str()),
    ] {
        assert_eq!(redis().cli(&["HGET", &key, field]), value, "{field}");
    }
}

#[test]
fn of_several_queues_the_last_takes_the_jobs() {
    let (urgent, ordinary, url) = (unique("urgent"), unique("ordinary"), redis().url());
    let args = ["enqueue", "-", "--protocol", "list", "--queue", &urgent, "--queue", &ordinary, "--redis", &url];
    let ran = jobqueue_with(&args, "a\n");
    assert!(ran.code == 0 && ran.err.contains(&format!("enqueued 1 job(s) to {ordinary}")), "{}", ran.err);
    assert_eq!(redis().cli(&["LRANGE", &ordinary, "0", "-1"]), "a");
}

#[test]
fn lists_and_streams_take_the_lines_as_they_are() {
    let (list, stream) = (unique("list"), unique("stream"));
    let url = redis().url();
    let ran = jobqueue_with(&["enqueue", "-", "--protocol", "list", "--queue", &list, "--redis", &url], "a\nb\n");
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 : -\n2 : -\n"), "{}", ran.err);
    assert_eq!(redis().cli(&["LRANGE", &list, "0", "-1"]), "a\nb");
    let ran = jobqueue_with(&["enqueue", "-", "--protocol", "Stream", "--queue", &stream, "--redis", &url], "a\n");
    let entry = redis().cli(&["XRANGE", &stream, "-", "+"]);
    let id = entry.lines().next().unwrap();
    assert_eq!(ran.out, format!("1 : {id}\n"), "{}", ran.err);
    assert!(entry.ends_with("record\na"), "{entry}");
    for flag in [&["--function", "f"][..], &["--at-front"]] {
        let mut args = vec!["enqueue", "-", "--protocol", "stream", "--queue", &stream, "--redis", &url];
        args.extend(flag);
        assert_eq!(jobqueue_with(&args, "a\n").code, 2);
    }
}

#[test]
fn a_line_that_is_not_utf8_stops_or_is_passed_over_as_told() {
    let directory = tempfile::tempdir().unwrap();
    let input = file(directory.path(), "in", b"a\n\xff\nc\n");
    let (queue, url) = (unique("queue"), redis().url());
    let args = ["enqueue", text(&input), "--protocol", "list", "--queue", &queue, "--redis", &url];
    let ran = jobqueue(&args);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 2 is not UTF-8: byte 1 is 0xff"), "{}", ran.err);
    assert_eq!(redis().cli(&["LRANGE", &queue, "0", "-1"]), "a");
    let ran = jobqueue(&[&args[..], &["--resume", "--invalid-utf8", "skip"]].concat());
    assert_eq!((ran.code, ran.out.as_str()), (3, "3 : -\n"), "{}", ran.err);
    assert_eq!(redis().cli(&["LRANGE", &queue, "0", "-1"]), "a\nc");
}

#[test]
fn a_run_killed_at_random_is_resumed_without_a_gap_or_a_double() {
    const LINES: usize = 4000;
    let directory = tempfile::tempdir().unwrap();
    let input = file(directory.path(), "in.jsonl", lines(LINES));
    let url = redis().url();
    for protocol in ["rq", "list", "stream"] {
        let queue = unique("resumed");
        let mut args = vec!["enqueue", text(&input), "--protocol", protocol, "--queue", &queue, "--redis", &url];
        args.extend(["--batch", "7", "--resume"]);
        if protocol == "rq" {
            args.extend(["--function", "a.b"]);
        }
        for printed in [1, 300, 900] {
            let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            let seen = BufReader::new(child.stdout.take().unwrap()).lines().take(printed).count();
            assert_eq!(seen, printed);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let ran = jobqueue(&args);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let records = match protocol {
            "rq" => {
                let ids = redis().cli(&["LRANGE", &format!("rq:queue:{queue}"), "0", "-1"]);
                assert_eq!(ids.lines().collect::<BTreeSet<_>>().len(), LINES);
                ids.lines()
                    .step_by(97)
                    .map(|id| redis().cli(&["HGET", &format!("rq:job:{id}"), "description"]))
                    .collect()
            }
            "list" => redis().cli(&["LRANGE", &queue, "0", "-1"]).lines().map(str::to_owned).collect(),
            _ => {
                let entries = redis().cli(&["XRANGE", &queue, "-", "+"]);
                entries.lines().skip(2).step_by(3).map(str::to_owned).collect::<Vec<_>>()
            }
        };
        let wanted: Vec<String> = if protocol == "rq" {
            (0..LINES).step_by(97).map(|i| format!("a.b('{{\"n\": {i}}}')")).collect()
        } else {
            lines(LINES).lines().map(str::to_owned).collect()
        };
        assert!(records == wanted, "{protocol}: {} of {}", records.len(), wanted.len());
        let again = jobqueue(&args);
        assert_eq!((again.code, again.out.as_str()), (0, ""), "{}", again.err);
        assert!(again.err.contains("were enqueued already"), "{}", again.err);
    }
}

#[test]
fn a_changed_file_is_not_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let input = file(directory.path(), "in", b"a\nb\n\xff\n");
    let (queue, url) = (unique("queue"), redis().url());
    let args = ["enqueue", text(&input), "--protocol", "list", "--queue", &queue, "--redis", &url, "--resume"];
    assert_eq!(jobqueue(&args).code, 1);
    file(directory.path(), "in", "a\nB\nc\n");
    let ran = jobqueue(&args);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("its first 4 bytes are not those that were enqueued"), "{}", ran.err);
    assert_eq!(redis().cli(&["LLEN", &queue]), "2");
}

#[test]
fn a_grown_file_is_resumed_where_it_ended() {
    let directory = tempfile::tempdir().unwrap();
    let input = file(directory.path(), "in", "a\nb\n");
    let (queue, url) = (unique("queue"), redis().url());
    let args = ["enqueue", text(&input), "--protocol", "list", "--queue", &queue, "--redis", &url, "--resume"];
    assert_eq!(jobqueue(&args).code, 0);
    file(directory.path(), "in", "a\nb\nc\n");
    let ran = jobqueue(&args);
    assert_eq!((ran.code, ran.out.as_str()), (0, "3 : -\n"), "{}", ran.err);
}

#[test]
fn sigterm_ends_a_run_between_batches_and_says_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&input).status().unwrap().success());
    let (queue, url) = (unique("queue"), redis().url());
    let args = ["enqueue", text(&input), "--protocol", "list", "--queue", &queue, "--redis", &url, "--quiet"];
    let child = command(&args).stderr(Stdio::piped()).spawn().unwrap();
    let mut writer = std::fs::OpenOptions::new().write(true).open(&input).unwrap();
    std::io::Write::write_all(&mut writer, b"a\n").unwrap();
    until("the first line is in", Duration::from_secs(20), || redis().cli(&["LLEN", &queue]) == "1");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("in up to line 1") && err.contains("--resume"), "{err}");
}

#[test]
fn a_redis_that_restarts_meanwhile_costs_nothing() {
    let mut own = Redis::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let input = file(directory.path(), "in", lines(3000));
    let url = own.url();
    let args = ["enqueue", text(&input), "--protocol", "list", "--queue", "q", "--redis", &url, "--batch", "3"];
    let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(out.nth(200).is_some());
    own.kill();
    own.revive();
    assert_eq!(201 + out.count(), 3000);
    assert!(child.wait().unwrap().success());
    assert_eq!(own.cli(&["LRANGE", "q", "0", "-1"]), lines(3000));
}

#[test]
fn inline_writes_the_rows_at_once_and_reports_what_fails() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(
        directory.path(),
        "jobqueue.yaml",
        r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: people}
spec:
  queue: {names: [people], redis: {url: "redis://127.0.0.1:1/0"}}
  database: {urlSecretKeyRef: {name: s, key: k}}
  ingest:
    - functions: [people.add]
      tables: [{table: person, columns: {name: record.name}}]
"#,
    );
    let database = format!("sqlite:{}", directory.path().join("people.sqlite").display());
    let url = format!("{database}?mode=rwc").parse().unwrap();
    let table = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(jobqueue_ingest::run_script(&url, table)).unwrap();
    let errors = directory.path().join("errors.jsonl");
    let args = ["enqueue", "-", "--inline", "-f", text(&manifest), "--database", &database, "--errors", text(&errors)];
    let ran = jobqueue_with(&args, "{\"name\": \"Ann\"}\n{\"name\": \n{\"name\": null}\n{\"name\": \"Bob\"}\n");
    assert_eq!(ran.code, 3, "{}", ran.err);
    assert!(ran.err.contains("line 2:") && ran.err.contains("line 3:"), "{}", ran.err);
    assert!(ran.err.contains("wrote 2 job(s)") && ran.err.contains("2 failed"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&errors).unwrap(), "{\"name\": \n{\"name\": null}\n");
    let count = async {
        let sink = jobqueue_ingest::connect(&url, jobqueue_ingest::SinkOptions::default()).await.unwrap();
        sink.count("person").await.unwrap()
    };
    assert_eq!(runtime.block_on(count), 2);
}
