//! What a worker process is told of its queue: sections of the spec, passed through.

use jobqueue_api::WorkerConfig;

use crate::JobQueue;

/// What a worker needs to know of the queue: not URLs, certificates and scaling, which reach it by other ways or do not
/// concern it.
pub fn worker_config(queue: &JobQueue) -> WorkerConfig {
    let spec = &queue.spec;
    WorkerConfig {
        name: queue.metadata.name.clone().unwrap_or_else(WorkerConfig::default_name),
        queue: spec.queue.settings.clone(),
        ingest: spec.ingest.clone().unwrap_or_default(),
        retry: spec.retry,
        worker: spec.worker.settings.clone(),
        database: spec.database.as_ref().map(|database| database.settings.clone()),
    }
}

/// The text of a worker's config file, with every default filled in. Its keys are sorted: a workload is restarted when this
/// text changes, so the order of the types' fields must not show.
///
/// # Panics
/// Never: a config serialises to YAML.
pub fn worker_file(config: &WorkerConfig) -> String {
    let sorted = serde_json::to_value(config).expect("a config serialises to JSON");
    serde_yaml::to_string(&sorted).expect("a JSON value is YAML")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::JobQueue;
    use crate::validate::fixtures::companies;

    fn rendered(queue: &JobQueue) -> Value {
        serde_yaml::from_str(&super::worker_file(&super::worker_config(queue))).expect("YAML")
    }

    #[test]
    fn carries_the_sections_and_no_url() {
        let config = rendered(&companies());
        assert_eq!(config["name"], "companies");
        assert_eq!(config["queue"]["protocol"], "RQ");
        assert_eq!(config["queue"]["leaseSeconds"], 30);
        assert_eq!(config["retry"]["maxAttempts"], 5);
        assert_eq!(config["worker"], serde_json::json!({"concurrency": 4, "batchSize": 200, "drainSeconds": 60}));
        let database = serde_json::json!({"maxConnections": 50, "holdSeconds": 60, "ledgerRetentionDays": 7});
        assert_eq!(config["database"], database);
        let mut zoned = companies();
        zoned.spec.database.as_mut().expect("the example has one").settings.time_zone = Some("Asia/Shanghai".into());
        assert_eq!(rendered(&zoned)["database"]["timeZone"], "Asia/Shanghai");
        assert_eq!(config["ingest"][0]["tables"][0]["table"], "company_regist_info");
        let text = config.to_string();
        assert!(!text.contains("redis://") && !text.contains("postgres"), "{text}");
    }
}
