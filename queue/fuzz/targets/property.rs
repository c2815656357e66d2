//! What holds for any bytes as the `data` field of a job: decoding returns, keeps to the limits, and what it returns can be
//! written (Python's `bytes` as they are printed) and read again. Shared by the fuzzer and by the small test of `queue` (`tests/mutated_payloads.rs`).

use jobqueue_queue::payload::{BYTES_KEY, decode, encode_call, readable};
use jobqueue_queue::{PayloadError, PayloadLimits};
use serde_json::Value;

/// Small, so that random bytes reach them.
const LIMITS: PayloadLimits = PayloadLimits { max_bytes: 4 << 10, max_inflated_bytes: 64 << 10, max_depth: 16 };

/// Panics where the property does not hold; returns whether the bytes were a call.
pub(crate) fn check(bytes: &[u8]) -> bool {
    match decode(bytes, &LIMITS) {
        Ok(call) => {
            let (depth, text) = call
                .args
                .iter()
                .chain(call.kwargs.values())
                .map(|value| measure(&serde_json::to_value(value).expect("any value is JSON")))
                .fold((0, 0), |sum, part| (sum.0.max(part.0), sum.1 + part.1));
            assert!(depth + 2 <= LIMITS.max_depth, "nested {depth} deep");
            assert!(text <= LIMITS.max_inflated_bytes, "{text} bytes of text");
            let plain = |value| serde_json::to_value(readable(value)).expect("any value is JSON");
            let args: Vec<Value> = call.args.iter().cloned().map(plain).collect();
            let kwargs = call.kwargs.iter().map(|(key, value)| (key.clone(), plain(value.clone()))).collect();
            let again = encode_call(&call.function, &args, &kwargs, call.serializer);
            let wide = PayloadLimits { max_bytes: 1 << 20, max_inflated_bytes: 1 << 20, max_depth: 32 };
            let back = decode(&again, &wide).expect("what was decoded can be written and read again");
            assert_eq!(back.function, call.function);
            assert_eq!(back.args.len(), call.args.len());
            true
        }
        Err(PayloadError::TooLarge(why) | PayloadError::NotData(why) | PayloadError::Malformed(why)) => {
            assert!(why.len() < 1024, "a message of {} bytes", why.len());
            false
        }
    }
}

/// Nesting, and bytes of text.
fn measure(value: &Value) -> (usize, usize) {
    match value {
        Value::String(text) => (0, text.len()),
        Value::Array(items) => inside(items.iter().map(measure)),
        // Python's bytes, in hexadecimal digits.
        Value::Object(map) if map.len() == 1 && map.contains_key(BYTES_KEY) => {
            (0, map[BYTES_KEY].as_str().map_or(0, str::len) / 2)
        }
        Value::Object(map) => inside(map.values().map(measure)),
        _ => (0, 0),
    }
}

fn inside(parts: impl Iterator<Item = (usize, usize)>) -> (usize, usize) {
    parts.fold((1, 0), |sum, part| (sum.0.max(part.0 + 1), sum.1 + part.1))
}
