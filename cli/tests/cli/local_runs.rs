//! `jobqueue local` with real workers, a real Redis and an SQLite file: what a run leaves behind, however it ends.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use jobqueue_testkit::{Redis, until};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Ran, command, file, jobqueue, jobqueue_with, text, worker};

/// Small batches, one worker: a run of a few thousand jobs can be met in the middle. No unique key in the table, so that
/// a second effect would show.
const MANIFEST: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: people}
spec:
  queue: {names: [people], redis: {urlSecretKeyRef: {name: s, key: redis}}, leaseSeconds: 5}
  database: {urlSecretKeyRef: {name: s, key: database}}
  worker: {concurrency: 1, batchSize: 20}
  ingest: [{functions: [people.add], record: "job.args[0]", tables: [{table: person, columns: {name: record.name}}]}]
"#;
const SCHEMA: &str = "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";

/// The longest wait for anything.
const LONG: Duration = Duration::from_secs(120);

/// Enough to be met in the middle.
const MANY: usize = 4000;

/// A manifest in a directory of its own, and a Redis.
struct Fixture {
    directory: TempDir,
    redis: Redis,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        file(directory.path(), "jobqueue.yaml", MANIFEST);
        file(directory.path(), "schema.sql", SCHEMA);
        Self { directory, redis: Redis::start(&[]) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn enqueue(&self, records: impl Iterator<Item = String>) {
        let lines: String = records.map(|record| record + "\n").collect();
        let args = ["enqueue", "-", "--queue", "people", "--function", "people.add", "--redis", &self.redis.url()];
        let ran = jobqueue_with(&args, &lines);
        assert_eq!(ran.code, 0, "{}", ran.err);
    }

    fn enqueue_many(&self) {
        self.enqueue((0..MANY).map(|number| format!("{{\"name\": \"p{number}\"}}")));
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let (manifest, schema, worker) = (self.path("jobqueue.yaml"), self.path("schema.sql"), worker());
        let args = ["local", "-f", text(&manifest), "--schema", text(&schema), "--workers-binary", text(&worker)];
        let last = ["--redis", &self.redis.url(), "--max-replicas", "1"];
        [&args[..], &last, more].concat().into_iter().map(str::to_owned).collect()
    }

    /// To the end.
    fn run_until_empty(&self, more: &[&str]) -> Ran {
        let args = self.args(&[&["--until-empty"], more].concat());
        jobqueue(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn start(&self, more: &[&str]) -> Run {
        Run::start(&self.args(&[&["-o", "json"], more].concat()))
    }

    fn sql(&self, query: &str) -> String {
        let output = Command::new("sqlite3").arg(self.path("people.sqlite")).arg(query).output().expect("sqlite3 runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn size(&self, command: &str, key: &str) -> usize {
        self.redis.cli(&[command, key]).trim().parse().unwrap()
    }

    /// Process ids of the workers that were started for this manifest, whoever their parent is now.
    fn workers(&self) -> BTreeSet<u32> {
        let config = self.path(".jobqueue/people/worker.yaml").canonicalize().unwrap_or_default();
        let wanted = format!("JOBQUEUE_CONFIG={}", config.display());
        let has = |bytes: &[u8], part: &str| bytes.split(|byte| *byte == 0).any(|word| word == part.as_bytes());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &u32| {
            let read = |name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            has(&read("environ"), &wanted) && has(&read("cmdline"), text(&worker()))
        })
        .collect()
    }

    /// Every record is a row, once.
    fn assert_exact(&self, rows: usize) {
        let counts =
            self.sql("SELECT count(*), count(DISTINCT name), (SELECT count(*) FROM jobqueue_ledger) FROM person");
        assert_eq!(counts, format!("{rows}|{rows}|{rows}"), "rows, different rows, ledger entries");
    }
}

/// A run in the background that tells its events; it dies with the test, and its workers with it.
struct Run {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Run {
    fn start(args: &[String]) -> Self {
        let jobqueue = command(&[]);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(jobqueue.get_program()).args(args);
        command.env_remove("JOBQUEUE_REDIS_URL").env_remove("JOBQUEUE_DATABASE_URL");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for an event, and answers it.
    fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + LONG;
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("{error}: no {name} in: {}", self.seen.join("\n")));
            let event: Value = serde_json::from_str(&line).unwrap();
            self.seen.push(line);
            if event["event"] == name {
                return event;
            }
        }
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    /// Waits for the end; answers the exit code.
    fn end(mut self) -> Option<i32> {
        until("the end of the run", LONG, || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(name: &str, pid: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{name} {pid}");
}

#[test]
fn until_empty_ends_with_every_row_and_a_summary() {
    let fixture = Fixture::new();
    fixture.enqueue((0..300).map(|number| format!("{{\"name\": \"p{number}\"}}")));
    let ran = fixture.run_until_empty(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    fixture.assert_exact(300);
    assert_eq!(fixture.workers(), BTreeSet::new());
    for words in ["300  jobs done", "0  jobs failed", "300  rows in person (300 new)"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }

    // What fails is told by the exit code, and why by the summary.
    fixture.enqueue(["{\"name\": \"late\"}", "{\"name\": 7", "{\"name\": 88"].map(str::to_owned).into_iter());
    let ran = fixture.run_until_empty(&[]);
    assert_eq!(ran.code, 3, "{}", ran.err);
    fixture.assert_exact(301);
    for words in ["1  jobs done", "2  jobs failed", "such as: ", "line 1", "301  rows in person (1 new)"] {
        assert!(ran.out.contains(words), "{words}: {}", ran.out);
    }
}

#[test]
fn a_signal_drains_the_workers_and_leaves_nothing_running() {
    let fixture = Fixture::new();
    fixture.enqueue_many();
    for name in ["TERM", "INT"] {
        let before = fixture.size("ZCARD", "rq:finished:people");
        let mut run = fixture.start(&[]);
        until("a job of this run is done", LONG, || fixture.size("ZCARD", "rq:finished:people") > before);
        assert_eq!(fixture.workers().len(), 1);
        run.signal(name);
        assert_eq!(run.event("stopping")["times"], 1);
        let summary = run.event("summary");
        assert_eq!(run.end(), Some(130));
        assert_eq!(fixture.workers(), BTreeSet::new(), "a worker is left");
        assert_eq!(fixture.size("SCARD", "rq:workers"), 0, "a worker is still listed");
        assert_eq!(fixture.size("ZCARD", "rq:wip:people"), 0, "a job is left in hand");
        let (done, waiting) = (fixture.size("ZCARD", "rq:finished:people"), fixture.size("LLEN", "rq:queue:people"));
        assert!(waiting > 0, "it was to be met in the middle");
        assert_eq!(done + waiting, MANY);
        assert_eq!(summary["done"], done - before);
        fixture.assert_exact(done);
    }
}

#[test]
fn a_killed_worker_is_replaced_and_nothing_is_lost_or_twice() {
    let fixture = Fixture::new();
    fixture.enqueue_many();
    let mut run = fixture.start(&["--until-empty"]);
    until("a job is done", LONG, || fixture.size("ZCARD", "rq:finished:people") > 0);
    let workers = fixture.workers();
    assert_eq!(workers.len(), 1);
    let first = *workers.first().unwrap();
    signal("KILL", first);
    let ended = run.event("workerEnded");
    assert_eq!(ended["how"], "was killed by SIGKILL");
    assert!(fixture.size("LLEN", "rq:queue:people") > 0, "it was to be met in the middle");
    until("another worker runs", LONG, || fixture.workers().iter().any(|pid| *pid != first));
    let summary = run.event("summary");
    assert_eq!(run.end(), Some(0));
    fixture.assert_exact(MANY);
    assert_eq!((&summary["done"], &summary["failed"], &summary["crashes"]), (&MANY.into(), &0.into(), &1.into()));
    assert_eq!(fixture.workers(), BTreeSet::new());
}

#[test]
fn a_run_without_a_job_says_where_it_looked() {
    let fixture = Fixture::new();
    let ran = fixture.run_until_empty(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let words = format!("no job in people (RQ) of {}", fixture.redis.url());
    assert!(ran.err.contains(&words), "{words}: {}", ran.err);
}

#[test]
fn a_suspended_queue_is_said_to_be_and_done_once_it_is_resumed() {
    let fixture = Fixture::new();
    fixture.enqueue((0..3).map(|number| format!("{{\"name\": \"p{number}\"}}")));
    assert_eq!(fixture.redis.cli(&["SET", "rq:suspended", "1"]), "OK");
    let mut run = fixture.start(&["--until-empty"]);
    let event = run.event("suspended");
    assert_eq!(event["waiting"], 3);
    fixture.redis.cli(&["DEL", "rq:suspended"]);
    run.event("resumed");
    assert_eq!(run.event("summary")["done"], 3);
    fixture.assert_exact(3);
}

#[test]
fn how_long_workers_live_is_decided_by_local() {
    let fixture = Fixture::new();
    file(fixture.directory.path(), "jobqueue.yaml", MANIFEST.replace("batchSize: 20", "batchSize: 20, maxJobs: 10"));
    fixture.enqueue((0..300).map(|number| format!("{{\"name\": \"p{number}\"}}")));
    let ran = fixture.run_until_empty(&[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.out.contains("ended unasked"), "{}", ran.out);
    fixture.assert_exact(300);
}

#[test]
fn why_a_job_is_tried_again_is_said_while_the_others_go_on() {
    let fixture = Fixture::new();
    let trigger = "CREATE TRIGGER picky BEFORE INSERT ON person WHEN NEW.name = 'bad' \
                   BEGIN SELECT json_extract('{', '$.a'); END";
    file(fixture.directory.path(), "schema.sql", format!("{SCHEMA};\n{trigger};\n"));
    fixture.enqueue(["one", "bad", "two"].iter().map(|name| format!("{{\"name\": \"{name}\"}}")));
    let mut run = fixture.start(&[]);
    let event = run.event("retried");
    let words = event["message"].as_str().unwrap();
    assert!(words.ends_with(": person: malformed JSON (code 1)"), "{words}");
    fixture.assert_exact(2);
    run.signal("INT");
    run.end();
}

#[test]
fn why_nothing_is_written_is_said_and_when_that_is_over() {
    let fixture = Fixture::new();
    fixture.enqueue(std::iter::once(r#"{"name": "before"}"#.to_owned()));
    let mut run = fixture.start(&[]);
    until("the first job is done", LONG, || fixture.size("ZCARD", "rq:finished:people") == 1);
    fixture.sql("ALTER TABLE person RENAME TO hidden");
    fixture.enqueue(std::iter::once(r#"{"name": "during"}"#.to_owned()));
    let event = run.event("trouble");
    let words = event["message"].as_str().unwrap();
    assert!(words.contains("table person: no such table"), "{words}");
    fixture.sql("ALTER TABLE hidden RENAME TO person");
    run.event("troubleOver");
    fixture.assert_exact(2);
    run.signal("INT");
    run.end();
}

/// The token that `passwordFile` names is renewed while a run lasts: the command and its workers read the new one.
#[test]
fn a_password_file_of_the_manifest_is_read_again_for_each_connection() {
    let fixture = Fixture { redis: Redis::start(&["--requirepass", "one"]), ..Fixture::new() };
    let (token, port) = (file(fixture.directory.path(), "token", "one\n"), fixture.redis.port());
    let redis = format!("{{url: \"redis://127.0.0.1:{port}/0\", passwordFile: {}}}", text(&token));
    let manifest = MANIFEST.replace("{urlSecretKeyRef: {name: s, key: redis}}", &redis);
    file(fixture.directory.path(), "jobqueue.yaml", &manifest);
    let enqueue = |password: &str, name: &str| {
        let url = format!("redis://:{password}@127.0.0.1:{port}/0");
        let args = ["enqueue", "-", "--queue", "people", "--function", "people.add", "--redis", &url];
        let ran = jobqueue_with(&args, &format!("{{\"name\": \"{name}\"}}\n"));
        assert_eq!(ran.code, 0, "{}", ran.err);
    };
    let mut args = fixture.args(&["-o", "json"]);
    let given = args.iter().position(|arg| arg == "--redis").unwrap();
    args.drain(given..given + 2);
    let mut run = Run::start(&args);
    run.event("workers");
    enqueue("one", "first");
    until("a row", LONG, || fixture.sql("SELECT count(*) FROM person") == "1");
    fixture.redis.cli(&["-a", "one", "CONFIG", "SET", "requirepass", "two"]);
    std::fs::write(&token, "two\n").unwrap();
    fixture.redis.cli(&["-a", "two", "CLIENT", "KILL", "TYPE", "normal"]);
    enqueue("two", "second");
    until("another row", LONG, || fixture.sql("SELECT count(*) FROM person") == "2");
    run.signal("INT");
    run.end();
    fixture.assert_exact(2);
}
