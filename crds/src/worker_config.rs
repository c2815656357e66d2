//! What a worker process is told of its queue: sections of the spec, passed through.

use jobqueue_api::{
    ChildSpec, DatabaseSettings, Order, Protocol, QueueSettings, RetrySpec, TableSpec, WorkerConfig, WorkerSettings,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

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

/// The text of a worker's config file. What is as by default is left out, so that a field that a later version adds changes
/// no file that does not use it: a workload is restarted when this text changes. For the same reason the keys are sorted.
///
/// # Panics
/// Never: a config serialises to YAML.
pub fn worker_file(config: &WorkerConfig) -> String {
    yaml(&sparse(config))
}

/// The same with every default filled in, as operators wrote it before they left defaults out.
///
/// # Panics
/// Never: a config serialises to YAML.
pub fn worker_file_in_full(config: &WorkerConfig) -> String {
    yaml(&json(config))
}

/// The same as the first operators wrote it, which knew no `queue.order`.
///
/// # Panics
/// Never: a config serialises to YAML.
pub fn worker_file_of_first(config: &WorkerConfig) -> String {
    let mut file = json(config);
    if config.queue.order == Order::default() {
        file["queue"].as_object_mut().expect("a section is an object").remove("order");
    }
    yaml(&file)
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).expect("a JSON value is YAML")
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a config serialises to JSON")
}

/// A config without its defaults.
fn sparse(config: &WorkerConfig) -> Value {
    let mut file = json(config);
    differing(&mut file["queue"], &json(&QueueSettings::new(Protocol::default(), Vec::new())));
    differing(&mut file["retry"], &json(&RetrySpec::default()));
    differing(&mut file["worker"], &json(&WorkerSettings::default()));
    if let Some(database) = file.get_mut("database") {
        differing(database, &json(&DatabaseSettings::default()));
    }
    for recipe in lists(&mut file, "ingest") {
        for table in lists(recipe, "tables") {
            for child in lists(table, "children") {
                differing_row::<ChildSpec>(child);
            }
            differing_row::<TableSpec>(table);
        }
    }
    let sections = file.as_object_mut().expect("a config is an object");
    sections.retain(|_, section| !section.as_object().is_some_and(Map::is_empty));
    file
}

fn lists<'a>(value: &'a mut Value, field: &str) -> impl Iterator<Item = &'a mut Value> {
    value.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Leaves what differs from the defaults, at any depth.
fn differing(value: &mut Value, defaults: &Value) {
    let (Some(fields), Some(defaults)) = (value.as_object_mut(), defaults.as_object()) else { return };
    for (name, field) in fields.iter_mut() {
        if let Some(default) = defaults.get(name) {
            differing(field, default);
        }
    }
    fields.retain(|name, field| match defaults.get(name) {
        Some(Value::Object(_)) => field.as_object().is_none_or(|left| !left.is_empty()),
        Some(default) => field != default,
        None => true,
    });
}

/// The same of a row, with the defaults that its type has for one with a table and columns only.
fn differing_row<T: Serialize + DeserializeOwned>(row: &mut Value) {
    let smallest = serde_json::json!({"table": "", "columns": {}});
    let defaults: T = serde_json::from_value(smallest).expect("a row needs no more");
    let mut defaults = json(&defaults);
    for required in ["table", "columns"] {
        defaults.as_object_mut().expect("a row is an object").remove(required);
    }
    differing(row, &defaults);
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
        assert_eq!(config["queue"], serde_json::json!({"names": ["companies-urgent", "companies"]}));
        assert!(config.get("retry").is_none() && config.get("worker").is_none(), "{config}");
        assert_eq!(config["database"], serde_json::json!({"maxConnections": 50}));
        let mut zoned = companies();
        zoned.spec.database.as_mut().expect("the example has one").settings.time_zone = Some("Asia/Shanghai".into());
        assert_eq!(rendered(&zoned)["database"]["timeZone"], "Asia/Shanghai");
        assert_eq!(config["ingest"][0]["tables"][0]["table"], "company_regist_info");
        let text = config.to_string();
        assert!(!text.contains("redis://") && !text.contains("postgres"), "{text}");
    }
}
