//! The text that is rendered of a manifest for a worker is what a worker reads: every setting arrives, and a file that says
//! nothing means the same as a manifest that says nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jobqueue_api::{CONFIG_VERSION, WorkerConfig};
use jobqueue_crds::{JobQueue, worker_config, worker_file, worker_file_in_full, worker_file_of_first};
use jobqueue_worker::config::{parse, queue_config, read};
use serde_json::Value;

/// Every field set to something else than its default.
const FULL: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: full}
spec:
  queue:
    protocol: RQ
    names: [urgent, ordinary]
    redis: {url: "redis://redis:6379/0"}
    keyPrefix: "{mine}"
    leaseSeconds: 17
    resultTtlSeconds: 18
    failureTtlSeconds: 19
    consumerGroup: others
    limits: {maxBytes: 20, maxInflatedBytes: 21, maxDepth: 22}
  database: {url: "postgres://db/x", maxConnections: 23, timeZone: Asia/Shanghai}
  ingest:
    - functions: [a.b]
      record: job.args[1]
      tables:
        - table: t
          forEach: record.items
          when: item.ok
          columns: {x: item.x}
          onConflict: Update
          key: [x]
          id: t_id
          children:
            - {table: c, forEach: item.cs, when: "true", columns: {t: parent.id}, onConflict: Ignore, key: [t]}
  retry: {maxAttempts: 24, backoffSeconds: 25, maxBackoffSeconds: 26}
  worker: {concurrency: 2, batchSize: 28, drainSeconds: 29, image: registry.example/worker}
"#;

const BARE: &str = r#"
apiVersion: jobqueue.dev/v1alpha1
kind: JobQueue
metadata: {name: bare}
spec:
  queue: {names: [q], redis: {url: "redis://redis:6379/0"}}
  database: {url: "postgres://db/x"}
  ingest: [{tables: [{table: t, columns: {x: record.x}}]}]
"#;

fn rendered_text(manifest: &str) -> String {
    worker_file(&worker_config(&JobQueue::one_from_yaml(manifest, None).unwrap()))
}

fn rendered(manifest: &str) -> (Value, WorkerConfig) {
    let text = rendered_text(manifest);
    let config = serde_yaml::from_str(&text).unwrap();
    let read = parse(&text, "worker.yaml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    (config, read)
}

#[test]
fn every_setting_of_the_manifest_reaches_the_worker() {
    let (_, config) = rendered(FULL);
    assert_eq!(config.name, "full");
    let queue = queue_config(&config, "w");
    assert_eq!(queue.names, ["urgent", "ordinary"]);
    assert_eq!(queue.key_prefix, "{mine}");
    assert_eq!(queue.lease.as_secs(), 17);
    assert_eq!(queue.result_ttl.as_secs(), 18);
    assert_eq!(queue.failure_ttl.as_secs(), 19);
    assert_eq!(queue.consumer_group, "others");
    assert_eq!((queue.limits.max_bytes, queue.limits.max_inflated_bytes, queue.limits.max_depth), (20, 21, 22));
    let retry = queue.retry;
    assert_eq!((retry.max_attempts, retry.backoff.as_secs(), retry.max_backoff.as_secs()), (24, 25, 26));
    let worker = &config.worker;
    assert_eq!((worker.concurrency, worker.batch_size, worker.drain_seconds), (2, 28, 29));
    assert_eq!(config.database().max_connections, Some(23));
    assert_eq!(config.database().time_zone.as_deref(), Some("Asia/Shanghai"));
}

#[test]
fn recipes_arrive_as_they_were_written() {
    let (rendered, config) = rendered(FULL);
    let read = serde_json::to_value(&config.ingest).unwrap();
    assert_eq!(read, rendered["ingest"]);
}

#[test]
fn the_defaults_of_the_two_are_the_same() {
    let (_, rendered) = rendered(BARE);
    let own = parse("queue: {names: [q]}\ningest: [{tables: [{table: t, columns: {x: record.x}}]}]", "x").unwrap();
    assert_eq!(rendered.retry, own.retry);
    assert_eq!(rendered.worker, own.worker);
    assert_eq!(rendered.database(), own.database());
    assert_eq!(rendered.ingest, own.ingest);
    let (rendered, own) = (queue_config(&rendered, "w"), queue_config(&own, "w"));
    assert_eq!(format!("{rendered:?}"), format!("{own:?}"));
}

/// The same as far as the first version knew it.
fn full_of_first() -> String {
    FULL.replace(", timeZone: Asia/Shanghai", "")
}

/// A file as an operator of some version rendered it: `first` with every default filled in, `second` the same with
/// `queue.order`, `third` without defaults. Those of the first version were written by its operator.
fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../worker/tests/fixtures/config").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every path of a text, without the places in lists.
fn paths(text: &str) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, field)| {
                // What columns are called is the database's matter.
                let path = if path.ends_with(".columns") { path.to_owned() } else { format!("{path}.{name}") };
                found.insert(path.clone());
                walk(field, &path, found);
            }),
            Value::Array(items) => items.iter().for_each(|item| walk(item, path, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(&serde_yaml::from_str(text).unwrap(), "", &mut found);
    found
}

/// Pods are replaced when the text changes. So what was rendered once is rendered for ever, by every later version.
#[test]
fn no_release_renders_another_text_of_a_manifest_that_did_not_change() {
    for (name, manifest) in [("full", FULL), ("bare", BARE)] {
        let config = worker_config(&JobQueue::one_from_yaml(manifest, None).unwrap());
        assert_eq!(worker_file_in_full(&config), fixture(&format!("second-{name}.yaml")), "{name}");
        assert_eq!(worker_file(&config), fixture(&format!("third-{name}.yaml")), "{name}");
        assert!(config.version() <= CONFIG_VERSION);
    }
    for (name, manifest) in [("full", full_of_first().as_str()), ("bare", BARE)] {
        let config = worker_config(&JobQueue::one_from_yaml(manifest, None).unwrap());
        assert_eq!(worker_file_of_first(&config), fixture(&format!("first-{name}.yaml")), "{name}");
    }
}

/// The first workers end when there is a field in the file that they do not know. All that they know are in `first-full`.
#[test]
fn a_pinned_worker_of_the_first_version_reads_what_is_rendered_now() {
    let known = paths(&fixture("first-full.yaml"));
    for manifest in [full_of_first().as_str(), BARE] {
        let text = rendered_text(manifest);
        let unknown: Vec<_> = paths(&text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{unknown:?} in\n{text}");
        assert!(paths(&text).len() < known.len(), "defaults are the worker's own");
    }
}

#[test]
fn what_is_rendered_with_and_without_defaults_means_the_same() {
    for name in ["full", "bare"] {
        let [second, third] = ["second", "third"].map(|version| {
            let reading =
                read(&fixture(&format!("{version}-{name}.yaml")), "worker.yaml", Some(CONFIG_VERSION)).unwrap();
            assert!(reading.unknown.is_empty(), "{:?}", reading.unknown);
            reading.config
        });
        assert_eq!(second.database(), third.database(), "{name}");
        assert_eq!(WorkerConfig { database: None, ..second }, WorkerConfig { database: None, ..third }, "{name}");
    }
}
