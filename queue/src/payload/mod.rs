//! The `data` field of an RQ job: inflated within bounds, decoded as data, never as code; and the same way back for
//! producers and results. The format is RQ's: zlib (or raw bytes) of a pickled or JSON 4-tuple
//! `(function, instance, args, kwargs)`.

mod bytes;
mod encode;
mod json;
mod pickle;

pub use bytes::{BYTES_KEY, bytes_in, bytes_value, readable};
pub(crate) use encode::encode_trace_meta;
pub use encode::{encode_call, encode_result};

use flate2::{Decompress, FlushDecompress, Status};
use jobqueue_json::Value;

use crate::{Call, PayloadError, PayloadLimits, Serializer};

/// Values (numbers, texts, containers and references to them) in one payload. With what a value costs in memory this
/// keeps the largest payload near 100 MB; the other bounds are in [`PayloadLimits`].
pub(crate) const MAX_VALUES: usize = 1_000_000;

/// Decodes the `data` field of a job: zlib or raw, pickle (protocols 0 to 5) or JSON.
///
/// How Python values arrive is documented on [`Call`]. Nothing is imported or called; time and memory stay
/// proportional to the limits whatever the bytes are.
///
/// # Errors
/// [`PayloadError::TooLarge`] over a limit, [`PayloadError::NotData`] if the pickle names anything to import or call
/// outside a short list of plain data types (the message carries the name), [`PayloadError::Malformed`] otherwise.
pub fn decode(bytes: &[u8], limits: &PayloadLimits) -> Result<Call, PayloadError> {
    if bytes.len() > limits.max_bytes {
        return Err(too_large(format!("{} bytes stored, {} allowed", bytes.len(), limits.max_bytes)));
    }
    let inflated = if looks_like_zlib(bytes) { inflate(bytes, limits.max_inflated_bytes)? } else { None };
    let raw = inflated.as_deref().unwrap_or(bytes);
    if raw.len() > limits.max_inflated_bytes {
        return Err(too_large(format!("{} bytes, {} allowed", raw.len(), limits.max_inflated_bytes)));
    }
    match raw.first() {
        // A protocol 2+ pickle says so; protocols 0 and 1 open the tuple with a MARK.
        Some(0x80 | b'(') => call(pickle::decode(raw, limits)?, Serializer::Pickle),
        Some(b'[' | b' ' | b'\t' | b'\n' | b'\r') => call(json::decode(raw, limits)?, Serializer::Json),
        Some(first) => Err(malformed(format!("neither zlib, pickle nor JSON: it begins with byte 0x{first:02x}"))),
        None => Err(malformed("it is empty")),
    }
}

/// Decodes the `meta` field of a job, which RQ's serializers write without zlib.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_meta(bytes: &[u8], limits: &PayloadLimits) -> Result<Value, PayloadError> {
    match bytes.first() {
        // Pickles of protocols 0 and 1 open a dict with a MARK or an EMPTY_DICT.
        Some(0x80 | b'(' | b'}') => pickle::decode(bytes, limits),
        _ => json::decode(bytes, limits),
    }
}

/// RFC 1950: compression method 8 and a header that is a multiple of 31.
fn looks_like_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [cmf, flg, ..] if cmf & 0x0f == 8 && (u16::from(*cmf) << 8 | u16::from(*flg)) % 31 == 0)
}

/// `None` if this is not zlib after all: RQ's reader then takes the bytes as they are, and so do we.
fn inflate(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, PayloadError> {
    let mut engine = Decompress::new(true);
    // JSON in pickles shrinks to about a quarter; one allocation then does for most jobs.
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(4).clamp(256, 1 << 16).min(limit.saturating_add(1)));
    loop {
        let (read, written) = (usize::try_from(engine.total_in()).unwrap_or(bytes.len()), out.len());
        let status = engine.decompress_vec(bytes.get(read..).unwrap_or_default(), &mut out, FlushDecompress::None);
        match status {
            _ if out.len() > limit => return Err(too_large(format!("it inflates to more than {limit} bytes"))),
            Ok(Status::StreamEnd) => return Ok(Some(out)),
            Ok(_) if out.len() == out.capacity() => out.reserve_exact(out.len().min(limit - out.len()) + 1),
            // Room was left and nothing came: the stream is cut short.
            Ok(_) if out.len() > written || engine.total_in() > read as u64 => {}
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

/// Takes the 4-tuple apart.
fn call(value: Value, serializer: Serializer) -> Result<Call, PayloadError> {
    let Value::Array(parts) = value else {
        return Err(malformed("not a call: expected (function, instance, args, kwargs)"));
    };
    let parts: [Value; 4] = parts
        .try_into()
        .map_err(|parts: Vec<Value>| malformed(format!("not a call: expected 4 elements, found {}", parts.len())))?;
    match parts {
        [Value::String(function), Value::Null, Value::Array(args), Value::Object(kwargs)] => {
            Ok(Call { function, args, kwargs, serializer })
        }
        [Value::String(function), instance, ..] if !instance.is_null() => {
            let function = shortened(&function);
            Err(PayloadError::NotData(format!("{function} is a method of an object, and only functions are served")))
        }
        _ => Err(malformed("not a call: expected (text, None, list, dict)")),
    }
}

/// Names from a payload for a message: whoever wrote them does not decide how long it gets.
fn shortened(name: &str) -> String {
    const MOST: usize = 100;
    let cut: String = name.chars().take(MOST).collect();
    if cut.len() < name.len() { cut + "…" } else { cut }
}

pub(crate) fn malformed(what: impl Into<String>) -> PayloadError {
    PayloadError::Malformed(what.into())
}

pub(crate) fn too_large(what: impl Into<String>) -> PayloadError {
    PayloadError::TooLarge(what.into())
}

#[cfg(test)]
mod tests;
