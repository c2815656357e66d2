//! RQ's worker records: who is there, and what they did.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use redis::{Cmd, cmd};

use super::time;
use crate::{Connection, QueueError};

/// One worker, ours or rq's, as it describes itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRecord {
    /// Worker name.
    pub name: String,
    /// `idle`, `busy`, `suspended`, `started`; free text in RQ.
    pub state: String,
    /// Queues in its order of service.
    pub queues: Vec<String>,
    /// Machine.
    pub hostname: String,
    /// Process on it.
    pub pid: String,
    /// rq's version, or ours.
    pub version: String,
    /// A job that it works on.
    pub current_job: Option<String>,
    /// Jobs that succeeded.
    pub succeeded: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Seconds spent on jobs.
    pub working_seconds: f64,
    /// When it started.
    pub birth: Option<DateTime<Utc>>,
    /// When it was last heard of.
    pub last_heartbeat: Option<DateTime<Utc>>,
}

/// The live workers of these queues, by name.
pub async fn workers(
    connection: &Connection,
    prefix: &str,
    queues: &[String],
) -> Result<Vec<WorkerRecord>, QueueError> {
    let members: Vec<Cmd> = queues
        .iter()
        .map(|queue| {
            let mut command = cmd("SMEMBERS");
            command.arg(format!("{prefix}:workers:{queue}"));
            command
        })
        .collect();
    let mut keys: Vec<String> = Vec::new();
    for answer in connection.pipeline(&members).await? {
        keys.extend(connection.read::<Vec<String>>(answer?)?);
    }
    keys.sort_unstable();
    keys.dedup();
    let hashes: Vec<Cmd> = keys
        .iter()
        .map(|key| {
            let mut command = cmd("HGETALL");
            command.arg(key);
            command
        })
        .collect();
    let mut records = Vec::with_capacity(keys.len());
    for (key, answer) in keys.iter().zip(connection.pipeline(&hashes).await?) {
        let fields: BTreeMap<String, String> = connection.read(answer?)?;
        // Dead: the hash expired, or says so; the sets are cleaned by maintenance.
        if fields.is_empty() || fields.contains_key("death") {
            continue;
        }
        let name = key.strip_prefix(&format!("{prefix}:worker:")).unwrap_or(key);
        records.push(record(name, &fields));
    }
    Ok(records)
}

fn record(name: &str, fields: &BTreeMap<String, String>) -> WorkerRecord {
    let text = |field: &str| fields.get(field).map(String::as_str).unwrap_or_default();
    let names = |list: &str| list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    WorkerRecord {
        name: name.to_owned(),
        state: text("state").to_owned(),
        queues: names(text("queues")),
        hostname: text("hostname").to_owned(),
        pid: text("pid").to_owned(),
        version: text("version").to_owned(),
        current_job: Some(text("current_job")).filter(|job| !job.is_empty()).map(str::to_owned),
        succeeded: text("successful_job_count").parse().unwrap_or_default(),
        failed: text("failed_job_count").parse().unwrap_or_default(),
        working_seconds: text("total_working_time").parse().unwrap_or_default(),
        birth: time(fields.get("birth").map(String::as_str)),
        last_heartbeat: time(fields.get("last_heartbeat").map(String::as_str)),
    }
}
