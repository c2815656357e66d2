//! The text that is rendered of a manifest for a worker is what a worker reads: every setting arrives, and a file that says
//! nothing means the same as a manifest that says nothing.

use jobqueue_api::WorkerConfig;
use jobqueue_crds::{JobQueue, worker_config, worker_file};
use jobqueue_worker::config::{parse, queue_config};
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

fn rendered(manifest: &str) -> (Value, WorkerConfig) {
    let queue = JobQueue::one_from_yaml(manifest, None).unwrap();
    let text = worker_file(&worker_config(&queue));
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
