//! Certificates that a manifest takes from Secrets come from files here, in every command and in the workers.

use std::path::{Path, PathBuf};

use jobqueue_testkit::{Authority, Redis};

use crate::support::{Ran, command, file, jobqueue, jobqueue_with, text, worker};

/// A Redis that wants a client certificate, and a manifest that names Secrets for it.
struct Fixture {
    authority: Authority,
    _redis: Redis,
    directory: tempfile::TempDir,
    manifest: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let authority = Authority::new();
        let (redis, port) = authority.redis(true, &[]);
        let directory = tempfile::tempdir().unwrap();
        let content = format!(
            r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {{name: people}}
spec:
  queue:
    names: [people]
    redis:
      url: rediss://127.0.0.1:{port}/0
      tls:
        caSecretKeyRef: {{name: authority, key: ca.crt}}
        clientCertificateSecretRef: {{name: us}}
  database: {{urlSecretKeyRef: {{name: s, key: database}}}}
  ingest: [{{functions: [people.add], record: "job.args[0]", tables: [{{table: person, columns: {{name: record.name}}}}]}}]
"#
        );
        let manifest = file(directory.path(), "jobqueue.yaml", content);
        Self { authority, _redis: redis, directory, manifest }
    }

    fn flags(&self) -> Vec<String> {
        let flag = |name: &str, file: &str| [name.to_owned(), self.authority.path(file).display().to_string()];
        [flag("--redis-ca", "ca.pem"), flag("--redis-cert", "client.pem"), flag("--redis-key", "client.key")].concat()
    }

    fn run(&self, args: &[&str], flags: &[String], input: &str) -> Ran {
        let flags = flags.iter().map(String::as_str);
        let args: Vec<&str> = args.iter().copied().chain(["-f", text(&self.manifest)]).chain(flags).collect();
        jobqueue_with(&args, input)
    }
}

fn rows(database: &Path) -> String {
    let output = std::process::Command::new("sqlite3").arg(database).arg("SELECT name FROM person").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn local_mode_and_its_workers_take_the_files() {
    let fixture = Fixture::new();
    let schema = file(fixture.directory.path(), "schema.sql", "CREATE TABLE person (name TEXT)");
    let local =
        ["local", "--until-empty", "--workers-binary", text(&worker()), "--schema", text(&schema)].map(str::to_owned);
    let local: Vec<&str> = local.iter().map(String::as_str).collect();
    let ran = fixture.run(&local, &fixture.flags()[..2], "");
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("Secret us") && ran.err.contains("--redis-cert"), "{}", ran.err);

    let ran = fixture.run(&["enqueue", "-"], &fixture.flags(), "{\"name\": \"Ann\"}\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = fixture.run(&local, &fixture.flags(), "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(rows(&fixture.directory.path().join("people.sqlite")), "Ann\n");
}

#[test]
fn commands_take_the_files_from_flags_or_variables_and_say_what_is_missing() {
    let fixture = Fixture::new();
    let ran = fixture.run(&["status"], &[], "");
    assert_eq!(ran.code, 2, "{}", ran.err);
    for words in ["key ca.crt of Secret authority", "--redis-ca", "JOBQUEUE_REDIS_CA"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    let ran = fixture.run(&["status"], &fixture.flags(), "");
    assert_eq!(ran.code, 0, "{}", ran.err);
    let mut status = command(&["status", "-f", text(&fixture.manifest)]);
    for (name, path) in [("CA", "ca.pem"), ("CERT", "client.pem"), ("KEY", "client.key")] {
        status.env(format!("JOBQUEUE_REDIS_{name}"), fixture.authority.path(path));
    }
    assert!(status.output().unwrap().status.success());
    let ran =
        jobqueue(&["status", "-f", text(&fixture.manifest), "--redis-ca", "/nowhere/ca.pem", "--redis", "rediss://h"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("/nowhere/ca.pem"), "{}", ran.err);
}

#[test]
fn secrets_of_the_database_are_named_with_the_way_round_them() {
    let fixture = Fixture::new();
    let manifest = std::fs::read_to_string(&fixture.manifest).unwrap();
    let secret = "database: {urlSecretKeyRef: {name: s, key: database}}";
    let tls = "database: {url: 'postgres://u@127.0.0.1:1/d', tls: {caSecretKeyRef: {name: theirs, key: ca.crt}}}";
    std::fs::write(&fixture.manifest, manifest.replace(secret, tls)).unwrap();
    for command in [&["try", "--record", "-"][..], &["local", "--workers-binary", "/bin/sh"]] {
        let ran = fixture.run(command, &fixture.flags(), "{}");
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains("Secret theirs") && ran.err.contains("sslrootcert=PATH"), "{}", ran.err);
    }
    // What only looks at the URL needs no certificate.
    assert_eq!(fixture.run(&["schema"], &[], "").code, 0);
}
