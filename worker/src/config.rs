//! Reads the config file, which has the manifest's own shape without URLs and scaling. Errors say the place, the field and
//! what to do.

use std::path::Path;

use jobqueue_api::{CONFIG_VERSION, WorkerConfig};
use jobqueue_ingest::TimeZone;
use jobqueue_queue::QueueConfig;
use serde::Deserialize;

use crate::strict::Strict;

/// Why a config file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, or not readable.
    #[error("cannot read the config file {path}: {cause}")]
    Unreadable {
        /// The path.
        path: String,
        /// The system's words.
        cause: std::io::Error,
    },
    /// Not of the right shape; the text has line, field and a hint.
    #[error("{path}: {problem}")]
    Shape {
        /// The path.
        path: String,
        /// What and where.
        problem: String,
    },
    /// Written for a newer worker, in a way that this one would misread.
    #[error(
        "{path}: the file has config version {version}, and this worker reads versions up to {CONFIG_VERSION}: use a newer \
         worker image, or remove from the JobQueue what this worker does not know"
    )]
    Newer {
        /// The path.
        path: String,
        /// The file's version.
        version: u32,
    },
    /// Of the right shape with impossible values; all of them.
    #[error("{path}: {}", .problems.join("; "))]
    Values {
        /// The path.
        path: String,
        /// What, by field.
        problems: Vec<String>,
    },
}

/// The field of a file that says its version.
const VERSION_FIELD: &str = "configVersion";

/// What a file says.
#[derive(Debug)]
pub struct Reading {
    /// What is understood.
    pub config: WorkerConfig,
    /// The paths of the fields that are not.
    pub unknown: Vec<String>,
}

/// Reads and checks a file; `version` is what is said of it outside the file.
pub fn load(path: &Path, version: Option<u32>) -> Result<Reading, ConfigError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|cause| ConfigError::Unreadable { path: shown.clone(), cause })?;
    read(&text, &shown, version)
}

/// Checks the text of a file that somebody wrote by hand, or that has its version in it; `path` is for messages.
pub fn parse(text: &str, path: &str) -> Result<WorkerConfig, ConfigError> {
    read(text, path, None).map(|reading| reading.config)
}

/// Checks the text of a file. A file with a version was rendered, by a program that may know more fields than this one: these
/// are passed over. Without one a field that is not known is an error: it is mistyped.
pub fn read(text: &str, path: &str, version: Option<u32>) -> Result<Reading, ConfigError> {
    let shape = |error: serde_yaml::Error| {
        let problem = with_hint(&error.to_string());
        ConfigError::Shape { path: path.into(), problem }
    };
    let version = version.max(version_in(text).map_err(shape)?);
    let file = serde_yaml::Deserializer::from_str(text);
    let mut unknown = Vec::new();
    let config = match version {
        Some(version) if version > CONFIG_VERSION => return Err(ConfigError::Newer { path: path.into(), version }),
        Some(_) => serde_ignored::deserialize(file, |field| unknown.push(field.to_string())),
        None => WorkerConfig::deserialize(Strict(file)),
    };
    let config = config.map_err(shape)?;
    unknown.retain(|field| field != VERSION_FIELD);
    let problems = problems(&config);
    if problems.is_empty() {
        Ok(Reading { config, unknown })
    } else {
        Err(ConfigError::Values { path: path.into(), problems })
    }
}

/// The version that a text has in it; `None` if it has none, or cannot be read at all.
fn version_in(text: &str) -> Result<Option<u32>, serde_yaml::Error> {
    let file: serde_yaml::Value = serde_yaml::from_str(text).unwrap_or_default();
    file.get(VERSION_FIELD).cloned().map(serde_yaml::from_value).transpose()
}

/// The zone in which the database is used; `None`: UTC.
pub fn time_zone(config: &WorkerConfig) -> Result<Option<TimeZone>, String> {
    let zone = config.database.as_ref().and_then(|database| database.time_zone.as_deref());
    zone.map(str::parse).transpose().map_err(|error| format!("database.timeZone: {error}"))
}

/// The queue as this worker is to serve it.
pub fn queue_config(config: &WorkerConfig, worker_name: &str) -> QueueConfig {
    let mut queue = QueueConfig::from_settings(config.queue.clone(), config.retry, worker_name);
    queue.concurrency = config.concurrency();
    queue
}

fn problems(config: &WorkerConfig) -> Vec<String> {
    let mut problems = Vec::new();
    let mut check = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let WorkerConfig { queue, ingest, retry, worker, .. } = config;
    let database = config.database();
    check(!queue.names.is_empty(), "queue.names: name at least one queue");
    check(queue.names.iter().all(|name| !name.is_empty()), "queue.names: a name is empty");
    let mut sorted = queue.names.clone();
    sorted.sort();
    sorted.dedup();
    check(sorted.len() == queue.names.len(), "queue.names: a name is there twice");
    check(queue.lease_seconds > 0, "queue.leaseSeconds: at least 1");
    check(!ingest.is_empty(), "ingest: a worker without a recipe has nothing to do; give at least one");
    check(retry.max_attempts > 0, "retry.maxAttempts: at least 1");
    let backoff = "retry.maxBackoffSeconds: not less than backoffSeconds";
    check(retry.max_backoff_seconds >= retry.backoff_seconds, backoff);
    check((1..=256).contains(&worker.concurrency), "worker.concurrency: 1 to 256");
    check((1..=10_000).contains(&worker.batch_size), "worker.batchSize: 1 to 10000");
    check(worker.max_jobs != Some(0), "worker.maxJobs: at least 1; without it there is no limit");
    check(worker.max_idle_seconds != Some(0), "worker.maxIdleSeconds: at least 1; without it there is no limit");
    check(database.max_connections != Some(0), "database.maxConnections: at least 1");
    check(database.ledger_retention_days > 0, "database.ledgerRetentionDays: at least 1");
    problems.extend(time_zone(config).err());
    problems
}

/// Adds what to do to the parser's words.
fn with_hint(words: &str) -> String {
    let nearest = words.split_once("unknown field `").and_then(|(_, rest)| {
        let (given, rest) = rest.split_once('`')?;
        let known = rest.split('`').skip(1).step_by(2);
        known.min_by_key(|known| distance(given, known)).filter(|known| distance(given, known) <= 3)
    });
    let hint = match nearest {
        Some(known) => format!("did you mean `{known}`?"),
        None if words.contains("unknown field") => "remove it, or correct its name".into(),
        None if words.contains("missing field") => "add it; `jobqueue-worker --help` shows a complete file".into(),
        None => "`jobqueue-worker --help` shows a complete file".into(),
    };
    format!("{words} ({hint})")
}

/// Edits between two short names (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jobqueue_queue::{Order, PayloadLimits, Protocol, RetryPolicy};

    use super::*;

    const SMALLEST: &str =
        "queue: {names: [companies]}\ningest:\n- tables:\n  - {table: t, columns: {name: record.Name}}\n";

    fn problem(text: &str) -> String {
        parse(text, "worker.yaml").unwrap_err().to_string()
    }

    #[test]
    fn a_time_zone_is_a_name_an_offset_or_the_servers() {
        let zone = |zone: &str| parse(&format!("{SMALLEST}database: {{timeZone: '{zone}'}}"), "worker.yaml");
        for name in ["Asia/Shanghai", "+08:00", "UTC", "Server"] {
            assert_eq!(time_zone(&zone(name).unwrap()).unwrap().unwrap().to_string(), name);
        }
        let error = zone("Asia/Shanghia").unwrap_err().to_string();
        assert!(error.contains("\"Asia/Shanghia\" is not a time zone: give an IANA name (Asia/Shanghai)"), "{error}");
        assert!(error.contains("database"), "{error}");
    }

    #[test]
    fn the_smallest_file_has_the_documented_defaults() {
        let config = parse(SMALLEST, "worker.yaml").unwrap();
        assert_eq!((config.worker.concurrency, config.worker.batch_size, config.worker.drain_seconds), (4, 200, 60));
        assert_eq!((config.worker.max_jobs, config.worker.max_idle_seconds), (None, None));
        let queue = queue_config(&config, "w-1");
        assert_eq!((queue.protocol, queue.key_prefix.as_str()), (Protocol::Rq, "rq"));
        assert_eq!((queue.lease, queue.retry), (Duration::from_secs(30), RetryPolicy::default()));
        assert_eq!(queue.limits, PayloadLimits::default());
        assert_eq!(config.database().ledger_retention_days, 7);
    }

    #[test]
    fn what_the_operator_writes_is_understood() {
        let text = r#"{"name": "companies", "queue": {"protocol": "Stream", "names": ["a", "b"], "order": "RoundRobin", "keyPrefix": "rq",
            "leaseSeconds": 10, "resultTtlSeconds": 60, "failureTtlSeconds": 3600, "consumerGroup": "g",
            "limits": {"maxBytes": 1, "maxInflatedBytes": 2, "maxDepth": 3}},
            "ingest": [{"tables": [{"table": "t", "columns": {"name": "record.Name"}}]}],
            "retry": {"maxAttempts": 3, "backoffSeconds": 2, "maxBackoffSeconds": 4},
            "worker": {"concurrency": 8, "batchSize": 100, "drainSeconds": 5, "maxJobs": 9}, "database": {"maxConnections": 2}}"#;
        let config = parse(text, "worker.yaml").unwrap();
        let queue = queue_config(&config, "w-1");
        assert_eq!((queue.order, config.worker.max_jobs), (Order::RoundRobin, Some(9)));
        assert_eq!((queue.lease.as_secs(), queue.result_ttl.as_secs(), queue.failure_ttl.as_secs()), (10, 60, 3600));
        assert_eq!((queue.consumer_group.as_str(), queue.limits.max_depth, queue.retry.max_attempts), ("g", 3, 3));
        assert_eq!(config.concurrency(), 2, "never more writes than connections");
    }

    #[test]
    fn unknown_fields_of_a_rendered_file_are_named_and_passed_over() {
        let text = "name: a\nlater: 1\nqueue: {names: [a], colour: red}\ningest:\n- tables:\n  - {table: t, columns: {n: \
                    record.n}}\n  - {table: u, columns: {n: record.n}, shards: [{a: 1}]}\n";
        let reading = read(text, "worker.yaml", Some(CONFIG_VERSION)).unwrap();
        assert_eq!(reading.unknown, ["later", "queue.colour", "ingest.0.tables.1.shards"]);
        assert_eq!(reading.config.queue.names, ["a"]);
        let inside = read(&format!("configVersion: 1\n{text}"), "worker.yaml", None).unwrap();
        assert_eq!((inside.config, inside.unknown), (reading.config, reading.unknown));
        assert!(problem(text).contains("unknown field `later`"), "by hand");
    }

    #[test]
    fn a_file_of_a_newer_version_is_refused() {
        let newer = CONFIG_VERSION + 1;
        for (text, told) in
            [(SMALLEST.to_owned(), Some(newer)), (format!("configVersion: {newer}\n{SMALLEST}"), Some(1))]
        {
            let words = read(&text, "worker.yaml", told).unwrap_err().to_string();
            assert!(words.contains("config version 2") && words.contains("use a newer worker image"), "{words}");
        }
        assert!(problem(&format!("configVersion: new\n{SMALLEST}")).contains("invalid type"));
    }

    /// As earlier operators rendered them, with and without every field.
    #[test]
    fn files_of_earlier_versions_are_read_for_ever() {
        for text in [
            include_str!("../tests/fixtures/config/first-full.yaml"),
            include_str!("../tests/fixtures/config/first-bare.yaml"),
            include_str!("../tests/fixtures/config/second-full.yaml"),
            include_str!("../tests/fixtures/config/second-bare.yaml"),
        ] {
            let reading = read(text, "worker.yaml", Some(1)).unwrap();
            assert!(reading.unknown.is_empty(), "{:?}", reading.unknown);
            assert_eq!(parse(text, "worker.yaml").unwrap(), reading.config, "without a version, as they were");
        }
        let bare = parse(include_str!("../tests/fixtures/config/first-bare.yaml"), "worker.yaml").unwrap();
        let sparse = parse(include_str!("../tests/fixtures/config/third-bare.yaml"), "worker.yaml").unwrap();
        assert_eq!(bare.queue, sparse.queue, "what a default is belongs to the version");
        assert_eq!((bare.retry, bare.worker, bare.ingest), (sparse.retry, sparse.worker, sparse.ingest));
        assert_eq!(bare.database.unwrap(), sparse.database.unwrap_or_default());
    }

    #[test]
    fn a_mistyped_field_is_named_with_its_line_and_the_right_one() {
        let text = SMALLEST.replace("names:", "naems:");
        let words = problem(&text);
        assert!(words.starts_with("worker.yaml: queue: unknown field `naems`"), "{words}");
        assert!(words.contains("line 1") && words.contains("did you mean `names`?"), "{words}");
        assert!(problem("ingest: []\n").contains("missing field `queue`"));
    }

    #[test]
    fn all_impossible_values_are_reported_at_once() {
        let text = "queue: {names: [a, a], leaseSeconds: 0}\ningest: []\nworker: {batchSize: 0}\n";
        let words = problem(text);
        for part in ["names: a name is there twice", "leaseSeconds", "ingest:", "batchSize"] {
            assert!(words.contains(part), "{part} missing in {words}");
        }
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
