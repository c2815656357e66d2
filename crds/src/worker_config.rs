//! What a worker process is told of its queue: sections of the spec, passed through.

use serde_json::{Map, Value, json};

use crate::JobQueue;

/// The worker's config file: the manifest's own shape, minus URLs, certificates and scaling, which reach a worker by
/// other ways or do not concern it. Defaults are filled in.
///
/// # Panics
/// Never: the types of the spec serialise to JSON objects.
pub fn worker_config(queue: &JobQueue) -> Value {
    let spec = &queue.spec;
    let mut config = Map::new();
    config.insert("name".into(), json!(queue.metadata.name.as_deref().unwrap_or("jobqueue")));
    config.insert("queue".into(), section(&spec.queue, &["redis"]));
    if let Some(ingest) = &spec.ingest {
        config.insert("ingest".into(), to_value(ingest));
    }
    config.insert("retry".into(), section(&spec.retry, &[]));
    config.insert("worker".into(), section(&spec.worker, &["image", "template", "networkPolicy"]));
    if let Some(database) = &spec.database {
        config.insert("database".into(), section(database, &["url", "urlSecretKeyRef", "tls", "budget"]));
    }
    Value::Object(config)
}

fn section(part: &impl serde::Serialize, without: &[&str]) -> Value {
    let mut value = to_value(part);
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !without.contains(&name.as_str()));
    }
    value
}

fn to_value(part: &impl serde::Serialize) -> Value {
    serde_json::to_value(part).expect("a spec serialises to JSON")
}

#[cfg(test)]
mod tests {
    use crate::validate::fixtures::companies;

    #[test]
    fn carries_the_sections_and_no_url() {
        let config = super::worker_config(&companies());
        assert_eq!(config["name"], "companies");
        assert_eq!(config["queue"]["protocol"], "RQ");
        assert_eq!(config["queue"]["leaseSeconds"], 30);
        assert_eq!(config["retry"]["maxAttempts"], 5);
        assert_eq!(config["worker"], serde_json::json!({"concurrency": 4, "batchSize": 200, "drainSeconds": 60}));
        let database = serde_json::json!({"maxConnections": 50, "holdSeconds": 60, "ledgerRetentionDays": 7});
        assert_eq!(config["database"], database);
        let mut zoned = companies();
        zoned.spec.database.as_mut().expect("the example has one").time_zone = Some("Asia/Shanghai".into());
        assert_eq!(super::worker_config(&zoned)["database"]["timeZone"], "Asia/Shanghai");
        assert_eq!(config["ingest"][0]["tables"][0]["table"], "company_regist_info");
        let text = config.to_string();
        assert!(!text.contains("redis://") && !text.contains("postgres"), "{text}");
    }
}
