//! The command as an interface: help, exit codes, what goes to which stream, and that no password is ever printed.

use crate::support::{file, jobqueue, jobqueue_with, text};

#[test]
fn help_goes_to_stdout_and_names_commands_and_exit_codes() {
    let ran = jobqueue(&["--help"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    for word in [
        "local",
        "enqueue",
        "status",
        "top",
        "failed",
        "stop",
        "try",
        "schema",
        "acl",
        "completion",
        "Exit codes:",
        "130",
    ] {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    for command in ["local", "enqueue", "status", "top", "failed", "stop", "try", "schema", "acl", "completion"] {
        let ran = jobqueue(&[command, "--help"]);
        assert_eq!(ran.code, 0);
        assert!(ran.out.contains("--redis") && ran.out.contains("Usage:"), "{}", ran.out);
    }
}

#[test]
fn the_version_is_the_crates() {
    let ran = jobqueue(&["--version"]);
    assert!(ran.out.starts_with(concat!("jobqueue ", env!("CARGO_PKG_VERSION"))), "{}", ran.out);
    assert!(ran.out.contains("commit: ") && ran.out.contains(std::env::consts::ARCH), "{}", ran.out);
    assert_eq!(jobqueue(&["-V"]).out, concat!("jobqueue ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn as_a_plugin_its_help_speaks_of_kubectl() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = directory.path().join("kubectl-jobqueue");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_jobqueue"), &plugin).unwrap();
    let output = std::process::Command::new(plugin).args(["top", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("Usage: kubectl jobqueue top"), "{help}");
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = jobqueue(&["completion", shell]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains("enqueue") && ran.out.contains("completion"));
    }
}

#[test]
fn mistakes_on_the_command_line_are_code_2_with_a_hint_on_stderr() {
    let cases: [(&[&str], &str); 11] = [
        (&["frobnicate"], "unrecognized subcommand"),
        (&["enqueue", "x", "--retry", "none"], "is not a number of retries"),
        (&["status", "--redis", "http://x"], "http"),
        (&["status"], "JOBQUEUE_REDIS_URL"),
        (&["enqueue", "-", "--resume", "--queue", "q"], "write it to a file first"),
        (&["schema"], "--dialect"),
        // Its output is no terminal here.
        (&["top", "--redis", "redis://h"], "jobqueue status prints the queues"),
        (&["stop"], "<JOB>"),
        (&["stop", "1-0", "--protocol", "stream", "--redis", "redis://h"], "no queue is named"),
        (&["try", "--record", "x"], "-f FILE"),
        (&["failed", "list", "--since", "yesterday"], "RFC 3339"),
    ];
    for (args, words) in cases {
        let ran = jobqueue(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(words), "{args:?}: {}", ran.err);
    }
}

#[test]
fn what_is_missing_is_code_5() {
    let port = jobqueue_testkit::free_port();
    let redis = format!("redis://127.0.0.1:{port}/0");
    let ran = jobqueue(&["enqueue", "/nowhere/x.jsonl", "--queue", "q", "--function", "f", "--redis", &redis]);
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("/nowhere/x.jsonl"), "{}", ran.err);
    let ran = jobqueue(&["try", "--record", "x", "-f", "/nowhere/jobqueue.yaml"]);
    assert_eq!(ran.code, 5);
    assert!(ran.err.contains("/nowhere/jobqueue.yaml"), "{}", ran.err);
}

#[test]
fn an_unreachable_redis_is_code_4_and_its_password_stays_secret() {
    let port = jobqueue_testkit::free_port();
    let ran = jobqueue(&["status", "--queue", "q", "--redis", &format!("redis://me:hunter2@127.0.0.1:{port}/0")]);
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(ran.err.contains(&port.to_string()) && !ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn messages_have_no_colour_where_nobody_sees_it() {
    let ran = jobqueue(&["schema"]);
    assert!(ran.err.starts_with("error: ") && !ran.err.contains('\x1b'), "{:?}", ran.err);
}

#[test]
fn every_problem_of_a_manifest_is_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(
        directory.path(),
        "jobqueue.yaml",
        "apiVersion: jobqueue.dev/v1alpha1\nkind: JobQueue\nmetadata: {name: x}\nspec:\n  queue: {protocol: RQX, names: []}\n",
    );
    let ran = jobqueue(&["status", "-f", text(&manifest)]);
    assert_eq!(ran.code, 2);
    for words in ["jobqueue.yaml", "protocol", "names"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
}

#[test]
fn a_closed_stdout_is_no_error() {
    let shell = format!("{} completion bash | head -n 1", env!("CARGO_BIN_EXE_jobqueue"));
    let output = std::process::Command::new("bash").args(["-o", "pipefail", "-c", &shell]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn the_ledgers_ddl_is_printed_for_each_database() {
    for dialect in ["postgres", "mysql", "mariadb", "sqlite"] {
        let ran = jobqueue(&["schema", "--dialect", dialect]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""));
        assert!(ran.out.contains("CREATE TABLE") && ran.out.contains("jobqueue_ledger"), "{}", ran.out);
    }
    let ran = jobqueue(&["schema", "--database", "postgres://u:hunter2@h/d", "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document["dialect"], "postgres");
}

const MANIFEST: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: people}
spec:
  queue:
    names: [people]
    redis: {url: "redis://127.0.0.1:1/0"}
  database: {urlSecretKeyRef: {name: s, key: k}}
  ingest:
    - functions: [people.add]
      record: job.args[0]
      tables:
        - table: person
          columns: {name: record.name, born: date(record.born)}
          children:
            - {table: pet, forEach: record.pets, columns: {person_id: parent.id, name: item}}
"#;

#[test]
fn a_record_is_shown_as_its_rows() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(directory.path(), "jobqueue.yaml", MANIFEST);
    let record = "\n{\"name\": \"Ann\", \"born\": \"1990-02-03\", \"pets\": [\"Rex\"]}\n{\"name\": \"Bob\", \"born\": \"x\", \"pets\": null}\n";
    let records = file(directory.path(), "people.jsonl", record);
    let ran = jobqueue(&["try", "-f", text(&manifest), "--record", text(&records)]);
    assert_eq!(
        ran.out,
        "person\n  born  \"1990-02-03\"\n  name  \"Ann\"\n  pet\n    name       \"Rex\"\n    person_id  \"<person.id>\"\n"
    );
    assert_eq!(ran.code, 0);
    assert!(ran.err.contains("line 2 becomes 2 row(s); nothing was written"), "{}", ran.err);

    let ran = jobqueue(&["try", "-f", text(&manifest), "--record", text(&records), "-o", "json"]);
    let document: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(document[0]["children"][0]["columns"]["name"], "Rex");

    let ran = jobqueue(&["try", "-f", text(&manifest), "--record", text(&records), "--line", "3"]);
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    for words in ["line 3", "person", "born", "date(record.born)", "x"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let ran = jobqueue(&["try", "-f", text(&manifest), "--record", text(&records), "--line", "9"]);
    assert_eq!(ran.code, 5);
    let ran = jobqueue_with(&["try", "-f", text(&manifest), "--record", "-", "--all"], record);
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("   3   "), "{}", ran.out);
    assert!(ran.err.contains("1 of 2 record(s) would become 2 row(s), 1 would fail"), "{}", ran.err);
}

#[test]
fn a_recipe_is_checked_against_the_database_if_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let manifest = file(directory.path(), "jobqueue.yaml", MANIFEST);
    let database = format!("sqlite:{}?mode=rwc", directory.path().join("people.sqlite").display());
    let args = ["try", "-f", text(&manifest), "--record", "-", "--database", &database];
    let ran = jobqueue_with(&args, "{}");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("person") && ran.err.contains("pet"), "{}", ran.err);
}

/// The rules themselves are tried in the suite of the backends.
#[test]
fn the_account_of_a_queue_is_printed() {
    let ran = jobqueue(&["acl", "--queue", "companies"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("ACL SETUSER NAME on >PASSWORD resetkeys resetchannels -@all ~rq:* &rq:pubsub:* +"));
    let ran = jobqueue(&["acl", "--protocol", "List", "--queue", "a", "--for", "operator", "-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let printed: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(
        printed["commands"].as_array().unwrap().iter().all(|command| command != "lpop"),
        "it only looks: {printed}"
    );
    assert!(jobqueue(&["acl"]).code != 0, "which queue?");
}
