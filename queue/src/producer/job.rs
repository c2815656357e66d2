//! The fields of a new RQ job's hash (`rq-protocol`: job hash, enqueue), as rq's own `enqueue_many` writes them.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::repr;
use crate::Serializer;
use crate::payload::{encode_call, encode_trace_meta};

/// What every job of a run is given.
#[derive(Debug, Clone)]
pub struct JobOptions {
    /// The function as the worker will look it up, e.g. `ParseCompany.parse_company`.
    pub function: String,
    /// How the call is written, and the answer will be.
    pub serializer: Serializer,
    /// Seconds a run may take; -1 for any. RQ's default is 180.
    pub timeout: i64,
    /// Seconds a finished job is kept; -1 for ever, 0 not at all. `None` leaves it to the worker.
    pub result_ttl: Option<i64>,
    /// Seconds a failed job is kept; -1 for ever. `None` leaves it to the worker.
    pub failure_ttl: Option<i64>,
    /// `rq.Retry`; `None` leaves retrying to the worker's own policy.
    pub retry: Option<ProducerRetry>,
}

/// `rq.Retry(max, interval)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerRetry {
    /// Runs after the first.
    pub max: u32,
    /// Seconds before each retry; where fewer than `max`, the first is used longer. Empty: at once.
    pub intervals: Vec<u32>,
}

impl JobOptions {
    /// Fields with their values that are equal for all jobs of a batch.
    pub(super) fn shared_fields(&self, queue: &str, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
        let now = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let mut fields = vec![
            ("status", "queued".to_owned()),
            ("created_at", now.clone()),
            ("enqueued_at", now),
            ("origin", queue.to_owned()),
            ("timeout", self.timeout.to_string()),
        ];
        let unset = [
            "success_callback_name",
            "failure_callback_name",
            "stopped_callback_name",
            "started_at",
            "ended_at",
            "last_heartbeat",
            "worker_name",
            "group_id",
        ];
        fields.extend(unset.map(|field| (field, String::new())));
        let optional = [("result_ttl", self.result_ttl), ("failure_ttl", self.failure_ttl)];
        fields.extend(optional.into_iter().filter_map(|(field, value)| Some((field, value?.to_string()))));
        if let Some(retry) = &self.retry {
            let intervals = if retry.intervals.is_empty() { &[0][..] } else { &retry.intervals };
            fields.push(("retries_left", retry.max.to_string()));
            fields.push(("retry_intervals", serde_json::to_string(intervals).expect("numbers are JSON")));
        }
        fields
    }

    /// The call, serialized and deflated.
    pub(super) fn data(&self, record: &str) -> Vec<u8> {
        encode_call(&self.function, &[Value::String(record.to_owned())], &Map::new(), self.serializer)
    }

    /// `meta` with this `traceparent`; empty for a job without one.
    pub(super) fn meta(&self, traceparent: Option<&str>) -> Vec<u8> {
        traceparent.map(|traceparent| encode_trace_meta(traceparent, self.serializer)).unwrap_or_default()
    }

    /// What rq shows of the call: `function('argument')`, the argument cut at 75 characters.
    pub(super) fn description(&self, record: &str) -> String {
        format!("{}({})", self.function, repr::of_text(record, 75))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> JobOptions {
        JobOptions {
            function: "tasks.f".into(),
            serializer: Serializer::Pickle,
            timeout: 180,
            result_ttl: None,
            failure_ttl: None,
            retry: None,
        }
    }

    fn field(fields: &[(&str, String)], name: &str) -> Option<String> {
        fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.clone())
    }

    #[test]
    fn options_that_were_not_given_leave_no_field() {
        let fields = options().shared_fields("q", DateTime::UNIX_EPOCH);
        assert_eq!(field(&fields, "created_at").as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!(field(&fields, "worker_name").as_deref(), Some(""));
        for absent in ["result_ttl", "failure_ttl", "retries_left", "retry_intervals"] {
            assert_eq!(field(&fields, absent), None);
        }
    }

    #[test]
    fn a_retry_without_intervals_is_written_as_rq_does() {
        let retry = Some(ProducerRetry { max: 3, intervals: vec![] });
        let fields = JobOptions { retry, result_ttl: Some(-1), ..options() }.shared_fields("q", DateTime::UNIX_EPOCH);
        assert_eq!(field(&fields, "retries_left").as_deref(), Some("3"));
        assert_eq!(field(&fields, "retry_intervals").as_deref(), Some("[0]"));
        assert_eq!(field(&fields, "result_ttl").as_deref(), Some("-1"));
    }
}
