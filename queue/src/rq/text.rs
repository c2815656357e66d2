//! How RQ writes times, errors and return values, and the texts it puts in the failed registry.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, NaiveDateTime, Utc};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde_json::Value;

use crate::payload::encode_result;
use crate::{PayloadError, Serializer};

/// What RQ writes for a job stopped by command.
pub(crate) const STOPPED: &str = "Job stopped by user, work-horse terminated.";

/// `YYYY-MM-DDTHH:MM:SS.ffffffZ`: six digits, or Python readers fail.
pub(crate) fn iso(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// Reads RQ's times, with or without a fraction.
pub(crate) fn parse_iso(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.fZ").ok().map(|time| time.and_utc())
}

/// Seconds since the epoch with six digits, as executions and results have them.
pub(crate) fn epoch(time: DateTime<Utc>) -> String {
    format!("{}.{:06}", time.timestamp(), time.timestamp_subsec_micros())
}

/// The text RQ writes for a job whose worker went away.
pub(crate) fn abandoned(now: DateTime<Utc>) -> String {
    format!("Moved to FailedJobRegistry, due to AbandonedJobError, at {}", now.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// The same for one that gets another attempt (where RQ would have written nothing).
pub(crate) fn crashed(now: DateTime<Utc>) -> String {
    format!(
        "AbandonedJobError: the worker stopped renewing its lease; queued again at {}",
        now.format("%Y-%m-%d %H:%M:%S%.6f")
    )
}

/// `exc_string` of a result: base64 of zlib of the text.
pub(crate) fn exc_string(text: &str) -> String {
    STANDARD.encode(deflate(text.as_bytes()))
}

/// `return_value` of a result: base64 of the serialized value; empty for none.
pub(crate) fn return_value(value: &Value, serializer: Serializer) -> String {
    if value.is_null() { String::new() } else { STANDARD.encode(encode_result(value, serializer)) }
}

/// zlib at its default level, as Python's `zlib.compress`.
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// For a payload that was not even fetched.
pub(crate) fn oversized(bytes: usize, limit: usize) -> PayloadError {
    PayloadError::TooLarge(format!("{bytes} bytes, and at most {limit} are accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeZone;

    #[test]
    fn times_are_written_as_rq_reads_them() {
        let time = Utc.with_ymd_and_hms(2026, 11, 23, 23, 43, 47).unwrap() + chrono::Duration::microseconds(8139);
        assert_eq!(iso(time), "2026-11-23T23:43:47.008139Z");
        assert_eq!(epoch(time), format!("{}.008139", time.timestamp()));
        assert_eq!(parse_iso("2026-11-23T23:43:47.008139Z"), Some(time));
        assert!(parse_iso("2026-11-23T23:43:47Z").is_some());
        assert!(parse_iso("").is_none());
    }
}
